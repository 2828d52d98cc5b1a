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
