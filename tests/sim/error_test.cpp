#include "tests/error_messages.hpp"

#include <copse/sim/error.hpp>

TEST_CASE("sim errors: each has a message of its own", "[sim]")
{
    copse::test::check_messages(copse::sim::sim_errc::livelock, "copse.sim");
}
