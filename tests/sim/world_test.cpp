#include "tests/catch.hpp"
#include "tests/quic/endpoints.hpp"

#include <copse/sim/interpose.ipp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

#include <optional>
#include <thread>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

awaitable<result<void>> tick(std::chrono::nanoseconds step, int n, std::vector<int>& out, int id)
{
    for (int i = 0; i < n; ++i) {
        const std::error_code ec = co_await sleep_for(step);
        if (ec) co_return ec;
        out.push_back(id);
    }
    co_return outcome::success();
}

quic::endpoint endpoint_on(sim::host& h)
{
    quic::endpoint_options o;
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(h.bind().value());
    return quic::endpoint::make(h.computer().life().get_executor(), o, std::move(sockets)).value();
}

awaitable<result<void>> serve(sim::host& h, endpoint_address& where)
{
    auto server = endpoint_on(h);
    where = server.address();
    where.paths = {server.bound_addresses().front()};
    scope serving(co_await asio::this_coro::executor);
    serving.spawn(echo_server(server.listen(echo_alpn)));
    const auto ended = co_await serving.join();
    co_await server.close();
    co_return ended;
}

awaitable<result<void>> dial(sim::host& h, const endpoint_address& where, std::size_t size)
{
    auto client = endpoint_on(h);
    const auto done = co_await dial_and_echo(client, where, size);
    co_await client.close();
    co_return done;
}

struct outcome_of_run {
    std::uint64_t hash;
    std::chrono::nanoseconds took;
    std::error_code failure;
    sim::network_statistics network;
};

outcome_of_run echo_here(std::uint64_t seed, sim::link_options link, std::size_t size)
{
    sim::world w(seed);
    sim::network net(w);
    auto& a = w.add_machine("server");
    auto& b = w.add_machine("client");
    auto& ha = net.add_host(a);
    auto& hb = net.add_host(b, sim::nat_kind::symmetric);
    ha.up = ha.down = hb.up = hb.down = link;
    endpoint_address where;
    a.start(serve(ha, where));
    REQUIRE(w.run_for(1ms));
    b.start(dial(hb, where, size));
    const auto ran = w.run_until([&] { return b.running() == 0; }, 10min);
    REQUIRE(ran);
    return {w.log_hash(), w.now(), b.failure(), net.statistics()};
}

// GnuTLS keeps the state of its generator for each thread: a fresh one for each run.
outcome_of_run echo_world(std::uint64_t seed, sim::link_options link, std::size_t size)
{
    outcome_of_run out;
    std::thread run([&] { out = echo_here(seed, link, size); });
    run.join();
    return out;
}

void move(sim::host& h, quic::endpoint* at)
{
    h.readdress({198, 19, 0, 1});
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(h.bind().value());
    if (at) static_cast<void>(at->rebind(std::move(sockets)));
}

// A client behind a NAT echoes, until the NAT forgets it at one time and it moves to another network later.
std::error_code echo_and_move_here(std::uint64_t seed, const sim::link_options& down,
                                   std::optional<std::chrono::nanoseconds> forgotten_after,
                                   std::chrono::nanoseconds moved_after)
{
    endpoint_address where;
    quic::endpoint* moving = nullptr;
    sim::world w(seed);
    sim::network net(w);
    auto& a = w.add_machine("server");
    auto& b = w.add_machine("client");
    auto& ha = net.add_host(a);
    auto& hb = net.add_host(b, sim::nat_kind::full_cone);
    hb.down = down;
    a.start(serve(ha, where));
    const auto program = [](sim::host& h, const endpoint_address& to,
                            quic::endpoint*& at) -> awaitable<result<void>> {
        auto client = endpoint_on(h);
        at = &client;
        const auto done = co_await dial_and_echo(client, to, 2 << 20);
        at = nullptr;
        co_await client.close();
        co_return done;
    };
    if (const auto ran = w.run_for(1ms); !ran) return ran.error();
    b.start(program(hb, where, moving));
    if (forgotten_after) w.after(*forgotten_after, [&] { hb.forget_mappings(); });
    w.after(moved_after, [&] { move(hb, moving); });
    const auto ran = w.run_until([&] { return b.running() == 0; }, 10min);
    return ran ? b.failure() : ran.error();
}

std::error_code echo_and_move(std::uint64_t seed, const sim::link_options& down,
                              std::optional<std::chrono::nanoseconds> forgotten_after,
                              std::chrono::nanoseconds moved_after)
{
    std::error_code failure;
    std::thread run(
        [&] { failure = echo_and_move_here(seed, down, forgotten_after, moved_after); });
    run.join();
    return failure;
}

}  // namespace

TEST_CASE("time passes only when nobody has anything to do")
{
    sim::world w(1);
    std::vector<int> order;
    auto& a = w.add_machine("a");
    auto& b = w.add_machine("b");
    a.start(tick(700ms, 3, order, 1));
    b.start(tick(1h, 2, order, 2));
    REQUIRE(w.run_until([&] { return a.running() + b.running() == 0; }, 3h));
    CHECK(w.now() == 2h);
    CHECK(order == std::vector{1, 1, 1, 2, 2});
}

TEST_CASE("a program that polls a timer without waiting is a livelock")
{
    sim::world w(1);
    auto& m = w.add_machine("m");
    auto& other = w.add_machine("other");
    std::vector<int> out;
    other.start(tick(1ms, 3, out, 1));
    m.start([]() -> awaitable<result<void>> {
        for (;;) {
            const std::error_code ec = co_await sleep_for(0ms);
            if (ec) co_return ec;
        }
    }());
    const auto ran = w.run_for(1s);
    REQUIRE(!ran);
    CHECK(ran.error() == sim::sim_errc::livelock);
}

TEST_CASE("a clock that drifts goes forward only, and its timers are due once")
{
    for (const std::int64_t drift : {-900'000, -100'000, -1, 1, 100'000, 900'000}) {
        INFO("drift " << drift);
        sim::world w(1);
        auto& m = w.add_machine("a");
        m.set_clock(0ms, drift);
        auto last = time_point::min();
        unsigned looks = 0;
        const auto program = [](time_point& at, unsigned& n) -> awaitable<result<void>> {
            for (int i = 0; i < 100; ++i) {
                const auto before = monotonic_clock::now();
                if (before < at) co_return make_error_code(std::errc::invalid_argument);
                const std::error_code ec = co_await sleep_for(777'777ns);
                if (ec) co_return ec;
                at = monotonic_clock::now();
                if (at < before + 777'777ns) co_return make_error_code(std::errc::timed_out);
                ++n;
            }
            co_return outcome::success();
        };
        m.start(program(last, looks));
        unsigned instants = 0;
        auto then = w.now();
        REQUIRE(w.run_until(
            [&] {
                if (w.now() != then) ++instants;
                then = w.now();
                return m.running() == 0;
            },
            1min));
        CHECK_FALSE(m.failure());
        CHECK(looks == 100);
        CHECK(instants == 100);
        const auto took = std::chrono::duration<double>(w.now()).count();
        const double wanted = 0.0777777 * 1e6 / static_cast<double>(1'000'000 + drift);
        CHECK(took >= wanted * 0.999);
        CHECK(took <= wanted * 1.001);
    }
}

TEST_CASE("QUIC endpoints talk in the world, the same way for the same seed")
{
    sim::link_options link;
    const auto warm = echo_world(1, link, 1);  // what libraries set up once for a process
    CHECK_FALSE(warm.failure);
    const auto first = echo_world(7, link, 1 << 20);
    CHECK_FALSE(first.failure);
    const auto again = echo_world(7, link, 1 << 20);
    CHECK(first.hash == again.hash);
    CHECK(first.took == again.took);
    const auto other = echo_world(8, link, 1 << 20);
    CHECK(first.hash != other.hash);
    link.loss = 20;
    link.reorder = 20;
    link.duplicate = 10;
    const auto lossy = echo_world(9, link, 1 << 20);
    CHECK_FALSE(lossy.failure);
    CHECK(lossy.network.lost > 0);
    CHECK(echo_world(9, link, 1 << 20).hash == lossy.hash);
}

TEST_CASE("an endpoint that moves in the world ends its connections' timers")
{
    sim::link_options down;
    down.bytes_per_second = 1'000'000;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        INFO("seed " << seed);
        CHECK_FALSE(echo_and_move(seed, down, std::nullopt, 300ms));
    }
}

TEST_CASE("an endpoint is bound anew many times before its loops run")
{
    sim::world w(1);
    sim::network net(w);
    auto& m = w.add_machine("moving");
    auto& h = net.add_host(m);
    quic::endpoint* moving = nullptr;
    const auto program = [](sim::host& at, quic::endpoint*& out) -> awaitable<result<void>> {
        auto made = endpoint_on(at);
        out = &made;
        const std::error_code ec = co_await sleep_for(10s);
        out = nullptr;
        co_await made.close();
        co_return ec;
    };
    m.start(program(h, moving));
    REQUIRE(w.run_for(1ms));
    REQUIRE(moving);
    m.freeze();
    for (const auto until_next : {100ms, 2000ms, 100ms}) {
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(h.bind().value());
        REQUIRE(moving->rebind(std::move(sockets)));
        REQUIRE(w.run_for(until_next));
    }
    m.thaw();
    REQUIRE(w.run_until([&] { return m.running() == 0; }, 1min));
    CHECK_FALSE(m.failure());
}

TEST_CASE("what is done to a program from outside takes effect at once")
{
    sim::world w(1);
    auto& m = w.add_machine("idle");
    const sim::incarnation life = m.life();
    std::vector<std::chrono::nanoseconds> ran;
    const auto post = [&] { asio::post(life.get_executor(), [&] { ran.push_back(w.now()); }); };
    REQUIRE(w.run_for(1s));
    post();
    w.after(2s, post);
    REQUIRE(w.run_for(5s));
    CHECK(ran == std::vector<std::chrono::nanoseconds>{1s, 3s});
}

TEST_CASE("a peer gets another address from its NAT, and soon moves to another network")
{
    sim::link_options down;
    down.bytes_per_second = 100'000;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        INFO("seed " << seed);
        CHECK_FALSE(echo_and_move(seed, down, 2s, 3s));
    }
}
