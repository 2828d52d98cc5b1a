// A folder store on a disk that forgets at a power loss everything it may.
#include "tests/catch.hpp"
#include "tests/store/fixture.hpp"

#include <copse/sim/disk.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/folder_store.hpp>

using namespace copse;
using namespace copse::store;

namespace {

// What a new store shows of a blob after power was lost right behind its end.
availability after_power_loss(std::uint64_t seed, const test::known_blob& blob, bool durable)
{
    sim::world w(seed);
    auto& m = w.add_machine("m");
    sim::disk d(w, m);
    {
        const auto fs = d.mount();
        const auto store = folder_store::open(*fs, "/blobs").value();
        const auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(test::deliver_all(*writer, blob));
        REQUIRE(writer->finish(durable)());
    }
    m.crash();
    d.crash();
    const auto fs = d.mount();
    const auto store = folder_store::open(*fs, "/blobs").value();
    const auto status = store->status(blob.root).value();
    if (!status.present.empty()) test::check_reader(*store->open(blob.root).value(), blob);
    if (status.size_proven) CHECK(status.size == blob.data.size());
    return status;
}

// All that a store shows of a blob is right. \return what it shows.
availability check_shown(blob_store& in, const test::known_blob& blob)
{
    const auto status = in.status(blob.root).value();
    if (!status.present.empty()) test::check_reader(*in.open(blob.root).value(), blob);
    return status;
}

}  // namespace

TEST_CASE("folder_store: a durable blob in a new folder survives power loss", "[store]")
{
    const auto blob = test::random_blob(300'000);
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        INFO("seed " << seed);
        CHECK(after_power_loss(seed, blob, true).complete());
    }
}

TEST_CASE("folder_store: one that is not durable shows nothing wrong after power loss", "[store]")
{
    const auto blob = test::random_blob(40'000);
    int complete = 0;
    int none = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        INFO("seed " << seed);
        const auto status = after_power_loss(seed, blob, false);
        complete += status.complete();
        none += status.present.empty();
    }
    CHECK(complete + none > 0);
}

TEST_CASE("folder_store: a blob whose end was cut off by power loss can be taken", "[store]")
{
    const bool crash = GENERATE(false, true);
    for (const std::size_t size : {40'000U, 300'000U}) {
        const auto blob = test::random_blob(size);
        sim::world w(1);
        auto& m = w.add_machine("m");
        sim::disk d(w, m);
        auto fs = d.mount();
        {
            const auto store = folder_store::open(*fs, "/blobs").value();
            const auto writer = store->open_partial(blob.root, size).value();
            REQUIRE(test::deliver_all(*writer, blob));
            REQUIRE(writer->checkpoint()());
        }
        for (const char* const name : {"part", "bits", "obao4"}) {
            const auto path = "/blobs/" + hash::to_hex(blob.root) + "." + name;
            const auto file = fs->open(path, {});
            if (file) REQUIRE(file.value()->sync());
        }
        REQUIRE(fs->sync_directory("/blobs"));
        if (crash) {
            m.crash();
            d.crash();
            fs = d.mount();
        }
        const auto store = folder_store::open(*fs, "/blobs").value();
        REQUIRE(store->status(blob.root).value().complete());
        test::check_reader(*store->open(blob.root).value(), blob);
        REQUIRE(store->take(blob.root, "/out", false));
        CHECK(fs->status("/out").value().size == size);
    }
}

TEST_CASE("folder_store: what is complete when a durable end failed survives power loss", "[store]")
{
    const auto blob = test::random_blob(300'000);
    int complete = 0;
    for (std::uint64_t failing = 0; failing < 30; ++failing) {
        for (std::uint64_t seed = 1; seed <= 10; ++seed) {
            INFO("change " << failing << ", seed " << seed);
            sim::world w(seed);
            auto& m = w.add_machine("m");
            sim::disk d(w, m);
            auto fs = d.mount();
            auto store = folder_store::open(*fs, "/blobs").value();
            const auto first = d.statistics().changes;
            d.before_change = [&](std::uint64_t n) {
                return n == first + failing ? make_error_code(std::errc::io_error)
                                            : std::error_code{};
            };
            if (const auto writer = store->open_partial(blob.root, blob.data.size())) {
                if (test::deliver_all(*writer.value(), blob)) {
                    static_cast<void>(writer.value()->finish(true)());  // may fail
                }
            }
            const auto before = store->status(blob.root);
            if (!before || !before.value().complete()) continue;
            ++complete;
            d.before_change = {};
            m.crash();
            d.crash();
            fs = d.mount();
            store = folder_store::open(*fs, "/blobs").value();
            CHECK(store->status(blob.root).value().complete());
        }
    }
    CHECK(complete > 100);
}

TEST_CASE("folder_store: what a failed sync has lost is not shown", "[store]")
{
    const bool by_status = GENERATE(false, true);  // it ends what somebody left without an end
    const bool killed = GENERATE(false, true);     // right behind the sync
    const std::size_t size = GENERATE(40'000U, 300'000U);
    const auto blob = test::random_blob(size);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("by status " << by_status << ", killed " << killed << ", size " << size << ", seed "
                          << seed);
        sim::world w(seed);
        auto& m = w.add_machine("m");
        sim::disk d(w, m);
        auto fs = d.mount();
        auto store = folder_store::open(*fs, "/blobs").value();
        auto writer = store->open_partial(blob.root, size).value();
        REQUIRE(test::deliver_all(*writer, blob));
        REQUIRE(writer->checkpoint()());
        const auto before = d.statistics().syncs;
        d.options.sync_error = 1000;
        d.before_change = [&](std::uint64_t) {
            return killed && d.statistics().syncs > before ? make_error_code(std::errc::io_error)
                                                           : std::error_code{};
        };
        if (by_status) writer.reset();
        if (by_status) CHECK(store->status(blob.root).error() == std::errc::io_error);
        else CHECK(writer->finish(true)().error() == std::errc::io_error);
        CHECK(d.statistics().syncs == before + 1);
        if (!killed) check_shown(*store, blob);
        d.options.sync_error = 0;
        d.before_change = {};
        // The next process, without a power loss in between: it may not believe more.
        if (killed) {
            m.crash();
            fs = d.mount();
        } else {
            check_shown(*store, blob);
        }
        writer.reset();
        store.reset();
        store = folder_store::open(*fs, "/blobs").value();
        check_shown(*store, blob);
        writer = store->open_partial(blob.root, size).value();
        REQUIRE(test::deliver_all(*writer, blob));
        REQUIRE(writer->finish(true)());
        m.crash();
        d.crash();
        fs = d.mount();
        store = folder_store::open(*fs, "/blobs").value();
        CHECK(check_shown(*store, blob).complete());
    }
}

TEST_CASE("folder_store: after a failed sync all is written again", "[store]")
{
    const bool checkpoint = GENERATE(false, true);
    const auto blob = test::random_blob(40'000);
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::disk d(w, m);
    const auto fs = d.mount();
    auto store = folder_store::open(*fs, "/blobs").value();
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(test::deliver_all(*writer, blob));
    if (checkpoint) REQUIRE(writer->checkpoint()());
    auto reader = checkpoint ? store->open(blob.root).value() : nullptr;
    // The bytes stay in the system's memory: a look at them would not tell that no sync writes them now.
    const auto sync = d.statistics().changes + (checkpoint ? 1 : 0);  // behind the record
    d.before_change = [&](std::uint64_t n) {
        return n == sync ? make_error_code(std::errc::io_error) : std::error_code{};
    };
    CHECK(writer->finish(true)().error() == std::errc::io_error);
    if (reader) CHECK(reader->present().empty());
    reader.reset();
    writer.reset();
    CHECK(store->status(blob.root).value().present.empty());
    CHECK(store->open_partial(blob.root, blob.data.size()).value()->present().empty());
    store.reset();
    store = folder_store::open(*fs, "/blobs").value();
    CHECK(store->status(blob.root).value().size_proven);
    CHECK(store->open_partial(blob.root, blob.data.size()).value()->present().empty());
}

TEST_CASE("folder_store: a disk without room for a record can still be synced", "[store]")
{
    const auto blob = test::random_blob(40'000);
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::disk d(w, m);
    const auto fs = d.mount();
    const auto store = folder_store::open(*fs, "/blobs").value();
    const auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(test::deliver_all(*writer, blob));
    REQUIRE(writer->checkpoint()());
    d.options.write_error = 1000;
    REQUIRE(writer->finish(true)());
    CHECK(check_shown(*store, blob).complete());
}

TEST_CASE("folder_store: a small blob that was verified as a whole is read without pairs",
          "[store]")
{
    const auto blob = test::random_blob(40'000);
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::disk d(w, m);
    const auto fs = d.mount();
    const auto store = folder_store::open(*fs, "/blobs").value();
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(test::deliver_all(*writer, blob));
    const auto rename = d.statistics().changes + 1;  // behind the sync
    d.before_change = [&](std::uint64_t n) {
        return n == rename ? make_error_code(std::errc::io_error) : std::error_code{};
    };
    CHECK(writer->finish(true)().error() == std::errc::io_error);
    writer.reset();
    writer = store->open_partial(blob.root, blob.data.size()).value();
    CHECK(writer->present() == bao::chunk_ranges::range(0, blob.chunks()));
    const auto reader = store->open(blob.root).value();
    test::check_reader(*reader, blob);
    REQUIRE(writer->finish(true)());
    test::check_reader(*reader, blob);
}
