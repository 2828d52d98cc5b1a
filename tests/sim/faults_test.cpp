// Plans of faults are data, and a driver that applies them leaves everything as it was.
#include "tests/catch.hpp"

#include <copse/core/race.hpp>
#include <copse/sim/faults.hpp>

#include <set>

using namespace copse;
using namespace std::chrono_literals;
using sim::fault_kind;

namespace {

awaitable<result<void>> wait_forever()
{
    const std::error_code ec = co_await sleep_for(24h);
    static_cast<void>(ec);
    co_return outcome::success();
}

sim::fault_options everything()
{
    sim::fault_options o;
    for (std::size_t i = 0; i < sim::fault_kinds; ++i) {
        o.choices.push_back({static_cast<fault_kind>(i)});
    }
    o.gap = 50ms;
    o.most = 1000;
    return o;
}

// Three machines with everything that can fail.
struct trio {
    explicit trio(std::uint64_t seed) : w(seed), net(w)
    {
        for (const char* name : {"a", "b", "c"}) {
            auto& m = w.add_machine(name);
            auto& h = net.add_host(m);
            h.up.loss = 7;
            disks.push_back(std::make_unique<sim::disk>(w, m));
            const auto start = [this, &m] {
                ++starts;
                m.start(wait_forever());
            };
            start();
            targets.push_back({&m, &h, disks.back().get(), start});
        }
    }

    unsigned starts = 0;
    sim::world w;
    sim::network net;
    std::vector<std::unique_ptr<sim::disk>> disks;
    std::vector<sim::fault_target> targets;
};

}  // namespace

TEST_CASE("faults: a plan is what its text says")
{
    sim::rng random(1);
    const auto plan = sim::draw_faults(random, everything(), 3);
    CHECK(plan.size() > 500);
    const std::string text = sim::to_text(plan);
    const auto again = sim::parse_fault_plan(text);
    REQUIRE(again);
    CHECK(again.value() == plan);
    std::set<fault_kind> kinds;
    for (const auto& f : plan) kinds.insert(f.kind);
    CHECK(kinds.size() == sim::fault_kinds);
    CHECK(sim::to_text({}) == "none");
    CHECK(sim::parse_fault_plan("none").value().empty());
    const auto two = sim::parse_fault_plan(" 7:partition:0-1+5\n3:clock_step:2+9=-4 ");
    REQUIRE(two);
    CHECK(sim::to_text(two.value()) == "3:clock_step:2+9=-4 7:partition:0-1+5");
}

TEST_CASE("hostile: copse::sim::parse_fault_plan")
{
    for (const char* wrong :
         {"", "1", "1:", "1:crash", "1:crash:", "1:crsh:0", "x:crash:0", "-1:crash:0", "1:crash:0+",
          "1:crash:0+-1", "1:crash:0=", "1:crash:0 none", "1:crash:0x", "1:crash:99999999999"}) {
        INFO(wrong);
        CHECK_FALSE(sim::parse_fault_plan(wrong));
    }
    std::string long_plan;
    for (std::size_t i = 0; i <= sim::max_plan_faults; ++i) long_plan += "1:crash:0 ";
    CHECK(sim::parse_fault_plan(long_plan).error() == std::errc::argument_list_too_long);
}

TEST_CASE("faults: choices are kept to")
{
    sim::rng random(2);
    sim::fault_options o;
    o.choices = {{fault_kind::loss, 1, {1}, 10ms, 5, 6},
                 {fault_kind::partition},
                 {fault_kind::crash, 1, {9}}};
    o.first = 1s;
    o.until = 100s;
    o.most = 60;
    const auto plan = sim::draw_faults(random, o, 2);
    CHECK(plan.size() == 60);
    for (const auto& f : plan) {
        CHECK(f.at > 1s);
        if (f.kind == fault_kind::loss) {
            CHECK(f.target == 1);
            CHECK((f.amount == 5 || f.amount == 6));
            CHECK(f.span <= 10ms);
        } else {
            CHECK(f.kind == fault_kind::partition);
            CHECK(f.target != f.other);
        }
    }
    CHECK(sim::draw_faults(random, o, 0).empty());
    CHECK(sim::draw_faults(random, {}, 2).empty());
}

TEST_CASE("faults: those that overlap add up, and end each at its own time")
{
    trio t(1);
    sim::fault_driver driver(t.w, &t.net, t.targets);
    const auto& up = t.targets[0].place->up;
    const auto& machine = *t.targets[0].computer;
    driver.schedule(
        sim::parse_fault_plan("1000:loss:0+4000=100 2000:loss:0+1000=50 "
                              "1000:freeze:0+2000 2000:freeze:0+3000 1000:disk_full:0+1000 "
                              "6000:slow:0+1000=5 6000:small_mtu:0+1000=1300 6000:delay:0+1000=3")
            .value());
    REQUIRE(t.w.run_for(1500us));
    CHECK(up.loss == 107);
    CHECK(machine.frozen());
    CHECK(t.disks[0]->options.capacity == t.disks[0]->used_bytes());
    REQUIRE(t.w.run_for(1ms));
    CHECK(up.loss == 157);
    CHECK(t.disks[0]->options.capacity == sim::disk_options().capacity);
    REQUIRE(t.w.run_for(1ms));
    CHECK(up.loss == 107);
    CHECK(machine.frozen());
    REQUIRE(t.w.run_for(2ms));
    CHECK(up.loss == 7);
    CHECK_FALSE(machine.frozen());
    REQUIRE(t.w.run_for(1ms));
    CHECK(up.bytes_per_second == 5);
    CHECK(up.mtu == 1300);
    CHECK(up.latency == sim::link_options().latency + 3ms);
    CHECK(driver.applied() == 8);
    driver.heal();
    CHECK(up.bytes_per_second == 0);
    CHECK(up.mtu == 1500);
    CHECK(up.latency == sim::link_options().latency);
}

TEST_CASE("faults: power comes back, and a machine that is off cannot crash")
{
    trio t(1);
    std::set<fault_kind> seen;
    sim::fault_driver driver(t.w, &t.net, t.targets, [&](fault_kind k) { seen.insert(k); });
    driver.schedule(
        sim::parse_fault_plan("1000:crash:1+5000 2000:crash:1+1 3000:crash:0 4000:crash:7")
            .value());
    REQUIRE(t.w.run_for(2500us));
    CHECK(driver.off(1));
    CHECK(t.targets[1].computer->running() == 0);
    CHECK(t.disks[1]->statistics().crashes == 1);
    REQUIRE(t.w.run_for(1ms));
    CHECK(t.starts == 4);
    CHECK(t.targets[0].computer->running() == 1);
    REQUIRE(t.w.run_for(10ms));
    CHECK_FALSE(driver.off(1));
    CHECK(t.starts == 5);
    CHECK(driver.applied() == 2);
    CHECK(seen == std::set{fault_kind::crash});
    driver.schedule(sim::parse_fault_plan("0:kill:1").value());
    REQUIRE(t.w.run_for(1ms));
    CHECK(t.starts == 6);
    CHECK(t.disks[1]->statistics().crashes == 1);
}

TEST_CASE("faults: whatever was planned, healing ends it")
{
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        trio t(seed);
        sim::rng random(seed);
        sim::fault_driver driver(t.w, &t.net, t.targets);
        driver.schedule(sim::draw_faults(random, everything(), 3));
        REQUIRE(t.w.run_for(20s));
        driver.heal();
        CHECK(driver.applied() > 100);
        for (std::size_t i = 0; i < 3; ++i) {
            const auto& target = t.targets[i];
            CHECK(target.computer->running() == 1);
            CHECK_FALSE(target.computer->frozen());
            CHECK(target.place->up.loss == 7);
            CHECK(target.place->down.loss == 0);
            CHECK(target.place->down.mtu == 1500);
            CHECK(target.place->down.bytes_per_second == 0);
            CHECK(target.storage->options.read_error == 0);
            CHECK(target.storage->options.capacity == sim::disk_options().capacity);
        }
        REQUIRE(t.w.run_for(1min));
        CHECK(t.targets[0].computer->running() == 1);
    }
}
