// What only the transport in memory promises: the same seed gives the same run, and the wire can be cut.
#include "tests/sim/both_transports.hpp"

#include <copse/sim/rng.hpp>

#include <asio/io_context.hpp>

using namespace copse;
using namespace copse::test;

namespace {

/// Every piece that arrives, as a sink sees it.
class noting_sink final : public stream_sink {
public:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        pieces.push_back(data.size());
        return sink_verdict{data.size(), data.size()};
    }
    std::vector<std::size_t> pieces;
};

struct history {
    std::vector<std::size_t> pieces;
    std::uint64_t deliveries = 0;
    bool operator==(const history&) const = default;
};

awaitable<result<void>> transfer(std::uint64_t seed, history& out)
{
    sim::memory_transport_options o;
    o.seed = seed;
    auto pair = sim::make_connection_pair(co_await asio::this_coro::executor, o);
    ends e{pair.dialler, pair.acceptor, {}, {}};
    auto s = co_await join_streams(e);
    noting_sink sink;
    s.far.recv->attach(sink);
    scope writing(pair.dialler->get_executor());
    writing.spawn(write_all(*s.near.send, pattern(300'000)));
    const auto drained = co_await s.far.recv->drained();
    REQUIRE(drained);
    const auto joined = co_await writing.join();
    REQUIRE(joined);
    const auto acked = co_await s.near.send->acknowledged();
    REQUIRE(acked);
    s.far.recv->detach();
    out.pieces = sink.pieces;
    out.deliveries = pair.link.deliveries();
    co_return outcome::success();
}

history history_of(std::uint64_t seed)
{
    history out;
    REQUIRE(run_until_complete(transfer(seed, out)));
    return out;
}

}  // namespace

TEST_CASE("memory_transport: a seed decides every delivery", "[sim]")
{
    const history one = history_of(1);
    CHECK(one == history_of(1));
    CHECK(!(one == history_of(2)));
    CHECK(one.pieces.size() > 300);
    CHECK(*std::max_element(one.pieces.begin(), one.pieces.end()) == 1350);
    CHECK(*std::min_element(one.pieces.begin(), one.pieces.end()) <= 8);
}

TEST_CASE("memory_transport: a cut wire ends both sides without a word", "[sim]")
{
    const auto done = run_until_complete([]() -> awaitable<result<void>> {
        auto pair = sim::make_connection_pair(co_await asio::this_coro::executor);
        ends e{pair.dialler, pair.acceptor, {}, {}};
        auto s = co_await join_streams(e);
        const auto sent = co_await s.near.send->write_copy(pattern(1000));
        REQUIRE(sent);
        pair.link.cut();
        const auto near = co_await e.near->closed();
        const auto far = co_await e.far->closed();
        CHECK(near.error == transport_errc::idle_timeout);
        CHECK(far.error == transport_errc::idle_timeout);
        CHECK(!far.by_peer);
        const auto got = co_await read_all(*s.far.recv);
        REQUIRE(!got);
        CHECK(got.error() == transport_errc::idle_timeout);
        pair.link.cut();
        co_return outcome::success();
    }());
    REQUIRE(done);
}

TEST_CASE("memory_transport: a cut overtakes a close that is under way", "[sim]")
{
    const auto done = run_until_complete([]() -> awaitable<result<void>> {
        auto pair = sim::make_connection_pair(co_await asio::this_coro::executor);
        pair.dialler->close(3, "unheard");
        pair.link.cut();
        const auto near = co_await pair.dialler->closed();
        const auto far = co_await pair.acceptor->closed();
        CHECK(near.error == transport_errc::closed_locally);
        CHECK(far.error == transport_errc::idle_timeout);
        co_return outcome::success();
    }());
    REQUIRE(done);
}

TEST_CASE("memory_transport: nothing happens inside a call", "[sim]")
{
    asio::io_context io;
    auto pair = sim::make_connection_pair(io.get_executor());
    REQUIRE(pair.dialler->send_datagram(shared_bytes::copy(as_bytes("x"))));
    CHECK(pair.acceptor->statistics().datagrams_received == 0);
    io.run();
    CHECK(pair.acceptor->statistics().datagrams_received == 1);
    pair.dialler->close(1, "bye");
    CHECK(!pair.acceptor->why_closed());
    io.restart();
    io.run();
    REQUIRE(pair.acceptor->why_closed());
    CHECK(pair.acceptor->why_closed()->reason == "bye");
    CHECK(pair.link.deliveries() == 2);
}

TEST_CASE("rng: the sequence of a seed is fixed", "[sim]")
{
    sim::rng zero(0);
    // The published first outputs of SplitMix64.
    CHECK(zero.next() == 0xe220a8397b1dcdafU);
    CHECK(zero.next() == 0x6e789e6aa1b965f4U);
    CHECK(zero.next() == 0x06c45d188009454fU);
    sim::rng seven(7);
    for (int i = 0; i < 1000; ++i) CHECK(seven.below(3) < 3);
    CHECK(!seven.happens(0));
    CHECK(seven.happens(1000));
}
