// A peer whose address changes with every datagram: each change could make us probe a path.
#pragma once

#include "tests/hostile/crew.hpp"
#include "tests/hostile/wrapped_socket.hpp"

namespace copse::hostile {

inline awaitable<void> migration_storm(stage& s)
{
    const auto elsewhere = [&s](datagram_socket& inner, const outgoing_datagrams& out) {
        // Long headers, of the handshake, stay where they are.
        if ((std::to_integer<unsigned>(out.bytes[0]) & 0x80U) != 0) {
            const auto sent = inner.try_send(out);
            static_cast<void>(sent);
            return;
        }
        socket_address from = inner.local_address();
        const auto where = s.dice.below(8);
        if (where > 1) {
            const auto sent = inner.try_send(out);
            static_cast<void>(sent);
            return;
        }
        if (where == 0) from.port = static_cast<std::uint16_t>(1024 + s.dice.below(60000));
        else from = s.nobody();
        s.forge(from, out.bytes);
        s.acted();
    };
    auto through = std::make_unique<wrapped_socket>(s.ground.bind().value(), elsewhere);
    auto from = s.dialler({}, std::move(through));
    while (!s.over) {
        auto c = co_await s.dial(from);
        while (c && !c->why_closed()) {
            const auto sent = c->send_datagram(shared_bytes::copy(s.noise(100)));
            static_cast<void>(sent);
            const bool more = co_await s.pause(std::chrono::microseconds(500));
            if (!more) break;
        }
        const bool more = co_await s.pause(std::chrono::milliseconds(1));
        if (!more) break;
    }
    co_await from.close();
}

}  // namespace copse::hostile
