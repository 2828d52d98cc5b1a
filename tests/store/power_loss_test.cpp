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
