// Two real endpoints on loopback: handshake, identities, streams, flow control, closing.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/quic/endpoint.hpp>

#include <numeric>

using namespace copse;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view echo_alpn = "copse-test/echo";

quic::endpoint_options local_options()
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    return o;
}

endpoint_address address_of(const quic::endpoint& e)
{
    endpoint_address out;
    out.id = e.id();
    for (const auto& a : e.bound_addresses()) out.paths.emplace_back(a);
    return out;
}

/// Echoes every stream of every connection until the listener closes.
awaitable<void> echo_stream(bidi_stream s)
{
    std::vector<std::byte> buffer(65536);
    for (;;) {
        const auto n = co_await s.recv->read(buffer);
        if (!n) co_return;
        if (n.value() == 0) break;
        const auto sent = co_await s.send->write_copy(byte_view(buffer).first(n.value()));
        if (!sent) co_return;
    }
    s.send->finish();
    const auto done = co_await s.send->acknowledged();
    static_cast<void>(done);
}

awaitable<void> echo_connection(std::shared_ptr<connection> c)
{
    scope streams(c->get_executor());
    for (;;) {
        auto s = co_await c->accept_bi();
        if (!s) break;
        streams.spawn(echo_stream(std::move(s).value()));
    }
    const auto joined = co_await streams.join();
    static_cast<void>(joined);
}

awaitable<void> echo_server(quic::listener l)
{
    scope connections(co_await asio::this_coro::executor);
    for (;;) {
        auto c = co_await l.accept();
        if (!c) break;
        connections.spawn(echo_connection(std::move(c).value()));
    }
    const auto joined = co_await connections.join();
    static_cast<void>(joined);
}

/// Runs a test body against an echo server in the same thread, and shuts both down.
using body_function = awaitable<void> (*)(quic::endpoint&, quic::endpoint&);

awaitable<result<void>> with_two(body_function body, quic::endpoint_options server_options,
                                 quic::endpoint_options client_options)
{
    const auto ex = co_await asio::this_coro::executor;
    auto server = quic::endpoint::make(ex, std::move(server_options)).value();
    auto client = quic::endpoint::make(ex, std::move(client_options)).value();
    scope serving(ex);
    serving.spawn(echo_server(server.listen(echo_alpn)));
    std::exception_ptr failure;
    try {
        co_await body(server, client);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await client.close();
    co_await server.close();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

void run_two(body_function body, quic::endpoint_options server = local_options(),
             quic::endpoint_options client = local_options())
{
    const auto done = run_until_complete(with_two(body, std::move(server), std::move(client)));
    REQUIRE(done);
}

awaitable<result<std::vector<std::byte>>> read_all(recv_stream& from)
{
    std::vector<std::byte> out;
    std::vector<std::byte> buffer(65536);
    for (;;) {
        const auto n = co_await from.read(buffer);
        if (!n) co_return n.error();
        if (n.value() == 0) co_return out;
        out.insert(out.end(), buffer.begin(),
                   buffer.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
}

awaitable<void> write_all(send_stream& to, std::vector<std::byte> data)
{
    const auto sent = co_await to.write_copy(data);
    if (sent) to.finish();
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
        CHECK(copse::test::text(got.value()) == "hello");
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
        const auto data = copse::test::pattern(8U << 20);
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
        while (wrote) wrote = co_await mine.value().send->write_copy(copse::test::pattern(65536));
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
    auto impatient = local_options();
    impatient.handshake_timeout = 50ms;
    run_two(
        [](quic::endpoint&, quic::endpoint& client) -> awaitable<void> {
            endpoint_address nobody{quic::secret_key::generate().id(),
                                    {socket_address::loopback_v4(9)}};
            const auto dialled = co_await client.connect(nobody, std::string(echo_alpn));
            REQUIRE(!dialled);
            CHECK(dialled.error() == transport_errc::handshake_timeout);
        },
        local_options(), impatient);
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
        writing.spawn(write_all(*s.value().send, copse::test::pattern(total)));
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
            writing.spawn(write_all(*s.value().send, copse::test::pattern(4U << 20)));
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
        CHECK(copse::test::text(got.value()) == "still here");
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
            const auto sent = co_await s.value().send->write_copy(copse::test::pattern(20000));
            REQUIRE(sent);
            if (i % 3 == 0) {
                std::vector<std::byte> buffer(100);
                const auto n = co_await s.value().recv->read(buffer);
                REQUIRE(n);
            }
        }
        auto s = co_await c->open_bi();
        REQUIRE(s);
        const auto data = copse::test::pattern(4U << 20);
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
