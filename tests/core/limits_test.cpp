// Memory divided among pools, and the table of all limits.
#include "tests/catch.hpp"
#include "tests/limit_row.hpp"

#include <copse/core/clock.hpp>
#include <copse/core/limits.hpp>
#include <copse/core/memory.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace copse;
using copse::test::row_of;

namespace {

// A wall clock that stands still at a time of the test's choice.
class standing_clock final : public clock_source {
public:
    standing_clock() : outer_(install_clock(this)) {}
    ~standing_clock() override { install_clock(outer_); }
    time_point monotonic() noexcept override { return time_point(at); }
    std::chrono::nanoseconds wall() noexcept override { return at; }
    std::chrono::nanoseconds real_wait(std::chrono::nanoseconds wait) noexcept override
    {
        return wait;
    }
    std::chrono::nanoseconds at{0};

private:
    clock_source* outer_;
};

}  // namespace

TEST_CASE("limits: a row follows what its budget lends and refuses", "[core]")
{
    standing_clock clock;
    clock.at = std::chrono::seconds(1000);
    {
        budget places("test: places", 10, limit_unit::count);
        credit some = places.try_take(7);
        const limit_row busy = row_of("test: places");
        CHECK(busy.unit == limit_unit::count);
        CHECK(busy.instances == 1);
        CHECK(busy.capacity == 10);
        CHECK(busy.used == 7);
        CHECK(busy.peak == 7);
        CHECK(busy.refusals == 0);
        CHECK_FALSE(busy.last_refusal);

        clock.at = std::chrono::seconds(1200);
        CHECK_FALSE(places.try_take(4));
        CHECK(places.take_up_to(4).amount() == 3);  // all that is left: no refusal
        some.give_back(6);
        const limit_row calm = row_of("test: places");
        CHECK(calm.used == 1);
        CHECK(calm.peak == 10);
        CHECK(calm.refusals == 1);
        CHECK(calm.last_refusal == std::chrono::seconds(1200));
    }
    const limit_row gone = row_of("test: places");
    CHECK(gone.instances == 0);
    CHECK(gone.capacity == 0);
    CHECK(gone.used == 0);
    CHECK(gone.peak == 10);
    CHECK(gone.refusals == 1);
    CHECK(gone.last_refusal == std::chrono::seconds(1200));
}

TEST_CASE("limits: instances of one name share a row, also when some are gone", "[core]")
{
    std::optional<budget> first(std::in_place, "test: many", 10);
    std::optional<budget> second(std::in_place, "test: many", 20);
    std::optional<budget> third(std::in_place, "test: many", SIZE_MAX);
    const credit a = first->try_take(3);
    credit b = second->try_take(8);
    CHECK_FALSE(second->try_take(13));
    CHECK(row_of("test: many").instances == 3);
    CHECK(row_of("test: many").capacity == SIZE_MAX);
    CHECK(row_of("test: many").used == 11);
    CHECK(row_of("test: many").peak == 8);
    b.reset();
    second.reset();  // from the middle of the list
    CHECK_FALSE(first->try_take(8));
    CHECK(row_of("test: many").instances == 2);
    CHECK(row_of("test: many").used == 3);
    CHECK(row_of("test: many").peak == 8);
    CHECK(row_of("test: many").refusals == 2);
    third.reset();
    CHECK(row_of("test: many").capacity == 10);
}

TEST_CASE("limits: the table is sorted and readable as text", "[core]")
{
    standing_clock clock;
    clock.at = std::chrono::seconds(5);
    budget last("test: z", 2, limit_unit::count);
    budget early("test: a", 100);
    const credit some = early.try_take(60);
    CHECK_FALSE(early.try_take(60));
    const auto table = limits();
    CHECK(std::ranges::is_sorted(table, {}, &limit_row::name));
    const std::string text = to_text(table, std::chrono::seconds(12));
    CHECK(text.find("test: a: 60 of 100 bytes, most 60, refused 1, last 7 s ago\n") !=
          std::string::npos);
    CHECK(text.find("test: z: 0 of 2, most 0\n") != std::string::npos);
}

TEST_CASE("limits: the table is read while budgets come, lend and go elsewhere", "[core]")
{
    std::atomic<bool> stop{false};
    std::thread other([&stop] {
        while (!stop) {
            budget busy("test: busy", 100);
            const credit some = busy.try_take(60);
            const credit none = busy.try_take(60);
        }
    });
    std::uint64_t refusals = 0;
    while (refusals < 100) {
        const limit_row now = row_of("test: busy");
        CHECK(now.refusals >= refusals);
        CHECK((now.used == 0 || now.used == 60));
        CHECK(now.instances <= 1);
        refusals = now.refusals;
    }
    stop = true;
    other.join();
    CHECK(row_of("test: busy").used == 0);
}

TEST_CASE("memory_budget: what is reserved never exceeds it", "[core]")
{
    memory_budget memory("test: memory", 100);
    memory_share a = memory.try_reserve(60);
    REQUIRE(a);
    CHECK_FALSE(memory.try_reserve(41));
    CHECK(memory.refusals() == 1);
    memory_share b = memory.try_reserve(40);
    CHECK(b);
    CHECK(memory.try_reserve(0));
    CHECK(memory.used() == 100);
    CHECK(row_of("test: memory").used == 100);
    a = std::move(b);
    CHECK(memory.used() == 40);
    CHECK(a.bytes() == 40);
    a.reset();
    CHECK_FALSE(a);
    CHECK(memory.used() == 0);
    CHECK(memory.peak() == 100);
}

TEST_CASE("memory_budget: one may be a part of another", "[core]")
{
    memory_budget whole("test: whole", 100);
    memory_budget part("test: part", 80, &whole);
    memory_share a = part.try_reserve(50);
    CHECK(whole.used() == 50);
    memory_share b = whole.try_reserve(30);
    CHECK_FALSE(part.try_reserve(21));  // there is room here, but not in the whole
    CHECK(part.refusals() == 1);
    CHECK(whole.refusals() == 1);
    CHECK(part.used() == 50);
    CHECK_FALSE(part.try_reserve(31));  // not here: the whole is not asked
    CHECK(whole.refusals() == 1);
    a.absorb(part.try_reserve(20));
    CHECK(a.bytes() == 70);
    CHECK(whole.used() == 100);
    a.reset();
    CHECK(part.used() == 0);
    CHECK(whole.used() == 30);
}

TEST_CASE("memory_budget: it cannot be made smaller than what is reserved", "[core]")
{
    memory_budget memory("test: resized", 100);
    const memory_share a = memory.try_reserve(60);
    CHECK(memory.resize(59).error() == std::errc::not_enough_memory);
    CHECK(memory.capacity() == 100);
    CHECK(memory.resize(60));
    CHECK_FALSE(memory.try_reserve(1));
    CHECK(memory.resize(200));
    CHECK(memory.try_reserve(140));
}

TEST_CASE("budget: what is drawn from memory follows what is lent, a step ahead", "[core]")
{
    memory_budget memory("test: source", 100);
    {
        budget drawn("test: drawn", 1000, memory, 10);
        CHECK(memory.used() == 0);
        credit a = drawn.try_take(1);
        CHECK(memory.used() == 10);
        credit b = drawn.try_take(9);
        CHECK(memory.used() == 10);
        credit c = drawn.try_take(25);
        CHECK(memory.used() == 40);
        CHECK(drawn.capacity() == 1000);
        CHECK_FALSE(drawn.try_take(66));  // 100 in all
        CHECK(drawn.refusals() == 1);
        CHECK(memory.refusals() == 1);
        CHECK(memory.used() == 40);
        credit d = drawn.try_take(65);
        CHECK(d);
        CHECK(memory.used() == 100);
        CHECK(drawn.take_up_to(5).amount() == 0);
        d.reset();
        CHECK(memory.used() == 45);  // 35 lent and a step
        a.reset();
        b.reset();
        c.reset();
        CHECK(drawn.used() == 0);
        CHECK(memory.used() == 10);
    }
    CHECK(memory.used() == 0);
}

TEST_CASE("budget: memory that is nearly used up is still lent to the last byte", "[core]")
{
    memory_budget memory("test: scarce", 100);
    const memory_share other = memory.try_reserve(95);
    budget drawn("test: thirsty", 1000, memory, 10);
    CHECK_FALSE(drawn.try_take(6));
    credit five = drawn.try_take(5);
    CHECK(five);
    CHECK_FALSE(drawn.try_take(1));
    five.give_back(2);
    CHECK(drawn.take_up_to(10).amount() == 2);
    budget small("test: small", 3, memory, 10);
    CHECK_FALSE(small.try_take(4));  // its own capacity: memory is not asked
    CHECK(memory.refusals() == 3);
    five.reset();
}

TEST_CASE("memory_budget: pools on several threads never have more than it together", "[core]")
{
    memory_budget memory("test: shared", 1000);
    std::atomic<bool> exceeded{false};
    const auto work = [&](std::size_t step) {
        budget mine("test: of a thread", 700, memory, step);
        for (std::size_t i = 0; i < 5000; ++i) {
            const credit some = mine.try_take(i % 400);
            if (memory.used() > memory.capacity()) exceeded = true;
        }
    };
    std::vector<std::thread> threads;
    for (const std::size_t step : {1U, 16U, 100U}) threads.emplace_back(work, step);
    for (auto& t : threads) t.join();
    CHECK_FALSE(exceeded);
    CHECK(memory.used() == 0);
    CHECK(memory.peak() <= 1000);
}

TEST_CASE("process_memory: there is one, with the default until it is resized", "[core]")
{
    CHECK(process_memory().capacity() == default_process_memory);
    CHECK(&process_memory() == &process_memory());
    CHECK(row_of("process memory").capacity == default_process_memory);
}
