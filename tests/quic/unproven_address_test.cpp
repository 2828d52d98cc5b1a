// Addresses that a dialler only claims get less than three times what came from there.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>
#include <copse/quic/detail/unproven_address.hpp>

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

TEST_CASE("quic: a dialler whose answers are lost gets less than three times what it sent",
          "[quic][flood]")
{
    // A busy machine makes the first round trip long, and so all repetitions.
    quic::endpoint_options patient;
    patient.handshake_timeout = 60s;
    auto other = patient;
    other.identity = quic::secret_key::generate();
    const auto body = [](memory_pair& p) -> awaitable<void> {
        scales all;
        std::size_t lost_late = 0;
        bool proven = false;
        p.net.pass = [&](memory_net::datagram& d) {
            // Through the time in which the server sends its first flight again, twice.
            if (d.from == client_at && all.answers > 0 && lost_late < 2) {
                if (all.answers > 1) ++lost_late;
                return false;
            }
            proven = proven || p.server.statistics().accepted > 0;
            if (!proven) all.see(d);
            return true;
        };
        auto echoing = dial_and_echo(p.client, address_of(p.server), 20000);
        const auto echoed = co_await with_timeout(std::move(echoing), 60s);
        CHECK(echoed);
        INFO(all.sent << " bytes for " << all.received);
        CHECK(all.answers > 1);
        CHECK(all.below);
        p.net.pass = {};
    };
    run_memory_pair(body, patient, other);
}
