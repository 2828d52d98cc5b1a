// Blobs that rotted on the disk: what is good stays, the rest is given up and fetched again.
#include <copse/sim/disk.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/folder_store.hpp>

#include "store/fixture.hpp"

using namespace copse;
using namespace copse::store;

namespace {

const std::string folder = "/blobs";

struct scene {
    scene() : disk(world, machine), fs(disk.mount()) { store = open(); }

    std::shared_ptr<folder_store> open()
    {
        store.reset();
        return folder_store::open(*fs, folder).value();
    }
    void add(const test::known_blob& blob, bool durable)
    {
        const auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(test::deliver_all(*writer, blob));
        REQUIRE(writer->finish(durable)());
    }
    [[nodiscard]] std::string name(const test::known_blob& blob, const char* suffix) const
    {
        return folder + "/" + hash::to_hex(blob.root) + suffix;
    }
    [[nodiscard]] std::unique_ptr<file> side(const test::known_blob& blob, const char* suffix) const
    {
        open_options options;
        options.write = true;
        return fs->open(name(blob, suffix), options).value();
    }
    void damage(const test::known_blob& blob, const char* suffix, std::uint64_t at) const
    {
        const auto f = side(blob, suffix);
        std::byte one{};
        REQUIRE(f->read_at(byte_span(&one, 1), at).value() == 1);
        one ^= std::byte{4};
        REQUIRE(f->write_at(byte_view(&one, 1), at));
    }
    // Delivers what status() says is missing, then all must be there, also for a new store.
    void fetch_rest(const test::known_blob& blob)
    {
        const auto have = store->status(blob.root).value();
        {
            const auto writer = store->open_partial(blob.root, blob.data.size()).value();
            const auto missing = blob.everything() - have.present;
            REQUIRE(writer->present() == have.present);
            for (std::size_t i = 0; i < missing.interval_count(); ++i) {
                const auto part = missing.interval(i);
                REQUIRE(test::deliver(*writer, blob, part.first, part.end));
            }
            REQUIRE(writer->finish(true)());
        }
        for (int life = 0; life < 2; ++life) {
            REQUIRE(store->status(blob.root).value().complete());
            test::check_reader(*store->open(blob.root).value(), blob);
            CHECK(store->repair(blob.root).value().complete());
            store = open();
        }
        CHECK_FALSE(fs->status(name(blob, ".bits")));
        CHECK_FALSE(fs->status(name(blob, ".part")));
    }

    sim::world world{1};
    sim::machine& machine = world.add_machine("m");
    sim::disk disk;
    std::unique_ptr<file_system> fs;
    std::shared_ptr<folder_store> store;
};

}  // namespace

TEST_CASE("repair: of a blob that rotted only the wrong groups are fetched again", "[store]")
{
    const bool durable = GENERATE(false, true);
    const char* const suffix = durable ? ".data" : ".new";
    scene s;
    const auto blob = test::random_blob(1'000'000);
    s.add(blob, durable);
    auto reading = s.store->open(blob.root).value();
    CHECK(s.store->repair(blob.root).value().complete());
    s.damage(blob, suffix, 300'000);
    // The store believes its files until it is asked to look.
    CHECK(s.store->status(blob.root).value().complete());
    const auto left = s.store->repair(blob.root).value();
    CHECK(left.size == blob.data.size());
    CHECK(left.size_proven);
    CHECK(left.present == blob.everything() - bao::chunk_ranges::range(288, 304));
    CHECK(s.store->status(blob.root).value().present == left.present);
    CHECK(s.store->open(blob.root).value()->present() == left.present);
    // What was opened before sees what arrives now.
    REQUIRE(test::deliver_all(*s.store->open_partial(blob.root, blob.data.size()).value(), blob));
    test::check_reader(*reading, blob);
    reading.reset();
    s.fetch_rest(blob);
}

TEST_CASE("repair: a small blob that rotted is given up whole", "[store]")
{
    scene s;
    const auto blob = test::random_blob(200'000);
    s.add(blob, true);
    CHECK_FALSE(s.fs->status(s.name(blob, ".obao4")));
    s.damage(blob, ".data", 100'000);
    // Without pairs nothing of it can be told from the rest.
    CHECK(s.store->repair(blob.root).value().present.empty());
    CHECK_FALSE(s.fs->status(s.name(blob, ".data")));
    s.store = s.open();
    CHECK(s.store->status(blob.root).value().present.empty());
    CHECK(s.store->repair(blob.root).error() == store_errc::missing);
    s.fetch_rest(blob);
}

TEST_CASE("repair: pairs that rotted, were cut, or were lost no longer stop a blob", "[store]")
{
    scene s;
    const auto blob = test::random_blob(1'000'000);
    s.add(blob, true);
    const std::uint64_t pairs = bao::outboard_size(blob.data.size());
    SECTION("rotten")
    {
        // The first pair below the left half: the data under it cannot be proven any more.
        s.damage(blob, ".obao4", 64);
        const auto left = s.store->repair(blob.root).value();
        CHECK(left.present == blob.everything() - bao::chunk_ranges::range(0, 512));
    }
    SECTION("cut")
    {
        REQUIRE(s.side(blob, ".obao4")->truncate(pairs - 64));
        CHECK(s.store->open(blob.root).error() == store_errc::corrupt_state);
        const auto left = s.store->repair(blob.root).value();
        CHECK_FALSE(left.present.empty());
        CHECK_FALSE(left.complete());
    }
    SECTION("too long")
    {
        REQUIRE(s.side(blob, ".obao4")->truncate(pairs + 64));
        CHECK(s.store->open(blob.root).error() == store_errc::corrupt_state);
        CHECK(s.store->repair(blob.root).value().complete());
    }
    SECTION("lost")
    {
        REQUIRE(s.fs->remove_file(s.name(blob, ".obao4")));
        CHECK(s.store->open(blob.root).error() == store_errc::corrupt_state);
        CHECK(s.store->repair(blob.root).value().present.empty());
    }
    s.fetch_rest(blob);
}

TEST_CASE("repair: a file of the wrong length proves no size", "[store]")
{
    scene s;
    const auto blob = test::random_blob(1'000'000);
    s.add(blob, true);
    const bool longer = GENERATE(false, true);
    REQUIRE(s.side(blob, ".data")->truncate(longer ? 1'100'000 : 900'000));
    CHECK_FALSE(s.store->repair(blob.root).value().size_proven);
    const auto writer = s.store->open_partial(blob.root, blob.data.size()).value();
    // Behind a longer one the tree would have another shape: nothing fits.
    CHECK(writer->present().covers(0, 512) == !longer);
    REQUIRE(test::deliver_all(*writer, blob));
    REQUIRE(writer->finish(true)());
    CHECK(s.store->repair(blob.root).value().complete());
    test::check_reader(*s.store->open(blob.root).value(), blob);
}

TEST_CASE("repair: a partial blob, but not under a writer", "[store]")
{
    scene s;
    const auto blob = test::random_blob(1'000'000);
    {
        const auto writer = s.store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(test::deliver(*writer, blob, 0, 512));
        REQUIRE(writer->checkpoint()());
        CHECK(s.store->repair(blob.root).error() == store_errc::busy);
    }
    auto reading = s.store->open(blob.root).value();
    s.damage(blob, ".part", 20'000);
    const auto left = s.store->repair(blob.root).value();
    CHECK(left.present == bao::chunk_ranges::range(0, 512) - bao::chunk_ranges::range(16, 32));
    CHECK(reading->present() == left.present);
    reading.reset();
    int told = 0;
    auto watching = s.store->watch(blob.root, [&] { ++told; });
    CHECK(s.store->repair(blob.root).value().present == left.present);
    CHECK(told > 0);
    watching.reset();
    s.store = s.open();
    CHECK(s.store->status(blob.root).value().present == left.present);
    s.fetch_rest(blob);
}

TEST_CASE("repair: absent and empty blobs", "[store]")
{
    scene s;
    CHECK(s.store->repair(test::random_blob(10).root).error() == store_errc::missing);
    CHECK(s.store->repair(test::known_blob({}).root).value().complete());
}

TEST_CASE("repair: a disk that fails gives nothing up", "[store]")
{
    const auto blob = test::random_blob(1'000'000);
    bool repaired = false;
    for (std::uint64_t failing = 0; !repaired; ++failing) {
        INFO("change " << failing);
        scene s;
        s.add(blob, true);
        s.damage(blob, ".data", 300'000);
        const std::uint64_t first = s.disk.statistics().changes;
        s.disk.before_change = [&](std::uint64_t number) {
            return number == first + failing ? make_error_code(std::errc::io_error)
                                             : std::error_code{};
        };
        const auto left = s.store->repair(blob.root);
        repaired = left.has_value();
        s.disk.before_change = {};
        if (!left) CHECK(left.error() == std::errc::io_error);
        CHECK(s.store->status(blob.root).value().complete() == !left.has_value());
        CHECK_FALSE(s.store->repair(blob.root).value().complete());
        s.fetch_rest(blob);
    }
}

TEST_CASE("repair: power loss leaves a blob that can be repaired", "[store]")
{
    const auto blob = test::random_blob(1'000'000);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        scene s;
        s.disk.options = {};
        s.add(blob, true);
        s.damage(blob, ".data", 300'000 + seed * 20'000);
        REQUIRE(s.side(blob, ".data")->sync());
        REQUIRE(s.store->repair(blob.root));
        s.store.reset();
        s.machine.crash();
        s.disk.crash();
        s.fs = s.disk.mount();
        s.store = s.open();
        const auto again = s.store->repair(blob.root);
        if (!again) CHECK(again.error() == store_errc::missing);
        CHECK_FALSE(s.store->status(blob.root).value().complete());
        s.fetch_rest(blob);
    }
}
