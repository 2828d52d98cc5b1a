// AVX-512: two sets of sixteen inputs at once.
//
// A set of sixteen inputs is one chain of dependent additions and rotations, four columns wide: too
// few independent operations to fill four 512-bit units with a latency of two cycles. Two sets side
// by side fill them, and their states take all 32 registers, so the message words stay in memory. No
// compiler keeps to such an allocation: the rounds are assembly.
#pragma once

#include "copse/hash/impl/blake3_portable.ipp"
#include "copse/hash/impl/blake3_remainder.hpp"
#include "copse/hash/impl/blake3_schedule.hpp"

#include <algorithm>

#include <immintrin.h>

#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC 12 takes the deliberately undefined operand inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace copse::hash::kernel {

namespace avx512 {

#define COPSE_AVX512 __attribute__((target("avx512f,avx512vl")))

/// What the rounds work on: rows of one word of sixteen inputs. The assembly knows the offsets.
struct alignas(64) workspace {
    std::uint32_t words[2][16][16];
    std::uint32_t cv[2][8][16];
    std::uint32_t counter[2][2][16];
    std::uint32_t tail[6];  // the initialisation vector's first four words, block length, flags
};

static_assert(offsetof(workspace, words) == 0 && offsetof(workspace, cv) == 2048 &&
              offsetof(workspace, counter) == 3072 && offsetof(workspace, tail) == 3328);

// Registers 0 to 15 hold the state of the first set, 16 to 31 that of the second. Every step of the
// mixing function is done for all columns before the next one; MSG adds a message word.
#define COPSE_SECOND_0 16
#define COPSE_SECOND_1 17
#define COPSE_SECOND_2 18
#define COPSE_SECOND_3 19
#define COPSE_SECOND_4 20
#define COPSE_SECOND_5 21
#define COPSE_SECOND_6 22
#define COPSE_SECOND_7 23
#define COPSE_SECOND_8 24
#define COPSE_SECOND_9 25
#define COPSE_SECOND_10 26
#define COPSE_SECOND_11 27
#define COPSE_SECOND_12 28
#define COPSE_SECOND_13 29
#define COPSE_SECOND_14 30
#define COPSE_SECOND_15 31

// clang-format off
#define COPSE_OP(op, x, y) op " %%zmm" #y ", %%zmm" #x ", %%zmm" #x "\n\t"
#define COPSE_OP_(op, x, y) COPSE_OP(op, x, y)
#define COPSE_ROR(n, x) "vprord $" #n ", %%zmm" #x ", %%zmm" #x "\n\t"
#define COPSE_ROR_(n, x) COPSE_ROR(n, x)
#define COPSE_MSG(w, x) "vpaddd " #w "(%[space]), %%zmm" #x ", %%zmm" #x "\n\t"
#define COPSE_MSG_(w, x) COPSE_MSG(w, x)

#define COPSE_OP1(op, x, y) COPSE_OP(op, x, y)
#define COPSE_ROR1(n, x) COPSE_ROR(n, x)
#define COPSE_MSG1(w, x) COPSE_MSG(64 * w, x)
#define COPSE_OP2(op, x, y) COPSE_OP(op, x, y) COPSE_OP_(op, COPSE_SECOND_##x, COPSE_SECOND_##y)
#define COPSE_ROR2(n, x) COPSE_ROR(n, x) COPSE_ROR_(n, COPSE_SECOND_##x)
#define COPSE_MSG2(w, x) COPSE_MSG(64 * w, x) COPSE_MSG_(64 * w + 1024, COPSE_SECOND_##x)

#define COPSE_HALF(SETS, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, w0, w1, w2, w3, w4, w5,  \
                   w6, w7)                                                                         \
    COPSE_MSG##SETS(w0, 0) COPSE_MSG##SETS(w2, 1) COPSE_MSG##SETS(w4, 2) COPSE_MSG##SETS(w6, 3)    \
    COPSE_OP##SETS("vpaddd", 0, b0) COPSE_OP##SETS("vpaddd", 1, b1)                                \
    COPSE_OP##SETS("vpaddd", 2, b2) COPSE_OP##SETS("vpaddd", 3, b3)                                \
    COPSE_OP##SETS("vpxord", d0, 0) COPSE_OP##SETS("vpxord", d1, 1)                                \
    COPSE_OP##SETS("vpxord", d2, 2) COPSE_OP##SETS("vpxord", d3, 3)                                \
    COPSE_ROR##SETS(16, d0) COPSE_ROR##SETS(16, d1) COPSE_ROR##SETS(16, d2) COPSE_ROR##SETS(16, d3)\
    COPSE_OP##SETS("vpaddd", c0, d0) COPSE_OP##SETS("vpaddd", c1, d1)                              \
    COPSE_OP##SETS("vpaddd", c2, d2) COPSE_OP##SETS("vpaddd", c3, d3)                              \
    COPSE_OP##SETS("vpxord", b0, c0) COPSE_OP##SETS("vpxord", b1, c1)                              \
    COPSE_OP##SETS("vpxord", b2, c2) COPSE_OP##SETS("vpxord", b3, c3)                              \
    COPSE_ROR##SETS(12, b0) COPSE_ROR##SETS(12, b1) COPSE_ROR##SETS(12, b2) COPSE_ROR##SETS(12, b3)\
    COPSE_MSG##SETS(w1, 0) COPSE_MSG##SETS(w3, 1) COPSE_MSG##SETS(w5, 2) COPSE_MSG##SETS(w7, 3)    \
    COPSE_OP##SETS("vpaddd", 0, b0) COPSE_OP##SETS("vpaddd", 1, b1)                                \
    COPSE_OP##SETS("vpaddd", 2, b2) COPSE_OP##SETS("vpaddd", 3, b3)                                \
    COPSE_OP##SETS("vpxord", d0, 0) COPSE_OP##SETS("vpxord", d1, 1)                                \
    COPSE_OP##SETS("vpxord", d2, 2) COPSE_OP##SETS("vpxord", d3, 3)                                \
    COPSE_ROR##SETS(8, d0) COPSE_ROR##SETS(8, d1) COPSE_ROR##SETS(8, d2) COPSE_ROR##SETS(8, d3)    \
    COPSE_OP##SETS("vpaddd", c0, d0) COPSE_OP##SETS("vpaddd", c1, d1)                              \
    COPSE_OP##SETS("vpaddd", c2, d2) COPSE_OP##SETS("vpaddd", c3, d3)                              \
    COPSE_OP##SETS("vpxord", b0, c0) COPSE_OP##SETS("vpxord", b1, c1)                              \
    COPSE_OP##SETS("vpxord", b2, c2) COPSE_OP##SETS("vpxord", b3, c3)                              \
    COPSE_ROR##SETS(7, b0) COPSE_ROR##SETS(7, b1) COPSE_ROR##SETS(7, b2) COPSE_ROR##SETS(7, b3)

#define COPSE_ROUND(SETS, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15)    \
    COPSE_HALF(SETS, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, w0, w1, w2, w3, w4, w5, w6, w7)     \
    COPSE_HALF(SETS, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14, w8, w9, w10, w11, w12, w13, w14, w15)

#define COPSE_ROUNDS(SETS)                                                                         \
    COPSE_ROUND_0(COPSE_ROUND, SETS) COPSE_ROUND_1(COPSE_ROUND, SETS)                              \
    COPSE_ROUND_2(COPSE_ROUND, SETS) COPSE_ROUND_3(COPSE_ROUND, SETS)                              \
    COPSE_ROUND_4(COPSE_ROUND, SETS) COPSE_ROUND_5(COPSE_ROUND, SETS)                              \
    COPSE_ROUND_6(COPSE_ROUND, SETS)

#define COPSE_LOAD(from, x) "vmovdqa64 " #from "(%[space]), %%zmm" #x "\n\t"
#define COPSE_SPREAD(from, x) "vpbroadcastd " #from "(%[space]), %%zmm" #x "\n\t"
#define COPSE_STORE(x, to) "vmovdqa64 %%zmm" #x ", " #to "(%[space])\n\t"
#define COPSE_JOIN(x, y, to) COPSE_OP("vpxord", x, y) COPSE_STORE(x, to)

/// One block of one set.
COPSE_AVX512 inline void rounds_16(workspace& space) noexcept
{
    asm volatile(
        COPSE_LOAD(2048, 0) COPSE_LOAD(2112, 1) COPSE_LOAD(2176, 2) COPSE_LOAD(2240, 3)
        COPSE_LOAD(2304, 4) COPSE_LOAD(2368, 5) COPSE_LOAD(2432, 6) COPSE_LOAD(2496, 7)
        COPSE_SPREAD(3328, 8) COPSE_SPREAD(3332, 9) COPSE_SPREAD(3336, 10) COPSE_SPREAD(3340, 11)
        COPSE_LOAD(3072, 12) COPSE_LOAD(3136, 13) COPSE_SPREAD(3344, 14) COPSE_SPREAD(3348, 15)
        COPSE_ROUNDS(1)
        COPSE_JOIN(0, 8, 2048) COPSE_JOIN(1, 9, 2112) COPSE_JOIN(2, 10, 2176)
        COPSE_JOIN(3, 11, 2240) COPSE_JOIN(4, 12, 2304) COPSE_JOIN(5, 13, 2368)
        COPSE_JOIN(6, 14, 2432) COPSE_JOIN(7, 15, 2496)
        : "+m"(space)
        : [space] "r"(&space)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/// One block of both sets.
COPSE_AVX512 inline void rounds_32(workspace& space) noexcept
{
    asm volatile(
        COPSE_LOAD(2048, 0) COPSE_LOAD(2112, 1) COPSE_LOAD(2176, 2) COPSE_LOAD(2240, 3)
        COPSE_LOAD(2304, 4) COPSE_LOAD(2368, 5) COPSE_LOAD(2432, 6) COPSE_LOAD(2496, 7)
        COPSE_LOAD(2560, 16) COPSE_LOAD(2624, 17) COPSE_LOAD(2688, 18) COPSE_LOAD(2752, 19)
        COPSE_LOAD(2816, 20) COPSE_LOAD(2880, 21) COPSE_LOAD(2944, 22) COPSE_LOAD(3008, 23)
        COPSE_SPREAD(3328, 8) COPSE_SPREAD(3332, 9) COPSE_SPREAD(3336, 10) COPSE_SPREAD(3340, 11)
        COPSE_SPREAD(3328, 24) COPSE_SPREAD(3332, 25) COPSE_SPREAD(3336, 26) COPSE_SPREAD(3340, 27)
        COPSE_LOAD(3072, 12) COPSE_LOAD(3136, 13) COPSE_SPREAD(3344, 14) COPSE_SPREAD(3348, 15)
        COPSE_LOAD(3200, 28) COPSE_LOAD(3264, 29) COPSE_SPREAD(3344, 30) COPSE_SPREAD(3348, 31)
        COPSE_ROUNDS(2)
        COPSE_JOIN(0, 8, 2048) COPSE_JOIN(1, 9, 2112) COPSE_JOIN(2, 10, 2176)
        COPSE_JOIN(3, 11, 2240) COPSE_JOIN(4, 12, 2304) COPSE_JOIN(5, 13, 2368)
        COPSE_JOIN(6, 14, 2432) COPSE_JOIN(7, 15, 2496)
        COPSE_JOIN(16, 24, 2560) COPSE_JOIN(17, 25, 2624) COPSE_JOIN(18, 26, 2688)
        COPSE_JOIN(19, 27, 2752) COPSE_JOIN(20, 28, 2816) COPSE_JOIN(21, 29, 2880)
        COPSE_JOIN(22, 30, 2944) COPSE_JOIN(23, 31, 3008)
        : "+m"(space)
        : [space] "r"(&space)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",
          "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30",
          "xmm31");
}

// clang-format on

/// 4x4 words in each quarter of the registers.
COPSE_AVX512 inline void transpose(__m512i (&row)[4]) noexcept
{
    const __m512i low_01 = _mm512_unpacklo_epi32(row[0], row[1]);
    const __m512i high_01 = _mm512_unpackhi_epi32(row[0], row[1]);
    const __m512i low_23 = _mm512_unpacklo_epi32(row[2], row[3]);
    const __m512i high_23 = _mm512_unpackhi_epi32(row[2], row[3]);
    row[0] = _mm512_unpacklo_epi64(low_01, low_23);
    row[1] = _mm512_unpackhi_epi64(low_01, low_23);
    row[2] = _mm512_unpacklo_epi64(high_01, high_23);
    row[3] = _mm512_unpackhi_epi64(high_01, high_23);
}

/// 16 bytes of each of four inputs, one a quarter.
COPSE_AVX512 inline __m512i load(const std::byte* a, const std::byte* b, const std::byte* c,
                                 const std::byte* d) noexcept
{
    const auto part = [](const std::byte* from) { return reinterpret_cast<const __m128i*>(from); };
    __m512i row = _mm512_castsi128_si512(_mm_loadu_si128(part(a)));
    row = _mm512_mask_broadcast_i32x4(row, 0x00F0, _mm_loadu_si128(part(b)));
    row = _mm512_mask_broadcast_i32x4(row, 0x0F00, _mm_loadu_si128(part(c)));
    return _mm512_mask_broadcast_i32x4(row, 0xF000, _mm_loadu_si128(part(d)));
}

template <std::size_t Q>
COPSE_AVX512 inline void load_quarter(const std::byte* const* inputs, std::size_t offset,
                                      std::uint32_t (&words)[16][16]) noexcept
{
    const std::byte* const* const in = inputs;
    const std::size_t at = offset + 16 * Q;
    __m512i row[4] = {load(in[0] + at, in[4] + at, in[8] + at, in[12] + at),
                      load(in[1] + at, in[5] + at, in[9] + at, in[13] + at),
                      load(in[2] + at, in[6] + at, in[10] + at, in[14] + at),
                      load(in[3] + at, in[7] + at, in[11] + at, in[15] + at)};
    transpose(row);
    _mm512_store_si512(words[4 * Q], row[0]);
    _mm512_store_si512(words[4 * Q + 1], row[1]);
    _mm512_store_si512(words[4 * Q + 2], row[2]);
    _mm512_store_si512(words[4 * Q + 3], row[3]);
}

/// One block of sixteen inputs, turned into rows of one word of each. Lane 4k + i is input 4k + i:
/// quarters are put together while loading, which leaves 4x4 transpositions inside the quarters.
COPSE_AVX512 inline void load_words(const std::byte* const* inputs, std::size_t offset,
                                    std::uint32_t (&words)[16][16]) noexcept
{
    load_quarter<0>(inputs, offset, words);
    load_quarter<1>(inputs, offset, words);
    load_quarter<2>(inputs, offset, words);
    load_quarter<3>(inputs, offset, words);
}

COPSE_AVX512 inline void store_values(const std::uint32_t (&cv)[8][16], std::byte* out) noexcept
{
    __m512i low[4];
    __m512i high[4];
    for (std::size_t i = 0; i < 4; ++i) {
        low[i] = _mm512_load_si512(cv[i]);
        high[i] = _mm512_load_si512(cv[4 + i]);
    }
    transpose(low);
    transpose(high);
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for (std::size_t i = 0; i < 4; ++i) {
        const __m512i a = _mm512_permutex2var_epi64(low[i], first, high[i]);
        const __m512i b = _mm512_permutex2var_epi64(low[i], second, high[i]);
        const auto to = [&](std::size_t input) {
            return reinterpret_cast<__m256i*>(out + cv_size * input);
        };
        _mm256_storeu_si256(to(i), _mm512_castsi512_si256(a));
        _mm256_storeu_si256(to(4 + i), _mm512_extracti64x4_epi64(a, 1));
        _mm256_storeu_si256(to(8 + i), _mm512_castsi512_si256(b));
        _mm256_storeu_si256(to(12 + i), _mm512_extracti64x4_epi64(b, 1));
    }
}

/// Chaining values and counters of set `s` before the first block.
COPSE_AVX512 inline void prepare(workspace& space, std::size_t s, const batch& what) noexcept
{
    for (std::size_t i = 0; i < 8; ++i) {
        _mm512_store_si512(space.cv[s][i], _mm512_set1_epi32(static_cast<int>(what.key[i])));
    }
    for (std::size_t i = 0; i < 16; ++i) {
        const std::uint64_t counter = what.counter + (what.increment ? 16 * s + i : 0);
        space.counter[s][0][i] = static_cast<std::uint32_t>(counter);
        space.counter[s][1][i] = static_cast<std::uint32_t>(counter >> 32);
    }
}

/// Exactly 16 or 32 inputs.
template <std::size_t Sets>
COPSE_AVX512 void run(const std::byte* const* inputs, std::size_t blocks, const batch& what,
                      std::byte* out)
{
    workspace space;
    for (std::size_t s = 0; s < Sets; ++s) prepare(space, s, what);
    for (std::size_t i = 0; i < 4; ++i) space.tail[i] = iv[i];
    space.tail[4] = block_size;
    for (std::size_t b = 0; b < blocks; ++b) {
        space.tail[5] =
            what.flags | (b == 0 ? what.first_flags : 0) | (b + 1 == blocks ? what.last_flags : 0);
        for (std::size_t s = 0; s < Sets; ++s) {
            load_words(inputs + 16 * s, block_size * b, space.words[s]);
        }
        if constexpr (Sets == 1) {
            rounds_16(space);
        } else {
            rounds_32(space);
        }
    }
    for (std::size_t s = 0; s < Sets; ++s) store_values(space.cv[s], out + 16 * cv_size * s);
}

}  // namespace avx512

void many_avx512(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
                 const batch& what, std::byte* out)
{
    std::size_t done = 0;
    for (; count - done > 16; done += std::min<std::size_t>(32, count - done)) {
        run_padded<32>(avx512::run<2>, inputs + done, std::min<std::size_t>(32, count - done),
                       blocks, advanced(what, done), out + cv_size * done);
    }
    if (count - done > 1) {
        run_padded<16>(avx512::run<1>, inputs + done, count - done, blocks, advanced(what, done),
                       out + cv_size * done);
    } else if (count - done == 1) {
        many_portable(inputs + done, 1, blocks, advanced(what, done), out + cv_size * done);
    }
}

}  // namespace copse::hash::kernel

#undef COPSE_AVX512
#undef COPSE_SECOND_0
#undef COPSE_SECOND_1
#undef COPSE_SECOND_2
#undef COPSE_SECOND_3
#undef COPSE_SECOND_4
#undef COPSE_SECOND_5
#undef COPSE_SECOND_6
#undef COPSE_SECOND_7
#undef COPSE_SECOND_8
#undef COPSE_SECOND_9
#undef COPSE_SECOND_10
#undef COPSE_SECOND_11
#undef COPSE_SECOND_12
#undef COPSE_SECOND_13
#undef COPSE_SECOND_14
#undef COPSE_SECOND_15
#undef COPSE_OP
#undef COPSE_OP_
#undef COPSE_ROR
#undef COPSE_ROR_
#undef COPSE_MSG
#undef COPSE_MSG_
#undef COPSE_OP1
#undef COPSE_ROR1
#undef COPSE_MSG1
#undef COPSE_OP2
#undef COPSE_ROR2
#undef COPSE_MSG2
#undef COPSE_HALF
#undef COPSE_ROUND
#undef COPSE_ROUNDS
#undef COPSE_LOAD
#undef COPSE_SPREAD
#undef COPSE_STORE
#undef COPSE_JOIN
#pragma GCC diagnostic pop
