// Ending an endpoint in good order.
#include "tests/quic/memory_net.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

awaitable<void> shut_down(quic::endpoint& e, std::chrono::nanoseconds patience, bool& done)
{
    co_await e.shutdown(patience);
    done = true;
}

}  // namespace

TEST_CASE("quic: shutdown refuses newcomers and lets the present ones finish", "[quic][shutdown]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        auto busy = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(busy);
        auto waiting = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
        REQUIRE(waiting);
        const auto address = address_of(p.server);
        std::size_t good = 0;
        scope work(p.net.ex);
        work.spawn(count_success(echo_once(busy.value(), 2U << 20), good));
        while (busy.value()->statistics().bytes_received < 100000) co_await settle(1);
        bool done = false;
        scope ending(p.net.ex);
        ending.spawn(shut_down(p.server, 60s, done));
        co_await settle();
        // Listeners end; what nobody accepted is refused, as are those who dial now.
        const auto accepted = co_await p.plain.accept();
        REQUIRE(!accepted);
        CHECK(accepted.error() == transport_errc::closed_locally);
        const auto refused = co_await waiting.value()->closed();
        CHECK(refused.error == transport_errc::refused);
        const auto late = co_await p.client.connect(address, std::string(echo_alpn));
        REQUIRE(!late);
        CHECK(late.error() == transport_errc::refused);
        const auto outgoing = co_await p.server.connect(address_of(p.client), "any");
        CHECK(outgoing.error() == transport_errc::closed_locally);
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == 1);
        CHECK(!done);
        CHECK(!busy.value()->why_closed());
        CHECK(p.server.statistics().refused_closing == 2);
        busy.value()->close(0, {});
        const auto ended = co_await ending.join();
        CHECK(ended);
        CHECK(done);
    });
}

TEST_CASE("quic: shutdown closes what does not finish in time", "[quic][shutdown]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        auto idle = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(idle);
        co_await settle();  // until it is accepted
        co_await p.server.shutdown(10ms);
        const auto why = co_await idle.value()->closed();
        CHECK(why.by_peer);
        CHECK(why.application);
        CHECK(why.code == 0);
        CHECK(p.server.connection_count() == 0);
    });
}

TEST_CASE("quic: close packets that find a full socket leave when it empties", "[quic][shutdown]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        std::vector<both_ends> open;
        for (int i = 0; i < 3; ++i) {
            auto c = co_await meet(p);
            open.push_back(std::move(c));
        }
        p.to_client->blocked = true;
        // Something that waits for the socket already.
        const auto stream = co_await open[0].far->open_uni();
        REQUIRE(stream);
        const auto sent = co_await stream.value()->write_copy(as_bytes("hello"));
        REQUIRE(sent);
        while (p.server.statistics().blocked_sends == 0) co_await settle(1);
        bool done = false;
        scope ending(p.server.get_executor());
        ending.spawn(shut_down(p.server, 0ns, done));
        co_await pause(2ms);
        CHECK(!done);
        CHECK(!open[1].near->why_closed());
        p.to_client->blocked = false;
        const auto ended = co_await ending.join();
        CHECK(ended);
        for (const auto& c : open) {
            const auto why = co_await c.near->closed();
            CHECK(why.by_peer);
        }
    });
}

TEST_CASE("quic: whoever closes an endpoint that is being closed waits for its end",
          "[quic][shutdown]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        const auto end = [](memory_pair& pair, bool gently) -> awaitable<void> {
            if (gently) co_await pair.server.shutdown(60s);
            else co_await pair.server.close();
            CHECK(pair.net.bound.count(server_at) == 0);
        };
        scope closing(p.net.ex);
        for (const bool gently : {false, false, true}) closing.spawn(end(p, gently));
        const auto joined = co_await closing.join();
        CHECK(joined);
    });
}
