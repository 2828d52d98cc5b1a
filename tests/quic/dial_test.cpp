// Dialling: what is tried, in which order, what is reported, and what the other side sees of it.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;
using ended = quic::dial_attempt::outcome_type;

namespace {

const socket_address nobody_at = socket_address::v4({203, 0, 113, 99}, 99);

socket_address v6(std::uint8_t last)
{
    socket_address out;
    out.family = socket_address::family_type::v6;
    out.ip[0] = 0x20;
    out.ip[15] = last;
    out.port = 1000;
    return out;
}

template <class... Addresses>
std::vector<path_address> paths_of(const Addresses&... each)
{
    return {path_address(each)...};
}

awaitable<result<std::shared_ptr<connection>>> dial(memory_pair& p, std::vector<path_address> paths,
                                                    quic::dial_report& report)
{
    endpoint_address to;
    to.id = p.server.id();
    to.paths = std::move(paths);
    auto c = co_await p.client.connect(std::move(to), std::string(plain_alpn), report);
    co_return c;
}

}  // namespace

TEST_CASE("quic: a dial reports every address with its outcome", "[quic][dial]")
{
    quic::endpoint_options full;
    full.max_connections = 0;
    quic::endpoint_options brief;
    brief.handshake_timeout = 600ms;
    run_memory_pair(
        [full](memory_pair& p) -> awaitable<void> {
            const auto wrong_at = socket_address::v4({192, 0, 2, 3}, 3);
            const auto full_at = socket_address::v4({192, 0, 2, 4}, 4);
            auto wrong = memory_endpoint(p.net, wrong_at);
            const auto listening = wrong.listen(plain_alpn);
            auto refusing = memory_endpoint(p.net, full_at, full);
            const auto refused = refusing.listen(plain_alpn);
            quic::dial_report report;
            auto paths = paths_of(nobody_at, wrong_at, full_at, server_at, nobody_at);
            paths.emplace_back(relay_address{"https://relay.invalid/\x1b[2J"});
            paths.emplace_back(socket_address::v4({192, 0, 2, 9}, 0));
            paths.emplace_back(v6(1));
            const auto c = co_await dial(p, std::move(paths), report);
            REQUIRE(c);
            REQUIRE(report.attempts.size() == 7);
            const auto& a = report.attempts;
            CHECK(a[0].outcome == ended::abandoned);
            CHECK(a[0].start < 250ms);
            CHECK(a[1].outcome == ended::failed);
            CHECK(a[1].error == transport_errc::peer_id_mismatch);
            CHECK(a[1].start >= 250ms);
            CHECK(a[2].outcome == ended::failed);
            CHECK(a[2].error == transport_errc::refused);
            CHECK(a[3].outcome == ended::connected);
            CHECK(a[3].address == path_address(server_at));
            for (std::size_t i = 4; i < 7; ++i) CHECK(a[i].outcome == ended::unusable);
            CHECK(report.total >= a[3].start);
            CHECK(a[0].duration >= a[3].start);
            const std::string text = report.to_string();
            CHECK(std::count(text.begin(), text.end(), '\n') == 6);
            CHECK(text.find("192.0.2.3:3: another identity answered, tried at ") !=
                  std::string::npos);
            CHECK(text.find("192.0.2.1:1000: connected") != std::string::npos);
            CHECK(text.find("relay https://relay.invalid/?[2J: cannot be dialled here") !=
                  std::string::npos);

            // Without the good one: everything failed, and the answers count more than silence.
            const auto none = co_await dial(p, paths_of(nobody_at, full_at), report);
            REQUIRE(!none);
            CHECK(none.error() == transport_errc::refused);
            CHECK(report.attempts[0].error == transport_errc::handshake_timeout);
            CHECK(report.attempts[1].error == transport_errc::refused);
            const auto unusable = co_await dial(p, paths_of(v6(1)), report);
            REQUIRE(!unusable);
            CHECK(unusable.error() == transport_errc::no_usable_address);
            CHECK(report.attempts.size() == 1);
            co_await wrong.close();
            co_await refusing.close();
        },
        {}, brief);
}

TEST_CASE("quic: a dial takes the families in turns and 16 addresses at most", "[quic][dial]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(p.net.bind(v6(200)));
        sockets.push_back(p.net.bind(socket_address::v4({192, 0, 2, 200}, 200)));
        auto both = quic::endpoint::make(p.net.ex, {}, std::move(sockets)).value();
        endpoint_address to;
        to.id = p.server.id();
        to.paths.emplace_back(server_at);
        for (std::uint8_t i = 0; i < 9; ++i) {
            to.paths.emplace_back(socket_address::v4({203, 0, 113, i}, 1));
        }
        for (std::uint8_t i = 0; i < 9; ++i) to.paths.emplace_back(v6(i));
        quic::dial_report report;
        const auto c = co_await both.connect(to, std::string(plain_alpn), report);
        REQUIRE(c);
        REQUIRE(report.attempts.size() == 19);
        CHECK(report.attempts[0].outcome == ended::connected);
        for (std::size_t i = 0; i < 18; ++i) {
            INFO("address " << i);
            CHECK(std::get<socket_address>(report.attempts[i].address).is_v4() == (i % 2 == 0));
            if (i > 0) CHECK(report.attempts[i].outcome == ended::not_tried);
        }
        co_await both.close();
    });
}

TEST_CASE("quic: a slow address does not win against a fast one", "[quic][dial]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        // The server's second address answers late: what is sent to it is held until the end.
        const auto slow_at = socket_address::v4({192, 0, 2, 50}, 50);
        std::vector<memory_net::datagram> held;
        p.net.pass = [&](memory_net::datagram& d) {
            if (d.to != slow_at) return true;
            d.to = server_at;
            held.push_back(d);
            return false;
        };
        quic::dial_report report;
        const auto c = co_await dial(p, paths_of(slow_at, server_at), report);
        REQUIRE(c);
        CHECK(report.attempts[0].outcome == ended::abandoned);
        CHECK(report.attempts[1].outcome == ended::connected);
        p.net.pass = {};
        for (const auto& d : held) p.net.send(d.from, d.to, d.bytes);
        co_await settle();
        // Late, but with its close behind it: nothing of it stays.
        CHECK(p.server.statistics().handshaking == 0);
        CHECK(p.server.statistics().connections == 1);
        CHECK(p.server.statistics().accepted == 1);
    });
}

TEST_CASE("quic: attempts that race give the other side one connection", "[quic][dial]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        // One server at four addresses; all handshakes get through at the same moment.
        std::vector<memory_net::datagram> held;
        bool hold = true;
        std::vector<path_address> paths;
        for (std::uint8_t i = 1; i <= 4; ++i) {
            paths.emplace_back(socket_address::v4({198, 51, 100, i}, 1000));
        }
        std::map<socket_address, socket_address> behind;  // our source for each of them
        p.net.pass = [&](memory_net::datagram& d) {
            if (d.from == client_at && d.to.ip[0] == 198) {
                const auto as = socket_address::v4({192, 0, 2, 2},
                                                   static_cast<std::uint16_t>(2000 + d.to.ip[3]));
                behind[as] = d.to;
                d.from = as;
                d.to = server_at;
                if (hold) {
                    held.push_back(d);
                    return false;
                }
            } else if (d.from == server_at && d.to.port > 2000) {
                d.from = behind[d.to];
                d.to = client_at;
            }
            return true;
        };
        quic::dial_report report;
        scope dialling(p.net.ex);
        std::shared_ptr<connection> made;
        auto go = [](memory_pair& on, std::vector<path_address> to, quic::dial_report& r,
                     std::shared_ptr<connection>& out) -> awaitable<void> {
            auto c = co_await dial(on, std::move(to), r);
            if (c) out = std::move(c).value();
        };
        dialling.spawn(go(p, paths, report, made));
        while (p.client.statistics().dialling < 4) co_await pause(10ms);
        co_await settle();
        hold = false;
        REQUIRE(held.size() >= 4);
        for (const auto& d : held) p.net.send(d.from, d.to, d.bytes);
        const auto joined = co_await dialling.join();
        CHECK(joined);
        REQUIRE(made);
        co_await settle();
        const auto s = p.server.statistics();
        CHECK(s.accepted == 1);
        CHECK(s.connections == 1);
        CHECK(s.handshaking == 0);
        CHECK(p.client.connection_count() == 1);
        CHECK(p.client.statistics().failed_dials == 3);
        const auto accepted = co_await p.plain.accept();
        REQUIRE(accepted);
        CHECK(!accepted.value()->why_closed());
        std::size_t won = 0;
        for (const auto& a : report.attempts) won += a.outcome == ended::connected ? 1 : 0;
        CHECK(won == 1);
        p.net.pass = {};
    });
}

TEST_CASE("quic: a cancelled dial is reported and closed on both sides", "[quic][dial]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        p.net.pass = [](memory_net::datagram& d) { return d.to != client_at; };
        quic::dial_report report;
        auto dialling = dial(p, paths_of(server_at), report);
        const auto c = co_await with_timeout(std::move(dialling), 5ms);
        REQUIRE(!c);
        REQUIRE(report.attempts.size() == 1);
        CHECK(report.attempts[0].outcome == ended::abandoned);
        co_await settle();
        CHECK(p.client.connection_count() == 0);
        CHECK(p.server.connection_count() == 0);
        CHECK(p.server.statistics().handshaking == 0);
        p.net.pass = {};
    });
}

TEST_CASE("quic: a failed attempt does not shorten the head start of the next", "[quic][dial]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        const auto full_at = socket_address::v4({192, 0, 2, 4}, 4);
        quic::endpoint_options full;
        full.max_connections = 0;
        auto refusing = memory_endpoint(p.net, full_at, full);
        const auto refused = refusing.listen(plain_alpn);
        quic::dial_report report;
        const auto c = co_await dial(p, paths_of(full_at, nobody_at, server_at), report);
        CHECK(c);
        REQUIRE(report.attempts.size() == 3);
        CHECK(report.attempts[0].outcome == ended::failed);
        CHECK(report.attempts[2].start >= 250ms);
        co_await refusing.close();
    });
}

TEST_CASE("quic: addresses tried after a change of network are dialled through the new sockets",
          "[quic][dial][migration]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        bool begun = false;
        p.net.pass = [&begun](memory_net::datagram& d) {
            begun = begun || d.to == nobody_at;
            return d.from != client_at && d.to != client_at;
        };
        scope dialling(p.net.ex);
        quic::dial_report report;
        const auto go = [](memory_pair& pair, quic::dial_report& into) -> awaitable<void> {
            const auto c = co_await dial(pair, paths_of(nobody_at, server_at), into);
            CHECK(c);
        };
        dialling.spawn(go(p, report));
        while (!begun) co_await settle(1);
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(p.net.bind(socket_address::v4({198, 51, 100, 2}, 2001)));
        REQUIRE(p.client.rebind(std::move(sockets)));
        const auto joined = co_await dialling.join();
        CHECK(joined);
        p.net.pass = {};
    });
}
