// Address validation, refusals and what the endpoint counts of them.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

bool has_long_header(const memory_net::datagram& d, unsigned type)
{
    return (std::to_integer<unsigned>(d.bytes[0]) & 0xf0U) == (0xc0U | type << 4U);
}

quic::endpoint_options with_retry(quic::retry_policy policy)
{
    quic::endpoint_options o;
    o.retry = policy;
    return o;
}

awaitable<result<void>> dial_echo(memory_pair& p)
{
    auto echoed = dial_and_echo(p.client, address_of(p.server), 20000);
    const auto done = co_await with_timeout(std::move(echoed), 20s);
    co_return done;
}

}  // namespace

TEST_CASE("quic: with Retry always, a dialler proves its address and connects", "[quic][retry]")
{
    run_memory_pair(
        [](memory_pair& p) -> awaitable<void> {
            std::size_t retries = 0;
            p.net.pass = [&](memory_net::datagram& d) {
                if (d.from == server_at && has_long_header(d, 3)) ++retries;
                return true;
            };
            const auto echoed = co_await dial_echo(p);
            CHECK(echoed);
            CHECK(retries == 1);
            const auto s = p.server.statistics();
            CHECK(s.retries_sent == 1);
            CHECK(s.tokens_accepted == 1);
            CHECK(s.tokens_rejected == 0);
            CHECK(s.accepted == 1);
            CHECK(s.handshaking == 0);
            CHECK(p.client.statistics().dialled == 1);
            p.net.pass = {};
        },
        with_retry(quic::retry_policy::always));
}

TEST_CASE("quic: without load nobody is sent a Retry", "[quic][retry]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        const auto echoed = co_await dial_echo(p);
        CHECK(echoed);
        CHECK(p.server.statistics().retries_sent == 0);
        CHECK(p.server.statistics().floods == 0);
    });
}

TEST_CASE("quic: a Retry token is good for its address and its time only", "[quic][retry]")
{
    auto brief = with_retry(quic::retry_policy::always);
    SECTION("from another address") {}
    SECTION("late")
    {
        brief.retry_token_lifetime = 0ns;
    }
    const bool late = brief.retry_token_lifetime == 0ns;
    run_memory_pair(
        [late](memory_pair& p) -> awaitable<void> {
            bool retried = false;
            p.net.pass = [&retried, late](memory_net::datagram& d) {
                if (d.from == server_at && has_long_header(d, 3)) retried = true;
                // The Initial with the token comes from elsewhere; the answer finds its way back.
                if (!late && retried && d.from == client_at) d.from.port = 2001;
                if (d.to.port == 2001) d.to.port = 2000;
                return true;
            };
            const auto dialled =
                co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
            REQUIRE(!dialled);
            CHECK(dialled.error() == transport_errc::handshake_failed);
            CHECK(p.server.statistics().tokens_rejected == 1);
            CHECK(p.server.statistics().tokens_accepted == 0);
            CHECK(p.server.connection_count() == 0);
            p.net.pass = {};
        },
        brief);
}

TEST_CASE("quic: an endpoint that is full refuses, also by source", "[quic][limits]")
{
    quic::endpoint_options small;
    SECTION("in all")
    {
        small.max_connections = 1;
    }
    SECTION("of one source")
    {
        small.max_connections_per_source = 1;
    }
    const bool by_source = small.max_connections_per_source == 1;
    run_memory_pair(
        [by_source](memory_pair& p) -> awaitable<void> {
            auto first = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(first);
            const auto second =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(!second);
            CHECK(second.error() == transport_errc::refused);
            const auto s = p.server.statistics();
            CHECK(s.refused_source == (by_source ? 1 : 0));
            CHECK(s.refused_full == (by_source ? 0 : 1));
            auto other = memory_endpoint(p.net, socket_address::v4({198, 51, 100, 1}, 1));
            const auto third =
                co_await other.connect(address_of(p.server), std::string(plain_alpn));
            CHECK(third.has_value() == by_source);
            co_await other.close();
            // A place that is free again is given away.
            first = transport_errc::unreachable;
            co_await settle();
            const auto again =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            CHECK(again);
        },
        small);
}

TEST_CASE("quic: connections that end before anyone accepts them leave the backlog",
          "[quic][limits]")
{
    quic::endpoint_options small;
    small.accept_backlog = 2;
    run_memory_pair(
        [](memory_pair& p) -> awaitable<void> {
            for (int i = 0; i < 5; ++i) {
                auto c = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
                REQUIRE(c);
                co_await settle();
                CHECK(p.server.statistics().connections == 1);
                c.value()->close(0, {});
                co_await settle();
            }
            CHECK(p.server.statistics().accepted == 5);
            CHECK(p.server.statistics().refused_backlog == 0);
            // Nothing dead is handed out.
            auto last = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(last);
            const auto accepted = co_await p.plain.accept();
            REQUIRE(accepted);
            CHECK(!accepted.value()->why_closed());
        },
        small);
}

TEST_CASE("quic: handshakes beyond the limit wait until others are through", "[quic][limits]")
{
    quic::endpoint_options small = with_retry(quic::retry_policy::never);
    small.max_handshakes = 1;
    run_memory_pair(
        [](memory_pair& p) -> awaitable<void> {
            // The first dialler hears nothing, so its handshake stays until it gives up.
            const auto deaf_at = socket_address::v4({198, 51, 100, 7}, 7);
            p.net.pass = [&](memory_net::datagram& d) { return d.to != deaf_at; };
            auto deaf = memory_endpoint(p.net, deaf_at);
            std::size_t good = 0;
            scope dialling(p.net.ex);
            dialling.spawn(count_success(dial_and_echo(deaf, address_of(p.server), 100), good));
            co_await settle();
            CHECK(p.server.statistics().handshaking == 1);
            dialling.spawn(count_success(dial_and_echo(p.client, address_of(p.server), 100), good));
            co_await settle();
            CHECK(p.server.statistics().dropped_handshakes == 1);
            CHECK(p.server.statistics().handshaking == 1);
            co_await deaf.close();
            co_await settle();
            CHECK(p.server.statistics().handshaking == 0);
            const auto joined = co_await dialling.join();
            CHECK(joined);
            CHECK(good == 1);
            p.net.pass = {};
        },
        small);
}

TEST_CASE("quic: statistics tell what passed and what was thrown away", "[quic][statistics]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        const auto echoed = co_await dial_echo(p);
        CHECK(echoed);
        co_await settle();
        const auto s = p.server.statistics();
        const auto c = p.client.statistics();
        CHECK(s.bytes_received == c.bytes_sent);
        CHECK(s.bytes_sent == c.bytes_received);
        CHECK(s.datagrams_sent == c.datagrams_received);
        CHECK(c.bytes_sent > 20000);

        const auto stray = socket_address::v4({203, 0, 113, 1}, 9);
        std::vector<std::byte> bytes(1200, std::byte{0x41});  // a short header of no connection
        p.net.send(stray, server_at, bytes);
        bytes.assign(30, std::byte{0x0a});  // another version, too small for an answer
        bytes[0] = std::byte{0xc0};
        p.net.send(stray, server_at, bytes);
        bytes.assign(3, std::byte{0xc1});
        p.net.send(stray, server_at, bytes);
        co_await settle();
        const auto t = p.server.statistics();
        CHECK(t.dropped_unroutable == s.dropped_unroutable + 1);
        CHECK(t.dropped_malformed == s.dropped_malformed + 2);
        CHECK(t.version_answers == 0);
    });
}

TEST_CASE("quic: answers to unknown versions are limited a second", "[quic][limits]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        std::vector<std::byte> bytes(1200);
        const std::array<std::uint8_t, 7> head{0xc0, 0xaa, 0, 0xaa, 9, 8, 1};
        for (std::size_t i = 0; i < head.size(); ++i) bytes[i] = std::byte{head[i]};
        bytes[14] = std::byte{8};
        for (int i = 0; i < 3000; ++i) {
            p.net.send(socket_address::v4({203, 0, 113, 1}, 9), server_at, bytes);
        }
        while (p.server.statistics().unknown_versions < 3000) co_await settle(1);
        const auto s = p.server.statistics();
        CHECK(s.version_answers >= 1000);
        CHECK(s.version_answers + s.dropped_answers == 3000);
        CHECK(s.dropped_answers > 0);
        CHECK(s.bytes_sent < s.bytes_received);
    });
}
