// The provider's side of Observe.
#pragma once

#include <copse/blob/observe.hpp>
#include <copse/core/event.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/scope.hpp>

#include <asio/post.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

namespace copse::blob::detail {

/// What wakes a coroutine that serves an observer.
struct observe_signal {
    explicit observe_signal(const executor& e) : ex(e), changed(e) {}
    executor ex;
    event changed;
    std::atomic<bool> stale{true};  ///< the store changed since it was last looked at
    bool in_flight = false;         ///< an item is not acknowledged yet
    bool stopped = false;           ///< nobody observes any more

    /// From any thread.
    static void mark_stale(const std::shared_ptr<observe_signal>& self)
    {
        if (self->stale.exchange(true)) return;  // several changes become one item
        asio::post(self->ex, [self] { self->changed.notify_all(); });
    }
};

/// An item on its way. There is one at a time, so that a slow observer holds no more than that.
struct sent_item {
    sent_item(std::vector<std::byte> b, std::shared_ptr<observe_signal> s)
        : bytes(std::move(b)), signal(std::move(s))
    {
        signal->in_flight = true;
    }
    sent_item(const sent_item&) = delete;
    sent_item& operator=(const sent_item&) = delete;
    ~sent_item()
    {
        signal->in_flight = false;
        signal->changed.notify_all();
    }
    const std::vector<std::byte> bytes;
    const std::shared_ptr<observe_signal> signal;
};

inline awaitable<void> wait_until_stopped(send_stream& stream, std::shared_ptr<observe_signal> s)
{
    const std::error_code why = co_await stream.stopped();
    static_cast<void>(why);  // stopped by the peer, closed, or cancelled: it is over
    s->stopped = true;
    s->changed.notify_all();
}

inline awaitable<std::error_code> send_observations(send_stream& to, hash::digest root,
                                                    store::blob_store& from, offload_pool& pool,
                                                    std::shared_ptr<observe_signal> signal)
{
    std::optional<observation> shown;
    while (!signal->stopped) {
        if (!signal->stale || signal->in_flight) {
            const std::error_code ec = co_await signal->changed.wait();
            if (ec) co_return ec;
            continue;
        }
        signal->stale = false;
        auto job = [&from, &root] { return from.status(root); };
        const auto status = co_await offload(pool, job);
        if (!status) co_return status.error();
        observation now = to_observation(status.assume_value());
        if (shown && *shown == now) continue;
        const observation item = shown ? change_between(*shown, now) : now;
        shown = std::move(now);
        const auto sent = std::make_shared<sent_item>(encode_observation(item), signal);
        shared_bytes data;
        data.bytes = sent->bytes;
        data.owner = sent;
        const auto written = co_await to.write(std::move(data));
        if (!written) break;  // stopped
    }
    to.finish();
    co_return std::error_code{};
}

/// Tells what the store has of a blob until the observer leaves.
inline awaitable<std::error_code> serve_observer(send_stream& to, hash::digest root,
                                                 store::blob_store& from, offload_pool& pool)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto signal = std::make_shared<observe_signal>(ex);
    const auto watching = from.watch(root, [signal] { observe_signal::mark_stale(signal); });
    scope children(ex);
    children.spawn(wait_until_stopped(to, signal));
    const std::error_code error = co_await send_observations(to, root, from, pool, signal);
    children.request_stop();
    const auto joined = co_await children.join();
    static_cast<void>(joined);
    co_return error;
}

}  // namespace copse::blob::detail
