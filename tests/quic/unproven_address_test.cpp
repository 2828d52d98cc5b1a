// Addresses that a dialler only claims get less than three times what came from there.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>
#include <copse/quic/detail/unproven_address.hpp>

#include <cstring>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;
using quic::detail::unproven_address;

namespace {

/// What passed between the client's address and the server, and whether it kept below three times.
struct scales {
    std::size_t received = 0;
    std::size_t sent = 0;
    std::size_t answers = 0;
    bool below = true;

    void see(const memory_net::datagram& d)
    {
        if (d.from == client_at) received += d.bytes.size();
        if (d.to != client_at) return;
        sent += d.bytes.size();
        ++answers;
        below = below && sent < 3 * received;
    }
};

}  // namespace

TEST_CASE("unproven_address: less than three times what came, until it is proven", "[quic]")
{
    unproven_address a;
    CHECK(!a.take(1));
    a.received(100);
    CHECK(a.take(200));
    CHECK(!a.take(100));
    CHECK(a.take(99));
    CHECK(!a.take(1));
    a.received(1);
    CHECK(a.take(3));
    a.prove();
    CHECK(a.take(1'000'000));
}

TEST_CASE(
    "quic: a dialler whose answers are lost gets less than three times what it sent, and connects",
    "[quic][flood]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        scales all;
        bool proven = false;
        p.net.pass = [&](memory_net::datagram& d) {
            // Until the server has sent its first flight again.
            if (d.from == client_at && all.answers == 1) return false;
            proven = proven || p.server.statistics().accepted > 0;
            if (!proven) all.see(d);
            return true;
        };
        auto echoing = dial_and_echo(p.client, address_of(p.server), 20000);
        const auto echoed = co_await with_timeout(std::move(echoing), 20s);
        CHECK(echoed);
        CHECK(all.answers > 1);
        CHECK(all.below);
        p.net.pass = {};
    });
}

TEST_CASE("quic: a close packet repeated for stragglers stays below three times what came",
          "[quic][flood]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        scales all;
        std::vector<std::byte> first;
        p.net.pass = [&](memory_net::datagram& d) {
            if (d.from == client_at && !first.empty() && d.bytes.size() > 100) return false;
            if (d.from == client_at && first.empty()) first = d.bytes;
            all.see(d);
            return d.from == client_at;
        };
        auto dialling = p.client.connect(address_of(p.server), "nobody serves this");
        const auto dialled = co_await with_timeout(std::move(dialling), 100ms);
        CHECK(!dialled);
        REQUIRE(all.answers > 0);
        CHECK(p.server.connection_count() == 0);
        // Long header, version, the first destination id and no source id: routed, otherwise nothing.
        const std::size_t id = std::to_integer<std::size_t>(first[5]);
        std::vector<std::byte> straggler(first.begin(),
                                         first.begin() + static_cast<std::ptrdiff_t>(6 + id));
        straggler.emplace_back();
        const std::size_t before = all.answers;
        for (int i = 0; i < 1024; ++i) {
            p.net.send(client_at, server_at, straggler);
            co_await settle(3);
        }
        CHECK(all.answers > before);
        CHECK(all.below);
        p.net.pass = {};
    });
}
