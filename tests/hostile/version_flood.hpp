// Packets of versions that nobody speaks: each large one could be answered with a Version Negotiation.
#pragma once

#include "tests/hostile/packets.hpp"

namespace copse::hostile {

/// \param size of the datagrams: below 1200 bytes none may be answered (RFC 9000 section 5.2.2).
inline awaitable<void> version_flood(stage& s, std::size_t size)
{
    return pour(s, [size](stage& of) {
        const auto dcid = of.noise(of.dice.below(21));
        const auto scid = of.noise(of.dice.below(21));
        const auto rest = of.noise(size - 7 - dcid.size() - scid.size());
        const auto version = static_cast<std::uint32_t>(0xff000000U + of.dice.below(1U << 20));
        return long_header(0xc0, version, dcid, scid, rest);
    });
}

}  // namespace copse::hostile
