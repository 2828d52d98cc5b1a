// Datagrams of noise, of any size and under any address.
#pragma once

#include "tests/hostile/packets.hpp"

namespace copse::hostile {

inline awaitable<void> random_packets(stage& s)
{
    return pour(s, [](stage& of) { return of.noise(1 + of.dice.below(1472)); });
}

/// The smallest ones, of which a link carries most.
inline awaitable<void> tiny_packets(stage& s)
{
    return pour(s, [](stage& of) { return of.noise(1 + of.dice.below(24)); });
}

}  // namespace copse::hostile
