// Endpoints with several addresses, peers, connections and protocols.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

TEST_CASE("quic: a wildcard socket answers from the address that was dialled", "[quic]")
{
    auto wildcard = loopback_options();
    wildcard.bind = {socket_address::v4({0, 0, 0, 0}, 0)};
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            // The dialler takes packets from the dialled address only, so success is the proof.
            const auto echoed = co_await dial_and_echo(p.client, address_of(p.server, 2), 100000);
            CHECK(echoed);
        },
        wildcard, wildcard);
}

TEST_CASE("quic: two endpoints that dial each other get two connections", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const auto ex = co_await asio::this_coro::executor;
        auto back = p.client.listen(echo_alpn);
        std::size_t good = 0;
        scope dialling(ex);
        scope serving(ex);
        serving.spawn(echo_server(back));
        for (int i = 0; i < 2; ++i) {
            dialling.spawn(
                count_success(dial_and_echo(p.client, address_of(p.server), 50000), good));
            dialling.spawn(
                count_success(dial_and_echo(p.server, address_of(p.client), 50000), good));
        }
        const auto joined = co_await dialling.join();
        CHECK(joined);
        CHECK(good == 4);
        serving.request_stop();
        const auto stopped = co_await serving.join();
        static_cast<void>(stopped);
    });
}

TEST_CASE("quic: 200 connections live on one endpoint", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        std::vector<std::shared_ptr<connection>> open;
        for (int i = 0; i < 200; ++i) {
            auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
            REQUIRE(dialled);
            open.push_back(std::move(dialled).value());
        }
        CHECK(p.server.connection_count() == 200);
        std::size_t good = 0;
        scope work(co_await asio::this_coro::executor);
        for (const auto& c : open) work.spawn(count_success(echo_once(c, 1000), good));
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == 200);
        open.clear();
        CHECK(p.client.connection_count() == 0);
    });
}

TEST_CASE("quic: as many protocols as there may be, one with the longest name", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        // Two are listened to already.
        for (std::size_t i = 3; i < quic::max_protocols; ++i) {
            const auto unused = p.server.listen("many/" + std::to_string(i));
            static_cast<void>(unused);
        }
        const std::string longest(quic::max_alpn_bytes, 'a');
        auto last = p.server.listen(longest);
        const auto dialled = co_await p.client.connect(address_of(p.server), longest);
        REQUIRE(dialled);
        const auto accepted = co_await last.accept();
        REQUIRE(accepted);
        CHECK(accepted.value()->alpn() == longest);
        const auto too_long = co_await p.client.connect(address_of(p.server), longest + "a");
        REQUIRE(!too_long);
        CHECK(too_long.error() == std::errc::invalid_argument);
    });
}
