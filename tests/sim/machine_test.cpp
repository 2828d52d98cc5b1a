// Machines that crash, freeze, restart and have wrong clocks; their offload pools.
#include "tests/catch.hpp"

#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/sim/disk.hpp>
#include <copse/sim/pool.hpp>
#include <copse/sim/world.hpp>

#include <set>

using namespace copse;
using namespace std::chrono_literals;

namespace {

/// Counts itself as long as it runs.
struct resident {
    explicit resident(int& n) : count(n) { ++count; }
    resident(const resident&) = delete;
    resident& operator=(const resident&) = delete;
    ~resident() { --count; }
    int& count;
};

awaitable<result<void>> write_down(sim::disk& d, int& alive, int& boots)
{
    const resident here(alive);
    const auto fs = d.mount();
    open_options how;
    how.write = how.create = true;
    const auto f = fs->open("/boots", how).value();
    const auto size = f->size();
    boots = static_cast<int>(size.value()) + 1;
    const std::byte mark{1};
    for (;;) {
        const auto written = f->write_at(std::span(&mark, 1), size.value());
        if (!written) co_return written.error();
        const auto synced = f->sync();
        if (!synced) co_return synced.error();
        const auto named = fs->sync_directory("/");
        if (!named) co_return named.error();
        const std::error_code ec = co_await sleep_for(1s);
        if (ec) co_return outcome::success();
    }
}

awaitable<result<void>> note_clocks(time_point& monotonic, std::chrono::nanoseconds& wall,
                                    std::chrono::nanoseconds wait)
{
    const std::error_code ec = co_await sleep_for(wait);
    if (ec) co_return ec;
    monotonic = monotonic_clock::now();
    wall = wall_time();
    co_return outcome::success();
}

awaitable<result<void>> work(sim::world& w, sim::machine& m, const sim::pool_options& options,
                             std::vector<int>& order, std::vector<std::chrono::nanoseconds>& ends)
{
    sim::pool p(w, m, options);
    scope jobs(co_await asio::this_coro::executor);
    auto one = [](sim::world& in, sim::pool& on, int id, std::vector<int>& out,
                  std::vector<std::chrono::nanoseconds>& when) -> awaitable<void> {
        auto job = [&out, id] {
            out.push_back(id);
            return id;
        };
        const int same = co_await offload(on, job);
        CHECK(same == id);
        when.push_back(in.now());
    };
    for (int id = 0; id < 6; ++id) jobs.spawn(one(w, p, id, order, ends));
    co_return co_await jobs.join();
}

}  // namespace

TEST_CASE("machine: a crash ends programs without effect, a restart finds the disk")
{
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::disk d(w, m);
    int alive = 0;
    int boots = 0;
    for (int life = 1; life <= 5; ++life) {
        m.start(write_down(d, alive, boots));
        REQUIRE(w.run_for(1500ms));
        CHECK(boots == life);
        CHECK(alive == 1);
        CHECK(m.running() == 1);
        const auto changes = d.statistics().changes;
        m.crash();
        d.crash();
        CHECK(m.running() == 0);
        REQUIRE(w.run_for(1500ms));
        CHECK(alive == 0);
        CHECK(d.statistics().changes == changes);
    }
    m.start(write_down(d, alive, boots));
    REQUIRE(w.run_for(1s));
    m.stop();
    REQUIRE(w.run_until([&] { return m.running() == 0; }, 1min));
    CHECK(alive == 0);
    CHECK_FALSE(m.failure());
}

TEST_CASE("machine: a frozen one does nothing, then goes on late")
{
    sim::world w(1);
    auto& m = w.add_machine("m");
    time_point monotonic{};
    std::chrono::nanoseconds wall{};
    m.start(note_clocks(monotonic, wall, 1s));
    REQUIRE(w.run_for(500ms));
    const time_point begin = monotonic_clock::now() - 500ms;
    m.freeze();
    CHECK(m.frozen());
    REQUIRE(w.run_for(10s));
    CHECK(m.running() == 1);
    m.thaw();
    REQUIRE(w.run_until([&] { return m.running() == 0; }, 1min));
    CHECK(w.now() == 10500ms);
    CHECK(monotonic - begin == 10500ms);
}

TEST_CASE("machine: its clocks may be wrong, those of others are not")
{
    sim::world w(1);
    auto& fast = w.add_machine("fast");
    auto& right = w.add_machine("right");
    REQUIRE(w.run_for(1s));
    fast.set_clock(-24h, 500'000);  // a day behind, and three seconds for two
    time_point at[2];
    std::chrono::nanoseconds wall[2];
    const time_point begin = monotonic_clock::now();
    const std::chrono::nanoseconds date = wall_time();
    fast.start(note_clocks(at[0], wall[0], 3s));
    REQUIRE(w.run_until([&] { return fast.running() == 0; }, 1min));
    CHECK(w.now() >= 3s);
    CHECK(w.now() < 3s + 10us);
    CHECK(at[0] - begin >= 3s);
    CHECK(at[0] - begin < 3s + 10us);
    CHECK(wall[0] == date - 24h + w.now() - 1s);
    right.start(note_clocks(at[1], wall[1], 3s));
    const auto before = w.now();
    REQUIRE(w.run_until([&] { return right.running() == 0; }, 1min));
    CHECK(w.now() == before + 3s);
    CHECK(wall[1] == date + w.now() - 1s);
}

TEST_CASE("pool: jobs take time of the world and end in any order")
{
    std::set<std::vector<int>> orders;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        sim::world w(seed);
        auto& m = w.add_machine("m");
        sim::pool_options options;
        options.threads = 2;
        options.delay = 10ms;
        std::vector<int> order;
        std::vector<std::chrono::nanoseconds> ends;
        m.start(work(w, m, options, order, ends));
        REQUIRE(w.run_until([&] { return m.running() == 0; }, 1min));
        REQUIRE(ends.size() == 6);
        CHECK(ends.front() > 0ns);
        CHECK(ends.back() < 60ms);
        auto sorted = order;
        std::ranges::sort(sorted);
        CHECK(sorted == std::vector{0, 1, 2, 3, 4, 5});
        CHECK((order[0] == 0 || order[0] == 1));  // two at a time
        orders.insert(order);
    }
    CHECK(orders.size() > 5);
}

TEST_CASE("pool: a stall holds a job up, and those that wait for its thread")
{
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::pool_options options;
    options.threads = 1;
    options.delay = 0ns;
    options.stall = 1000;
    options.stall_time = 2s;
    std::vector<int> order;
    std::vector<std::chrono::nanoseconds> ends;
    m.start(work(w, m, options, order, ends));
    REQUIRE(w.run_until([&] { return m.running() == 0; }, 1min));
    CHECK(ends == std::vector<std::chrono::nanoseconds>{2s, 4s, 6s, 8s, 10s, 12s});
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5});
}

TEST_CASE("pool: frozen and crashed machines")
{
    sim::world w(1);
    auto& m = w.add_machine("m");
    sim::pool_options options;
    options.threads = 1;
    options.delay = 0ns;
    options.stall = 1000;
    std::vector<int> order;
    std::vector<std::chrono::nanoseconds> ends;
    m.start(work(w, m, options, order, ends));
    REQUIRE(w.run_for(1s));
    m.freeze();
    REQUIRE(w.run_for(1h));
    CHECK(order.empty());
    m.thaw();
    REQUIRE(w.run_for(1s));
    CHECK(order.size() == 1);
    // All jobs end before the programs of a crashed machine are buried: here at once.
    const auto now = w.now();
    m.crash();
    REQUIRE(w.run_for(0s));
    CHECK(order.size() == 6);
    CHECK(w.now() == now);
    CHECK(ends.size() == 6);
}
