// Peers that keep to QUIC and use it to the limits: through our own endpoint, from a host of their own.
#include "tests/hostile/connection_storms.hpp"
#include "tests/hostile/datagram_flood.hpp"
#include "tests/hostile/slow_readers.hpp"
#include "tests/hostile/slow_writers.hpp"
#include "tests/hostile/stream_storms.hpp"

#include "tests/catch.hpp"

using namespace copse;
using namespace copse::hostile;

TEST_CASE("hostile streams: readers and writers that take forever", "[hostile]")
{
    bounds slow;
    // All buffers of the provider, which keeps them for reuse.
    slow.heap = slow.left = 12U << 20;
    check(
        "slow readers, small windows", [](stage& s) { return slow_readers(s, 8, 2000); }, slow);
    check(
        "slow readers", [](stage& s) { return slow_readers(s, 8, 256U << 10); }, slow);
    check("slow writers", [](stage& s) { return slow_writers(s, 4); });
}

TEST_CASE("hostile streams: opened, filled, reset and stopped without end", "[hostile]")
{
    check("stream exhaustion", stream_exhaustion);
    check("stream churn", stream_churn);
    bounds buffers;
    buffers.heap = buffers.left = 12U << 20;
    check("stop storm", stop_storm, buffers);
    check("uni-stream flood", uni_flood);
    check("uni-stream churn", uni_churn);
    check("datagram flood", datagram_flood);
}

TEST_CASE("hostile streams: more connections than there are places", "[hostile]")
{
    stage_options few;
    few.victim.max_connections = 200;
    few.victim.max_connections_per_source = 100;
    bounds handshakes;
    handshakes.heap = 100 * (192U << 10);
    const auto all_at_once = [](stage& s) { return connection_exhaustion(s, 250); };
    const auto held = check("connection exhaustion", all_at_once, handshakes, few);
    CHECK(held.endpoint.refused_source > 0);
    CHECK(held.endpoint.refused_full == 0);
    check("connection churn", connection_churn);
}
