// Seeded numbers: the same seed gives the same sequence on every machine and compiler.
#pragma once

#include <cassert>
#include <cstdint>

namespace copse::sim {

/// Replayable randomness (SplitMix64). Never for keys or anything a peer must not guess.
/// Draw in statements of their own: the order of two draws in one argument list is unspecified.
class rng {
public:
    /// The same seed gives the same numbers.
    explicit constexpr rng(std::uint64_t seed) noexcept : state_(seed) {}

    /// The next number, all 64 bits of it.
    constexpr std::uint64_t next() noexcept
    {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
        z = (z ^ z >> 27) * 0x94d049bb133111ebU;
        return z ^ z >> 31;
    }

    /// A number in [0, end). The slight bias of the remainder does not matter to simulations.
    /// \pre end > 0
    constexpr std::uint64_t below(std::uint64_t end) noexcept
    {
        assert(end > 0);
        return next() % end;
    }

    /// True in `thousandths` of 1000 draws.
    constexpr bool happens(unsigned thousandths) noexcept { return below(1000) < thousandths; }

private:
    std::uint64_t state_;
};

}  // namespace copse::sim
