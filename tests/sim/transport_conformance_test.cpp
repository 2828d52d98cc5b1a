// What core/transport.hpp promises, held against every transport: streams, ends and credit.
#include "tests/sim/both_transports.hpp"

#include <limits>

using namespace copse;
using namespace copse::test;

TEST_CASE("transport: both ends know the peer, the protocol and the executor", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        CHECK(e.near->peer() == e.far_id);
        CHECK(e.far->peer() == e.near_id);
        CHECK(e.near->alpn() == conformance_alpn);
        CHECK(e.far->alpn() == conformance_alpn);
        const auto ex = co_await asio::this_coro::executor;
        CHECK(e.near->get_executor() == ex);
        CHECK(!e.near->why_closed());
        CHECK(!e.far->why_closed());
    });
}

TEST_CASE("transport: streams of both kinds carry data both ways to their ends", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        const auto there = pattern(300'001);
        const auto back = pattern(200'017);
        auto s = co_await join_streams(e);
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*s.near.send, there));
        writing.spawn(write_all(*s.far.send, back));
        const auto at_near = co_await read_all(*s.near.recv);
        const auto at_far = co_await read_all(*s.far.recv);
        const auto joined = co_await writing.join();
        CHECK(joined);
        REQUIRE(at_near);
        REQUIRE(at_far);
        CHECK(at_near.value() == back);
        CHECK(at_far.value() == there);
        CHECK(s.far.recv->received() == there.size() + 1);
        const auto acked = co_await s.near.send->acknowledged();
        CHECK(acked);
        // The end repeats.
        std::vector<std::byte> buffer(1);
        const auto again = co_await s.far.recv->read(buffer);
        REQUIRE(again);
        CHECK(again.value() == 0);

        auto uni = co_await e.far->open_uni();
        REQUIRE(uni);
        writing.spawn(write_all(*uni.value(), back));
        auto in = co_await e.near->accept_uni();
        REQUIRE(in);
        const auto got = co_await read_all(*in.value());
        REQUIRE(got);
        CHECK(got.value() == back);
        const auto uni_acked = co_await uni.value()->acknowledged();
        CHECK(uni_acked);
        const auto uni_joined = co_await writing.join();
        CHECK(uni_joined);
        const auto sent = e.near->statistics();
        CHECK(sent.bytes_sent >= there.size());
        CHECK(sent.bytes_received >= 2 * back.size());
        CHECK(sent.packets_sent > 0);
        CHECK(sent.packets_received > 0);
    });
}

TEST_CASE("transport: an end without data arrives", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto near = co_await e.near->open_uni();
        REQUIRE(near);
        near.value()->finish();
        near.value()->finish();
        auto far = co_await e.far->accept_uni();
        REQUIRE(far);
        const auto got = co_await read_all(*far.value());
        REQUIRE(got);
        CHECK(got.value().empty());
        const auto acked = co_await near.value()->acknowledged();
        CHECK(acked);
        CHECK(far.value()->received() == 0);
    });
}

TEST_CASE("transport: nothing can be written behind the end", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        const auto first = co_await s.near.send->write_copy(as_bytes("all"));
        REQUIRE(first);
        s.near.send->finish();
        const auto late = co_await s.near.send->write_copy(as_bytes("more"));
        REQUIRE(!late);
        CHECK(late.error() == std::errc::broken_pipe);
        const auto acked = co_await s.near.send->acknowledged();
        CHECK(acked);
        const auto later = co_await s.near.send->write_copy(as_bytes("more"));
        REQUIRE(!later);
        CHECK(later.error() == std::errc::broken_pipe);
        const auto got = co_await read_all(*s.far.recv);
        REQUIRE(got);
        CHECK(got.value().size() == 3);
    });
}

TEST_CASE("transport: a reset carries its code and ends the reading", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        s.near.send->reset(3);
        std::vector<std::byte> buffer(16);
        const auto read = co_await s.far.recv->read(buffer);
        REQUIRE(!read);
        CHECK(read.error() == transport_errc::stream_reset);
        CHECK(s.far.recv->reset_code() == 3U);
        const auto drained = co_await s.far.recv->drained();
        REQUIRE(!drained);
        CHECK(drained.error() == transport_errc::stream_reset);
        // Our own side says so too, and takes nothing any more.
        const auto late = co_await s.near.send->write_copy(as_bytes("x"));
        REQUIRE(!late);
        CHECK(late.error() == std::errc::operation_canceled);
        const auto acked = co_await s.near.send->acknowledged();
        CHECK(!acked);
        // The other direction lives.
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*s.far.send, pattern(1000)));
        const auto back = co_await read_all(*s.near.recv);
        const auto joined = co_await writing.join();
        CHECK(joined);
        REQUIRE(back);
        CHECK(back.value() == pattern(1000));
    });
}

TEST_CASE("transport: a stop carries its code and ends the writing", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto near = co_await e.near->open_uni();
        REQUIRE(near);
        const auto sent = co_await near.value()->write_copy(as_bytes("x"));
        REQUIRE(sent);
        auto far = co_await e.far->accept_uni();
        REQUIRE(far);
        far.value()->stop(5);
        const auto stopped = co_await near.value()->stopped();
        CHECK(stopped == transport_errc::stream_stopped);
        const auto late = co_await near.value()->write_copy(as_bytes("y"));
        REQUIRE(!late);
        CHECK(late.error() == transport_errc::stream_stopped);
        const auto acked = co_await near.value()->acknowledged();
        REQUIRE(!acked);
        CHECK(acked.error() == transport_errc::stream_stopped);
        const send_stream& out = *near.value();
        const auto reached = [&out] { return out.stop_code().has_value(); };
        co_await until(reached);
        CHECK(out.stop_code() == 5U);
        std::vector<std::byte> buffer(4);
        const auto read = co_await far.value()->read(buffer);
        CHECK(!read);
    });
}

TEST_CASE("transport: a writer that waits for credit notices a stop", "[sim][transport]")
{
    pair_limits small;
    small.near.send_buffer = 32U << 10;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            scope writing(e.near->get_executor());
            writing.spawn([](send_stream& to) -> awaitable<void> {
                const auto sent = co_await to.write_copy(pattern(1U << 20));
                CHECK(!sent);
                CHECK(sent.error() == transport_errc::stream_stopped);
            }(*s.near.send));
            const recv_stream& in = *s.far.recv;
            const auto reached = [&in] { return in.received() == (64U << 10); };
            co_await until(reached);
            s.far.recv->stop(8);
            const auto joined = co_await writing.join();
            CHECK(joined);
        },
        small);
}

TEST_CASE("transport: dropped handles reset and stop with code 0", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        {
            auto s = co_await join_streams(e);
            s.near.send.reset();
            std::vector<std::byte> buffer(4);
            const auto read = co_await s.far.recv->read(buffer);
            REQUIRE(!read);
            CHECK(s.far.recv->reset_code() == 0U);
            s.near.recv.reset();
            const auto stopped = co_await s.far.send->stopped();
            CHECK(stopped == transport_errc::stream_stopped);
        }
        {
            // A finished stream that is dropped still arrives.
            auto near = co_await e.near->open_uni();
            REQUIRE(near);
            const auto sent = co_await near.value()->write_copy(as_bytes("all of it"));
            REQUIRE(sent);
            near.value()->finish();
            near.value().reset();
            auto far = co_await e.far->accept_uni();
            REQUIRE(far);
            const auto got = co_await read_all(*far.value());
            REQUIRE(got);
            CHECK(text(got.value()) == "all of it");
        }
    });
}

TEST_CASE("transport: ended streams make room without end", "[sim][transport]")
{
    pair_limits small;
    small.far.max_remote_streams = 3;
    on_both(
        [](ends& e) -> awaitable<void> {
            for (int i = 0; i < 20; ++i) {
                auto near = co_await e.near->open_uni();
                REQUIRE(near);
                const auto sent = co_await near.value()->write_copy(as_bytes("x"));
                REQUIRE(sent);
                auto far = co_await e.far->accept_uni();
                REQUIRE(far);
                switch (i % 4) {
                case 0: near.value()->finish(); break;
                case 1: near.value()->reset(1); break;
                case 2: far.value()->stop(2); break;
                default: far.value().reset(); break;
                }
            }
        },
        small);
}

TEST_CASE("transport: an unread stream stalls at its window and no other stream with it",
          "[sim][transport]")
{
    pair_limits small;
    small.far.remote_stream_window = 20'000;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            scope writing(e.near->get_executor());
            writing.spawn(write_all(*s.near.send, pattern(100'000)));
            const recv_stream& in = *s.far.recv;
            const auto reached = [&in] { return in.received() >= 20'000; };
            co_await until(reached);
            auto other = co_await join_streams(e);
            co_await skip(*s.far.recv, 0);
            CHECK(in.received() == 20'000);  // the first byte was read, which is not half of it
            const auto got = co_await read_all(*s.far.recv);
            const auto joined = co_await writing.join();
            CHECK(joined);
            REQUIRE(got);
            CHECK(got.value() == pattern(100'000));
        },
        small);
}

TEST_CASE("transport: unread streams together stall at the connection's window", "[sim][transport]")
{
    pair_limits small;
    small.far.connection_window = 50'000;
    small.far.remote_stream_window = 40'000;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto a = co_await join_streams(e);
            auto b = co_await join_streams(e);
            scope writing(e.near->get_executor());
            writing.spawn(write_all(*a.near.send, pattern(60'000)));
            writing.spawn(write_all(*b.near.send, pattern(60'001)));
            const recv_stream& in_a = *a.far.recv;
            const recv_stream& in_b = *b.far.recv;
            const auto reached = [&] { return in_a.received() + in_b.received() >= 50'000; };
            co_await until(reached);
            CHECK(in_a.received() <= 40'000);
            CHECK(in_b.received() <= 40'000);
            CHECK(in_a.received() + in_b.received() == 50'000);
            // Abandoning one gives its credit to the other.
            a.far.recv->stop(1);
            const auto got = co_await read_all(*b.far.recv);
            const auto joined = co_await writing.join();
            CHECK(joined);
            REQUIRE(got);
            CHECK(got.value() == pattern(60'001));
        },
        small);
}

TEST_CASE("transport: a requested window is granted up to the connection's total",
          "[sim][transport]")
{
    pair_limits small;
    small.near.local_stream_window = 16'384;
    small.near.local_windows_total = 81'920;
    small.near.connection_window = 16'384;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            scope writing(e.near->get_executor());
            writing.spawn(write_all(*s.far.send, pattern(200'000)));
            recv_stream& in = *s.near.recv;
            const auto reached1 = [&in] { return in.received() >= 16'384; };
            co_await until(reached1);
            CHECK(in.received() == 16'384);
            CHECK(in.request_window(1000) == 16'384);
            CHECK(in.request_window(1U << 20) == 81'920);
            CHECK(in.request_window(1U << 20) == 81'920);
            const auto reached2 = [&in] { return in.received() >= 81'920; };
            co_await until(reached2);
            CHECK(in.received() == 81'920);
            const auto got = co_await read_all(in);
            const auto joined = co_await writing.join();
            CHECK(joined);
            REQUIRE(got);
            CHECK(got.value() == pattern(200'000));
        },
        small);
}

TEST_CASE("transport: windows that are used up delay the next stream", "[sim][transport]")
{
    pair_limits small;
    small.near.local_windows_total = 512U << 10;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto first = co_await e.near->open_bi();
            auto second = co_await e.near->open_bi();
            REQUIRE(first);
            REQUIRE(second);
            scope opening(e.near->get_executor());
            bool opened = false;
            opening.spawn([](ends& on, bool& done) -> awaitable<void> {
                const auto third = co_await on.near->open_bi();
                CHECK(third);
                done = true;
            }(e, opened));
            auto other = co_await e.near->open_uni();  // needs no window of ours
            REQUIRE(other);
            CHECK(!opened);
            first.value().recv.reset();
            const auto joined = co_await opening.join();
            CHECK(joined);
            CHECK(opened);
        },
        small);
    small.near.local_windows_total = 1000;
    on_both(
        [](ends& e) -> awaitable<void> {
            const auto never = co_await e.near->open_bi();
            REQUIRE(!never);
            CHECK(never.error() == transport_errc::limit_reached);
        },
        small);
}

TEST_CASE("transport: the peer's stream limit delays, and ended streams make room",
          "[sim][transport]")
{
    pair_limits small;
    small.far.max_remote_streams = 2;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto a = co_await join_streams(e);
            auto b = co_await join_streams(e);
            scope opening(e.near->get_executor());
            bool opened = false;
            opening.spawn([](ends& on, bool& done) -> awaitable<void> {
                const auto third = co_await on.near->open_bi();
                CHECK(third);
                done = true;
            }(e, opened));
            // The other kind has a limit of its own.
            auto uni = co_await e.near->open_uni();
            REQUIRE(uni);
            a.near.send->finish();
            const auto end = co_await read_all(*a.far.recv);
            CHECK(end);
            CHECK(!opened);  // one direction is still open
            a.far.send->finish();
            const auto back = co_await read_all(*a.near.recv);
            CHECK(back);
            const auto joined = co_await opening.join();
            CHECK(joined);
            CHECK(opened);
        },
        small);
}

TEST_CASE("transport: streams that end unaccepted hold their places", "[sim][transport]")
{
    pair_limits small;
    small.far.max_remote_streams = 3;
    on_both(
        [](ends& e) -> awaitable<void> {
            for (int i = 0; i < 3; ++i) {
                auto s = co_await e.near->open_uni();
                REQUIRE(s);
                s.value()->finish();
                const auto acked = co_await s.value()->acknowledged();
                CHECK(acked);
            }
            scope opening(e.near->get_executor());
            bool opened = false;
            opening.spawn([](ends& on, bool& done) -> awaitable<void> {
                const auto fourth = co_await on.near->open_uni();
                CHECK(fourth);
                done = true;
            }(e, opened));
            auto other = co_await join_streams(e);  // a round trip
            CHECK(!opened);
            auto accepted = co_await e.far->accept_uni();
            REQUIRE(accepted);
            const auto joined = co_await opening.join();
            CHECK(joined);
            CHECK(opened);
        },
        small);
}

TEST_CASE("transport: sent bytes are released when they are acknowledged, or at the end",
          "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        const auto owner = std::make_shared<std::vector<std::byte>>(pattern(10'000));
        shared_bytes lent{owner, *owner};
        const auto sent = co_await s.near.send->write(std::move(lent));
        REQUIRE(sent);
        CHECK(owner.use_count() > 1);
        co_await skip(*s.far.recv, 10'000);
        const auto reached = [&owner] { return owner.use_count() == 1; };
        co_await until(reached);

        const auto big = std::make_shared<std::vector<std::byte>>(pattern(500'000));
        shared_bytes much{big, *big};
        const auto queued = co_await s.near.send->write(std::move(much));
        REQUIRE(queued);
        CHECK(big.use_count() > 1);
        e.near->close(1, "enough");
        CHECK(big.use_count() == 1);
    });
}

TEST_CASE("transport: a full send buffer delays the writer", "[sim][transport]")
{
    pair_limits small;
    small.near.send_buffer = 10'000;
    small.far.remote_stream_window = 20'000;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            scope writing(e.near->get_executor());
            bool written = false;
            writing.spawn([](send_stream& to, bool& done) -> awaitable<void> {
                const auto sent = co_await to.write_copy(pattern(40'000));
                CHECK(sent);
                done = true;
            }(*s.near.send, written));
            const recv_stream& in = *s.far.recv;
            const auto reached = [&in] { return in.received() >= 20'000; };
            co_await until(reached);
            CHECK(!written);
            co_await skip(*s.far.recv, 40'000);
            const auto joined = co_await writing.join();
            CHECK(joined);
            CHECK(written);
        },
        small);
}
