// Attackers that are no QUIC peers: they throw packets.
#include "tests/hostile/coalesced_junk.hpp"
#include "tests/hostile/false_initials.hpp"
#include "tests/hostile/handshake_liars.hpp"
#include "tests/hostile/initial_flood.hpp"
#include "tests/hostile/random_packets.hpp"
#include "tests/hostile/version_flood.hpp"

#include "tests/catch.hpp"

using namespace copse;
using namespace copse::hostile;

TEST_CASE("hostile packets: noise", "[hostile]")
{
    check("random packets", random_packets);
    check("tiny packets", tiny_packets);
}

TEST_CASE("hostile packets: unknown versions", "[hostile]")
{
    const auto large = check("unknown versions", [](stage& s) { return version_flood(s, 1200); });
    CHECK(large.endpoint.unknown_versions > 1000);
    CHECK(large.bytes_out < large.bytes_in / 10);
    const auto small =
        check("small unknown versions", [](stage& s) { return version_flood(s, 60); });
    CHECK(small.endpoint.version_answers == 0);
    CHECK(small.bytes_out == 0);
}

TEST_CASE("hostile packets: false Initials and tokens", "[hostile]")
{
    const auto initials = check("false Initials", false_initials);
    CHECK(initials.bytes_out < initials.bytes_in);
    const auto tokens = check("false Retry tokens", false_tokens);
    CHECK(tokens.endpoint.tokens_rejected > 20);
    CHECK(tokens.bytes_out < tokens.bytes_in);
    check("coalesced junk", coalesced_junk);
}

TEST_CASE("hostile packets: handshakes that are forged, spoiled or given up", "[hostile]")
{
    // A pending handshake takes some 160 KiB with its TLS session.
    const quic::endpoint_options defaults;
    constexpr std::size_t handshake = 192U << 10;
    bounds unproven;
    unproven.heap = (defaults.retry_above + 1) * handshake;
    bounds proven;
    proven.heap = (defaults.max_handshakes / 2 + 1) * handshake;
    const auto forged = check("forged Initials", initial_flood, unproven);
    CHECK(forged.endpoint.retries_sent > 500);
    CHECK(forged.bytes_out < forged.bytes_in);
    check("half handshakes", half_handshakes, proven);
    check("spoiled handshakes", spoiled_handshakes, proven);
}

TEST_CASE("hostile packets: a host that lies to those who dial it", "[hostile]")
{
    stage_options dialling;
    dialling.victim.handshake_timeout = std::chrono::seconds(1);
    dialling.victims_errand = dial_liars;
    bounds ten_dials;
    ten_dials.heap = 8U << 20;
    check("handshake liar", handshake_liar, ten_dials, dialling);
}
