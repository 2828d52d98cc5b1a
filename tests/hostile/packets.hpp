// What raw attackers write: long headers of QUIC version 1 and of others, with anything behind them.
#pragma once

#include "tests/hostile/stage.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace copse::hostile {

/// A long header (RFC 9000 section 17.2) and `rest` behind it.
inline std::vector<std::byte> long_header(std::uint8_t first, std::uint32_t version, byte_view dcid,
                                          byte_view scid, byte_view rest)
{
    std::vector<std::byte> out{static_cast<std::byte>(first)};
    for (int shift = 24; shift >= 0; shift -= 8)
        out.push_back(static_cast<std::byte>(version >> shift));
    out.push_back(static_cast<std::byte>(dcid.size()));
    out.insert(out.end(), dcid.begin(), dcid.end());
    out.push_back(static_cast<std::byte>(scid.size()));
    out.insert(out.end(), scid.begin(), scid.end());
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
}

/// A datagram of 1200 bytes that looks like an Initial of a new connection: nothing in it is true.
inline std::vector<std::byte> false_initial(stage& s, byte_view token)
{
    const auto dcid = s.noise(16);
    const auto scid = s.noise(8);
    std::vector<std::byte> rest;
    rest.push_back(static_cast<std::byte>(0x40 | token.size() >> 8));
    rest.push_back(static_cast<std::byte>(token.size()));
    rest.insert(rest.end(), token.begin(), token.end());
    const std::size_t header = 7 + dcid.size() + scid.size() + rest.size() + 2;
    const std::size_t length = 1200 - header;
    rest.push_back(static_cast<std::byte>(0x40 | length >> 8));
    rest.push_back(static_cast<std::byte>(length));
    const auto payload = s.noise(length);
    rest.insert(rest.end(), payload.begin(), payload.end());
    return long_header(0xc3, 1, dcid, scid, rest);
}

/// Sends what `make` gives at the rate of the hostile link, until the play is over.
template <class Make>
awaitable<void> pour(stage& s, Make make)
{
    const double per_ms = double(s.options.hostile_bytes_per_s) / 1000;
    double room = 0;
    for (bool more = true; more;) {
        for (room += per_ms; room > 0; room -= 28) {
            const std::vector<std::byte> bytes = make(s);
            const socket_address from = s.nobody();
            s.forge(from, bytes);
            s.acted();
            room -= double(bytes.size());
        }
        more = co_await s.pause(std::chrono::milliseconds(1));
    }
}

}  // namespace copse::hostile
