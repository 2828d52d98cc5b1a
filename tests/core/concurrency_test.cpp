#include "catch.hpp"

#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>

#include <csignal>
#include <stdexcept>
#include <string>

using namespace copse;
using namespace std::chrono_literals;

namespace {

const auto io_error = std::make_error_code(std::errc::io_error);
const auto cancelled = std::make_error_code(std::errc::operation_canceled);

awaitable<result<int>> give(int value)
{
    co_return value;
}

awaitable<result<int>> give_after(event& when, int value)
{
    const std::error_code ec = co_await when.wait();
    if (ec) co_return ec;
    co_return value;
}

awaitable<result<int>> fail_with(std::error_code ec)
{
    co_return ec;
}

awaitable<result<int>> throw_text(std::string text)
{
    co_await asio::this_coro::executor;
    throw std::runtime_error(text);
}

// Waits until it is cancelled, then says so in `ended`.
awaitable<result<int>> wait_for_ever(event& never, bool& ended)
{
    const std::error_code ec = co_await never.wait();
    ended = true;
    co_return ec;
}

awaitable<result<void>> child_waits(event& never, bool& ended)
{
    const std::error_code ec = co_await never.wait();
    ended = true;
    co_return ec;
}

awaitable<result<void>> child_fails(std::error_code ec)
{
    co_return ec;
}

awaitable<void> child_throws()
{
    co_await asio::this_coro::executor;
    throw std::runtime_error("child");
}

awaitable<void> count(int& ran)
{
    ++ran;
    co_return;
}

}  // namespace

TEST_CASE("race: the first result wins, the other operation is cancelled and joined", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        event never(co_await asio::this_coro::executor);
        bool ended = false;
        const auto first = co_await race(give(1), wait_for_ever(never, ended));
        CHECK(first.value() == 1);
        CHECK(ended);
        ended = false;
        const auto second = co_await race(wait_for_ever(never, ended), fail_with(io_error));
        CHECK(second.error() == io_error);  // a failure is a result too
        CHECK(ended);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("race: what an operand throws is thrown after both ended", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        event never(co_await asio::this_coro::executor);
        bool ended = false;
        std::string thrown;
        try {
            const auto got = co_await race(throw_text("left"), wait_for_ever(never, ended));
            static_cast<void>(got);
        } catch (const std::runtime_error& e) {
            thrown = e.what();
        }
        CHECK(thrown == "left");
        CHECK(ended);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("race: cancelled from outside it cancels and joins both", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event never(ex);
        bool ended[2] = {};
        auto both = race(wait_for_ever(never, ended[0]), wait_for_ever(never, ended[1]));
        const auto late = co_await with_timeout(std::move(both), 1ms);
        CHECK(late.error() == std::errc::timed_out);
        CHECK(ended[0]);
        CHECK(ended[1]);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE(
    "with_timeout: a result in time, an error in time, a throw, and a result that is too late",
    "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        event never(co_await asio::this_coro::executor);
        bool ended = false;
        const auto fine = co_await with_timeout(give(7), 1h);
        CHECK(fine.value() == 7);
        const auto failed = co_await with_timeout(fail_with(io_error), 1h);
        CHECK(failed.error() == io_error);
        const auto late = co_await with_timeout(wait_for_ever(never, ended), 0ns);
        CHECK(late.error() == std::errc::timed_out);
        CHECK(ended);
        bool thrown = false;
        try {
            const auto got = co_await with_timeout(throw_text("x"), 1h);
            static_cast<void>(got);
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("scope: what is started late is asked to stop at once", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        scope work(ex);
        event never(ex);
        int ran = 0;
        bool ended = false;
        work.request_stop();
        CHECK(work.stopping());
        work.spawn(count(ran));  // may come as far as its first wait
        work.spawn(child_waits(never, ended));
        const auto joined = co_await work.join();
        CHECK(joined);  // that the children were stopped is no failure
        CHECK(ran <= 1);
        CHECK(work.running() == 0);

        // In a coroutine that was asked to stop, every wait ends at once and says why.
        const auto stopped = [](int& checks) -> awaitable<result<void>> {
            event never_set(co_await asio::this_coro::executor);
            const std::error_code first = co_await never_set.wait();
            checks += first == cancelled;
            const std::error_code again = co_await never_set.wait();
            checks += again == cancelled;
            const std::error_code slept = co_await sleep_for(1h);
            checks += slept == cancelled;
            const auto timed = co_await with_timeout(give(1), 1h);
            checks += timed.error() == cancelled;
            co_return outcome::success();
        };
        int checks = 0;
        scope later(ex);
        later.spawn(stopped(checks));
        co_await asio::post(ex, asio::use_awaitable);
        later.request_stop();
        const auto ended_well = co_await later.join();
        CHECK(ended_well);
        CHECK(checks == 4);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("scope: the first failure stops the others and comes out of join", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event never(ex);
        bool ended = false;
        scope work(ex);
        CHECK(work.get_executor() == ex);
        work.spawn(child_waits(never, ended));
        work.spawn(child_fails(io_error));
        CHECK(work.running() == 2);
        const auto joined = co_await work.join();
        CHECK(joined.error() == io_error);
        CHECK(ended);
        CHECK(work.running() == 0);

        scope throwing(ex);
        ended = false;
        throwing.spawn(child_waits(never, ended));
        throwing.spawn(child_throws());
        bool thrown = false;
        try {
            const auto got = co_await throwing.join();
            static_cast<void>(got);
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK(ended);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("scope: a cancelled join still waits for every child", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event never(ex);
        bool ended = false;
        scope work(ex);
        work.spawn(child_waits(never, ended));
        const auto joined = co_await with_timeout(work.join(), 1ms);
        CHECK(joined);  // what the children say when they are stopped is no failure
        CHECK(ended);
        CHECK(work.running() == 0);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("scope: wait_below lets a bounded number run", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event go(ex);
        scope work(ex);
        const auto child = [](event& until) -> awaitable<void> {
            const std::error_code ec = co_await until.wait();
            static_cast<void>(ec);  // either way it ends
        };
        work.spawn(child(go));
        work.spawn(child(go));
        const std::error_code room = co_await work.wait_below(3);
        CHECK(!room);
        auto wait = [](scope& on) -> awaitable<result<int>> {
            const std::error_code ec = co_await on.wait_below(2);
            if (ec) co_return ec;
            co_return 1;
        };
        const auto full = co_await with_timeout(wait(work), 1ms);
        CHECK(full.error() == std::errc::timed_out);
        CHECK(work.running() == 2);
        go.notify_all();
        const std::error_code below = co_await work.wait_below(1);
        CHECK(!below);
        CHECK(work.running() == 0);
        co_return co_await work.join();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("sleep_for: it ends, and timers know how long the reactor may sleep", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const std::error_code slept = co_await sleep_for(1ns);
        CHECK(!slept);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
    using traits = monotonic_wait_traits;
    CHECK(traits::to_wait_duration(5ns) == 5ns);
    CHECK(traits::to_wait_duration(time_point()) == 0ns);  // long past
    CHECK(traits::to_wait_duration(time_point::max()) == monotonic_clock::duration::max());
    const auto hour = traits::to_wait_duration(monotonic_clock::now() + 1h);
    CHECK(hour > 0ns);
    CHECK(hour <= 1h);
}

TEST_CASE("event: everybody who waits is woken, and a cancel reaches only its own", "[core]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event changed(ex);
        const auto notify = [](event& e, executor on) -> awaitable<void> {
            co_await asio::post(on, asio::use_awaitable);
            e.notify_all();
        };
        scope work(ex);
        work.spawn(notify(changed, ex));
        const auto both = co_await race(give_after(changed, 1), give_after(changed, 2));
        CHECK(both);
        co_return co_await work.join();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("run_until_complete: values, errors and exceptions come out", "[core]")
{
    CHECK(run_until_complete(child_fails(io_error)).error() == io_error);
    const auto thrower = []() -> awaitable<result<void>> {
        co_await asio::this_coro::executor;
        throw std::runtime_error("main");
    };
    CHECK_THROWS_AS(run_until_complete(thrower()), std::runtime_error);
}

TEST_CASE("run_until_complete: a signal asks to stop", "[core]")
{
    for (const int signal : {SIGINT, SIGTERM}) {
        bool ended = false;
        const auto body = [](int number, bool& out) -> awaitable<result<void>> {
            event never(co_await asio::this_coro::executor);
            ::raise(number);
            const std::error_code ec = co_await never.wait();
            out = ec == cancelled;
            co_return ec;
        };
        CHECK(run_until_complete(body(signal, ended)).error() == cancelled);
        CHECK(ended);
    }
}

TEST_CASE("offload: values and exceptions of either pool arrive", "[core]")
{
    const auto body = [](offload_pool& pool) -> awaitable<result<void>> {
        auto work = [] { return 6 * 7; };
        const int answer = co_await offload(pool, work);
        CHECK(answer == 42);
        auto failing = []() -> int { throw std::runtime_error("job"); };
        bool thrown = false;
        try {
            const int none = co_await offload(pool, failing);
            static_cast<void>(none);
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        co_return outcome::success();
    };
    const auto threads = make_thread_pool(2);
    CHECK(threads->concurrency() == 2);
    CHECK(run_until_complete(body(*threads)));
    const auto alone = make_thread_pool(0);
    CHECK(alone->concurrency() == 1);
    CHECK(run_until_complete(body(*alone)));
    const auto here = make_inline_pool();
    CHECK(here->concurrency() == 1);
    CHECK(run_until_complete(body(*here)));
    CHECK(usable_processors() >= 1);
}
