// A flood of Initials from forged addresses: memory, amplification, and the honest who dial meanwhile.
#include "tests/quic/memory_net.hpp"
#include "tests/sanitizers.hpp"

#include <copse/core/race.hpp>

#include <cstdio>
#include <fstream>
#include <unistd.h>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

std::size_t resident_bytes()
{
    std::ifstream in("/proc/self/statm");
    std::size_t total = 0;
    std::size_t resident = 0;
    in >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Each datagram of the attacker leaves under an address of its own.
struct forgery {
    explicit forgery(std::size_t size) : received(size), answered(size) {}

    std::vector<std::uint32_t> received;  ///< bytes the server got from each forged address
    std::vector<std::uint32_t> answered;  ///< bytes it sent there
    std::size_t used = 0;
    bool quiet = false;  ///< the attacker does not clean up behind itself

    static socket_address at(std::size_t i)
    {
        return socket_address::v4({10, static_cast<std::uint8_t>(i >> 16U),
                                   static_cast<std::uint8_t>(i >> 8U),
                                   static_cast<std::uint8_t>(i)},
                                  443);
    }
    static std::size_t index(const socket_address& a)
    {
        return std::size_t{a.ip[1]} << 16U | std::size_t{a.ip[2]} << 8U | a.ip[3];
    }
};

const socket_address attacker_at = socket_address::v4({192, 0, 2, 66}, 6666);

/// Lets the attacker dial `count` times at once and forget it.
awaitable<void> burst(quic::endpoint& attacker, endpoint_address to, forgery& forged,
                      std::size_t count)
{
    const std::size_t until = std::min(forged.used + count, forged.received.size());
    scope dialling(attacker.get_executor());
    forged.quiet = false;
    auto dial = [](quic::endpoint& from, endpoint_address whom) -> awaitable<void> {
        const auto c = co_await from.connect(std::move(whom), std::string(echo_alpn));
        CHECK(!c);
    };
    for (std::size_t i = forged.used; i < until; ++i) dialling.spawn(dial(attacker, to));
    while (forged.used < until) co_await settle(1);
    forged.quiet = true;
    dialling.request_stop();
    const auto joined = co_await dialling.join();
    static_cast<void>(joined);
}

struct flood_report {
    std::size_t handshaking = 0;
    std::size_t growth = 0;  ///< of resident memory after the first tenth
    double worst = 0;        ///< bytes answered for each received, of the worst address
    double all = 0;
    std::size_t honest = 0;
    quic::endpoint_statistics server;
};

awaitable<result<void>> flood(std::size_t size, std::size_t honest, flood_report& report)
{
    const auto ex = co_await asio::this_coro::executor;
    memory_net net(ex);
    forgery forged(size);
    net.pass = [&](memory_net::datagram& d) {
        if (d.from == attacker_at) {
            if (forged.quiet || forged.used == forged.received.size()) return false;
            d.from = forgery::at(forged.used);
            forged.received[forged.used++] += static_cast<std::uint32_t>(d.bytes.size());
        } else if (d.to.ip[0] == 10) {
            forged.answered[forgery::index(d.to)] += static_cast<std::uint32_t>(d.bytes.size());
            return false;
        }
        return true;
    };
    auto server = memory_endpoint(net, server_at);
    quic::endpoint_options many;
    many.max_connections = 1000;
    auto attacker = memory_endpoint(net, attacker_at, many);
    auto client = memory_endpoint(net, client_at);
    scope serving(ex);
    serving.spawn(echo_server(server.listen(echo_alpn)));
    std::size_t before = 0;
    while (forged.used < size) {
        co_await burst(attacker, address_of(server), forged, 200);
        report.handshaking = std::max(report.handshaking, server.statistics().handshaking);
        if (before == 0 && forged.used >= size / 10) before = resident_bytes();
        if (forged.used * honest >= (report.honest + 1) * size) {
            auto echoing = dial_and_echo(client, address_of(server), 3000);
            const auto echoed = co_await with_timeout(std::move(echoing), 20s);
            CHECK(echoed);
            ++report.honest;
        }
    }
    const std::size_t after = resident_bytes();
    report.growth = after > before ? after - before : 0;
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < size; ++i) {
        in += forged.received[i];
        out += forged.answered[i];
        report.worst =
            std::max(report.worst, double(forged.answered[i]) / double(forged.received[i]));
    }
    report.all = double(out) / double(in);
    report.server = server.statistics();
    co_await attacker.close();
    co_await client.close();
    co_await server.close();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    co_return outcome::success();
}

flood_report check_flood(std::size_t size, std::size_t honest)
{
    flood_report r;
    const auto done = run_until_complete(flood(size, honest, r));
    REQUIRE(done);
    const quic::endpoint_options defaults;
    CHECK(r.handshaking <= defaults.retry_above + 1);
    CHECK(r.honest >= honest - 1);
    CHECK(r.worst < 3.0);
    CHECK(r.all < 1.0);
    CHECK(r.server.accepted == r.honest);
    CHECK(r.server.floods >= 1);
    CHECK(r.server.retries_sent > size / 2);
    CHECK(r.server.datagrams_received >= size);
    return r;
}

}  // namespace

TEST_CASE("quic: 2,000 forged Initials take little and keep nobody out", "[quic][flood]")
{
    const auto r = check_flood(2000, 5);
    // Sanitizers keep freed memory for a while, and shadows of it.
    if (!sanitized) CHECK(r.growth < (8U << 20));
}

TEST_CASE("quic: 100,000 forged Initials take little and keep nobody out", "[.long][flood]")
{
    const auto r = check_flood(100000, 50);
    CHECK(r.growth < (16U << 20));
    std::printf("copse flood: 100,000 forged Initials: %zu handshakes pending at most, "
                "%llu Retry packets, %zu honest connections of %zu, resident memory +%.1f MiB, "
                "%.3f bytes sent for each received, %.2f to the worst address\n",
                r.handshaking, static_cast<unsigned long long>(r.server.retries_sent), r.honest,
                r.honest, double(r.growth) / 1048576.0, r.all, r.worst);
}
