// Initials that cannot be decrypted, from addresses that do not exist: each looks like a new connection.
#pragma once

#include "tests/hostile/packets.hpp"

namespace copse::hostile {

inline awaitable<void> false_initials(stage& s)
{
    return pour(s, [](stage& of) { return false_initial(of, {}); });
}

/// With a token that looks like one of a Retry of ours.
inline awaitable<void> false_tokens(stage& s)
{
    return pour(s, [](stage& of) {
        // Ours have 78 bytes with ngtcp2 0.12, and a number like that with others; and this first byte.
        auto token = of.noise(of.dice.below(2) == 0 ? 78 : 60 + of.dice.below(40));
        token[0] = std::byte{0xb6};
        return false_initial(of, token);
    });
}

}  // namespace copse::hostile
