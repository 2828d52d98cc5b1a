// Peers whose address changes under a connection, and an endpoint that goes on through other sockets.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

struct connected {
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
};

awaitable<connected> meet(memory_pair& p)
{
    connected out;
    auto dialled = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
    REQUIRE(dialled);
    auto accepted = co_await p.plain.accept();
    REQUIRE(accepted);
    out.near = std::move(dialled).value();
    out.far = std::move(accepted).value();
    co_return out;
}

/// Rewrites the client's address as a NAT does: what goes to the mapping comes back.
struct nat {
    socket_address outside = client_at;

    bool operator()(memory_net::datagram& d)
    {
        if (d.from == client_at) d.from = outside;
        else if (d.to == outside) d.to = client_at;
        else if (d.to == client_at) return false;  // the old mapping is gone
        return true;
    }
};

awaitable<void> pass_echo(std::shared_ptr<connection> near, std::size_t size)
{
    auto echoing = echo_once(std::move(near), size);
    const auto echoed = co_await with_timeout(std::move(echoing), 20s);
    CHECK(echoed);
}

/// Serves echoes on the far end while the body runs on the near one.
using connected_body = std::function<awaitable<void>(memory_pair&, connected&)>;

awaitable<void> with_connected(memory_pair& p, connected_body body)
{
    auto c = co_await meet(p);
    scope serving(p.net.ex);
    serving.spawn(echo_connection(c.far));
    std::exception_ptr failure;
    try {
        co_await body(p, c);
    } catch (...) {
        failure = std::current_exception();
    }
    c.near->close(0, {});
    p.net.pass = {};
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    if (failure) std::rethrow_exception(failure);
}

void run_connected(connected_body body)
{
    run_memory_pair([&body](memory_pair& p) { return with_connected(p, std::move(body)); });
}

}  // namespace

TEST_CASE("quic: a peer behind a NAT that forgets keeps its connection", "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        CHECK(c.far->remote_address() == path_address(client_at));
        auto mapping = std::make_shared<nat>();
        p.net.pass = [mapping](memory_net::datagram& d) { return (*mapping)(d); };
        co_await pass_echo(c.near, 50000);
        // Another port, then another address, between transfers.
        mapping->outside = socket_address::v4({192, 0, 2, 2}, 40000);
        co_await pass_echo(c.near, 300000);
        CHECK(c.far->remote_address() == path_address(mapping->outside));
        mapping->outside = socket_address::v4({198, 51, 100, 20}, 40001);
        co_await pass_echo(c.near, 300000);
        CHECK(c.far->remote_address() == path_address(mapping->outside));
        CHECK(p.server.statistics().moved == 2);
        CHECK(c.near->remote_address() == path_address(server_at));
        CHECK(!c.near->why_closed());
    });
}

TEST_CASE("quic: a transfer survives a new address in the middle", "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        auto mapping = std::make_shared<nat>();
        auto seen = std::make_shared<std::size_t>(0);
        p.net.pass = [mapping, seen](memory_net::datagram& d) {
            if (d.from == client_at && ++*seen % 300 == 0) ++mapping->outside.port;
            return (*mapping)(d);
        };
        co_await pass_echo(c.near, 2U << 20);
        CHECK(p.server.statistics().moved >= 2);
        CHECK(p.server.statistics().refused_moves == 0);
    });
}

TEST_CASE("quic: a peer that moves without end is followed 32 times a minute", "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        auto mapping = std::make_shared<nat>();
        p.net.pass = [mapping](memory_net::datagram& d) { return (*mapping)(d); };
        for (int i = 0; i < 32; ++i) {
            ++mapping->outside.port;
            co_await pass_echo(c.near, 2000);
        }
        CHECK(p.server.statistics().moved == 32);
        const auto last = mapping->outside;
        ++mapping->outside.port;
        auto echoing = echo_once(c.near, 2000);
        const auto refused = co_await with_timeout(std::move(echoing), 30ms);
        CHECK(!refused);
        CHECK(p.server.statistics().moved == 32);
        CHECK(p.server.statistics().refused_moves > 0);
        CHECK(c.far->remote_address() == path_address(last));
        // It was no fault of the connection: where it was last it goes on.
        mapping->outside = last;
        co_await pass_echo(c.near, 20000);
    });
}

TEST_CASE("quic: copies from elsewhere do not carry a connection away", "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        // Somebody on the way sends some datagrams under its own address, ahead of the first.
        const auto thief = socket_address::v4({203, 0, 113, 66}, 66);
        auto copies = std::make_shared<int>(0);
        auto stolen = std::make_shared<std::size_t>(0);
        p.net.pass = [&p, stolen, copies, thief](memory_net::datagram& d) {
            if (d.to == thief) *stolen += d.bytes.size();
            if (d.from == client_at && *copies < 5) {
                ++*copies;
                p.net.send(thief, d.to, d.bytes);
            }
            return d.to != thief;
        };
        co_await pass_echo(c.near, 20000);
        CHECK(c.far->why_closed() == std::nullopt);
        CHECK(p.server.statistics().moved >= 2);
        CHECK(*stolen < 5 * 3 * 1452);  // three bytes for each received from there
        p.net.pass = {};
        co_await pass_echo(c.near, 20000);
        CHECK(c.far->remote_address() == path_address(client_at));
    });
}

TEST_CASE("quic: connections go on through a new socket when the old network is gone",
          "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        co_await pass_echo(c.near, 50000);
        const auto next_at = socket_address::v4({198, 51, 100, 2}, 2001);
        p.net.pass = [](memory_net::datagram& d) {
            return d.from != client_at && d.to != client_at;
        };
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(p.net.bind(next_at));
        REQUIRE(p.client.rebind(std::move(sockets)));
        CHECK(p.client.bound_addresses() == std::vector<socket_address>{next_at});
        co_await pass_echo(c.near, 300000);
        CHECK(c.far->remote_address() == path_address(next_at));
        CHECK(p.server.statistics().moved == 1);
        const auto anew = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
        CHECK(anew);
        CHECK(p.client.network_changed().error() == std::errc::not_supported);
    });
}

TEST_CASE("quic: a dial that is under way moves once it is established", "[quic][migration]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        std::vector<memory_net::datagram> held;
        p.net.pass = [&held](memory_net::datagram& d) {
            if (d.to == client_at) held.push_back(d);
            return d.to != client_at;
        };
        std::size_t good = 0;
        scope dialling(p.net.ex);
        dialling.spawn(count_success(dial_and_echo(p.client, address_of(p.server), 5000), good));
        while (held.empty()) co_await settle(1);
        const auto next_at = socket_address::v4({198, 51, 100, 2}, 2001);
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(p.net.bind(next_at));
        REQUIRE(p.client.rebind(std::move(sockets)));
        p.net.pass = {};
        for (const auto& d : held) p.net.send(d.from, d.to, d.bytes);
        const auto joined = co_await dialling.join();
        CHECK(joined);
        CHECK(good == 1);
        CHECK(p.server.statistics().moved == 1);
    });
}

TEST_CASE("quic: a dial that should move to a socket that is gone again stays where it is",
          "[quic][migration]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        std::vector<memory_net::datagram> held;
        p.net.pass = [&held](memory_net::datagram& d) {
            if (d.to == client_at) held.push_back(d);
            return d.to != client_at;
        };
        std::size_t good = 0;
        scope dialling(p.net.ex);
        dialling.spawn(count_success(dial_and_echo(p.client, address_of(p.server), 5000), good));
        while (held.empty()) co_await settle(1);
        const auto next_at = socket_address::v4({198, 51, 100, 2}, 2001);
        socket_address v6_at;
        v6_at.family = socket_address::family_type::v6;
        v6_at.ip[15] = 7;
        v6_at.port = 2002;
        for (const auto& at : {next_at, v6_at}) {
            std::vector<std::unique_ptr<datagram_socket>> sockets;
            sockets.push_back(p.net.bind(at));
            REQUIRE(p.client.rebind(std::move(sockets)));
        }
        while (p.net.bound.count(next_at) != 0) co_await pause(10ms);
        p.net.pass = {};
        for (const auto& d : held) p.net.send(d.from, d.to, d.bytes);
        const auto joined = co_await dialling.join();
        CHECK(joined);
        CHECK(good == 1);
    });
}

TEST_CASE("quic: what peers dialled stays at the old socket, new peers find the new one",
          "[quic][migration]")
{
    run_connected([](memory_pair& p, connected& c) -> awaitable<void> {
        const auto next_at = socket_address::v4({198, 51, 100, 1}, 1001);
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(p.net.bind(next_at));
        REQUIRE(p.server.rebind(std::move(sockets)));
        co_await pass_echo(c.near, 50000);
        CHECK(c.near->remote_address() == path_address(server_at));
        const auto anew = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
        REQUIRE(anew);
        CHECK(anew.value()->remote_address() == path_address(next_at));
        // Sockets are limited.
        std::size_t taken = 0;
        for (std::uint16_t i = 0; i < 10; ++i) {
            sockets.clear();
            sockets.push_back(p.net.bind(socket_address::v4({198, 51, 100, 3}, i)));
            if (!p.server.rebind(std::move(sockets))) break;
            ++taken;
        }
        CHECK(taken == 6);
        co_await pass_echo(c.near, 50000);
    });
}

TEST_CASE("quic: a client changes its loopback address in the middle of a transfer",
          "[quic][migration]")
{
    auto second = loopback_options();
    second.bind = {socket_address::v4({127, 0, 0, 2}, 0)};
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            scope work(c.near->get_executor());
            work.spawn(echo_connection(c.far));
            std::size_t good = 0;
            scope transfers(c.near->get_executor());
            transfers.spawn(count_success(echo_once(c.near, 4U << 20), good));
            while (c.near->statistics().bytes_received < (1U << 20)) co_await settle(1);
            const std::vector<socket_address> other{socket_address::v4({127, 0, 0, 3}, 0)};
            REQUIRE(p.client.rebind(other));
            const auto joined = co_await transfers.join();
            CHECK(joined);
            CHECK(good == 1);
            const auto now = std::get<socket_address>(c.far->remote_address());
            CHECK(now.ip[3] == 3);
            CHECK(now == p.client.bound_addresses()[0]);
            // The usual way, at another port of the address first asked for.
            REQUIRE(p.client.network_changed());
            const auto again = co_await echo_once(c.near, 100000);
            CHECK(again);
            CHECK(std::get<socket_address>(c.far->remote_address()).ip[3] == 2);
            c.near->close(0, {});
            const auto ended = co_await work.join();
            CHECK(ended);
        },
        loopback_options(), second, ordinary_endpoint);
}
