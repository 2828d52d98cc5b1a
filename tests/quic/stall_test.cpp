// Stalled readers, sinks that fail, narrow windows, full sockets.
#include "tests/quic/endpoints.hpp"

#include <copse/core/race.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

TEST_CASE("quic: a stalled reader holds up its own stream only", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        auto stuck = co_await c.near->open_bi();
        REQUIRE(stuck);
        scope writing(c.near->get_executor());
        const auto data = pattern(3U << 20);
        writing.spawn(write_all(*stuck.value().send, data));
        auto theirs = co_await c.far->accept_bi();
        REQUIRE(theirs);
        for (int i = 0; i < 20; ++i) {
            auto one = co_await c.near->open_bi();
            REQUIRE(one);
            scope small(c.near->get_executor());
            small.spawn(write_all(*one.value().send, pattern(100000)));
            auto other = co_await c.far->accept_bi();
            REQUIRE(other);
            const auto got = co_await read_all(*other.value().recv);
            REQUIRE(got);
            CHECK(got.value().size() == 100000);
            const auto joined = co_await small.join();
            CHECK(joined);
        }
        CHECK(writing.running() == 1);
        CHECK(theirs.value().recv->received() <= (64U << 10));
        const auto late = co_await read_all(*theirs.value().recv);
        REQUIRE(late);
        CHECK(late.value() == data);
        const auto joined = co_await writing.join();
        CHECK(joined);
    });
}

TEST_CASE("quic: a writer that waits for the peer learns that it stopped", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        auto mine = co_await c.near->open_bi();
        REQUIRE(mine);
        scope writing(c.near->get_executor());
        writing.spawn(write_all(*mine.value().send, pattern(4U << 20)));
        auto theirs = co_await c.far->accept_bi();
        REQUIRE(theirs);
        std::vector<std::byte> some(1000);
        const auto n = co_await theirs.value().recv->read(some);
        REQUIRE(n);
        while (theirs.value().recv->received() < (64U << 10)) co_await pause(1ms);
        // The far end keeps its own sending side open: nothing else will tell the writer.
        theirs.value().recv->stop(77);
        auto stopping = [](send_stream& s) -> awaitable<result<void>> {
            const std::error_code why = co_await s.stopped();
            co_return why;
        };
        auto waiting = stopping(*mine.value().send);
        const auto why = co_await with_timeout(std::move(waiting), 500ms);
        REQUIRE(!why);
        CHECK(why.error() == transport_errc::stream_stopped);
        if (why.error() != transport_errc::stream_stopped) mine.value().send->reset(0);
        const auto joined = co_await writing.join();
        CHECK(joined);
    });
}

TEST_CASE("quic: a reader that never quite catches up gets everything", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        auto mine = co_await c.near->open_uni();
        REQUIRE(mine);
        const auto data = pattern(2U << 20);
        scope writing(c.near->get_executor());
        writing.spawn(write_all(*mine.value(), data));
        auto theirs = co_await c.far->accept_uni();
        REQUIRE(theirs);
        std::vector<std::byte> got;
        std::vector<std::byte> part(3000);
        for (;;) {
            const auto n = co_await theirs.value()->read(part);
            REQUIRE(n);
            if (n.value() == 0) break;
            got.insert(got.end(), part.begin(),
                       part.begin() + static_cast<std::ptrdiff_t>(n.value()));
            if (got.size() % 7 == 0) co_await pause(10us);
        }
        CHECK(got == data);
        const auto joined = co_await writing.join();
        CHECK(joined);
    });
}

TEST_CASE("quic: windows of a few hundred bytes still move data", "[quic]")
{
    auto narrow = loopback_options();
    narrow.connection_window = 2000;
    narrow.remote_stream_window = 500;
    narrow.local_stream_window = 500;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
            REQUIRE(dialled);
            auto echoing = echo_once(std::move(dialled).value(), 20000);
            const auto echoed = co_await with_timeout(std::move(echoing), 1500ms);
            CHECK(echoed);
        },
        narrow, narrow);
}

TEST_CASE("quic: a full socket delays and loses nothing for good", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        auto dialled = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(dialled);
        const auto c = dialled.value();
        std::size_t good = 0;
        scope work(c->get_executor());
        for (int i = 0; i < 4; ++i) work.spawn(count_success(echo_once(c, 200000), good));
        for (int i = 0; i < 6; ++i) {
            co_await pause(2ms);
            p.to_server->blocked = i % 2 == 0;
            p.to_client->blocked = i % 3 == 0;
        }
        p.to_server->blocked = p.to_client->blocked = false;
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == 4);
    });
}

namespace {

/// Refuses its first bytes and must not be asked again.
class refusing_sink final : public stream_sink {
public:
    result<sink_verdict> consume(byte_view) noexcept override
    {
        ++calls;
        return std::make_error_code(std::errc::bad_message);
    }
    int calls = 0;
};

}  // namespace

TEST_CASE("quic: a sink that failed is not called again", "[quic]")
{
    run_pair([](pair_of_endpoints& p) -> awaitable<void> {
        const both_ends c = co_await meet(p);
        for (int i = 0; i < 20; ++i) {
            auto mine = co_await c.near->open_bi();
            REQUIRE(mine);
            const auto hello = co_await mine.value().send->write_copy(as_bytes("x"));
            REQUIRE(hello);
            auto theirs = co_await c.far->accept_bi();
            REQUIRE(theirs);
            refusing_sink sink;
            mine.value().recv->attach(sink);
            // Lost first, then delivered with what was held back behind it.
            p.to_client->drop = i % 2 == 0 ? 500 : 0;
            for (int k = 0; k < 5; ++k) {
                const auto sent = co_await theirs.value().send->write_copy(pattern(3000));
                REQUIRE(sent);
            }
            co_await pause(500us);
            p.to_client->drop = 0;
            theirs.value().send->finish();
            const auto drained = co_await mine.value().recv->drained();
            REQUIRE(!drained);
            CHECK(drained.error() == std::errc::bad_message);
            CHECK(sink.calls == 1);
            mine.value().recv->detach();
        }
    });
}
