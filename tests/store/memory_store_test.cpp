#include <copse/store/memory_store.hpp>

#include "store/fixture.hpp"

using namespace copse;
using namespace copse::store;
using namespace copse::test;

TEST_CASE("memory_store: added blobs of every shape can be read with their pairs", "[store]")
{
    memory_store store(64 << 20);
    for (const auto size : std::initializer_list<std::size_t>{1, 1024, 16384, 16385, 40'000,
                                                              262'144, 262'145, 1'000'000}) {
        const known_blob blob(pattern(size));
        CHECK(store.add(blob.data).value() == blob.root);
        CHECK(store.status(blob.root).value().complete());
        check_reader(*store.open(blob.root).value(), blob);
    }
    const auto used = store.used();
    CHECK(store.add(pattern(40'000)).value() == known_blob(pattern(40'000)).root);
    CHECK(store.used() == used);
}

TEST_CASE("memory_store: absent and empty blobs", "[store]")
{
    memory_store store(0);
    const known_blob empty({});
    CHECK(store.status(empty.root).value().complete());
    auto reader = store.open(empty.root).value();
    CHECK(reader->size() == 0);
    CHECK(read(*reader, {}, 0));
    std::byte one;
    CHECK(read(*reader, byte_span(&one, 1), 0).error() == store_errc::missing);
    CHECK(store.add({}).value() == empty.root);
    CHECK(store.open_partial(empty.root, 1).error() == store_errc::size_changed);
    auto writer = store.open_partial(empty.root, 0).value();
    CHECK(writer->present() == empty.everything());
    CHECK(writer->finish(true)());

    const auto absent = random_blob(100);
    CHECK(store.status(absent.root).value().present.empty());
    CHECK_FALSE(store.status(absent.root).value().complete());
    CHECK(store.open(absent.root).error() == store_errc::missing);
    CHECK(store.open_partial(absent.root, 0).error() == store_errc::size_changed);
    CHECK(store.remove(absent.root).error() == store_errc::missing);
}

TEST_CASE("memory_store: a partial blob grows under its readers", "[store]")
{
    memory_store store(8 << 20);
    const auto blob = random_blob(1'000'000);
    auto writer = store.open_partial(blob.root, blob.data.size()).value();
    CHECK(store.open_partial(blob.root, blob.data.size()).error() == store_errc::busy);
    CHECK(store.add(blob.data).error() == store_errc::busy);
    CHECK(store.remove(blob.root).error() == store_errc::busy);
    CHECK(store.open(blob.root).error() == store_errc::missing);

    REQUIRE(deliver(*writer, blob, 256, 512));
    CHECK(store.open(blob.root).error() == store_errc::missing);  // not before a checkpoint
    REQUIRE(writer->checkpoint()());
    auto reader = store.open(blob.root).value();
    CHECK(reader->present() == bao::chunk_ranges::range(256, 512));
    check_reader(*reader, blob);
    std::vector<std::byte> out(100);
    CHECK(read(*reader, out, 0).error() == store_errc::missing);
    CHECK(read(*reader, out, 512 * 1024 - 50).error() == store_errc::missing);
    CHECK(read(*reader, out, ~std::uint64_t{0} - 5).error() == store_errc::missing);
    CHECK(writer->finish(true)().error() == store_errc::incomplete);

    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->finish(true)());
    CHECK(reader->present() == blob.everything());
    check_reader(*reader, blob);
    writer.reset();
    REQUIRE(store.remove(blob.root));
    check_reader(*reader, blob);  // readable until released
    CHECK(store.used() > 0);
    reader.reset();
    CHECK(store.used() == 0);
}

TEST_CASE("memory_store: the limit counts what is written, not what is claimed", "[store]")
{
    memory_store store(300 * 1024);
    const auto blob = random_blob(1'000'000);
    CHECK(store.add(blob.data).error() == store_errc::full);
    CHECK(store.used() == 0);

    const hash::digest huge = hash::blake3_hash(as_bytes("huge"));
    auto writer = store.open_partial(huge, ~std::uint64_t{0}).value();
    CHECK(store.used() == memory_store::blob_bytes);
    const std::vector<std::byte> data(1024);
    CHECK(writer->write(data, ~std::uint64_t{0} - 1024));  // one short page at the far end
    CHECK(writer->write(data, ~std::uint64_t{0} - 1000).error() == std::errc::invalid_argument);
    const auto used = store.used();
    CHECK(used <= 256 * 1024 + memory_store::blob_bytes);
    CHECK(writer->write(data, 1 << 20).error() == store_errc::full);
    CHECK(store.used() == used);
    writer.reset();
    REQUIRE(store.remove(huge));
    CHECK(store.used() == 0);
}

TEST_CASE("memory_store: blobs that were only announced count too", "[store]")
{
    memory_store store(3 * memory_store::blob_bytes);
    for (const char* name : {"1", "2", "3"})
        CHECK(store.open_partial(hash::blake3_hash(as_bytes(name)), 1000));
    CHECK(store.used() == 3 * memory_store::blob_bytes);
    const auto fourth = hash::blake3_hash(as_bytes("4"));
    CHECK(store.open_partial(fourth, 1000).error() == store_errc::full);
    CHECK(store.remove(fourth).error() == store_errc::missing);
    CHECK(store.open_partial(hash::blake3_hash(as_bytes("3")), 1000));  // known already
    CHECK(store.used() == 3 * memory_store::blob_bytes);
}

TEST_CASE("memory_store: what it takes is reserved of the memory that it was given", "[store]")
{
    memory_budget memory("test: of a store", 40'000);
    {
        memory_store store(1 << 20, memory);
        CHECK(store.add(pattern(30'000)));
        CHECK(memory.used() == store.used());
        CHECK(store.add(pattern(20'000)).error() == store_errc::full);
        CHECK(memory.refusals() == 1);
        CHECK(memory.used() == store.used());
    }
    CHECK(memory.used() == 0);
}

TEST_CASE("memory_store: a wrong claim does not stick unless it is proven", "[store]")
{
    memory_store store(8 << 20);
    const auto blob = random_blob(100'000);
    auto writer = store.open_partial(blob.root, 200'000).value();
    writer.reset();
    writer = store.open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver(*writer, blob, 96, 98));  // the last group
    REQUIRE(writer->checkpoint()());
    writer.reset();
    CHECK(store.status(blob.root).value().size_proven);
    CHECK(store.open_partial(blob.root, 200'000).error() == store_errc::size_changed);
    CHECK(store.open_partial(blob.root, blob.data.size()));
}

TEST_CASE("memory_store: pairs that do not fit fail the checkpoint", "[store]")
{
    memory_store store(17 * 1024 + memory_store::blob_bytes);
    const auto blob = random_blob(17 * 1024);
    auto writer = store.open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver(*writer, blob, 0, 17));
    CHECK(writer->finish(false)().error() == store_errc::full);
    CHECK(store.open(blob.root).error() == store_errc::missing);
}
