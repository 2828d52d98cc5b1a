// What core/transport.hpp promises of closing, cancellation and datagrams, held against every transport.
#include "tests/sim/both_transports.hpp"

using namespace copse;
using namespace copse::test;

TEST_CASE("transport: a close is seen by both sides, with code and reason", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        e.near->close(7, "enough");
        e.near->close(8, "again");
        const auto here = co_await e.near->closed();
        CHECK(here.error == transport_errc::closed_locally);
        CHECK(!here.by_peer);
        CHECK(here.application);
        CHECK(here.code == 7);
        const auto there = co_await e.far->closed();
        CHECK(there.error == transport_errc::closed_by_peer);
        CHECK(there.by_peer);
        CHECK(there.application);
        CHECK(there.code == 7);
        CHECK(there.reason == "enough");
        REQUIRE(e.far->why_closed());
        CHECK(e.far->why_closed()->code == 7);

        const auto open = co_await e.near->open_bi();
        REQUIRE(!open);
        CHECK(open.error() == transport_errc::closed_locally);
        const auto open_uni = co_await e.far->open_uni();
        REQUIRE(!open_uni);
        CHECK(open_uni.error() == transport_errc::closed_by_peer);
        const auto accept = co_await e.far->accept_bi();
        REQUIRE(!accept);
        CHECK(accept.error() == transport_errc::closed_by_peer);
        const auto write = co_await s.near.send->write_copy(as_bytes("late"));
        REQUIRE(!write);
        CHECK(write.error() == transport_errc::closed_locally);
        std::vector<std::byte> buffer(4);
        const auto read = co_await s.far.recv->read(buffer);
        REQUIRE(!read);
        CHECK(read.error() == transport_errc::closed_by_peer);
        const auto stopped = co_await s.far.send->stopped();
        CHECK(stopped == transport_errc::closed_by_peer);
        CHECK(e.far->max_datagram_payload() == 0);
        const auto datagram = e.far->send_datagram(shared_bytes::copy(as_bytes("x")));
        REQUIRE(!datagram);
        CHECK(datagram.error() == transport_errc::closed_by_peer);
    });
}

TEST_CASE("transport: a close from the accepting side, and from both at once", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        e.far->close(11, std::string(1000, 'r'));
        const auto why = co_await e.near->closed();
        CHECK(why.code == 11);
        CHECK(why.by_peer);
        CHECK(why.reason.size() <= 256);
        CHECK(why.reason.find_first_not_of('r') == std::string::npos);
    });
    on_both([](ends& e) -> awaitable<void> {
        e.far->close(1, "far");
        e.near->close(2, "near");
        const auto near = co_await e.near->closed();
        const auto far = co_await e.far->closed();
        CHECK(near.error == transport_errc::closed_locally);
        CHECK(near.code == 2);
        CHECK(far.error == transport_errc::closed_locally);
        CHECK(far.code == 1);
    });
}

TEST_CASE("transport: a close does not cut off a response that fits", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        const auto sent = co_await s.near.send->write_copy(pattern(5'000));
        REQUIRE(sent);
        s.near.send->finish();
        e.near->close(0, "done");
        const auto got = co_await read_all(*s.far.recv);
        REQUIRE(got);
        CHECK(got.value() == pattern(5'000));
    });
}

TEST_CASE("transport: a close ends what waits on both sides", "[sim][transport]")
{
    pair_limits small;
    small.near.send_buffer = 1'000;
    small.far.remote_stream_window = 2'000;
    small.far.max_remote_streams = 1;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            std::vector<std::error_code> codes;
            scope waiting(e.near->get_executor());
            waiting.spawn([](send_stream& to, auto& out) -> awaitable<void> {
                const auto r = co_await to.write_copy(pattern(10'000));
                CHECK(!r);
                out.push_back(r.error());
            }(*s.near.send, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->open_bi();
                CHECK(!r);
                out.push_back(r.error());
            }(e, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->accept_uni();
                CHECK(!r);
                out.push_back(r.error());
            }(e, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->receive_datagram();
                CHECK(!r);
                out.push_back(r.error());
            }(e, codes));
            waiting.spawn([](recv_stream& from, auto& out) -> awaitable<void> {
                std::vector<std::byte> buffer(1);
                const auto r = co_await from.read(buffer);
                CHECK(!r);
                out.push_back(r.error());
            }(*s.near.recv, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto why = co_await on.near->closed();
                out.push_back(why.error);
            }(e, codes));
            const recv_stream& in = *s.far.recv;
            const auto reached = [&in] { return in.received() == 2'000; };
            co_await until(reached);
            CHECK(codes.empty());
            e.far->close(3, "");
            const auto joined = co_await waiting.join();
            CHECK(joined);
            REQUIRE(codes.size() == 6);
            for (const auto& code : codes) CHECK(code == transport_errc::closed_by_peer);
        },
        small);
}

TEST_CASE("transport: the last handle closes, a stream is a handle", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        e.near.reset();
        const auto sent = co_await s.near.send->write_copy(as_bytes("still here"));
        REQUIRE(sent);
        co_await skip(*s.far.recv, 10);
        CHECK(!e.far->why_closed());
        s.near.send.reset();
        s.near.recv.reset();
        const auto why = co_await e.far->closed();
        CHECK(why.error == transport_errc::closed_by_peer);
        CHECK(why.application);
        CHECK(why.code == 0);
    });
}

TEST_CASE("transport: what waits can be cancelled, and nothing is lost", "[sim][transport]")
{
    pair_limits small;
    small.near.send_buffer = 1'000;
    small.far.remote_stream_window = 2'000;
    small.far.max_remote_streams = 1;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            std::vector<std::error_code> codes;
            scope waiting(e.near->get_executor());
            waiting.spawn([](send_stream& to, auto& out) -> awaitable<void> {
                const auto r = co_await to.write_copy(pattern(10'000));
                out.push_back(r ? std::error_code{} : r.error());
            }(*s.near.send, codes));
            waiting.spawn([](send_stream& to, auto& out) -> awaitable<void> {
                const auto r = co_await to.acknowledged();
                out.push_back(r ? std::error_code{} : r.error());
            }(*s.far.send, codes));
            waiting.spawn([](send_stream& to, auto& out) -> awaitable<void> {
                const auto r = co_await to.stopped();
                out.push_back(r);
            }(*s.far.send, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->open_bi();
                out.push_back(r ? std::error_code{} : r.error());
            }(e, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->accept_bi();
                out.push_back(r ? std::error_code{} : r.error());
            }(e, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto r = co_await on.near->receive_datagram();
                out.push_back(r ? std::error_code{} : r.error());
            }(e, codes));
            waiting.spawn([](recv_stream& from, auto& out) -> awaitable<void> {
                std::vector<std::byte> buffer(1);
                const auto r = co_await from.read(buffer);
                out.push_back(r ? std::error_code{} : r.error());
            }(*s.near.recv, codes));
            waiting.spawn([](recv_stream& from, auto& out) -> awaitable<void> {
                const auto r = co_await from.drained();
                out.push_back(r ? std::error_code{} : r.error());
            }(*s.near.recv, codes));
            waiting.spawn([](ends& on, auto& out) -> awaitable<void> {
                const auto why = co_await on.near->closed();
                out.push_back(why.error);
            }(e, codes));
            const recv_stream& in = *s.far.recv;
            const auto reached = [&in] { return in.received() == 2'000; };
            co_await until(reached);
            CHECK(codes.empty());
            waiting.request_stop();
            const auto joined = co_await waiting.join();
            CHECK(joined);
            REQUIRE(codes.size() == 9);
            for (const auto& code : codes) CHECK(code == std::errc::operation_canceled);
            CHECK(!e.near->why_closed());

            // What arrives afterwards is there for the next who asks.
            const auto sent = co_await s.far.send->write_copy(as_bytes("later"));
            REQUIRE(sent);
            s.far.send->finish();
            const auto got = co_await read_all(*s.near.recv);
            REQUIRE(got);
            CHECK(text(got.value()) == "later");
            const auto datagram = e.far->send_datagram(shared_bytes::copy(as_bytes("message")));
            REQUIRE(datagram);
            const auto message = co_await e.near->receive_datagram();
            REQUIRE(message);
            CHECK(as_text(message.value().bytes) == "message");
        },
        small);
}

TEST_CASE("transport: datagrams arrive whole and in their bounds", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        const std::size_t most = e.near->max_datagram_payload();
        REQUIRE(most >= 1000);
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, most}) {
            const auto data = pattern(size);
            const auto sent = e.near->send_datagram(shared_bytes::copy(data));
            REQUIRE(sent);
            const auto got = co_await e.far->receive_datagram();
            REQUIRE(got);
            CHECK(std::vector<std::byte>(got.value().bytes.begin(), got.value().bytes.end()) ==
                  data);
        }
        const auto large = e.near->send_datagram(shared_bytes::copy(pattern(most + 500)));
        REQUIRE(!large);
        CHECK(large.error() == std::errc::message_size);
        CHECK(e.near->statistics().datagrams_sent == 3);
        CHECK(e.far->statistics().datagrams_received == 3);
    });
}

TEST_CASE("transport: datagrams that the peer does not take are refused", "[sim][transport]")
{
    pair_limits none;
    none.far.datagrams = false;
    on_both(
        [](ends& e) -> awaitable<void> {
            CHECK(e.near->max_datagram_payload() == 0);
            const auto refused = e.near->send_datagram(shared_bytes::copy(as_bytes("x")));
            REQUIRE(!refused);
            CHECK(refused.error() == std::errc::not_supported);
            const auto back = e.far->send_datagram(shared_bytes::copy(as_bytes("y")));
            REQUIRE(back);
            const auto got = co_await e.near->receive_datagram();
            REQUIRE(got);
            CHECK(as_text(got.value().bytes) == "y");
        },
        none);
}

TEST_CASE("transport: a full queue of datagrams refuses, a full reader loses the oldest",
          "[sim][transport]")
{
    pair_limits small;
    small.near.datagram_send_buffer = 10 * (64 + 100);
    small.far.datagram_receive_buffer = 4 * (64 + 100);
    on_both(
        [](ends& e) -> awaitable<void> {
            std::vector<std::byte> message(100);
            for (int i = 0; i < 10; ++i) {
                message[0] = static_cast<std::byte>(i);
                const auto sent = e.near->send_datagram(shared_bytes::copy(message));
                REQUIRE(sent);
            }
            const auto full = e.near->send_datagram(shared_bytes::copy(message));
            REQUIRE(!full);
            CHECK(full.error() == transport_errc::limit_reached);
            const auto reached = [&e] { return e.far->statistics().datagrams_received == 10; };
            co_await until(reached);
            CHECK(e.far->statistics().datagrams_dropped_received == 6);
            for (int i = 6; i < 10; ++i) {
                const auto got = co_await e.far->receive_datagram();
                REQUIRE(got);
                CHECK(std::to_integer<int>(got.value().bytes[0]) == i);
            }
            const auto room = e.near->send_datagram(shared_bytes::copy(message));
            CHECK(room);
        },
        small);
}
