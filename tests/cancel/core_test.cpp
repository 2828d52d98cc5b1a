// Cancellation of the operations of core/.
#include "tests/cancel/harness.hpp"

#include <copse/core/event.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/core/rate_limit.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

const auto canceled = make_error_code(std::errc::operation_canceled);

awaitable<void> notify_later(event& e, bool& flag)
{
    const std::error_code ec = co_await sleep_for(10ms);
    static_cast<void>(ec);
    flag = true;
    e.notify_all();
}

struct sleep_scene : scene {
    using scene::scene;
    awaitable<std::error_code> operate() override
    {
        const std::error_code ec = co_await sleep_for(20ms);
        CHECK((ec ? on.now() < 20ms : on.now() == 20ms));
        co_return ec;
    }
};

struct event_scene : scene {
    explicit event_scene(stage& s) : scene(s), happened(s.get_executor()) {}
    awaitable<void> prepare() override
    {
        background.spawn(notify_later(happened, set));
        co_return;
    }
    awaitable<std::error_code> operate() override
    {
        while (!set) {
            const std::error_code ec = co_await happened.wait();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        // Another waiter is woken as if nothing had been.
        while (!set) {
            const std::error_code ec = co_await happened.wait();
            REQUIRE(!ec);
        }
    }
    event happened;
    bool set = false;
};

struct stubborn_event_scene : event_scene {
    using event_scene::event_scene;
    awaitable<std::error_code> operate() override
    {
        while (!set) co_await happened.wait_uncancelled();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        CHECK(set);
        co_return;
    }
};

/// What the entry of every coroutine thread does, and the question that loops ask.
struct entry_scene : scene {
    using scene::scene;
    awaitable<std::error_code> operate() override
    {
        for (int i = 0; i < 5; ++i) {
            const bool stop = co_await cancellation_requested();
            if (stop) {
                // The entry of a new part of the thread says it, and forgets it.
                const bool go_on = co_await enter_coroutine();
                CHECK(!go_on);
                const bool again = co_await cancellation_requested();
                CHECK(!again);
                co_return canceled;
            }
            co_await asio::post(on.get_executor(), asio::use_awaitable);
        }
        const bool go_on = co_await enter_coroutine();
        if (!go_on) co_return canceled;
        co_return std::error_code{};
    }
};

struct offload_scene : scene {
    explicit offload_scene(stage& s) : scene(s), pool(s), inline_pool(make_inline_pool()) {}
    awaitable<std::error_code> operate() override
    {
        // The buffer is the coroutine's: it must be there until the job has run.
        std::array<int, 64> buffer{};
        auto fill = [&buffer] {
            for (int& i : buffer) ++i;
            return buffer.size();
        };
        const std::size_t slow = co_await offload(pool, fill);
        CHECK(slow == buffer.size());
        const std::size_t quick = co_await offload(*inline_pool, fill);
        CHECK(quick == buffer.size());
        CHECK(buffer[63] == 2);
        stop_seen = co_await cancellation_requested();
        co_return std::error_code{};
    }
    later_pool pool;
    std::unique_ptr<offload_pool> inline_pool;
    bool stop_seen = false;
};

awaitable<result<int>> slowly(std::chrono::nanoseconds d, int value, int& running)
{
    ++running;
    const std::error_code ec = co_await sleep_for(d);
    --running;
    if (ec) co_return ec;
    co_return value;
}

/// Takes its time to give up what it holds.
awaitable<result<int>> reluctantly(executor ex, int& running)
{
    ++running;
    event never(ex);
    const std::error_code ec = co_await never.wait();
    for (int i = 0; i < 3; ++i) co_await asio::post(ex, asio::use_awaitable);
    --running;
    co_return ec;
}

struct race_scene : scene {
    using scene::scene;
    awaitable<std::error_code> operate() override
    {
        const auto won =
            co_await race(slowly(10ms, 7, running), reluctantly(on.get_executor(), running));
        CHECK(running == 0);  // both are joined, however it ended
        if (!won) co_return won.error();
        CHECK(won.value() == 7);
        co_return std::error_code{};
    }
    int running = 0;
};

struct timeout_scene : scene {
    timeout_scene(stage& s, std::chrono::nanoseconds l) : scene(s), limit(l) {}
    awaitable<std::error_code> operate() override
    {
        const auto value = co_await with_timeout(slowly(10ms, 7, running), limit);
        CHECK(running == 0);
        if (!value && value.error() == std::errc::timed_out) {
            CHECK(limit == 5ms);
            CHECK(on.now() == limit);
            co_return std::error_code{};
        }
        if (!value) co_return value.error();
        CHECK(limit > 5ms);
        CHECK(value.value() == 7);
        co_return std::error_code{};
    }
    std::chrono::nanoseconds limit;
    int running = 0;
};

struct rate_scene : scene {
    rate_scene(stage& s, bool r) : scene(s), limiter(1000, 100), only_ready(r) {}
    awaitable<void> prepare() override
    {
        limiter.charge(500);  // 400 ms more than the bucket holds
        co_return;
    }
    awaitable<std::error_code> operate() override
    {
        std::error_code ec;
        if (only_ready) ec = co_await limiter.ready();
        else ec = co_await limiter.take(100);
        co_return ec;
    }
    awaitable<void> afterwards(std::error_code) override
    {
        // What was booked stays booked, cancelled or not.
        const std::error_code ec = co_await limiter.take(50);
        CHECK(!ec);
        CHECK(on.now() == (only_ready ? 450ms : 550ms));
    }
    rate_limiter limiter;
    bool only_ready;
};

awaitable<result<void>> child_of(executor ex, std::chrono::nanoseconds d, int& running)
{
    const auto value = co_await race(slowly(d, 1, running), reluctantly(ex, running));
    if (!value) co_return value.error();
    co_return outcome::success();
}

struct join_scene : scene {
    explicit join_scene(stage& s) : scene(s), children(s.get_executor()) {}
    awaitable<void> prepare() override
    {
        for (int i = 1; i <= 3; ++i) children.spawn(child_of(on.get_executor(), i * 5ms, running));
        co_return;
    }
    awaitable<std::error_code> operate() override
    {
        const auto joined = co_await children.join();
        CHECK(children.running() == 0);
        CHECK(running == 0);
        asked = children.stopping();
        // What the children said because they were asked to stop is no failure of theirs.
        if (!joined) co_return joined.error();
        if (asked) co_return canceled;
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(asked == bool(ec));
        co_return;
    }
    scope children;
    int running = 0;
    bool asked = false;
};

struct wait_below_scene : join_scene {
    using join_scene::join_scene;
    awaitable<std::error_code> operate() override
    {
        const std::error_code ec = co_await children.wait_below(2);
        if (!ec) CHECK(children.running() < 2);
        CHECK(!children.stopping());
        co_return ec;
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const std::error_code ec = co_await children.wait_below(2);
        CHECK(!ec);
        CHECK(on.now() == 10ms);
        const auto joined = co_await children.join();
        CHECK(joined);
    }
};

}  // namespace

TEST_CASE("cancel: copse::sleep_for")
{
    cancel_everywhere<sleep_scene>("copse::sleep_for");
}

TEST_CASE("cancel: copse::event::wait")
{
    cancel_everywhere<event_scene>("copse::event::wait");
}

TEST_CASE("cancel: copse::event::wait_uncancelled (goes on)")
{
    cancel_rules rules;
    rules.has_effect = false;
    rules.within = 20ms;
    cancel_everywhere<stubborn_event_scene>("copse::event::wait_uncancelled", rules);
}

TEST_CASE("cancel: copse::enter_coroutine, copse::cancellation_requested")
{
    cancel_everywhere<entry_scene>("copse::enter_coroutine");
}

TEST_CASE("cancel: copse::offload (goes on)")
{
    cancel_rules rules;
    rules.has_effect = false;
    rules.within = 20ms;
    cancel_everywhere<offload_scene>("copse::offload", rules);
}

TEST_CASE("cancel: copse::race")
{
    cancel_everywhere<race_scene>("copse::race");
}

TEST_CASE("cancel: copse::with_timeout")
{
    cancel_everywhere<timeout_scene>("copse::with_timeout (in time)", std::chrono::nanoseconds(1s));
    cancel_everywhere<timeout_scene>("copse::with_timeout (late)", std::chrono::nanoseconds(5ms));
}

TEST_CASE("cancel: copse::rate_limiter::take, copse::rate_limiter::ready")
{
    cancel_everywhere<rate_scene>("copse::rate_limiter::take", false);
    cancel_everywhere<rate_scene>("copse::rate_limiter::ready", true);
}

TEST_CASE("cancel: copse::scope::join")
{
    cancel_everywhere<join_scene>("copse::scope::join");
}

TEST_CASE("cancel: copse::scope::wait_below")
{
    cancel_everywhere<wait_below_scene>("copse::scope::wait_below");
}
