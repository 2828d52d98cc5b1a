// Two real endpoints on loopback: handshake, identities, streams, flow control, closing.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

#include <numeric>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

/// Runs a test body on two endpoints over ordinary sockets; the server echoes.
using two_endpoints = awaitable<void> (*)(quic::endpoint&, quic::endpoint&);

void run_two(two_endpoints body, quic::endpoint_options server = loopback_options(),
             quic::endpoint_options client = loopback_options())
{
    auto both = [body](pair_of_endpoints& p) { return body(p.server, p.client); };
    run_pair(std::move(both), std::move(server), std::move(client), ordinary_endpoint);
}

}  // namespace

TEST_CASE("quic: both sides prove their identity and agree on the protocol", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto dialled = co_await client.connect(address_of(server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        CHECK(c->peer() == server.id());
        CHECK(c->alpn() == echo_alpn);
        auto s = co_await c->open_bi();
        REQUIRE(s);
        const auto sent = co_await s.value().send->write_copy(as_bytes("hello"));
        REQUIRE(sent);
        s.value().send->finish();
        const auto got = co_await read_all(*s.value().recv);
        REQUIRE(got);
        CHECK(text(got.value()) == "hello");
        const auto acked = co_await s.value().send->acknowledged();
        CHECK(acked);
    });
}

TEST_CASE("quic: 8 MiB come back the same through a small stream window", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto dialled = co_await client.connect(address_of(server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        auto s = co_await c->open_bi();
        REQUIRE(s);
        const auto data = pattern(8U << 20);
        scope writing(c->get_executor());
        writing.spawn(write_all(*s.value().send, data));
        const auto got = co_await read_all(*s.value().recv);
        const auto joined = co_await writing.join();
        REQUIRE(joined);
        REQUIRE(got);
        CHECK(got.value() == data);
    });
}

TEST_CASE("quic: an unexpected identity is refused by the dialler", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto address = address_of(server);
        address.id = quic::secret_key::generate().id();
        const auto dialled = co_await client.connect(address, std::string(echo_alpn));
        REQUIRE(!dialled);
        CHECK(dialled.error() == transport_errc::peer_id_mismatch);
        CHECK(client.connection_count() == 0);
    });
}

TEST_CASE("quic: an unknown protocol is refused by the acceptor", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        const auto dialled = co_await client.connect(address_of(server), "copse-test/other");
        REQUIRE(!dialled);
        CHECK(dialled.error() == transport_errc::no_common_protocol);
    });
}

TEST_CASE("quic: several protocols share a socket", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto other = server.listen("copse-test/other");
        const auto dialled = co_await client.connect(address_of(server), "copse-test/other");
        REQUIRE(dialled);
        const auto accepted = co_await other.accept();
        REQUIRE(accepted);
        CHECK(accepted.value()->alpn() == "copse-test/other");
        CHECK(accepted.value()->peer() == client.id());
        const auto echo = co_await client.connect(address_of(server), std::string(echo_alpn));
        CHECK(echo);
    });
}

TEST_CASE("quic: the closing side's code and reason arrive", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto other = server.listen("copse-test/other");
        const auto dialled = co_await client.connect(address_of(server), "copse-test/other");
        REQUIRE(dialled);
        auto accepted = co_await other.accept();
        REQUIRE(accepted);
        accepted.value()->close(7, "enough");
        const auto why = co_await dialled.value()->closed();
        CHECK(why.error == transport_errc::closed_by_peer);
        CHECK(why.by_peer);
        CHECK(why.application);
        CHECK(why.code == 7);
        CHECK(why.reason == "enough");
        const auto late = co_await dialled.value()->open_bi();
        REQUIRE(!late);
        CHECK(late.error() == transport_errc::closed_by_peer);
    });
}

TEST_CASE("quic: dropping the last handle closes with code 0", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto other = server.listen("copse-test/other");
        auto dialled = co_await client.connect(address_of(server), "copse-test/other");
        REQUIRE(dialled);
        const auto accepted = co_await other.accept();
        REQUIRE(accepted);
        dialled = make_error_code(std::errc::owner_dead);
        const auto why = co_await accepted.value()->closed();
        CHECK(why.application);
        CHECK(why.code == 0);
    });
}

TEST_CASE("quic: reset and stop carry their codes", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto other = server.listen("copse-test/other");
        const auto dialled = co_await client.connect(address_of(server), "copse-test/other");
        REQUIRE(dialled);
        auto accepted = co_await other.accept();
        REQUIRE(accepted);
        auto mine = co_await dialled.value()->open_bi();
        REQUIRE(mine);
        const auto sent = co_await mine.value().send->write_copy(as_bytes("x"));
        REQUIRE(sent);
        auto theirs = co_await accepted.value()->accept_bi();
        REQUIRE(theirs);
        theirs.value().send->reset(3);
        std::vector<std::byte> buffer(16);
        const auto read = co_await mine.value().recv->read(buffer);
        REQUIRE(!read);
        CHECK(read.error() == transport_errc::stream_reset);
        CHECK(mine.value().recv->reset_code() == 3U);
        theirs.value().recv->stop(5);
        // Keep writing until the peer's STOP_SENDING is noticed.
        result<void> wrote = outcome::success();
        while (wrote) wrote = co_await mine.value().send->write_copy(pattern(65536));
        CHECK(wrote.error() == transport_errc::stream_stopped);
    });
}

TEST_CASE("quic: a dead address does not keep a live one from winning", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto address = address_of(server);
        // Port 9 (discard) of loopback: nobody answers.
        address.paths.insert(address.paths.begin(), socket_address::loopback_v4(9));
        const auto dialled = co_await client.connect(address, std::string(echo_alpn));
        CHECK(dialled);
        const endpoint_address no_path{server.id(), {}};
        const auto nowhere = co_await client.connect(no_path, std::string(echo_alpn));
        REQUIRE(!nowhere);
        CHECK(nowhere.error() == transport_errc::no_usable_address);
    });
}

TEST_CASE("quic: a handshake nobody answers times out", "[quic]")
{
    auto impatient = loopback_options();
    impatient.handshake_timeout = 50ms;
    run_two(
        [](quic::endpoint&, quic::endpoint& client) -> awaitable<void> {
            endpoint_address nobody{quic::secret_key::generate().id(),
                                    {socket_address::loopback_v4(9)}};
            const auto dialled = co_await client.connect(nobody, std::string(echo_alpn));
            REQUIRE(!dialled);
            CHECK(dialled.error() == transport_errc::handshake_timeout);
        },
        loopback_options(), impatient);
}

TEST_CASE("quic: dialling can be cancelled and leaves nothing behind", "[quic]")
{
    run_two([](quic::endpoint&, quic::endpoint& client) -> awaitable<void> {
        endpoint_address nobody{quic::secret_key::generate().id(),
                                {socket_address::loopback_v4(9)}};
        auto dialling = client.connect(nobody, std::string(echo_alpn));
        const auto dialled = co_await with_timeout(std::move(dialling), 20ms);
        REQUIRE(!dialled);
        CHECK(dialled.error() == std::errc::timed_out);
        CHECK(client.connection_count() == 0);
    });
}

namespace {

/// Takes everything, credits late: what a pipeline that holds bytes looks like.
class counting_sink final : public stream_sink {
public:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        if (fail_at && taken + data.size() > fail_at)
            return std::make_error_code(std::errc::bad_message);
        const std::size_t n = std::min(data.size(), limit - held);
        taken += n;
        held += n;
        return sink_verdict{n, 0};
    }
    std::uint64_t stop_code() const noexcept override { return 9; }

    std::size_t limit = SIZE_MAX;
    std::size_t fail_at = 0;
    std::size_t taken = 0;
    std::size_t held = 0;
};

}  // namespace

TEST_CASE("quic: sink mode delivers all bytes, credited late and in parts", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto dialled = co_await client.connect(address_of(server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        auto s = co_await c->open_bi();
        REQUIRE(s);
        counting_sink sink;
        sink.limit = 40000;
        recv_stream& in = *s.value().recv;
        in.attach(sink);
        scope writing(c->get_executor());
        constexpr std::size_t total = 4U << 20;
        writing.spawn(write_all(*s.value().send, pattern(total)));
        while (sink.taken < total) {
            const auto pause = co_await sleep_for(100us);
            static_cast<void>(pause);
            in.release(std::exchange(sink.held, 0));
            in.resume();
        }
        const auto drained = co_await in.drained();
        CHECK(drained);
        const auto joined = co_await writing.join();
        CHECK(joined);
        CHECK(sink.taken == total);
        in.detach();
    });
}

TEST_CASE("quic: a failing sink stops the stream and not the connection", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto dialled = co_await client.connect(address_of(server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        {
            auto s = co_await c->open_bi();
            REQUIRE(s);
            counting_sink sink;
            sink.fail_at = 100000;
            s.value().recv->attach(sink);
            scope writing(c->get_executor());
            writing.spawn(write_all(*s.value().send, pattern(4U << 20)));
            const auto drained = co_await s.value().recv->drained();
            REQUIRE(!drained);
            CHECK(drained.error() == std::errc::bad_message);
            s.value().send->reset(1);
            const auto joined = co_await writing.join();
            CHECK(joined);
            s.value().recv->detach();
        }
        auto again = co_await c->open_bi();
        REQUIRE(again);
        const auto sent = co_await again.value().send->write_copy(as_bytes("still here"));
        REQUIRE(sent);
        again.value().send->finish();
        const auto got = co_await read_all(*again.value().recv);
        REQUIRE(got);
        CHECK(text(got.value()) == "still here");
    });
}

TEST_CASE("quic: 2,000 abandoned streams cost no credit", "[quic]")
{
    run_two([](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
        auto dialled = co_await client.connect(address_of(server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        for (int i = 0; i < 2000; ++i) {
            auto s = co_await c->open_bi();
            REQUIRE(s);
            const auto sent = co_await s.value().send->write_copy(pattern(20000));
            REQUIRE(sent);
            if (i % 3 == 0) {
                std::vector<std::byte> buffer(100);
                const auto n = co_await s.value().recv->read(buffer);
                REQUIRE(n);
            }
        }
        auto s = co_await c->open_bi();
        REQUIRE(s);
        const auto data = pattern(4U << 20);
        scope writing(c->get_executor());
        writing.spawn(write_all(*s.value().send, data));
        const auto got = co_await read_all(*s.value().recv);
        const auto joined = co_await writing.join();
        CHECK(joined);
        REQUIRE(got);
        CHECK(got.value() == data);
    });
}

TEST_CASE("quic: IPv6 loopback works as IPv4 does", "[quic]")
{
    auto v6 = quic::endpoint_options();
    const auto address = socket_address::parse("[::1]:0");
    v6.bind = {address.value()};
    const auto probe = run_until_complete([](quic::endpoint_options o) -> awaitable<result<void>> {
        auto e = quic::endpoint::make(co_await asio::this_coro::executor, std::move(o));
        if (!e) co_return e.error();
        co_await e.value().close();
        co_return outcome::success();
    }(v6));
    if (!probe) COPSE_SKIP("no IPv6 loopback");
    auto v6_client = v6;
    v6_client.identity = quic::secret_key::generate();
    run_two(
        [](quic::endpoint& server, quic::endpoint& client) -> awaitable<void> {
            const auto dialled =
                co_await client.connect(address_of(server), std::string(echo_alpn));
            CHECK(dialled);
        },
        v6, v6_client);
}
