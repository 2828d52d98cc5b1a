// Limits of an endpoint and its connections: backlog, listeners, streams nobody accepts.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

TEST_CASE("quic: a full backlog refuses, and a place in it that is free again does not", "[quic]")
{
    auto small = loopback_options();
    small.accept_backlog = 2;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            std::vector<std::shared_ptr<connection>> dialled;
            for (int i = 0; i < 3; ++i) {
                auto c = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
                REQUIRE(c);
                dialled.push_back(std::move(c).value());
            }
            const auto why = co_await dialled[2]->closed();
            CHECK(why.by_peer);
            CHECK(!why.application);
            CHECK(why.code == 2);  // CONNECTION_REFUSED
            CHECK(p.server.connection_count() == 2);
            const auto first = co_await p.plain.accept();
            REQUIRE(first);
            const auto again = co_await meet(p);
            CHECK(!again.near->why_closed());
        },
        small);
}

TEST_CASE("quic: without a listener Initials are ignored", "[quic]")
{
    auto impatient = loopback_options();
    impatient.handshake_timeout = 60ms;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            // The client listens to nothing.
            const auto dialled = co_await p.server.connect(address_of(p.client), "any");
            REQUIRE(!dialled);
            CHECK(dialled.error() == transport_errc::handshake_timeout);
            CHECK(p.client.connection_count() == 0);
        },
        impatient);
}

TEST_CASE("quic: streams that nobody accepts stay within the limit", "[quic]")
{
    auto few = loopback_options();
    few.max_remote_streams = 10;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            std::size_t opened = 0;
            for (;;) {
                auto opening = c.near->open_uni();
                auto s = co_await with_timeout(std::move(opening), 30ms);
                if (!s) break;
                s.value()->finish();
                if (++opened > 100) break;
                const auto done = co_await s.value()->acknowledged();
                static_cast<void>(done);
            }
            // Version 0.12 of ngtcp2 never closes such a stream, so that accepting makes no room there.
            CHECK(opened == 10);
        },
        few);
}

TEST_CASE("quic: two-way streams that are reset before anyone accepts them stay limited", "[quic]")
{
    auto few = loopback_options();
    few.max_remote_streams = 10;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            std::size_t opened = 0;
            for (;;) {
                auto opening = c.near->open_bi();
                auto s = co_await with_timeout(std::move(opening), 30ms);
                if (!s) break;
                const auto sent = co_await s.value().send->write_copy(as_bytes("x"));
                static_cast<void>(sent);
                co_await pause(500us);
                s.value().send->reset(1);
                s.value().recv->stop(1);
                if (++opened > 100) break;
            }
            CHECK(opened == 10);
            for (int i = 0; i < 10; ++i) {
                const auto taken = co_await c.far->accept_bi();
                REQUIRE(taken);
            }
            const auto more = co_await c.near->open_bi();
            CHECK(more);
        },
        few);
}

TEST_CASE("quic: streams that the library keeps for good are bounded", "[quic][limits]")
{
    auto few = loopback_options();
    few.max_remote_streams = 10;
    few.max_kept_streams = 20;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            std::size_t opened = 0;
            while (opened <= 100) {
                auto opening = c.near->open_uni();
                auto s = co_await with_timeout(std::move(opening), 100ms);
                if (!s) break;
                ++opened;
                s.value()->finish();
                const auto theirs = co_await c.far->accept_uni();
                REQUIRE(theirs);
                const auto read = co_await read_all(*theirs.value());
                REQUIRE(read);
            }
            // Version 1 of ngtcp2 forgets them: there is no such limit then.
            CHECK((opened == 30 || opened > 100));
            CHECK(!c.near->why_closed());
        },
        few);
}
