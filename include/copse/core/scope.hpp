// Structured concurrency: running work has an owner that joins it.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/event.hpp>
#include <copse/core/result.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>

#include <cassert>
#include <cstddef>
#include <exception>
#include <list>
#include <utility>

namespace copse {

/// Undoes Asio's cancellation defaults for the calling coroutine thread: no throw at the next
/// co_await, and total cancellation arrives. Everything started through core/ has called it.
/// \return false when the thread was asked to stop before it ran: then it should end at once.
inline awaitable<bool> enter_coroutine()
{
    const auto before = co_await asio::this_coro::cancellation_state;
    const bool stop = before.cancelled() != asio::cancellation_type::none;
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_return !stop;
}

/// Every kind of cancellation at once: an operation reacts to the strongest it supports.
inline constexpr auto cancel_everything = asio::cancellation_type::total |
                                          asio::cancellation_type::partial |
                                          asio::cancellation_type::terminal;

namespace detail {

// The roots of coroutine threads. The throw of a cancellation before the start is disabled first.
inline awaitable<std::error_code> enter(awaitable<result<void>> child)
{
    co_await asio::this_coro::throw_if_cancelled(false);
    const bool go_on = co_await enter_coroutine();
    if (!go_on) co_return make_error_code(std::errc::operation_canceled);
    const auto value = co_await std::move(child);
    if (!value) co_return value.error();
    co_return std::error_code{};
}

inline awaitable<std::error_code> enter_plain(awaitable<void> child)
{
    co_await asio::this_coro::throw_if_cancelled(false);
    const bool go_on = co_await enter_coroutine();
    if (!go_on) co_return make_error_code(std::errc::operation_canceled);
    co_await std::move(child);
    co_return std::error_code{};
}

}  // namespace detail

/// Owns running coroutines: the first failing child stops its siblings, join() waits for all.
/// \par Threads one executor. \par Lifetime join() must complete before it is destroyed.
class scope {
public:
    explicit scope(executor ex) : ex_(ex), changed_(ex) {}
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
    ~scope() { assert(children_.empty() && "join() the scope before it dies"); }

    /// Starts a child. An error it returns stops the others and is returned by join().
    /// \param child coroutine whose parameters are values or outlive join().
    void spawn(awaitable<result<void>> child) { start(detail::enter(std::move(child))); }
    /// Starts a child that handles its own failures.
    void spawn(awaitable<void> child) { start(detail::enter_plain(std::move(child))); }

    /// Asks every child to stop (cancellation at its suspension point); does not wait.
    void request_stop() noexcept
    {
        stopping_ = true;
        for (auto it = children_.begin(); it != children_.end();) {
            (it++)->emit(cancel_everything);
        }
    }

    [[nodiscard]] bool stopping() const noexcept { return stopping_; }
    [[nodiscard]] std::size_t running() const noexcept { return children_.size(); }

    /// Waits for all children. \return the first failure that was not caused by request_stop().
    /// \throws what a child threw.
    /// \par Cancellation asks the children to stop and still waits for them.
    awaitable<result<void>> join()
    {
        while (!children_.empty()) {
            const std::error_code ec = co_await changed_.wait();
            if (ec) break;
        }
        if (!children_.empty()) request_stop();
        while (!children_.empty()) co_await changed_.wait_uncancelled();
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        if (failure_) co_return failure_;
        co_return outcome::success();
    }

    /// Waits until fewer than `limit` children run. \par Cancellation total.
    awaitable<std::error_code> wait_below(std::size_t limit)
    {
        while (children_.size() >= limit) {
            const std::error_code ec = co_await changed_.wait();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }

    [[nodiscard]] executor get_executor() const { return ex_; }

private:
    void start(awaitable<std::error_code> child)
    {
        const auto it = children_.emplace(children_.end());
        auto done = [this, it](std::exception_ptr e, std::error_code ec) {
            children_.erase(it);
            if ((e || ec) && !stopping_) {
                thrown_ = e;
                failure_ = ec;
                request_stop();
            }
            changed_.notify_all();
        };
        asio::co_spawn(ex_, std::move(child),
                       asio::bind_cancellation_slot(it->slot(), std::move(done)));
        if (stopping_) it->emit(cancel_everything);
    }

    executor ex_;
    event changed_;
    std::list<asio::cancellation_signal> children_;
    std::exception_ptr thrown_;
    std::error_code failure_;
    bool stopping_ = false;
};

}  // namespace copse
