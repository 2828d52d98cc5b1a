// The endpoint: datagrams out, and the deadlines of connections.
#pragma once

#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

#include <algorithm>

namespace copse::quic {

namespace detail {

// Send batches (64 KiB each) a connection may write in its turn.
inline constexpr unsigned batches_per_turn = 2;

}  // namespace detail

bool endpoint::state::send(std::size_t index, const outgoing_datagrams& out)
{
    // While a batch waits, further ones are lost as on a full link: QUIC sends them again.
    if (blocked) {
        ++counted.dropped_sends;
        return false;
    }
    if (!sockets[index]) return true;  // retired: nothing waits there any more
    const auto sent = sockets[index]->try_send(out);
    if (sent) {
        count_sent(out);
        return true;
    }
    if (sent.error() != std::errc::operation_would_block) {
        ++counted.dropped_sends;
        return true;
    }
    ++counted.blocked_sends;
    blocked.emplace();
    blocked->socket = index;
    blocked->bytes.assign(out.bytes.begin(), out.bytes.end());
    blocked->meta = out;
    flush_wanted.notify_all();
    return false;
}

void endpoint::state::count_sent(const outgoing_datagrams& out)
{
    counted.bytes_sent += out.bytes.size();
    counted.datagrams_sent += (out.bytes.size() + out.segment_size - 1) / out.segment_size;
}

void endpoint::state::mark_dirty(detail::connection_state& c)
{
    if (c.dirty_) return;
    c.dirty_ = true;
    if (dirty.empty()) flush_wanted.notify_all();
    dirty.push_back(c.shared_from_this());
}

// One turn for every connection that asked; those with more to send stay in the list.
void endpoint::state::flush_dirty()
{
    for (std::size_t n = dirty.size(); n > 0 && !dirty.empty() && !blocked; --n) {
        const auto c = std::move(dirty.front());
        dirty.pop_front();
        c->dirty_ = false;
        const bool more = c->flush(detail::batches_per_turn);
        if (!c->owner_) continue;
        arm(*c);
        if (more || blocked) mark_dirty(*c);
    }
}

awaitable<void> endpoint::state::flush_loop()
{
    const auto keep = shared_from_this();
    while (!closing_down) {
        if (blocked) {
            const std::error_code ec = co_await sockets[blocked->socket]->wait_writable();
            if (ec) co_return;
            blocked->meta.bytes = blocked->bytes;
            const auto sent = sockets[blocked->socket]->try_send(blocked->meta);
            if (!sent && sent.error() == std::errc::operation_would_block) continue;
            if (sent) count_sent(blocked->meta);
            else ++counted.dropped_sends;
            blocked.reset();
            send_owed_closes();
            progress.notify_all();
        }
        if (dirty.empty()) {
            const std::error_code ec = co_await flush_wanted.wait();
            if (ec) co_return;
        }
        flush_dirty();
        if (!dirty.empty() && !blocked) co_await detail::yield();
    }
}

// Deadlines are armed lazily: one that moved later is found out when the old one fires.
void endpoint::state::arm(detail::connection_state& c)
{
    const detail::timestamp at = c.next_deadline();
    if (at >= c.armed_) return;
    if (c.armed_ != detail::never) deadlines.erase({c.armed_, c.serial_});
    c.armed_ = at;
    const auto entry = deadlines.emplace(at, c.serial_).first;
    if (entry == deadlines.begin()) deadline_timer.cancel();
}

awaitable<void> endpoint::state::timer_loop()
{
    const auto keep = shared_from_this();
    while (!closing_down) {
        const bool none = deadlines.empty();
        const detail::timestamp at = none ? 0 : deadlines.begin()->first;
        deadline_timer.expires_at(none ? time_point::max()
                                       : time_point(std::chrono::nanoseconds(at)));
        auto [ec] = co_await deadline_timer.async_wait(as_tuple);
        const bool stop = co_await cancellation_requested();
        if (stop) co_return;
        if (ec) continue;  // an earlier deadline was armed
        const detail::timestamp now = detail::timestamp_now();
        expire_closing(now);
        release_retired(now);
        while (!deadlines.empty() && deadlines.begin()->first <= now) {
            const std::uint64_t serial = deadlines.begin()->second;
            deadlines.erase(deadlines.begin());
            const auto found = connections.find(serial);
            if (found == connections.end()) continue;
            const auto c = found->second;
            c->armed_ = detail::never;
            // What is due may only be over when it has sent: flush_dirty() arms what expires here.
            if (c->expiry() <= now) c->expire(now);
            if (c->owner_ && !c->dirty_) arm(*c);
        }
        flush_dirty();
    }
}

}  // namespace copse::quic
