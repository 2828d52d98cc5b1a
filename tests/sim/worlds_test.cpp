// A few seeds of every world, in this process; tools/sim runs many.
#include "tests/catch.hpp"
#include "tests/sim/worlds/worlds.hpp"
#include "tests/support.hpp"

using namespace copse;

TEST_CASE("worlds: the first seeds of each are good, and the same again")
{
    const std::uint64_t first = test::seed_or(1);
    for (const sim::scenario& s : test::all_worlds()) {
        sim::run_options quiet;
        quiet.plan.emplace();
        static_cast<void>(sim::play(s, 0, quiet));  // what C libraries set up once
        std::uint64_t hash = 0;
        for (std::uint64_t seed = first; seed < first + 2; ++seed) {
            INFO(s.name << " seed " << seed);
            const sim::run_report r = sim::play(s, seed);
            CHECK(r.failure == "");
            CHECK(r.log_hash != 0);
            hash = r.log_hash;
        }
        CHECK(sim::play(s, first + 1).log_hash == hash);
    }
}
