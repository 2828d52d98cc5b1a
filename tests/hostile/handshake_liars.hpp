// A host that answers those who dial it with Version Negotiation, Retry and packets of no sense.
#pragma once

#include "tests/hostile/packets.hpp"

#include <copse/core/scope.hpp>

namespace copse::hostile {

namespace detail {

/// What to answer an Initial with; it carries the ids that its sender expects.
inline std::vector<std::byte> handshake_lie(stage& s, byte_view initial)
{
    if (initial.size() < 50) return {};
    const auto dcid_size = std::to_integer<std::size_t>(initial[5]);
    if (dcid_size > 20) return {};
    const byte_view dcid = initial.subspan(6, dcid_size);
    const auto scid_size = std::to_integer<std::size_t>(initial[6 + dcid_size]);
    if (scid_size > 20) return {};
    const byte_view scid = initial.subspan(7 + dcid_size, scid_size);
    const auto first = static_cast<std::uint8_t>(0x80U | s.dice.below(128));
    switch (s.dice.below(5)) {
    case 0: {  // versions that nobody speaks
        const auto versions = s.noise(4 * (1 + s.dice.below(300)));
        return long_header(first, 0, scid, dcid, versions);
    }
    case 1:  // the version that it has
        return long_header(first, 0, scid, dcid, as_bytes(std::string_view("\0\0\0\1", 4)));
    case 2: {  // a Retry with a tag that is not good
        const auto token = s.noise(100 + s.dice.below(1000));
        return long_header(0xf0, 1, scid, s.noise(8), token);
    }
    case 3: {  // an Initial or Handshake that cannot be decrypted
        const auto rest = s.noise(1000);
        return long_header(s.dice.below(2) == 0 ? 0xc0 : 0xe0, 1, scid, dcid, rest);
    }
    default: return {initial.begin(), initial.end()};  // its own
    }
}

inline awaitable<void> dial_liar(stage& s, quic::endpoint& from)
{
    for (bool more = true; more;) {
        more = co_await s.pause(std::chrono::milliseconds(10));
        if (!more || s.hostile_at.paths.empty()) continue;
        endpoint_address to = s.hostile_at;
        auto c = co_await from.connect(std::move(to), std::string(blob::alpn));
        if (c) s.acts = 0;  // nobody was there to connect to
    }
}

}  // namespace detail

/// The host: ten answers to each datagram.
inline awaitable<void> handshake_liar(stage& s)
{
    const auto socket = s.ground.bind(4433).value();
    s.hostile_at = {s.where.id, {s.ground.address(4433)}};
    s.hostile_at.id.bytes[0] ^= std::byte{1};
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    while (!s.over) {
        const auto in = socket->try_receive(buffer);
        if (!in) {
            const std::error_code ec = co_await socket->wait_readable();
            if (ec) break;
            continue;
        }
        for (int i = 0; i < 10; ++i) {
            const auto lie = detail::handshake_lie(s, in.assume_value().bytes);
            if (lie.empty()) continue;
            outgoing_datagrams out;
            out.bytes = lie;
            out.segment_size = lie.size();
            out.to = in.assume_value().from;
            const auto sent = socket->try_send(out);
            if (sent) s.acted();
        }
    }
}

/// The victim's dials: several at the same time.
inline awaitable<void> dial_liars(stage& s, quic::endpoint& from, blob::fetch_environment&)
{
    scope all(from.get_executor());
    for (int i = 0; i < 10; ++i) all.spawn(detail::dial_liar(s, from));
    const auto joined = co_await all.join();
    static_cast<void>(joined);
}

}  // namespace copse::hostile
