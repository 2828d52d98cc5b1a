// Attackers who see what an honest peer sends, and may send under its name.
#pragma once

#include "tests/hostile/packets.hpp"

#include <deque>

namespace copse::hostile {

/// Sends each datagram of the honest again, and again later, also from elsewhere.
inline awaitable<void> replays(stage& s)
{
    std::deque<std::pair<socket_address, std::vector<std::byte>>> seen;
    s.overhear = [&seen](const outgoing_datagrams& out) {
        seen.emplace_back(out.from, std::vector<std::byte>(out.bytes.begin(), out.bytes.end()));
        if (seen.size() > 200) seen.pop_front();
    };
    for (bool more = true; more;) {
        for (int i = 0; i < 10 && !seen.empty(); ++i) {
            const auto& [from, bytes] = seen[s.dice.below(seen.size())];
            s.forge(s.dice.below(3) == 0 ? s.nobody() : from, bytes);
            s.acted();
        }
        more = co_await s.pause(std::chrono::milliseconds(1));
    }
    s.overhear = nullptr;
}

/// Noise behind the connection ids that the honest use: nothing of it can be decrypted.
inline awaitable<void> junk_at_connections(stage& s)
{
    std::vector<std::byte> last;
    socket_address from;
    s.overhear = [&](const outgoing_datagrams& out) {
        if ((std::to_integer<unsigned>(out.bytes[0]) & 0x80U) != 0) return;
        last.assign(out.bytes.begin(), out.bytes.end());
        from = out.from;
    };
    for (bool more = true; more;) {
        for (int i = 0; i < 10 && last.size() > 9; ++i) {
            std::vector<std::byte> bytes = s.noise(21 + s.dice.below(60));
            std::copy_n(last.begin(), 9, bytes.begin());
            // The bits that header protection hides, and the key phase among them.
            bytes[0] ^= static_cast<std::byte>(s.dice.below(32));
            s.forge(s.dice.below(3) == 0 ? s.nobody() : from, bytes);
            s.acted();
        }
        more = co_await s.pause(std::chrono::milliseconds(1));
    }
    s.overhear = nullptr;
}

/// Initials that answer what the honest dial with, forged to look like the victim's own: to end their
/// connections, and the victim's, before they begin.
inline awaitable<void> false_resets(stage& s)
{
    std::vector<std::byte> last;
    socket_address from;
    s.overhear = [&](const outgoing_datagrams& out) {
        last.assign(out.bytes.begin(), out.bytes.end());
        from = out.from;
    };
    for (bool more = true; more;) {
        if (last.size() > 25) {
            // A long header to each of the two: Retry, Version Negotiation, Initial, Handshake.
            const byte_view id = byte_view(last).subspan(1, 8);
            const auto kind = static_cast<std::uint8_t>(0xc0U | s.dice.below(64));
            const std::uint32_t version = s.dice.below(3) == 0 ? 0 : 1;
            const auto rest = s.noise(100 + s.dice.below(1200));
            const auto bytes = long_header(kind, version, id, id, rest);
            s.forge(from, bytes);
            s.ground.forge(s.target(), from, bytes);
            s.acted(2);
        }
        more = co_await s.pause(std::chrono::microseconds(500));
    }
    s.overhear = nullptr;
}

}  // namespace copse::hostile
