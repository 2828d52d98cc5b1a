// AVX2: eight inputs at once.
#pragma once

#include "copse/hash/impl/blake3_remainder.hpp"
#include "copse/hash/impl/blake3_sse41.ipp"

#include <algorithm>

#include <immintrin.h>

namespace copse::hash::kernel {

namespace avx2 {

#define COPSE_LANES_TARGET __attribute__((target("avx2"), always_inline))

using reg = __m256i;
constexpr std::size_t lanes = 8;

COPSE_LANES_TARGET inline reg splat(std::uint32_t word) noexcept
{
    return _mm256_set1_epi32(static_cast<int>(word));
}

COPSE_LANES_TARGET inline reg add(reg a, reg b) noexcept
{
    return _mm256_add_epi32(a, b);
}

COPSE_LANES_TARGET inline reg exor(reg a, reg b) noexcept
{
    return _mm256_xor_si256(a, b);
}

template <int Bits>
COPSE_LANES_TARGET inline reg rotate(reg a) noexcept
{
    if constexpr (Bits == 16) {
        return _mm256_shuffle_epi8(
            a, _mm256_broadcastsi128_si256(
                   _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2)));
    } else if constexpr (Bits == 8) {
        return _mm256_shuffle_epi8(
            a, _mm256_broadcastsi128_si256(
                   _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1)));
    } else {
        return _mm256_or_si256(_mm256_srli_epi32(a, Bits), _mm256_slli_epi32(a, 32 - Bits));
    }
}

/// 4x4 words in each half.
COPSE_LANES_TARGET inline void transpose(reg& a, reg& b, reg& c, reg& d) noexcept
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
COPSE_LANES_TARGET inline reg load(const std::byte* low, const std::byte* high) noexcept
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

// Lane 4k + i is input 4k + i: halves are put together while loading, so that what remains are 4x4
// transpositions inside the halves.
template <std::size_t Q>
COPSE_LANES_TARGET inline void load_quarter(const std::byte* const* inputs, std::size_t offset,
                                            reg (&m)[16]) noexcept
{
    const std::size_t at = offset + 16 * Q;
    m[4 * Q] = load(inputs[0] + at, inputs[4] + at);
    m[4 * Q + 1] = load(inputs[1] + at, inputs[5] + at);
    m[4 * Q + 2] = load(inputs[2] + at, inputs[6] + at);
    m[4 * Q + 3] = load(inputs[3] + at, inputs[7] + at);
    transpose(m[4 * Q], m[4 * Q + 1], m[4 * Q + 2], m[4 * Q + 3]);
}

COPSE_LANES_TARGET inline void store_values(reg (&h)[8], std::byte* out) noexcept
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

COPSE_LANES_TARGET inline void load_counters(const batch& what, reg (&counter)[2]) noexcept
{
    alignas(32) std::uint32_t low[lanes];
    alignas(32) std::uint32_t high[lanes];
    for (std::size_t i = 0; i < lanes; ++i) {
        const std::uint64_t value = what.counter + (what.increment ? i : 0);
        low[i] = static_cast<std::uint32_t>(value);
        high[i] = static_cast<std::uint32_t>(value >> 32);
    }
    counter[0] = _mm256_load_si256(reinterpret_cast<const __m256i*>(low));
    counter[1] = _mm256_load_si256(reinterpret_cast<const __m256i*>(high));
}

#include "copse/hash/impl/blake3_lanes.ipp"

#undef COPSE_LANES_TARGET

__attribute__((target("avx2"))) void run_8(const std::byte* const* inputs, std::size_t blocks,
                                           const batch& what, std::byte* out)
{
    run(inputs, blocks, what, out);
}

}  // namespace avx2

void many_avx2(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
               const batch& what, std::byte* out)
{
    std::size_t done = 0;
    for (; count - done > 4; done += std::min<std::size_t>(8, count - done)) {
        run_padded<8>(avx2::run_8, inputs + done, std::min<std::size_t>(8, count - done), blocks,
                      advanced(what, done), out + cv_size * done);
    }
    if (done < count) {
        many_sse41(inputs + done, count - done, blocks, advanced(what, done), out + cv_size * done);
    }
}

}  // namespace copse::hash::kernel
