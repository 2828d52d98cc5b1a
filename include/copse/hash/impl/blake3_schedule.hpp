// The message schedule as macros, for rounds written in assembly. Not API.
#pragma once

#include "copse/hash/impl/blake3_kernel.hpp"

namespace copse::hash::kernel {

// `kernel::schedule`, written out: the preprocessor cannot compute it. A static_assert below
// compares.
#define COPSE_ROUND_0(f, ...) f(__VA_ARGS__, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define COPSE_ROUND_1(f, ...) f(__VA_ARGS__, 2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
#define COPSE_ROUND_2(f, ...) f(__VA_ARGS__, 3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
#define COPSE_ROUND_3(f, ...) f(__VA_ARGS__, 10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
#define COPSE_ROUND_4(f, ...) f(__VA_ARGS__, 12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
#define COPSE_ROUND_5(f, ...) f(__VA_ARGS__, 9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
#define COPSE_ROUND_6(f, ...) f(__VA_ARGS__, 11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)

consteval bool same_round(std::size_t round, auto... word) noexcept
{
    std::size_t i = 0;
    return sizeof...(word) == 16 && ((schedule.word[round][i++] == word) && ...);
}
static_assert(COPSE_ROUND_0(same_round, 0) && COPSE_ROUND_1(same_round, 1) &&
              COPSE_ROUND_2(same_round, 2) && COPSE_ROUND_3(same_round, 3) &&
              COPSE_ROUND_4(same_round, 4) && COPSE_ROUND_5(same_round, 5) &&
              COPSE_ROUND_6(same_round, 6));

}  // namespace copse::hash::kernel
