// What an endpoint may reserve and queue: at each limit the thing waits or is refused, and all comes back.
#include "tests/limit_row.hpp"
#include "tests/quic/endpoints.hpp"

#include <copse/core/memory.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t own_bytes = 1U << 20;        // of an endpoint
constexpr std::size_t send_bytes = 64U << 10;      // that each connection has for itself
constexpr std::size_t receive_bytes = 512U << 10;  // its first window
constexpr std::size_t state_bytes = 96U << 10;     // what it takes itself
constexpr auto connection_bytes = send_bytes + receive_bytes + state_bytes;

struct refused_so_far {
    std::uint64_t connection = row_of("quic: send queue of a connection").refusals;
    std::uint64_t endpoint = row_of("quic: send queues").refusals;
    std::uint64_t credit = row_of("quic: receive credit").refusals;
};

void check_all_returned()
{
    for (const limit_row& row : limits()) {
        if (!row.name.starts_with("quic: ")) continue;
        INFO(row.name);
        CHECK(row.used == 0);
        CHECK(row.instances == 0);
    }
}

awaitable<void> count_bytes(std::shared_ptr<connection> c, std::size_t& total)
{
    auto s = co_await c->accept_uni();
    REQUIRE(s);
    const auto got = co_await read_all(*s.value());
    REQUIRE(got);
    total += got.value().size();
}

}  // namespace

TEST_CASE("quic: an endpoint without room in memory is an error, not more", "[quic]")
{
    memory_budget memory("test: too little", own_bytes - 1);
    const auto make = [&memory]() -> awaitable<result<void>> {
        auto options = loopback_options();
        options.memory = &memory;
        auto made = quic::endpoint::make(co_await asio::this_coro::executor, options);
        REQUIRE(!made);
        CHECK(made.error() == std::errc::not_enough_memory);
        co_return outcome::success();
    };
    REQUIRE(run_until_complete(make()));
    CHECK(memory.used() == 0);
    CHECK(memory.refusals() == 1);
    check_all_returned();
}

TEST_CASE("quic: a dial that finds no memory fails, and one after a close does not", "[quic]")
{
    memory_budget memory("test: for a dialler", own_bytes + connection_bytes);
    auto tight = loopback_options();
    tight.memory = &memory;
    run_pair(
        [&memory](pair_of_endpoints& p) -> awaitable<void> {
            both_ends first = co_await meet(p);
            CHECK(memory.used() == memory.capacity());
            const auto second =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(!second);
            CHECK(second.error() == transport_errc::limit_reached);
            CHECK(!first.near->why_closed());
            first.near->close(0, {});
            const both_ends third = co_await meet(p);
            CHECK(third.near->alpn() == plain_alpn);
        },
        loopback_options(), tight);
    CHECK(memory.used() == 0);
    CHECK(memory.peak() == memory.capacity());
    check_all_returned();
}

TEST_CASE("quic: diallers are refused by an endpoint that finds no memory for them", "[quic]")
{
    memory_budget memory("test: for a listener", own_bytes + connection_bytes);
    auto tight = loopback_options();
    tight.memory = &memory;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends first = co_await meet(p);
            const auto second =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(!second);
            CHECK(second.error() == transport_errc::refused);
            CHECK(p.server.statistics().refused_full == 1);
            CHECK(p.server.connection_count() == 1);
            CHECK(!first.far->why_closed());
        },
        tight);
    CHECK(memory.used() == 0);
    check_all_returned();
}

TEST_CASE("quic: streams share the connection's send queue, and none is forgotten", "[quic]")
{
    const refused_so_far before;
    auto small = loopback_options();
    small.connection_send_buffer = 64U << 10;
    run_pair(
        [&before](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            scope writing(c.near->get_executor());
            auto stalled = co_await c.near->open_uni();
            REQUIRE(stalled);
            writing.spawn(write_all(*stalled.value(), pattern(300'000)));
            // Nobody reads: all of the stream's window is acknowledged, and the queue behind it is full.
            while (stalled.value()->acknowledged_bytes() < 64U << 10) co_await pause(1ms);
            CHECK(row_of("quic: send queue of a connection").used == 64U << 10);

            auto waits = co_await c.near->open_uni();
            REQUIRE(waits);
            const auto refusals = row_of("quic: send queue of a connection").refusals;
            CHECK(refusals > before.connection);
            writing.spawn(write_all(*waits.value(), pattern(100'000)));
            while (row_of("quic: send queue of a connection").refusals == refusals)
                co_await pause(1ms);
            CHECK(row_of("quic: send queue of a connection").used == 64U << 10);
            CHECK(waits.value()->acknowledged_bytes() == 0);

            std::size_t total = 0;
            scope reading(c.far->get_executor());
            for (int i = 0; i < 2; ++i) reading.spawn(count_bytes(c.far, total));
            const auto read = co_await reading.join();
            CHECK(read);
            CHECK(total == 400'000);
            const auto written = co_await writing.join();
            CHECK(written);
            CHECK(row_of("quic: send queue of a connection").used <= 64U << 10);
        },
        loopback_options(), small);
    CHECK(row_of("quic: send queues").refusals == before.endpoint);
    check_all_returned();
}

TEST_CASE("quic: writers that are reset, stopped or closed leave the queue to others", "[quic]")
{
    auto small = loopback_options();
    small.connection_send_buffer = 64U << 10;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            scope writing(c.near->get_executor());
            auto first = co_await c.near->open_uni();
            REQUIRE(first);
            writing.spawn(write_all(*first.value(), pattern(300'000)));
            while (first.value()->acknowledged_bytes() < 64U << 10) co_await pause(1ms);
            auto second = co_await c.near->open_uni();
            REQUIRE(second);
            const auto refusals = row_of("quic: send queue of a connection").refusals;
            writing.spawn(write_all(*second.value(), pattern(100'000)));
            while (row_of("quic: send queue of a connection").refusals == refusals)
                co_await pause(1ms);
            first.value()->reset(1);  // its unsent part makes room
            while (second.value()->acknowledged_bytes() < 64U << 10) co_await pause(1ms);

            // The other end of a waiting writer: the peer wants no more, or the connection ends.
            auto theirs = co_await c.far->accept_uni();
            REQUIRE(theirs);
            auto also = co_await c.far->accept_uni();
            REQUIRE(also);
            theirs.value()->stop(2);
            also.value()->stop(2);
            const auto written = co_await writing.join();
            CHECK(written);
            while (row_of("quic: send queue of a connection").used > 0) co_await pause(1ms);

            auto third = co_await c.near->open_uni();
            REQUIRE(third);
            scope last(c.near->get_executor());
            last.spawn(write_all(*third.value(), pattern(300'000)));
            while (third.value()->acknowledged_bytes() < 64U << 10) co_await pause(1ms);
            c.near->close(0, {});
            const auto ended = co_await last.join();
            CHECK(ended);
        },
        loopback_options(), small);
    check_all_returned();
}

TEST_CASE("quic: a connection that queues much leaves the others their part", "[quic]")
{
    const refused_so_far before;
    auto small = loopback_options();
    small.send_budget = 3 * send_bytes;
    run_pair(
        [&before](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends greedy = co_await meet(p);
            const both_ends modest = co_await meet(p);
            scope writing(greedy.near->get_executor());
            auto much = co_await greedy.near->open_uni();
            REQUIRE(much);
            writing.spawn(write_all(*much.value(), pattern(500'000)));
            while (much.value()->acknowledged_bytes() < 64U << 10) co_await pause(1ms);
            CHECK(row_of("quic: send queue of a connection").used == 2 * send_bytes);
            CHECK(row_of("quic: send queues").refusals > before.endpoint);

            auto none = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(!none);
            CHECK(none.error() == transport_errc::limit_reached);

            std::size_t total = 0;
            scope reading(modest.far->get_executor());
            reading.spawn(count_bytes(modest.far, total));
            auto little = co_await modest.near->open_uni();
            REQUIRE(little);
            co_await write_all(*little.value(), pattern(200'000));
            const auto arrived = co_await little.value()->acknowledged();
            CHECK(arrived);
            const auto read = co_await reading.join();
            CHECK(read);
            CHECK(total == 200'000);

            scope catching_up(greedy.far->get_executor());
            catching_up.spawn(count_bytes(greedy.far, total));
            const auto caught = co_await catching_up.join();
            CHECK(caught);
            CHECK(total == 700'000);
            const auto written = co_await writing.join();
            CHECK(written);
        },
        loopback_options(), small);
    check_all_returned();
}

TEST_CASE("quic: many small parts fill the send queue too", "[quic]")
{
    auto small = loopback_options();
    small.connection_send_buffer = 64U << 10;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            p.to_server->drop = 1000;
            auto s = co_await c.near->open_uni();
            REQUIRE(s);
            std::size_t parts = 0;
            for (;;) {
                auto writing = s.value()->write_copy(pattern(1));
                const auto written = co_await with_timeout(std::move(writing), 30ms);
                if (!written) break;
                ++parts;
            }
            CHECK(parts == (64U << 10) / 65);
        },
        loopback_options(), small);
    check_all_returned();
}

TEST_CASE("quic: datagrams without room in the budgets are refused or dropped", "[quic]")
{
    memory_budget memory("test: for datagrams", own_bytes + connection_bytes);
    auto tight = loopback_options();
    tight.memory = &memory;
    const refused_so_far before;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const both_ends c = co_await meet(p);
            const auto refused = c.far->send_datagram(shared_bytes::copy(pattern(10)));
            REQUIRE(!refused);
            CHECK(refused.error() == transport_errc::limit_reached);
            REQUIRE(c.near->send_datagram(shared_bytes::copy(pattern(10))));
            while (c.far->statistics().datagrams_dropped_received == 0) co_await pause(1ms);
            CHECK(c.far->statistics().datagrams_received == 1);
        },
        tight);
    CHECK(row_of("quic: send queues").refusals == before.endpoint + 1);
    CHECK(row_of("quic: receive credit").refusals == before.credit + 1);
    CHECK(memory.used() == 0);
    check_all_returned();
}

TEST_CASE("quic: connections, handshakes and backlogs are rows of the table", "[quic]")
{
    auto one = loopback_options();
    one.max_connections = 1;
    const std::uint64_t refused = row_of("quic: connections").refusals;
    run_pair(
        [](pair_of_endpoints& p) -> awaitable<void> {
            const auto dialled =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(dialled);
            while (row_of("quic: accept backlog").used == 0) co_await pause(1ms);
            CHECK(row_of("quic: accept backlog").used == 1);
            const auto accepted = co_await p.plain.accept();
            REQUIRE(accepted);
            CHECK(row_of("quic: accept backlog").used == 0);
            CHECK(row_of("quic: connections").used == 2);  // one at each end
            CHECK(row_of("quic: connections").unit == limit_unit::count);
            CHECK(row_of("quic: handshakes").used == 0);
            CHECK(row_of("quic: handshakes").peak >= 1);
            const auto second =
                co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(!second);
            CHECK(second.error() == transport_errc::limit_reached);
        },
        loopback_options(), one);
    CHECK(row_of("quic: connections").refusals == refused + 1);
    check_all_returned();
}
