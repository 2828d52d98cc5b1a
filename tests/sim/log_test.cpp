#include <copse/sim/world.hpp>

#include "catch.hpp"

#include <array>
#include <string_view>

using namespace copse;
using namespace std::chrono_literals;

TEST_CASE("world: the log depends on what happened, not on where it is kept")
{
    // Both live at the same time, so that no address is the same.
    sim::world first(1);
    sim::world second(1);
    const std::array<std::byte, 11> bytes{};
    const auto same = [&] { return first.log_hash() == second.log_hash(); };
    for (sim::world* w : {&first, &second}) {
        w->record("sent", "a", bytes);
        REQUIRE(w->run_for(1ms));
        w->record("sent", "b");
    }
    CHECK(same());
    first.record("sent", "a", byte_view(bytes).first(9));
    second.record("sent", "a", byte_view(bytes).first(10));
    CHECK_FALSE(same());
}

TEST_CASE("world: the log tells times, words and where they end apart")
{
    const auto hash_of = [](std::string_view what, std::string_view whom,
                            std::chrono::nanoseconds when) {
        sim::world w(1);
        REQUIRE(w.run_for(when));
        w.record(what, whom);
        return w.log_hash();
    };
    const auto known = hash_of("ab", "c", 1ms);
    CHECK(hash_of("ab", "c", 1ms) == known);
    CHECK(hash_of("a", "bc", 1ms) != known);
    CHECK(hash_of("ab", "d", 1ms) != known);
    CHECK(hash_of("ab", "c", 2ms) != known);
}
