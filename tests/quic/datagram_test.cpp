// Unreliable messages (RFC 9221): sizes, bounded queues, loss, streams beside them, the end.
#include "tests/catch.hpp"
#include "tests/quic/meeting.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::loopback_options;
using copse::test::meeting;
using copse::test::read_to_end;
using copse::test::run_meeting;
using copse::test::write_and_finish;

namespace {

result<void> send(connection& c, std::string_view text)
{
    return c.send_datagram(shared_bytes::copy(as_bytes(text)));
}

}  // namespace

TEST_CASE("datagrams: messages of every allowed size arrive whole", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::size_t most = m.near->max_datagram_payload();
        REQUIRE(most > 1000);
        const auto data = copse::test::pattern(most);
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{62},
                                       std::size_t{63}, std::size_t{64}, most - 1, most}) {
            INFO("size " << size);
            const auto sent = m.near->send_datagram({nullptr, byte_view(data).first(size)});
            REQUIRE(sent);
            auto got = co_await m.far->receive_datagram();
            REQUIRE(got);
            const byte_view bytes = got.value().bytes;
            CHECK(std::equal(bytes.begin(), bytes.end(), data.begin(),
                             data.begin() + static_cast<std::ptrdiff_t>(size)));
        }
        CHECK(m.near->statistics().datagrams_sent == 7);
        CHECK(m.far->statistics().datagrams_received == 7);
    });
}

TEST_CASE("datagrams: one byte more than fits is refused", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const auto data = copse::test::pattern(m.near->max_datagram_payload() + 1);
        const auto sent = m.near->send_datagram({nullptr, data});
        REQUIRE(!sent);
        CHECK(sent.error() == std::errc::message_size);
        co_return;
    });
}

TEST_CASE("datagrams: the peer's frame size bounds ours", "[quic]")
{
    auto narrow = loopback_options();
    narrow.max_datagram_frame_size = 66;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            CHECK(m.near->max_datagram_payload() == 63);
            CHECK(m.far->max_datagram_payload() > 1000);
            const auto data = copse::test::pattern(63);
            const auto sent = m.near->send_datagram({nullptr, data});
            REQUIRE(sent);
            const auto got = co_await m.far->receive_datagram();
            REQUIRE(got);
            CHECK(got.value().bytes.size() == 63);
        },
        narrow);
}

TEST_CASE("datagrams: a peer that takes none is not sent any", "[quic]")
{
    auto none = loopback_options();
    none.max_datagram_frame_size = 0;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            CHECK(m.near->max_datagram_payload() == 0);
            const auto sent = send(*m.near, "x");
            REQUIRE(!sent);
            CHECK(sent.error() == std::errc::not_supported);
            co_return;
        },
        none);
}

TEST_CASE("datagrams: small ones share packets", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const std::uint64_t before = m.near->statistics().packets_sent;
        for (int i = 0; i < 100; ++i) {
            const auto sent = send(*m.near, std::to_string(i));
            REQUIRE(sent);
        }
        for (int i = 0; i < 100; ++i) {
            const auto got = co_await m.far->receive_datagram();
            REQUIRE(got);
            CHECK(as_text(got.value().bytes) == std::to_string(i));
        }
        CHECK(m.near->statistics().packets_sent - before < 20);
    });
}

TEST_CASE("datagrams: a full send queue refuses the next one", "[quic]")
{
    auto small = loopback_options();
    small.datagram_send_buffer = 1000;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            int sent = 0;
            result<void> last = outcome::success();
            while ((last = send(*m.near, ""))) ++sent;
            CHECK(last.error() == transport_errc::limit_reached);
            CHECK(sent == 1000 / 64);
            for (int i = 0; i < sent; ++i) {
                const auto got = co_await m.far->receive_datagram();
                REQUIRE(got);
            }
            const auto again = send(*m.near, "room again");
            CHECK(again);
        },
        loopback_options(), small);
}

TEST_CASE("datagrams: a flood nobody reads keeps the newest and is counted", "[quic]")
{
    auto small = loopback_options();
    small.datagram_receive_buffer = 10 * (64 + 1000);
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            constexpr std::uint64_t flood = 500;
            auto data = copse::test::pattern(1000);
            for (std::uint64_t i = 0; i < flood;) {
                data[0] = static_cast<std::byte>(i % 256);
                if (m.near->send_datagram(shared_bytes::copy(data))) {
                    ++i;
                    continue;
                }
                const auto pause = co_await sleep_for(1ms);
                static_cast<void>(pause);
            }
            // A stream behind the flood: when it is through, so is the flood.
            auto marker = co_await m.near->open_uni();
            REQUIRE(marker);
            const auto wrote = co_await marker.value()->write_copy(as_bytes("end"));
            REQUIRE(wrote);
            marker.value()->finish();
            const auto acked = co_await marker.value()->acknowledged();
            REQUIRE(acked);
            while (m.far->statistics().datagrams_received + m.near->statistics().datagrams_lost <
                   flood) {
                const auto pause = co_await sleep_for(1ms);
                static_cast<void>(pause);
            }
            const connection_statistics seen = m.far->statistics();
            CHECK(seen.datagrams_dropped_received == seen.datagrams_received - 10);
            if (seen.datagrams_received < flood) co_return;  // the machine's own loss
            const auto oldest = co_await m.far->receive_datagram();
            REQUIRE(oldest);
            CHECK(oldest.value().bytes[0] == static_cast<std::byte>((flood - 10) % 256));
        },
        small);
}

TEST_CASE("datagrams: they take turns with a stream that never runs dry", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        constexpr std::size_t bytes = 2U << 20;
        scope work(m.near->get_executor());
        auto s = co_await m.near->open_uni();
        REQUIRE(s);
        work.spawn(write_and_finish(*s.value(), bytes));
        auto theirs = co_await m.far->accept_uni();
        REQUIRE(theirs);
        int got = 0;
        const auto data = copse::test::pattern(1000);
        for (; got < 100; ++got) {
            const auto sent = m.near->send_datagram({nullptr, data});
            REQUIRE(sent);
            const auto one = co_await m.far->receive_datagram();
            REQUIRE(one);
        }
        const std::size_t read = co_await read_to_end(*theirs.value());
        CHECK(read == bytes);
        const auto joined = co_await work.join();
        CHECK(joined);
    });
}

TEST_CASE("datagrams: lost ones stay lost and are counted, streams are not harmed", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        m.to_server->drop = 200;
        const auto data = copse::test::pattern(1000);
        for (int i = 0; i < 200; ++i) {
            const auto sent = m.near->send_datagram({nullptr, data});
            REQUIRE(sent);
            if (i % 10 == 9) {
                const auto pause = co_await sleep_for(1ms);
                static_cast<void>(pause);
            }
        }
        auto s = co_await m.near->open_uni();
        REQUIRE(s);
        scope work(m.near->get_executor());
        work.spawn(write_and_finish(*s.value(), 300'000));
        auto theirs = co_await m.far->accept_uni();
        REQUIRE(theirs);
        const std::size_t read = co_await read_to_end(*theirs.value());
        CHECK(read == 300'000);
        const auto joined = co_await work.join();
        CHECK(joined);
        m.to_server->drop = 0;
        const auto acked = co_await s.value()->acknowledged();
        CHECK(acked);
        for (int i = 0; i < 1000 && m.near->statistics().datagrams_sent < 200; ++i) {
            const auto pause = co_await sleep_for(5ms);
            static_cast<void>(pause);
        }
        CHECK(m.near->statistics().datagrams_sent == 200);
        CHECK(m.far->statistics().datagrams_received < 200);
        CHECK(m.near->statistics().datagrams_lost > 0);
    });
}

TEST_CASE("datagrams: waiting ends with the connection, and what came before it is kept", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        const auto sent = send(*m.near, "last words");
        REQUIRE(sent);
        m.near->close(3, "bye");
        const auto why = co_await m.far->closed();
        CHECK(why.code == 3);
        const auto kept = co_await m.far->receive_datagram();
        REQUIRE(kept);
        CHECK(as_text(kept.value().bytes) == "last words");
        const auto none = co_await m.far->receive_datagram();
        REQUIRE(!none);
        CHECK(none.error() == transport_errc::closed_by_peer);
        const auto late = send(*m.near, "late");
        REQUIRE(!late);
        CHECK(late.error() == transport_errc::closed_locally);
        CHECK(m.near->max_datagram_payload() == 0);
    });
}

TEST_CASE("datagrams: a cancelled wait loses nothing", "[quic]")
{
    run_meeting([](meeting& m) -> awaitable<void> {
        auto waiting = m.far->receive_datagram();
        const auto cancelled = co_await with_timeout(std::move(waiting), 5ms);
        REQUIRE(!cancelled);
        CHECK(cancelled.error() == std::errc::timed_out);
        const auto sent = send(*m.near, "still here");
        REQUIRE(sent);
        const auto got = co_await m.far->receive_datagram();
        REQUIRE(got);
        CHECK(as_text(got.value().bytes) == "still here");
    });
}

TEST_CASE("datagrams: a connection with nothing else survives an outage", "[quic]")
{
    // The keep-alive that finds out must not be one of a minute.
    auto quiet = loopback_options();
    quiet.keep_alive = 60s;
    run_meeting(
        [](meeting& m) -> awaitable<void> {
            const auto data = copse::test::pattern(1000);
            m.to_server->drop = 1000;
            result<void> sent = outcome::success();
            while (sent) sent = m.near->send_datagram({nullptr, data});
            CHECK(sent.error() == transport_errc::limit_reached);
            co_await copse::test::pause(20ms);
            CHECK(m.near->statistics().datagrams_sent < 200);  // the window is full
            m.to_server->drop = 0;
            const auto got = co_await m.far->receive_datagram();
            CHECK(got);
            for (int i = 0; i < 1000 && m.near->statistics().datagrams_lost == 0; ++i) {
                co_await copse::test::pause(5ms);
            }
            CHECK(m.near->statistics().datagrams_lost > 0);
        },
        loopback_options(), quiet);
}
