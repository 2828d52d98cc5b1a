// What all stores have in common.
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>
#include <copse/store/reference_store.hpp>

#include "store/fixture.hpp"

#include <array>
#include <memory>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

// One of each kind that takes partial blobs.
struct writable_stores {
    writable_stores()
        : folder(folder_store::open(real_file_system(), (dir / "store").string(), {}).value())
    {}

    temporary_directory dir;
    std::shared_ptr<folder_store> folder;
    memory_store memory{1 << 20};
    std::array<blob_store*, 2> all{folder.get(), &memory};
};

}  // namespace

TEST_CASE("stores: the empty blob is complete everywhere, and takes nothing", "[store]")
{
    writable_stores stores;
    reference_store references(real_file_system());
    const known_blob empty({});
    const std::array<std::byte, 1> one{};
    std::array<std::byte, 64> pair;
    for (blob_store* store :
         std::initializer_list<blob_store*>{stores.folder.get(), &stores.memory, &references}) {
        const auto reader = store->open(empty.root).value();
        CHECK(reader->root() == empty.root);
        CHECK(reader->size() == 0);
        CHECK(reader->present() == empty.everything());
        CHECK(reader->pair_granularity() == hash::group_chunks);
        CHECK(reader->read_pairs(0, {}));
        CHECK(reader->read_pairs(0, pair).error() == store_errc::missing);
        CHECK(read(*reader, {}, 0));
        CHECK(read(*reader, {}, 1).error() == store_errc::missing);
    }
    for (blob_store* store : stores.all) {
        const auto writer = store->open_partial(empty.root, 0).value();
        CHECK(writer->root() == empty.root);
        CHECK(writer->size() == 0);
        CHECK(writer->present() == empty.everything());
        CHECK_FALSE(writer->direct());
        CHECK(writer->write({}, 0));
        CHECK(writer->write(one, 0).error() == std::errc::invalid_argument);
        writer->commit(empty.everything(), {});
        CHECK_FALSE(writer->checkpoint_due());
        CHECK(writer->checkpoint()());
        CHECK(writer->finish(true)());
    }
}

TEST_CASE("stores: a writer says what it writes, and refuses what lies outside", "[store]")
{
    writable_stores stores;
    const auto blob = random_blob(100'000);
    for (blob_store* store : stores.all) {
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        CHECK(writer->root() == blob.root);
        CHECK(writer->size() == blob.data.size());
        CHECK_FALSE(writer->direct());
        const byte_view data(blob.data);
        CHECK(writer->write(data, 1).error() == std::errc::invalid_argument);
        CHECK(writer->write(data.first(1), data.size()).error() == std::errc::invalid_argument);
        CHECK(writer->write(data, ~std::uint64_t{0}).error() == std::errc::invalid_argument);
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(false)());
        writer.reset();

        // Complete now: a writer that needs nothing.
        writer = store->open_partial(blob.root, blob.data.size()).value();
        CHECK(writer->root() == blob.root);
        CHECK(writer->size() == blob.data.size());
        CHECK(writer->present() == blob.everything());
        CHECK_FALSE(writer->direct());
        CHECK_FALSE(writer->checkpoint_due());
        CHECK(writer->checkpoint()());
        CHECK(writer->finish(true)());
        writer.reset();
        CHECK(store->open_partial(blob.root, 1).error() == store_errc::size_changed);
    }
}

TEST_CASE("stores: watchers hear of checkpoints and of the end, until they let go", "[store]")
{
    writable_stores stores;
    const auto blob = random_blob(100'000);
    const auto other = random_blob(10, 2);
    for (blob_store* store : stores.all) {
        int heard = 0;
        int of_others = 0;
        auto handle = store->watch(blob.root, [&heard] { ++heard; });
        const auto more = store->watch(other.root, [&of_others] { ++of_others; });
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(deliver(*writer, blob, 0, 16));
        CHECK(heard == 0);
        REQUIRE(writer->checkpoint()());
        CHECK(heard == 1);
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(true)());
        CHECK(heard == 2);
        writer.reset();
        handle.reset();
        auto again = store->open_partial(other.root, other.data.size()).value();
        REQUIRE(deliver_all(*again, other));
        REQUIRE(again->finish(true)());
        CHECK(heard == 2);
        CHECK(of_others == 1);
    }
    reference_store references(real_file_system());
    int heard = 0;
    const auto handle = references.watch(blob.root, [&heard] { ++heard; });
    CHECK(references.add_bytes(shared_bytes::copy(blob.data)) == blob.root);
    CHECK(heard == 1);
}

TEST_CASE("stores: removing tells the watchers, and a store may have no news at all", "[store]")
{
    writable_stores stores;
    const auto blob = random_blob(1000);
    auto writer = stores.folder->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->finish(false)());
    writer.reset();
    int heard = 0;
    const auto handle = stores.folder->watch(blob.root, [&heard] { ++heard; });
    REQUIRE(stores.folder->remove(blob.root));
    CHECK(heard == 1);

    struct still_store final : blob_store {
        result<availability> status(const hash::digest&) override { return availability(); }
        result<std::shared_ptr<blob_reader>> open(const hash::digest&) override
        {
            return store_errc::missing;
        }
        result<std::shared_ptr<blob_writer>> open_partial(const hash::digest&,
                                                          std::uint64_t) override
        {
            return store_errc::read_only;
        }
    } still;
    CHECK(still.watch(blob.root, [] {}) == nullptr);
}
