// AVX2: two sets of eight inputs at once, or one.
//
// As with AVX-512 (see there) one set cannot fill the vector units, and here two sets have 32 rows of
// state for 16 registers. Half of the answer is which row needs to be quick: within a round every step
// waits for the `b` row of the step before, while `a`, `c` and `d` are finished several operations
// earlier. So the eight `b` rows of both sets live in registers, and the others pass through memory,
// where the time that it takes is hidden. The rounds are assembly, as no compiler would choose this.
#pragma once

#include "copse/hash/impl/blake3_portable.ipp"
#include "copse/hash/impl/blake3_remainder.hpp"
#include "copse/hash/impl/blake3_schedule.hpp"

#include <algorithm>

#include <immintrin.h>

#pragma GCC diagnostic push
// The rounds are one string of 90 KB; clang minds more than the standard's 64 KiB.
#pragma GCC diagnostic ignored "-Woverlength-strings"

namespace copse::hash::kernel {

namespace avx2 {

#define COPSE_AVX2 __attribute__((target("avx2")))

using reg = __m256i;

COPSE_AVX2 inline reg splat(std::uint32_t word) noexcept
{
    return _mm256_set1_epi32(static_cast<int>(word));
}

/// 4x4 words in each half.
COPSE_AVX2 inline void transpose(reg& a, reg& b, reg& c, reg& d) noexcept
{
    const reg ab_low = _mm256_unpacklo_epi32(a, b);
    const reg ab_high = _mm256_unpackhi_epi32(a, b);
    const reg cd_low = _mm256_unpacklo_epi32(c, d);
    const reg cd_high = _mm256_unpackhi_epi32(c, d);
    a = _mm256_unpacklo_epi64(ab_low, cd_low);
    b = _mm256_unpackhi_epi64(ab_low, cd_low);
    c = _mm256_unpacklo_epi64(ab_high, cd_high);
    d = _mm256_unpackhi_epi64(ab_high, cd_high);
}

/// 16 bytes of one input in the low half, of another in the high half.
COPSE_AVX2 inline reg load(const std::byte* low, const std::byte* high) noexcept
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

COPSE_AVX2 inline void store_values(reg (&h)[8], std::byte* out) noexcept
{
    transpose(h[0], h[1], h[2], h[3]);
    transpose(h[4], h[5], h[6], h[7]);
    for (std::size_t i = 0; i < 4; ++i) {
        auto* const low = reinterpret_cast<__m256i*>(out + cv_size * i);
        auto* const high = reinterpret_cast<__m256i*>(out + cv_size * (4 + i));
        _mm256_storeu_si256(low, _mm256_permute2x128_si256(h[i], h[4 + i], 0x20));
        _mm256_storeu_si256(high, _mm256_permute2x128_si256(h[i], h[4 + i], 0x31));
    }
}

/// What the rounds of two sets work on: rows of one word of eight inputs. The assembly knows the
/// offsets.
struct alignas(64) workspace {
    std::uint32_t words[2][16][8];
    std::uint32_t initial[2][16][8];  // chaining value, constants, counter, block length, flags
    std::uint32_t state[2][16][8];    // rows 4 to 7 stay in registers
    std::uint8_t rotate_16[32];       // shuffles
    std::uint8_t rotate_8[32];
};

static_assert(offsetof(workspace, words) == 0 && offsetof(workspace, initial) == 1024 &&
              offsetof(workspace, state) == 2048 && offsetof(workspace, rotate_16) == 3072 &&
              offsetof(workspace, rotate_8) == 3104);

// clang-format off
#define COPSE_LOAD(from, x) "vmovdqa " from "(%[space]), %%ymm" #x "\n\t"
#define COPSE_STORE(x, to) "vmovdqa %%ymm" #x ", " to "(%[space])\n\t"
#define COPSE_OP(op, x, y, to) op " %%ymm" #y ", %%ymm" #x ", %%ymm" #to "\n\t"
#define COPSE_MEM(op, x, from, to) op " " from "(%[space]), %%ymm" #x ", %%ymm" #to "\n\t"
#define COPSE_SHIFT(op, n, x, to) op " $" #n ", %%ymm" #x ", %%ymm" #to "\n\t"
#define COPSE_ROTATE(right, left, x, temporary)                                                    \
    COPSE_SHIFT("vpslld", left, x, temporary)                                                      \
    COPSE_SHIFT("vpsrld", right, x, x) COPSE_OP("vpor", x, temporary, x)
#define COPSE_WORD(set, w) "512*" #set "+32*" #w
#define COPSE_STATE(set, row) "2048+512*" #set "+32*" #row
#define COPSE_FROM(base, set, row) #base "+512*" #set "+32*" #row

// Half a round of one set; `b0` to `b3` are register numbers, `c0` to `d3` rows. The rows of the first
// half round come from `initial` (base 1024), later ones from `state` (base 2048).
#define COPSE_HALF(base, set, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, w0, w1, w2, w3, w4,  \
                   w5, w6, w7)                                                                     \
    COPSE_LOAD(COPSE_WORD(set, w0), 0) COPSE_LOAD(COPSE_WORD(set, w2), 1)                          \
    COPSE_LOAD(COPSE_WORD(set, w4), 2) COPSE_LOAD(COPSE_WORD(set, w6), 3)                          \
    COPSE_MEM("vpaddd", 0, COPSE_FROM(base, set, 0), 0) COPSE_MEM("vpaddd", 1, COPSE_FROM(base, set, 1), 1) \
    COPSE_MEM("vpaddd", 2, COPSE_FROM(base, set, 2), 2) COPSE_MEM("vpaddd", 3, COPSE_FROM(base, set, 3), 3) \
    COPSE_OP("vpaddd", 0, b0, 0) COPSE_OP("vpaddd", 1, b1, 1)                                      \
    COPSE_OP("vpaddd", 2, b2, 2) COPSE_OP("vpaddd", 3, b3, 3)                                      \
    COPSE_STORE(0, COPSE_STATE(set, 0)) COPSE_STORE(1, COPSE_STATE(set, 1))                        \
    COPSE_STORE(2, COPSE_STATE(set, 2)) COPSE_STORE(3, COPSE_STATE(set, 3))                        \
    COPSE_MEM("vpxor", 0, COPSE_FROM(base, set, d0), 4) COPSE_MEM("vpxor", 1, COPSE_FROM(base, set, d1), 5) \
    COPSE_MEM("vpxor", 2, COPSE_FROM(base, set, d2), 6) COPSE_MEM("vpxor", 3, COPSE_FROM(base, set, d3), 7) \
    COPSE_MEM("vpshufb", 4, "3072", 4) COPSE_MEM("vpshufb", 5, "3072", 5)                          \
    COPSE_MEM("vpshufb", 6, "3072", 6) COPSE_MEM("vpshufb", 7, "3072", 7)                          \
    COPSE_MEM("vpaddd", 4, COPSE_FROM(base, set, c0), 0) COPSE_MEM("vpaddd", 5, COPSE_FROM(base, set, c1), 1) \
    COPSE_MEM("vpaddd", 6, COPSE_FROM(base, set, c2), 2) COPSE_MEM("vpaddd", 7, COPSE_FROM(base, set, c3), 3) \
    COPSE_STORE(0, COPSE_STATE(set, c0)) COPSE_STORE(1, COPSE_STATE(set, c1))                      \
    COPSE_STORE(2, COPSE_STATE(set, c2)) COPSE_STORE(3, COPSE_STATE(set, c3))                      \
    COPSE_OP("vpxor", b0, 0, b0) COPSE_OP("vpxor", b1, 1, b1)                                      \
    COPSE_OP("vpxor", b2, 2, b2) COPSE_OP("vpxor", b3, 3, b3)                                      \
    COPSE_SHIFT("vpslld", 20, b0, 0) COPSE_SHIFT("vpslld", 20, b1, 1)                              \
    COPSE_SHIFT("vpslld", 20, b2, 2) COPSE_SHIFT("vpslld", 20, b3, 3)                              \
    COPSE_SHIFT("vpsrld", 12, b0, b0) COPSE_SHIFT("vpsrld", 12, b1, b1)                            \
    COPSE_SHIFT("vpsrld", 12, b2, b2) COPSE_SHIFT("vpsrld", 12, b3, b3)                            \
    COPSE_OP("vpor", b0, 0, b0) COPSE_OP("vpor", b1, 1, b1)                                        \
    COPSE_OP("vpor", b2, 2, b2) COPSE_OP("vpor", b3, 3, b3)                                        \
    COPSE_LOAD(COPSE_WORD(set, w1), 0) COPSE_LOAD(COPSE_WORD(set, w3), 1)                          \
    COPSE_LOAD(COPSE_WORD(set, w5), 2) COPSE_LOAD(COPSE_WORD(set, w7), 3)                          \
    COPSE_MEM("vpaddd", 0, COPSE_STATE(set, 0), 0) COPSE_MEM("vpaddd", 1, COPSE_STATE(set, 1), 1)  \
    COPSE_MEM("vpaddd", 2, COPSE_STATE(set, 2), 2) COPSE_MEM("vpaddd", 3, COPSE_STATE(set, 3), 3)  \
    COPSE_OP("vpaddd", 0, b0, 0) COPSE_OP("vpaddd", 1, b1, 1)                                      \
    COPSE_OP("vpaddd", 2, b2, 2) COPSE_OP("vpaddd", 3, b3, 3)                                      \
    COPSE_STORE(0, COPSE_STATE(set, 0)) COPSE_STORE(1, COPSE_STATE(set, 1))                        \
    COPSE_STORE(2, COPSE_STATE(set, 2)) COPSE_STORE(3, COPSE_STATE(set, 3))                        \
    COPSE_OP("vpxor", 4, 0, 4) COPSE_OP("vpxor", 5, 1, 5)                                          \
    COPSE_OP("vpxor", 6, 2, 6) COPSE_OP("vpxor", 7, 3, 7)                                          \
    COPSE_MEM("vpshufb", 4, "3104", 4) COPSE_MEM("vpshufb", 5, "3104", 5)                          \
    COPSE_MEM("vpshufb", 6, "3104", 6) COPSE_MEM("vpshufb", 7, "3104", 7)                          \
    COPSE_STORE(4, COPSE_STATE(set, d0)) COPSE_STORE(5, COPSE_STATE(set, d1))                      \
    COPSE_STORE(6, COPSE_STATE(set, d2)) COPSE_STORE(7, COPSE_STATE(set, d3))                      \
    COPSE_MEM("vpaddd", 4, COPSE_STATE(set, c0), 0) COPSE_MEM("vpaddd", 5, COPSE_STATE(set, c1), 1) \
    COPSE_MEM("vpaddd", 6, COPSE_STATE(set, c2), 2) COPSE_MEM("vpaddd", 7, COPSE_STATE(set, c3), 3) \
    COPSE_STORE(0, COPSE_STATE(set, c0)) COPSE_STORE(1, COPSE_STATE(set, c1))                      \
    COPSE_STORE(2, COPSE_STATE(set, c2)) COPSE_STORE(3, COPSE_STATE(set, c3))                      \
    COPSE_OP("vpxor", b0, 0, b0) COPSE_OP("vpxor", b1, 1, b1)                                      \
    COPSE_OP("vpxor", b2, 2, b2) COPSE_OP("vpxor", b3, 3, b3)                                      \
    COPSE_SHIFT("vpslld", 25, b0, 0) COPSE_SHIFT("vpslld", 25, b1, 1)                              \
    COPSE_SHIFT("vpslld", 25, b2, 2) COPSE_SHIFT("vpslld", 25, b3, 3)                              \
    COPSE_SHIFT("vpsrld", 7, b0, b0) COPSE_SHIFT("vpsrld", 7, b1, b1)                              \
    COPSE_SHIFT("vpsrld", 7, b2, b2) COPSE_SHIFT("vpsrld", 7, b3, b3)                              \
    COPSE_OP("vpor", b0, 0, b0) COPSE_OP("vpor", b1, 1, b1)                                        \
    COPSE_OP("vpor", b2, 2, b2) COPSE_OP("vpor", b3, 3, b3)

// Registers 8 to 11 hold rows 4 to 7 of the first set, 12 to 15 those of the second.
#define COPSE_ROUND2(base, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15)   \
    COPSE_HALF(base, 0, 8, 9, 10, 11, 8, 9, 10, 11, 12, 13, 14, 15, w0, w1, w2, w3, w4, w5, w6,    \
               w7)                                                                                 \
    COPSE_HALF(base, 1, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15, w0, w1, w2, w3, w4, w5, w6,  \
               w7)                                                                                 \
    COPSE_HALF(2048, 0, 9, 10, 11, 8, 10, 11, 8, 9, 15, 12, 13, 14, w8, w9, w10, w11, w12, w13,    \
               w14, w15)                                                                           \
    COPSE_HALF(2048, 1, 13, 14, 15, 12, 10, 11, 8, 9, 15, 12, 13, 14, w8, w9, w10, w11, w12, w13,  \
               w14, w15)

#define COPSE_ROUND1(base, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15)   \
    COPSE_HALF(base, 0, 8, 9, 10, 11, 8, 9, 10, 11, 12, 13, 14, 15, w0, w1, w2, w3, w4, w5, w6,    \
               w7)                                                                                 \
    COPSE_HALF(2048, 0, 9, 10, 11, 8, 10, 11, 8, 9, 15, 12, 13, 14, w8, w9, w10, w11, w12, w13,    \
               w14, w15)

#define COPSE_ROUNDS(SETS)                                                                         \
    COPSE_ROUND_0(COPSE_ROUND##SETS, 1024) COPSE_ROUND_1(COPSE_ROUND##SETS, 2048)                  \
    COPSE_ROUND_2(COPSE_ROUND##SETS, 2048) COPSE_ROUND_3(COPSE_ROUND##SETS, 2048)                  \
    COPSE_ROUND_4(COPSE_ROUND##SETS, 2048) COPSE_ROUND_5(COPSE_ROUND##SETS, 2048)                  \
    COPSE_ROUND_6(COPSE_ROUND##SETS, 2048)

#define COPSE_JOIN_MEMORY(set, row, other)                                                         \
    COPSE_LOAD(COPSE_STATE(set, row), 0) COPSE_MEM("vpxor", 0, COPSE_STATE(set, other), 0)         \
    COPSE_STORE(0, COPSE_FROM(1024, set, row))
#define COPSE_JOIN_REGISTER(set, row, other, x)                                                    \
    COPSE_MEM("vpxor", x, COPSE_STATE(set, other), x) COPSE_STORE(x, COPSE_FROM(1024, set, row))

#define COPSE_LOAD_FIRST                                                                           \
    COPSE_LOAD("1152", 8) COPSE_LOAD("1184", 9) COPSE_LOAD("1216", 10) COPSE_LOAD("1248", 11)
#define COPSE_LOAD_SECOND                                                                          \
    COPSE_LOAD("1664", 12) COPSE_LOAD("1696", 13) COPSE_LOAD("1728", 14) COPSE_LOAD("1760", 15)
#define COPSE_JOIN(set, b0, b1, b2, b3)                                                            \
    COPSE_JOIN_MEMORY(set, 0, 8) COPSE_JOIN_MEMORY(set, 1, 9)                                      \
    COPSE_JOIN_MEMORY(set, 2, 10) COPSE_JOIN_MEMORY(set, 3, 11)                                    \
    COPSE_JOIN_REGISTER(set, 4, 12, b0) COPSE_JOIN_REGISTER(set, 5, 13, b1)                        \
    COPSE_JOIN_REGISTER(set, 6, 14, b2) COPSE_JOIN_REGISTER(set, 7, 15, b3)

/// One block of the first set.
COPSE_AVX2 inline void rounds_8(workspace& space) noexcept
{
    asm volatile(COPSE_LOAD_FIRST COPSE_ROUNDS(1) COPSE_JOIN(0, 8, 9, 10, 11)
                 : "+m"(space)
                 : [space] "r"(&space)
                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                   "xmm10", "xmm11");
}

/// One block of both sets.
COPSE_AVX2 inline void rounds_16(workspace& space) noexcept
{
    asm volatile(COPSE_LOAD_FIRST COPSE_LOAD_SECOND COPSE_ROUNDS(2) COPSE_JOIN(0, 8, 9, 10, 11)
                 COPSE_JOIN(1, 12, 13, 14, 15)
                 : "+m"(space)
                 : [space] "r"(&space)
                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

#undef COPSE_LOAD
#undef COPSE_STORE
#undef COPSE_OP
#undef COPSE_MEM
#undef COPSE_SHIFT
#undef COPSE_ROTATE
#undef COPSE_WORD
#undef COPSE_STATE
#undef COPSE_FROM
#undef COPSE_HALF
#undef COPSE_ROUND1
#undef COPSE_ROUND2
#undef COPSE_ROUNDS
#undef COPSE_JOIN_MEMORY
#undef COPSE_JOIN_REGISTER
#undef COPSE_LOAD_FIRST
#undef COPSE_LOAD_SECOND
#undef COPSE_JOIN

// clang-format on

COPSE_AVX2 inline void store(std::uint32_t* to, reg value) noexcept
{
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), value);
}

COPSE_AVX2 inline reg load(const std::uint32_t* from) noexcept
{
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

/// 16 bytes of eight inputs, turned into four rows of one word. Lane 4k + i is input 4k + i: halves are
/// put together while loading, which leaves 4x4 transpositions inside the halves.
template <std::size_t Q>
COPSE_AVX2 inline void load_quarter(const std::byte* const* inputs, std::size_t offset,
                                    std::uint32_t (&words)[16][8]) noexcept
{
    const std::size_t at = offset + 16 * Q;
    reg a = load(inputs[0] + at, inputs[4] + at);
    reg b = load(inputs[1] + at, inputs[5] + at);
    reg c = load(inputs[2] + at, inputs[6] + at);
    reg d = load(inputs[3] + at, inputs[7] + at);
    transpose(a, b, c, d);
    store(words[4 * Q], a);
    store(words[4 * Q + 1], b);
    store(words[4 * Q + 2], c);
    store(words[4 * Q + 3], d);
}

/// Exactly 8 or 16 inputs.
template <std::size_t Sets>
COPSE_AVX2 void run(const std::byte* const* inputs, std::size_t blocks, const batch& what,
                    std::byte* out)
{
    workspace space;
    for (std::size_t i = 0; i < 32; ++i) {
        space.rotate_16[i] = static_cast<std::uint8_t>((i & 12) + ((i + 2) & 3));
        space.rotate_8[i] = static_cast<std::uint8_t>((i & 12) + ((i + 1) & 3));
    }
    for (std::size_t s = 0; s < Sets; ++s) {
        for (std::size_t i = 0; i < 8; ++i) store(space.initial[s][i], splat(what.key[i]));
        for (std::size_t i = 0; i < 4; ++i) store(space.initial[s][8 + i], splat(iv[i]));
        for (std::size_t i = 0; i < 8; ++i) {
            const std::uint64_t counter = what.counter + (what.increment ? 8 * s + i : 0);
            space.initial[s][12][i] = static_cast<std::uint32_t>(counter);
            space.initial[s][13][i] = static_cast<std::uint32_t>(counter >> 32);
        }
        store(space.initial[s][14], splat(block_size));
    }
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::uint32_t flags =
            what.flags | (b == 0 ? what.first_flags : 0) | (b + 1 == blocks ? what.last_flags : 0);
        for (std::size_t s = 0; s < Sets; ++s) {
            load_quarter<0>(inputs + 8 * s, block_size * b, space.words[s]);
            load_quarter<1>(inputs + 8 * s, block_size * b, space.words[s]);
            load_quarter<2>(inputs + 8 * s, block_size * b, space.words[s]);
            load_quarter<3>(inputs + 8 * s, block_size * b, space.words[s]);
            store(space.initial[s][15], splat(flags));
        }
        if constexpr (Sets == 1) {
            rounds_8(space);
        } else {
            rounds_16(space);
        }
    }
    for (std::size_t s = 0; s < Sets; ++s) {
        reg h[8];
        for (std::size_t i = 0; i < 8; ++i) h[i] = load(space.initial[s][i]);
        store_values(h, out + 8 * cv_size * s);
    }
}

}  // namespace avx2

void many_avx2(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
               const batch& what, std::byte* out)
{
    std::size_t done = 0;
    for (; count - done > 8; done += std::min<std::size_t>(16, count - done)) {
        run_padded<16>(avx2::run<2>, inputs + done, std::min<std::size_t>(16, count - done), blocks,
                       advanced(what, done), out + cv_size * done);
    }
    if (count - done > 2) {
        run_padded<8>(avx2::run<1>, inputs + done, count - done, blocks, advanced(what, done),
                      out + cv_size * done);
    } else if (done < count) {
        many_portable(inputs + done, count - done, blocks, advanced(what, done),
                      out + cv_size * done);
    }
}

}  // namespace copse::hash::kernel

#undef COPSE_AVX2
#pragma GCC diagnostic pop
