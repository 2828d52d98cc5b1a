// Good Initials of real diallers, sent under addresses that do not exist or do not answer.
#pragma once

#include "tests/hostile/packets.hpp"
#include "tests/hostile/wrapped_socket.hpp"

#include <copse/core/scope.hpp>

namespace copse::hostile {

namespace detail {

inline awaitable<void> dial_in_vain(stage& s, quic::endpoint& from)
{
    const auto c = co_await s.dial(from);
    static_cast<void>(c);
}

inline awaitable<void> dial_forever(stage& s, quic::endpoint& from, std::chrono::nanoseconds apart)
{
    scope dialling(s.ground.computer().life().get_executor());
    for (bool more = true; more;) {
        if (dialling.running() < 900) dialling.spawn(dial_in_vain(s, from));
        more = co_await s.pause(apart);
    }
    dialling.request_stop();
    const auto joined = co_await dialling.join();
    static_cast<void>(joined);
    co_await from.close();
}

inline awaitable<void> keep_dialling(stage& s, wrapped_socket::sender send,
                                     std::chrono::nanoseconds apart)
{
    quic::endpoint_options o;
    o.handshake_timeout = std::chrono::milliseconds(500);
    auto through = std::make_unique<wrapped_socket>(s.ground.bind().value(), std::move(send));
    auto from = s.dialler(std::move(o), std::move(through));
    co_await dial_forever(s, from, apart);
}

}  // namespace detail

/// Each datagram leaves under another forged address.
inline awaitable<void> initial_flood(stage& s)
{
    const auto forge = [&s](datagram_socket&, const outgoing_datagrams& out) {
        const socket_address from = s.nobody();
        s.forge(from, out.bytes);
        s.acted();
    };
    return detail::keep_dialling(s, forge, std::chrono::microseconds(1500));
}

/// From an address of their own, and never a second flight: handshakes that stay half done.
inline awaitable<void> half_handshakes(stage& s)
{
    const auto first_only = [&s](datagram_socket& inner, const outgoing_datagrams& out) {
        // Only an Initial begins like this.
        if ((std::to_integer<unsigned>(out.bytes[0]) & 0xf0U) != 0xc0U) return;
        const auto sent = inner.try_send(out);
        if (sent) s.acted();
    };
    return detail::keep_dialling(s, first_only, std::chrono::milliseconds(2));
}

/// The diallers' datagrams, each with a few bits wrong or its end missing.
inline awaitable<void> spoiled_handshakes(stage& s)
{
    const auto spoil = [&s](datagram_socket& inner, const outgoing_datagrams& out) {
        std::vector<std::byte> bytes(out.bytes.begin(), out.bytes.end());
        const auto kind = s.dice.below(4);
        const auto at = s.dice.below(bytes.size());
        if (kind == 0) bytes.resize(at + 1);
        else if (kind < 3) bytes[at] ^= static_cast<std::byte>(1U << s.dice.below(8));
        outgoing_datagrams wrong = out;
        wrong.bytes = bytes;
        wrong.segment_size = bytes.size();
        const auto sent = inner.try_send(wrong);
        if (sent) s.acted();
    };
    return detail::keep_dialling(s, spoil, std::chrono::milliseconds(2));
}

}  // namespace copse::hostile
