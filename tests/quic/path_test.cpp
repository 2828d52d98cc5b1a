// What connections learn of their path: ECN marks and the size of packets.
#include "tests/quic/meeting.hpp"

using namespace copse;
using namespace std::chrono_literals;
using copse::test::link_faults;
using copse::test::loopback_options;
using copse::test::meeting;
using copse::test::run_meeting;
using copse::test::transfer;

namespace {

constexpr std::uint8_t ce = 3;
constexpr std::size_t udp_over_ipv4 = 28;

/// A path that carries IP packets of that size.
template <std::size_t Mtu>
bool fits(const outgoing_datagrams& out)
{
    return out.bytes.size() + udp_over_ipv4 <= Mtu;
}

/// Until the path's size is what is wanted; false after some seconds of loopback's round trips.
awaitable<bool> settles(const std::shared_ptr<connection>& c, std::size_t payload)
{
    for (int i = 0; i < 1000; ++i) {
        if (c->statistics().max_datagram_size == payload) co_return true;
        co_await copse::test::pause(5ms);
    }
    co_return false;
}

}  // namespace

TEST_CASE("ecn: a path that keeps the marks is used with them", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t got = co_await transfer(m, 300'000);
        CHECK(got == 300'000);
        const auto near = m.near->statistics();
        const auto far = m.far->statistics();
        CHECK(near.ecn_in_use);
        CHECK(near.ecn_marked_sent > 100);
        CHECK(far.ecn_marked_received > 100);
        CHECK(far.ecn_marked_received <= near.ecn_marked_sent);
        CHECK(far.ecn_ce_received == 0);
    });
}

TEST_CASE("ecn: a path that wipes the marks is noticed and used without", "[quic]")
{
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            const std::size_t got = co_await transfer(m, 300'000);
            CHECK(got == 300'000);
            const auto near = m.near->statistics();
            CHECK(!near.ecn_in_use);
            CHECK(near.ecn_marked_sent > 0);
            CHECK(near.ecn_marked_sent < 20);
            CHECK(m.far->statistics().ecn_marked_received == 0);
        },
        loopback_options(), loopback_options(),
        [](link_faults& to_server, link_faults&) {
            to_server.ecn = [](std::uint8_t) { return std::uint8_t{0}; };
        });
}

TEST_CASE("ecn: marks of congestion slow the sender down without a loss", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t before = co_await transfer(m, 300'000);
        CHECK(before == 300'000);
        CHECK(m.near->statistics().slow_start_threshold == UINT64_MAX);
        m.to_server->ecn = [](std::uint8_t mark) { return mark == 0 ? mark : ce; };
        const std::size_t got = co_await transfer(m, 300'000);
        CHECK(got == 300'000);
        CHECK(m.far->statistics().ecn_ce_received > 0);
        const auto near = m.near->statistics();
        CHECK(near.ecn_in_use);
        CHECK(near.slow_start_threshold < UINT64_MAX);
    });
}

TEST_CASE("ecn: false counts end its use and not the connection", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        m.to_server->ecn = [](std::uint8_t mark) { return mark == 0 ? mark : std::uint8_t{1}; };
        const std::size_t got = co_await transfer(m, 300'000);
        CHECK(got == 300'000);
        CHECK(!m.near->statistics().ecn_in_use);
    });
}

TEST_CASE("mtu: a path of 1500 bytes is found", "[quic]")
{
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            const std::size_t got = co_await transfer(m, 100'000);
            CHECK(got == 100'000);
            // What ngtcp2 tries at most: 1444 bytes before version 1, then our own 1452.
            const bool known = co_await settles(m.near, 1444);
            const std::size_t size = m.near->statistics().max_datagram_size;
            CHECK((known || size == 1452));
            CHECK(m.near->max_datagram_payload() > 1400);
        },
        loopback_options(), loopback_options(),
        [](link_faults& to_server, link_faults& to_client) {
            to_server.keep = to_client.keep = fits<1500>;
        });
}

TEST_CASE("mtu: a path of 1300 bytes is settled below", "[quic]")
{
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            const std::size_t got = co_await transfer(m, 100'000);
            CHECK(got == 100'000);
            const bool settled = co_await settles(m.near, 1232);
            CHECK(settled);
            const std::size_t again = co_await transfer(m, 100'000);
            CHECK(again == 100'000);
            CHECK(m.near->statistics().max_datagram_size == 1232);
        },
        loopback_options(), loopback_options(),
        [](link_faults& to_server, link_faults& to_client) {
            to_server.keep = to_client.keep = fits<1300>;
        });
}

TEST_CASE("mtu: a path that shrinks in the middle of a transfer is survived", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t before = co_await transfer(m, 100'000);
        CHECK(before == 100'000);
        const bool large = co_await settles(m.near, 1444);
        if (!large) REQUIRE(m.near->statistics().max_datagram_size > 1300);
        m.to_server->keep = fits<1280>;
        const std::size_t got = co_await transfer(m, 300'000);
        CHECK(got == 300'000);
        CHECK(m.near->statistics().max_datagram_size == 1200);
        const std::size_t payload = m.near->max_datagram_payload();
        CHECK(payload > 1100);
        CHECK(payload < 1200);
    });
}

TEST_CASE("mtu: datagrams that the path swallows become smaller", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t before = co_await transfer(m, 100'000);
        CHECK(before == 100'000);
        const bool large = co_await settles(m.near, 1444);
        if (!large) REQUIRE(m.near->statistics().max_datagram_size > 1300);
        m.to_server->keep = fits<1280>;
        const auto data = copse::test::pattern(1400);
        // As a program that sends what it is told may be sent.
        for (int i = 0; i < 1000 && m.near->statistics().max_datagram_size > 1200; ++i) {
            const byte_view all(data);
            const auto sent = m.near->send_datagram(
                {nullptr, all.first(std::min(all.size(), m.near->max_datagram_payload()))});
            if (!sent) REQUIRE(sent.error() == transport_errc::limit_reached);
            co_await copse::test::pause(2ms);
        }
        const std::size_t fitting = m.near->max_datagram_payload();
        CHECK(fitting < 1200);
        // Those that wait are too large now and dropped; behind them there is room again.
        result<void> sent = make_error_code(transport_errc::limit_reached);
        for (int i = 0; i < 1000 && !sent; ++i) {
            sent = m.near->send_datagram({nullptr, byte_view(data).first(fitting)});
            co_await copse::test::pause(5ms);
        }
        REQUIRE(sent);
        const auto got = co_await m.far->receive_datagram();
        REQUIRE(got);
        CHECK(got.value().bytes.size() == fitting);
    });
}
