#include "tests/catch.hpp"

#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>

#include <vector>

using namespace copse;
using namespace std::chrono_literals;

namespace {

const std::error_code stopped = make_error_code(std::errc::operation_canceled);
const std::error_code broken = make_error_code(std::errc::io_error);

awaitable<result<void>> fail_after(event& on)
{
    const std::error_code ec = co_await on.wait();
    if (ec) co_return ec;
    co_return broken;
}

// Goes on although it was asked to stop, and sleeps.
awaitable<result<void>> sleep_when_stopped(event& on, std::vector<std::error_code>& ends)
{
    const std::error_code first = co_await on.wait();
    ends.push_back(first);
    const std::error_code second = co_await sleep_for(1h);
    ends.push_back(second);
    const std::error_code third = co_await on.wait();
    ends.push_back(third);
    co_return outcome::success();
}

awaitable<result<void>> notify(event& whom)
{
    whom.notify_all();
    co_return outcome::success();
}

}  // namespace

TEST_CASE("scope: who was asked to stop does not wait or sleep again", "[core][scope]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        event never_notified(ex);
        event changed(ex);
        scope children(ex);
        std::vector<std::error_code> ends;
        children.spawn(sleep_when_stopped(never_notified, ends));
        children.spawn(fail_after(changed));
        children.spawn(notify(changed));
        const auto joined = co_await children.join();
        CHECK(joined.error() == broken);
        CHECK(ends == std::vector<std::error_code>(3, stopped));
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}
