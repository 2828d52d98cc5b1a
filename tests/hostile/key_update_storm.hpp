// A peer that updates its keys whenever QUIC allows it (RFC 9001 section 6).
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

/// Begins a key update on each connection that the hostile machine dialled. \return how many began.
std::size_t update_keys();

namespace detail {

inline awaitable<void> update_and_send(stage& s, std::shared_ptr<connection> c)
{
    while (!c->why_closed()) {
        const auto sent = c->send_datagram(shared_bytes::copy(s.noise(1000)));
        static_cast<void>(sent);
        s.acted(update_keys());
        const bool more = co_await s.pause(std::chrono::milliseconds(1));
        if (!more) co_return;
    }
}

}  // namespace detail

inline awaitable<void> key_update_storm(stage& s)
{
    return crew(s, 1, detail::update_and_send);
}

}  // namespace copse::hostile
