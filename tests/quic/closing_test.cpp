// How connections and endpoints end: silence, and closing at a bad moment.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

TEST_CASE("quic: silence ends a connection after the idle timeout", "[quic]")
{
    auto restless = loopback_options();
    restless.idle_timeout = 100ms;
    restless.keep_alive = 0ns;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            const auto near = co_await c.near->closed();
            CHECK(near.error == transport_errc::idle_timeout);
            CHECK(!near.by_peer);
            const auto far = co_await c.far->closed();
            CHECK(far.error == transport_errc::idle_timeout);
            CHECK(p.client.connection_count() == 0);
            CHECK(p.server.connection_count() == 0);
        },
        restless, restless);
}

TEST_CASE("quic: keep-alive outlives the idle timeout", "[quic]")
{
    auto restless = loopback_options();
    restless.idle_timeout = 150ms;
    restless.keep_alive = 30ms;
    auto passive = restless;
    passive.identity = quic::secret_key::generate();
    passive.keep_alive = 0ns;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            co_await pause(500ms);
            CHECK(!c.near->why_closed());
            CHECK(!c.far->why_closed());
        },
        passive, restless);
}

TEST_CASE("quic: closing an endpoint ends live streams on both sides", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        const auto ex = c.near->get_executor();
        scope work(ex);
        std::vector<bidi_stream> near;
        for (int i = 0; i < 5; ++i) {
            auto s = co_await c.near->open_bi();
            REQUIRE(s);
            near.push_back(std::move(s).value());
            work.spawn(write_all(*near.back().send, pattern(5U << 20)));
        }
        auto theirs = co_await c.far->accept_bi();
        REQUIRE(theirs);
        scope reading(ex);
        std::size_t successes = 0;
        auto read_some = [](recv_stream& from) -> awaitable<result<void>> {
            const auto got = co_await read_all(from);
            if (!got) co_return got.error();
            co_return outcome::success();
        };
        reading.spawn(count_success(read_some(*near[0].recv), successes));
        reading.spawn(count_success(read_some(*theirs.value().recv), successes));
        auto dial = p.client.connect(address_of(p.server), std::string(echo_alpn));
        auto dialling =
            [](awaitable<result<std::shared_ptr<connection>>> op) -> awaitable<result<void>> {
            const auto made = co_await std::move(op);
            if (!made) co_return made.error();
            co_return outcome::success();
        };
        reading.spawn(count_success(dialling(std::move(dial)), successes));
        co_await pause(1ms);
        co_await p.client.close();
        const auto joined = co_await work.join();
        CHECK(joined);
        const auto read = co_await reading.join();
        CHECK(read);
        const auto why = co_await c.far->closed();
        CHECK(why.error == transport_errc::closed_by_peer);
        CHECK(why.code == 0);
        CHECK(c.near->why_closed()->error == transport_errc::closed_locally);
        const auto late = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(!late);
        CHECK(late.error() == transport_errc::closed_locally);
        // Handles outlive the endpoint's tables.
        near[1].send->reset(1);
        near[1].recv->stop(1);
        const auto n = near[2].recv->request_window(1U << 20);
        CHECK(n <= (256U << 10));
    });
}

TEST_CASE("quic: closing while others dial and accept ends them", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const auto ex = co_await asio::this_coro::executor;
        scope work(ex);
        std::size_t good = 0;
        endpoint_address nobody;
        nobody.id = quic::secret_key::generate().id();
        for (std::uint8_t i = 1; i < 5; ++i) {
            nobody.paths.emplace_back(socket_address::v4({127, 0, 0, i}, 9));
        }
        work.spawn(count_success(dial_and_echo(p.server, nobody, 10), good));
        auto accepting = [](quic::listener l) -> awaitable<result<void>> {
            const auto c = co_await l.accept();
            if (!c) co_return c.error();
            co_return outcome::success();
        };
        work.spawn(count_success(accepting(p.plain), good));
        co_await pause(1ms);
        co_await p.server.close();
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == 0);
        CHECK(p.server.connection_count() == 0);
    });
}
