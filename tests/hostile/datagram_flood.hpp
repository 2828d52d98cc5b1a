// Unreliable datagrams (RFC 9221) to a protocol that has no use for them.
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

namespace detail {

inline awaitable<void> send_datagrams(stage& s, std::shared_ptr<connection> c)
{
    while (!c->why_closed()) {
        const std::size_t size = s.dice.below(2) == 0 ? 1000 : s.dice.below(20);
        const auto sent = c->send_datagram(shared_bytes::copy(s.noise(size)));
        if (sent) {
            s.acted();
            continue;
        }
        const bool more = co_await s.pause(std::chrono::milliseconds(2));
        if (!more) co_return;
    }
}

}  // namespace detail

inline awaitable<void> datagram_flood(stage& s)
{
    return crew(s, 2, detail::send_datagrams);
}

}  // namespace copse::hostile
