// Timeouts and races of operations that return results.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/event.hpp>
#include <copse/core/result.hpp>
#include <copse/core/timer.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>

#include <array>
#include <exception>
#include <optional>
#include <utility>

namespace copse {

/// Suspends for `d` of the monotonic clock.
/// \return operation_canceled when asked to stop. \par Cancellation total.
inline awaitable<std::error_code> sleep_for(std::chrono::nanoseconds d)
{
    const bool before = co_await cancellation_requested();
    if (before) co_return make_error_code(std::errc::operation_canceled);
    timer t(co_await asio::this_coro::executor);
    t.expires_after(d);
    auto [ec] = co_await t.async_wait(as_tuple);
    if (ec) co_return make_error_code(std::errc::operation_canceled);
    co_return std::error_code{};
}

namespace detail {

template <class T>
struct race_entry {
    std::optional<result<T>> value;
    asio::cancellation_signal cancel;
};

template <class T>
awaitable<void> run_entry(awaitable<result<T>> op, std::optional<result<T>>& out)
{
    co_await asio::this_coro::throw_if_cancelled(false);
    const bool go_on = co_await enter_coroutine();
    if (!go_on) {
        out.emplace(make_error_code(std::errc::operation_canceled));
        co_return;
    }
    auto value = co_await std::move(op);
    out.emplace(std::move(value));
}

// Starts op as a coroutine thread of its own; `finished` is counted and `changed` notified at its end.
template <class T>
void start_entry(const executor& ex, race_entry<T>& entry, awaitable<result<T>> op, int& running,
                 std::exception_ptr& thrown, event& changed)
{
    ++running;
    asio::co_spawn(ex, run_entry(std::move(op), entry.value),
                   asio::bind_cancellation_slot(
                       entry.cancel.slot(), [&running, &thrown, &changed](std::exception_ptr e) {
                           --running;
                           if (e) thrown = e;
                           changed.notify_all();
                       }));
}

}  // namespace detail

/// Runs two operations, returns what the first to finish returned, cancels the other and joins it.
/// \throws what an operand threw, after both ended.
/// \par Cancellation as the operands: both are cancelled and joined.
template <class T>
awaitable<result<T>> race(awaitable<result<T>> a, awaitable<result<T>> b)
{
    const executor ex = co_await asio::this_coro::executor;
    event changed(ex);
    std::array<detail::race_entry<T>, 2> entries;
    std::exception_ptr thrown;
    int running = 0;
    detail::start_entry(ex, entries[0], std::move(a), running, thrown, changed);
    detail::start_entry(ex, entries[1], std::move(b), running, thrown, changed);
    while (running == 2) {
        const std::error_code ec = co_await changed.wait();
        if (ec) break;
    }
    const std::size_t winner = entries[0].value || !entries[1].value ? 0 : 1;
    for (auto& entry : entries) {
        if (!entry.value) entry.cancel.emit(cancel_everything);
    }
    while (running > 0) co_await changed.wait_uncancelled();
    if (thrown) std::rethrow_exception(thrown);
    co_return std::move(*entries[winner].value);
}

/// Runs `op` for at most `limit`, then cancels it, joins it and returns std::errc::timed_out.
/// Costs about two coroutine starts: for handshakes and requests, not per chunk.
/// \par Cancellation as `op`, which is cancelled and joined.
template <class T>
awaitable<result<T>> with_timeout(awaitable<result<T>> op, std::chrono::nanoseconds limit)
{
    const executor ex = co_await asio::this_coro::executor;
    event changed(ex);
    detail::race_entry<T> entry;
    std::exception_ptr thrown;
    int running = 0;
    bool expired = false;
    const bool stop = co_await cancellation_requested();
    if (stop) co_return make_error_code(std::errc::operation_canceled);
    timer deadline(ex);
    deadline.expires_after(limit);
    detail::start_entry(ex, entry, std::move(op), running, thrown, changed);
    deadline.async_wait([&expired, &running, &changed](std::error_code ec) {
        --running;
        expired = !ec;
        changed.notify_all();
    });
    ++running;
    while (!entry.value && !thrown && !expired) {
        const std::error_code ec = co_await changed.wait();
        if (ec) break;
    }
    const bool in_time = entry.value.has_value();
    if (!in_time) entry.cancel.emit(cancel_everything);
    deadline.cancel();
    while (running > 0) co_await changed.wait_uncancelled();
    if (thrown) std::rethrow_exception(thrown);
    if (!in_time && expired && !*entry.value) co_return make_error_code(std::errc::timed_out);
    co_return std::move(*entry.value);
}

}  // namespace copse
