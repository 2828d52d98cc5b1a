// What connections say about themselves: counters, round trips, why they do not send.
#include "tests/quic/meeting.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::loopback_options;
using copse::test::meeting;
using copse::test::run_meeting;
using copse::test::transfer;

namespace {

std::uint64_t blocked_time(const connection_statistics& s)
{
    return s.blocked_by_application_ns + s.blocked_by_congestion_ns +
           s.blocked_by_connection_credit_ns + s.blocked_by_stream_credit_ns;
}

/// The statistics once they show something, or after a minute.
awaitable<connection_statistics> once(connection& c, bool (*shows)(const connection_statistics&))
{
    for (int i = 0; i < 6000; ++i) {
        const connection_statistics s = c.statistics();
        if (shows(s)) co_return s;
        const auto pause = co_await sleep_for(10ms);
        static_cast<void>(pause);
    }
    co_return c.statistics();
}

}  // namespace

TEST_CASE("statistics: what one side sends the other receives", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t got = co_await transfer(m, 1U << 20);
        CHECK(got == 1U << 20);
        const connection_statistics near = m.near->statistics();
        const connection_statistics far = m.far->statistics();
        CHECK(near.bytes_sent > 1U << 20);
        CHECK(far.bytes_received > 1U << 20);
        CHECK(far.bytes_received <= near.bytes_sent);
        CHECK(far.packets_received <= near.packets_sent);
        CHECK(near.packets_sent <= m.to_server->sent);
        CHECK(near.packets_received <= m.to_client->sent);
    });
}

TEST_CASE("statistics: round trips, window and path are those of the connection", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t got = co_await transfer(m, 1U << 20);
        CHECK(got == 1U << 20);
        const connection_statistics s = m.near->statistics();
        CHECK(s.min_rtt_ns > 0);
        CHECK(s.min_rtt_ns <= s.smoothed_rtt_ns);
        CHECK(s.min_rtt_ns <= s.latest_rtt_ns);
        CHECK(s.rtt_variance_ns > 0);
        CHECK(s.congestion_window >= 12000);
        CHECK(s.slow_start_threshold > 0);
        CHECK(s.max_datagram_size >= 1200);
        m.near->close(0, "");
        const connection_statistics after = m.near->statistics();
        CHECK(after.smoothed_rtt_ns == 0);
        CHECK(after.congestion_window == 0);
        CHECK(after.bytes_sent >= s.bytes_sent);
    });
}

TEST_CASE("statistics: an idle connection waits for its application", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t got = co_await transfer(m, 1000);
        CHECK(got == 1000);
        const connection_statistics before = m.near->statistics();
        const auto pause = co_await sleep_for(20ms);
        static_cast<void>(pause);
        const connection_statistics after = m.near->statistics();
        CHECK(after.blocked_by_application_ns - before.blocked_by_application_ns >= 10'000'000);
        CHECK(after.blocked_by_connection_credit_ns == 0);
        CHECK(after.blocked_by_stream_credit_ns == 0);
    });
}

TEST_CASE("statistics: a reader that does not read shows as stream credit", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        auto s = co_await m.near->open_uni();
        REQUIRE(s);
        const auto sent = co_await s.value()->write_copy(copse::test::pattern(200'000));
        REQUIRE(sent);
        const auto shown = [](const connection_statistics& x) {
            return x.blocked_by_stream_credit_ns > 0;
        };
        const connection_statistics blocked = co_await once(*m.near, shown);
        CHECK(blocked.blocked_by_stream_credit_ns > 0);
        CHECK(blocked.blocked_by_connection_credit_ns == 0);
    });
}

TEST_CASE("statistics: a full connection window shows as connection credit", "[quic]")
{
    auto small = loopback_options();
    small.connection_window = 32U << 10;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            auto s = co_await m.near->open_uni();
            REQUIRE(s);
            const auto sent = co_await s.value()->write_copy(copse::test::pattern(200'000));
            REQUIRE(sent);
            const auto shown = [](const connection_statistics& x) {
                return x.blocked_by_connection_credit_ns > 0;
            };
            const connection_statistics blocked = co_await once(*m.near, shown);
            CHECK(blocked.blocked_by_connection_credit_ns > 0);
            CHECK(blocked.blocked_by_stream_credit_ns == 0);
        },
        small);
}

TEST_CASE("statistics: a path that swallows everything shows as congestion", "[quic]")
{
    auto wide = loopback_options();
    wide.remote_stream_window = 16U << 20;
    wide.connection_window = 16U << 20;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            auto s = co_await m.near->open_uni();
            REQUIRE(s);
            m.to_server->drop = 1000;
            const auto sent = co_await s.value()->write_copy(copse::test::pattern(2'000'000));
            REQUIRE(sent);
            const auto shown = [](const connection_statistics& x) {
                return x.blocked_by_congestion_ns > 0;
            };
            const connection_statistics blocked = co_await once(*m.near, shown);
            CHECK(blocked.blocked_by_congestion_ns > 0);
            CHECK(blocked.bytes_in_flight > 0);
            m.to_server->drop = 0;
            auto theirs = co_await m.far->accept_uni();
            REQUIRE(theirs);
            s.value()->finish();
            const std::size_t got = co_await copse::test::read_to_end(*theirs.value());
            CHECK(got == 2'000'000);
        },
        wide);
}

TEST_CASE("statistics: blocked times stop growing with the end", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        m.near->close(0, "");
        const std::uint64_t at_end = blocked_time(m.near->statistics());
        const auto pause = co_await sleep_for(5ms);
        static_cast<void>(pause);
        CHECK(blocked_time(m.near->statistics()) == at_end);
    });
}
