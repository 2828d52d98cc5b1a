// How an endpoint ends: in good order, or at once.
#pragma once

#include <copse/core/race.hpp>
#include <copse/core/timer.hpp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

namespace copse::quic {

namespace detail {

// How long close() waits for a full socket to take the last packets.
inline constexpr auto close_patience = std::chrono::seconds(1);

inline awaitable<result<void>> until_empty(std::shared_ptr<endpoint::state> s)
{
    while (!s->connections.empty()) {
        const std::error_code ec = co_await s->progress.wait();
        if (ec) co_return ec;
    }
    co_return outcome::success();
}

// Refuses what waits for listener::accept() and wakes whoever waits there.
inline void end_listeners(endpoint::state& s)
{
    for (const auto& l : s.listeners) {
        l->closed = true;
        for (const auto& w : std::exchange(l->waiting, {})) {
            const auto found = s.connections.find(w.serial);
            if (found == s.connections.end()) continue;
            const auto c = found->second;
            ++s.counted.refused_closing;
            c->close(NGTCP2_CONNECTION_REFUSED, {}, false);
        }
        l->changed.notify_all();
    }
}

}  // namespace detail

void endpoint::state::send_owed_closes()
{
    const detail::timestamp now = detail::timestamp_now();
    for (auto& [serial, c] : closing) {
        if (blocked) return;
        if (!std::exchange(c.owed, false)) continue;
        outgoing_datagrams out;
        out.bytes = c.packet;
        out.segment_size = c.packet.size();
        out.to = c.remote;
        out.from = c.local;
        send(c.socket, out);
        if (c.until > now) continue;
        deadlines.emplace(c.until, serial);  // it was kept beyond its time
        deadline_timer.cancel();
    }
}

awaitable<void> endpoint::shutdown(std::chrono::nanoseconds patience)
{
    const auto s = state_;
    s->draining = true;
    detail::end_listeners(*s);
    auto waiting = detail::until_empty(s);
    const auto finished = co_await with_timeout(std::move(waiting), patience);
    static_cast<void>(finished);  // or not: what is left is closed
    co_await close();
}

awaitable<void> endpoint::close()
{
    const auto s = state_;
    if (std::exchange(s->ending, true)) {
        // Whoever closes may destroy the endpoint afterwards: not before the first call is done.
        while (!s->closed) co_await s->progress.wait_uncancelled();
        co_return;
    }
    s->draining = true;
    detail::end_listeners(*s);
    while (!s->connections.empty()) {
        const auto c = s->connections.begin()->second;
        c->close(0, {});
    }
    if (s->blocked) {
        // Programs close when they were asked to stop: that must not keep the last packets back.
        const auto give_up = std::make_shared<bool>(false);
        timer patience(s->ex);
        patience.expires_after(detail::close_patience);
        patience.async_wait([s, give_up](std::error_code ec) {
            if (ec) return;
            *give_up = true;  // the peers' idle timers end it
            s->progress.notify_all();
        });
        while (s->blocked && !*give_up) co_await s->progress.wait_uncancelled();
    }
    s->closing_down = true;
    s->work.request_stop();
    const auto joined = co_await s->work.join();
    static_cast<void>(joined);  // the loops report nothing
    for (const auto& socket : s->sockets) {
        if (socket) socket->close();
    }
    s->dirty.clear();
    s->closed = true;
    s->progress.notify_all();
}

}  // namespace copse::quic
