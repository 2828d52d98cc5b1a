// Endpoints in bad company: loss, repeats, disorder, copies, flipped bits, garbage.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

TEST_CASE("quic: loss, repeats and disorder cost time and no bytes", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        for (const auto& faults : {p.to_server, p.to_client}) {
            faults->drop = 30;
            faults->repeat = 30;
            faults->delay = 50;
        }
        INFO("seed " << seed_or(1));
        auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        std::size_t good = 0;
        scope work(c->get_executor());
        for (int i = 0; i < 4; ++i) work.spawn(count_success(echo_once(c, 150000), good));
        for (int i = 0; i < 20; ++i) work.spawn(count_success(echo_once(c, 10), good));
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == 24);
    });
}

TEST_CASE("quic: streams reset under loss do not hurt their connection", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        p.to_server->drop = p.to_client->drop = 50;
        for (int i = 0; i < 100; ++i) {
            auto s = co_await c->open_bi();
            REQUIRE(s);
            const auto sent = co_await s.value().send->write_copy(pattern(40000));
            REQUIRE(sent);
            if (i % 4 == 0) co_await pause(1ms);
            if (i % 3 == 0) s.value().send->finish();
        }
        p.to_server->drop = p.to_client->drop = 0;
        const auto echoed = co_await echo_once(c, 500000);
        CHECK(echoed);
    });
}

TEST_CASE("quic: the end of a stream is acknowledged when data and end were lost", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        auto mine = co_await c.near->open_bi();
        REQUIRE(mine);
        co_await pause(5ms);
        p.to_server->drop = 1000;
        // Two packets, data and end apart; their repetition is one.
        const auto sent = co_await mine.value().send->write_copy(as_bytes("hello"));
        REQUIRE(sent);
        co_await pause(1ms);
        mine.value().send->finish();
        co_await pause(1ms);
        p.to_server->drop = 0;
        auto theirs = co_await c.far->accept_bi();
        REQUIRE(theirs);
        const auto got = co_await read_all(*theirs.value().recv);
        REQUIRE(got);
        CHECK(text(got.value()) == "hello");
        // The far end keeps its own side open, so the stream lives on.
        auto waiting = mine.value().send->acknowledged();
        const auto acknowledged = co_await with_timeout(std::move(waiting), 1s);
        CHECK(acknowledged);
    });
}

TEST_CASE("quic: the end of a stream may be acknowledged before its data", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        auto mine = co_await c.near->open_bi();
        REQUIRE(mine);
        co_await pause(5ms);
        p.to_server->drop = 1000;
        const auto sent = co_await mine.value().send->write_copy(as_bytes("hello"));
        REQUIRE(sent);
        co_await pause(1ms);
        p.to_server->drop = 0;
        mine.value().send->finish();
        auto theirs = co_await c.far->accept_bi();
        REQUIRE(theirs);
        const auto got = co_await read_all(*theirs.value().recv);
        REQUIRE(got);
        CHECK(text(got.value()) == "hello");
        auto waiting = mine.value().send->acknowledged();
        const auto acknowledged = co_await with_timeout(std::move(waiting), 1s);
        CHECK(acknowledged);
    });
}

TEST_CASE("quic: copies of Initials make one connection, also through another address", "[quic]")
{
    auto wildcard = loopback_options();
    wildcard.bind = {socket_address::v4({0, 0, 0, 0}, 0)};
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const auto ex = co_await asio::this_coro::executor;
            std::vector<std::vector<std::byte>> handshake;
            p.to_server->repeat = 1000;
            p.to_server->keep = [&handshake](const outgoing_datagrams& one) {
                if ((std::to_integer<unsigned>(one.bytes[0]) & 0x80U) != 0) {
                    handshake.emplace_back(one.bytes.begin(), one.bytes.end());
                }
                return true;
            };
            const both_ends c = co_await meet(p);
            CHECK(p.server.connection_count() == 1);
            REQUIRE(!handshake.empty());
            // Stragglers by another way, while the connection lives and after it ended.
            auto stray = udp::bind(ex, socket_address::loopback_v4(0)).value();
            const auto scatter = [&] {
                for (const auto& bytes : handshake) {
                    for (const std::uint8_t last : {std::uint8_t{1}, std::uint8_t{3}}) {
                        outgoing_datagrams again;
                        again.bytes = bytes;
                        again.segment_size = bytes.size();
                        again.to = socket_address::v4({127, 0, 0, last},
                                                      p.server.bound_addresses()[0].port);
                        CHECK(stray->try_send(again));
                    }
                }
            };
            scatter();
            co_await pause(2ms);
            CHECK(p.server.connection_count() == 1);
            CHECK(!c.near->why_closed());
            c.near->close(0, "done");
            const auto why = co_await c.far->closed();
            CHECK(why.by_peer);
            scatter();
            co_await pause(2ms);
            CHECK(p.server.connection_count() == 0);
            p.to_server->keep = {};
            stray->close();
        },
        wildcard);
}

TEST_CASE("quic: flipped bits are noticed and dropped", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        p.to_server->flip = p.to_client->flip = 300;
        // During a handshake a flipped copy may look like a refusal to either side; dialling again helps.
        std::shared_ptr<connection> c;
        for (int i = 0; i < 20 && !c; ++i) {
            auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
            if (dialled) c = std::move(dialled).value();
        }
        REQUIRE(c);
        const auto echoed = co_await echo_once(c, 500000);
        CHECK(echoed);
    });
}

TEST_CASE("quic: garbage and pieces of real datagrams do no harm", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const auto ex = co_await asio::this_coro::executor;
        std::vector<std::vector<std::byte>> seen;
        const auto record = [&seen](const outgoing_datagrams& one) {
            if (seen.size() < 64) seen.emplace_back(one.bytes.begin(), one.bytes.end());
            return true;
        };
        p.to_server->keep = record;
        p.to_client->keep = record;
        auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        const auto first = co_await echo_once(c, 20000);
        REQUIRE(first);
        p.to_server->keep = p.to_client->keep = {};

        seeded_rng rng(seed_or(7));
        auto stray = udp::bind(ex, socket_address::loopback_v4(0)).value();
        const auto throw_at_both = [&](const std::vector<std::byte>& bytes) {
            for (const quic::endpoint* e : {&p.server, &p.client}) {
                outgoing_datagrams one;
                one.bytes = bytes;
                one.segment_size = bytes.size();
                one.to = e->bound_addresses()[0];
                const auto ignored = stray->try_send(one);
                static_cast<void>(ignored);
            }
        };
        for (int i = 0; i < 300; ++i) {
            auto bytes = rng.bytes(rng.between(std::size_t{1}, std::size_t{1400}));
            if (i % 2 == 0) bytes[0] |= std::byte{0xc0};  // a long header
            if (i % 6 == 0 && bytes.size() > 6) {         // of version 1
                bytes[1] = bytes[2] = bytes[3] = std::byte{0};
                bytes[4] = std::byte{1};
                bytes[5] = std::byte{8};
            }
            throw_at_both(bytes);
            if (i % 50 == 0) co_await pause(200us);
        }
        for (const auto& whole : seen) {
            for (int i = 0; i < 6; ++i) {
                auto bytes = whole;
                bytes.resize(rng.between(std::size_t{1}, bytes.size()));
                if (i % 2 == 0) {
                    bytes[rng.between(std::size_t{0}, bytes.size() - 1)] ^= std::byte{0x10};
                }
                throw_at_both(bytes);
            }
            co_await pause(100us);
        }
        const auto second = co_await echo_once(c, 20000);
        CHECK(second);
        const auto third = co_await dial_and_echo(p.client, address_of(p.server), 1000);
        CHECK(third);
        stray->close();
    });
}

TEST_CASE("quic: another version is answered once and never amplified", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const auto ex = co_await asio::this_coro::executor;
        std::size_t answered = 0;
        std::size_t largest = 0;
        p.to_client->keep = [&](const outgoing_datagrams& one) {
            ++answered;
            largest = std::max(largest, one.bytes.size());
            return true;
        };
        auto stray = udp::bind(ex, socket_address::loopback_v4(0)).value();
        const auto probe = [&](std::size_t size, std::uint8_t version) {
            std::vector<std::byte> bytes(size);
            const std::array<std::uint8_t, 7> head{0xc0, version, 0, version, 9, 8, 1};
            for (std::size_t i = 0; i < head.size(); ++i) bytes[i] = std::byte{head[i]};
            if (version == 0) bytes[4] = std::byte{0};
            bytes[14] = std::byte{8};
            outgoing_datagrams one;
            one.bytes = bytes;
            one.segment_size = size;
            one.to = p.server.bound_addresses()[0];
            CHECK(stray->try_send(one));
        };
        probe(1200, 0xaa);
        probe(1199, 0xaa);  // too small to be answered
        probe(1200, 0);     // itself a Version Negotiation: an answer would make a loop
        probe(40, 0);
        co_await pause(5ms);
        CHECK(answered == 1);
        CHECK(largest < 100);
        p.to_client->keep = {};
        stray->close();
    });
}
