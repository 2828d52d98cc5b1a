// When a connection believes that its path has shrunk.
#include "tests/catch.hpp"

#include <copse/quic/detail/black_hole.hpp>

using copse::quic::detail::black_hole;

namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t second = 1000 * ms;
constexpr std::uint64_t timeout = 30 * ms;

}  // namespace

TEST_CASE("black_hole: three probe timeouts without progress make packets small", "[quic]")
{
    black_hole path;
    path.sent(5000, 100 * ms);
    path.expired(100 * ms + 7 * timeout - 1, timeout);
    CHECK(!path.narrow(100 * ms + 7 * timeout));
    path.expired(100 * ms + 7 * timeout, timeout);
    CHECK(path.narrow(100 * ms + 7 * timeout));
}

TEST_CASE("black_hole: progress of any kind postpones the suspicion", "[quic]")
{
    black_hole path;
    path.sent(5000, 0);
    path.acknowledged(1, 6 * timeout);
    path.expired(12 * timeout, timeout);
    CHECK(!path.narrow(12 * timeout));
    path.expired(13 * timeout, timeout);
    CHECK(path.narrow(13 * timeout));
}

TEST_CASE("black_hole: with nothing unacknowledged timers mean nothing", "[quic]")
{
    black_hole path;
    path.expired(60 * second, timeout);
    path.sent(5000, 60 * second);
    path.acknowledged(5000, 61 * second);
    path.expired(120 * second, timeout);
    path.sent(5000, 120 * second);  // silence before it does not count
    path.expired(120 * second + timeout, timeout);
    path.forgotten(5000);
    path.expired(180 * second, timeout);
    CHECK(!path.narrow(180 * second));
}

TEST_CASE("black_hole: larger packets are tried again, each time later", "[quic]")
{
    black_hole path;
    path.sent(1, 0);
    std::uint64_t now = second;
    for (const std::uint64_t expected : {10U, 20U, 40U, 80U, 160U, 320U, 600U, 600U}) {
        INFO(expected << " s");
        path.expired(now, timeout);
        CHECK(path.narrow(now + expected * second - 1));
        CHECK(!path.narrow(now + expected * second));
        now += expected * second;
    }
}

TEST_CASE("black_hole: ten datagrams lost in a row are enough, nine are not", "[quic]")
{
    black_hole path;
    for (int i = 0; i < 9; ++i) path.datagram_lost(second);
    path.datagram_arrived();
    for (int i = 0; i < 9; ++i) path.datagram_lost(second);
    CHECK(!path.narrow(second));
    path.datagram_lost(second);
    CHECK(path.narrow(second));
}
