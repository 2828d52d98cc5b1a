#pragma once

#include <copse/core/event.hpp>
#include <copse/core/scope.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>

#include <cassert>
#include <exception>
#include <list>
#include <utility>

namespace copse {

awaitable<bool> enter_coroutine()
{
    const auto before = co_await asio::this_coro::cancellation_state;
    const bool stop = before.cancelled() != asio::cancellation_type::none;
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_return !stop;
}

awaitable<bool> cancellation_requested()
{
    const auto state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() != asio::cancellation_type::none;
}

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

struct scope::state {
    explicit state(executor e) : ex(e), changed(e) {}

    void start(awaitable<std::error_code> child)
    {
        const auto it = children.emplace(children.end());
        auto done = [this, it](std::exception_ptr e, std::error_code ec) {
            children.erase(it);
            if ((e || ec) && !stopping) {
                thrown = e;
                failure = ec;
                request_stop();
            }
            changed.notify_all();
        };
        asio::co_spawn(ex, std::move(child),
                       asio::bind_cancellation_slot(it->slot(), std::move(done)));
        if (stopping) it->emit(cancel_everything);
    }

    void request_stop() noexcept
    {
        stopping = true;
        for (auto it = children.begin(); it != children.end();) {
            (it++)->emit(cancel_everything);
        }
    }

    executor ex;
    event changed;
    std::list<asio::cancellation_signal> children;
    std::exception_ptr thrown;
    std::error_code failure;
    bool stopping = false;
};

scope::scope(executor ex) : state_(std::make_unique<state>(std::move(ex))) {}

scope::~scope()
{
    assert(state_->children.empty() && "join() the scope before it dies");
}

void scope::spawn(awaitable<result<void>> child)
{
    state_->start(detail::enter(std::move(child)));
}

void scope::spawn(awaitable<void> child)
{
    state_->start(detail::enter_plain(std::move(child)));
}

void scope::request_stop() noexcept
{
    state_->request_stop();
}

bool scope::stopping() const noexcept
{
    return state_->stopping;
}

std::size_t scope::running() const noexcept
{
    return state_->children.size();
}

awaitable<result<void>> scope::join()
{
    state& s = *state_;
    while (!s.children.empty()) {
        const std::error_code ec = co_await s.changed.wait();
        if (ec) break;
    }
    if (!s.children.empty()) s.request_stop();
    while (!s.children.empty()) co_await s.changed.wait_uncancelled();
    if (s.thrown) std::rethrow_exception(std::exchange(s.thrown, nullptr));
    if (s.failure) co_return s.failure;
    co_return outcome::success();
}

awaitable<std::error_code> scope::wait_below(std::size_t limit)
{
    while (state_->children.size() >= limit) {
        const std::error_code ec = co_await state_->changed.wait();
        if (ec) co_return ec;
    }
    co_return std::error_code{};
}

executor scope::get_executor() const
{
    return state_->ex;
}

}  // namespace copse
