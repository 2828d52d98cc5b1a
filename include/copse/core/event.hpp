// Waiting for a condition that other code on the same executor makes true.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/timer.hpp>

#include <asio/async_result.hpp>
#include <asio/this_coro.hpp>

#include <system_error>
#include <utility>

namespace copse {

/// A condition variable for coroutines of one executor: `while (!ready) { auto ec = co_await e.wait();
/// if (ec) co_return ec; }`. Wake-ups are never lost, because nothing runs between test and wait.
/// \par Threads one executor.
/// \par Lifetime must outlive its waiters.
class event {
public:
    /// An event whose waiters resume on `ex`.
    explicit event(executor ex) : timer_(std::move(ex), time_point::max()) {}

    /// Waits for notify_all(). \return operation_canceled when the coroutine was asked to stop,
    /// also when that happened before the call.
    /// \par Cancellation total.
    awaitable<std::error_code> wait()
    {
        const bool before = co_await cancellation_requested();
        if (before) co_return make_error_code(std::errc::operation_canceled);
        auto [ec] = co_await timer_.async_wait(as_tuple);
        static_cast<void>(ec);  // always "aborted": by notify_all() or by cancellation
        const bool after = co_await cancellation_requested();
        if (after) co_return make_error_code(std::errc::operation_canceled);
        co_return std::error_code{};
    }

    /// Waits for notify_all() and nothing else: for cleanup that must finish before its owner dies.
    awaitable<void> wait_uncancelled()
    {
        // A plain lambda has no cancellation slot, so a cancel does not reach the timer.
        auto start = [this](auto handler) {
            timer_.async_wait(
                [h = std::move(handler)](std::error_code) mutable { std::move(h)(); });
        };
        co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(start,
                                                                             asio::use_awaitable);
    }

    /// Resumes every waiter soon, never inside the call.
    void notify_all() noexcept { timer_.cancel(); }

private:
    timer timer_;
};

}  // namespace copse
