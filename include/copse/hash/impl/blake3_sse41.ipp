// SSE4.1: four inputs at once.
#pragma once

#include "copse/hash/impl/blake3_portable.ipp"
#include "copse/hash/impl/blake3_remainder.hpp"

#include <immintrin.h>

namespace copse::hash::kernel {

namespace sse41 {

#define COPSE_LANES_TARGET __attribute__((target("sse4.1"), always_inline))

using reg = __m128i;
constexpr std::size_t lanes = 4;

COPSE_LANES_TARGET inline reg splat(std::uint32_t word) noexcept
{
    return _mm_set1_epi32(static_cast<int>(word));
}

COPSE_LANES_TARGET inline reg add(reg a, reg b) noexcept
{
    return _mm_add_epi32(a, b);
}

COPSE_LANES_TARGET inline reg exor(reg a, reg b) noexcept
{
    return _mm_xor_si128(a, b);
}

template <int Bits>
COPSE_LANES_TARGET inline reg rotate(reg a) noexcept
{
    if constexpr (Bits == 16) {
        return _mm_shuffle_epi8(a,
                                _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
    } else if constexpr (Bits == 8) {
        return _mm_shuffle_epi8(a,
                                _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1));
    } else {
        return _mm_or_si128(_mm_srli_epi32(a, Bits), _mm_slli_epi32(a, 32 - Bits));
    }
}

COPSE_LANES_TARGET inline reg load(const std::byte* from) noexcept
{
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

COPSE_LANES_TARGET inline void store(std::byte* to, reg value) noexcept
{
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
}

COPSE_LANES_TARGET inline void transpose(reg& a, reg& b, reg& c, reg& d) noexcept
{
    const reg ab_low = _mm_unpacklo_epi32(a, b);
    const reg ab_high = _mm_unpackhi_epi32(a, b);
    const reg cd_low = _mm_unpacklo_epi32(c, d);
    const reg cd_high = _mm_unpackhi_epi32(c, d);
    a = _mm_unpacklo_epi64(ab_low, cd_low);
    b = _mm_unpackhi_epi64(ab_low, cd_low);
    c = _mm_unpacklo_epi64(ab_high, cd_high);
    d = _mm_unpackhi_epi64(ab_high, cd_high);
}

template <std::size_t Q>
COPSE_LANES_TARGET inline void load_quarter(const std::byte* const* inputs, std::size_t offset,
                                            reg (&m)[16]) noexcept
{
    m[4 * Q] = load(inputs[0] + offset + 16 * Q);
    m[4 * Q + 1] = load(inputs[1] + offset + 16 * Q);
    m[4 * Q + 2] = load(inputs[2] + offset + 16 * Q);
    m[4 * Q + 3] = load(inputs[3] + offset + 16 * Q);
    transpose(m[4 * Q], m[4 * Q + 1], m[4 * Q + 2], m[4 * Q + 3]);
}

COPSE_LANES_TARGET inline void store_values(reg (&h)[8], std::byte* out) noexcept
{
    transpose(h[0], h[1], h[2], h[3]);
    transpose(h[4], h[5], h[6], h[7]);
    for (std::size_t i = 0; i < 4; ++i) {
        store(out + cv_size * i, h[i]);
        store(out + cv_size * i + 16, h[4 + i]);
    }
}

COPSE_LANES_TARGET inline void load_counters(const batch& what, reg (&counter)[2]) noexcept
{
    alignas(16) std::uint32_t low[lanes];
    alignas(16) std::uint32_t high[lanes];
    for (std::size_t i = 0; i < lanes; ++i) {
        const std::uint64_t value = what.counter + (what.increment ? i : 0);
        low[i] = static_cast<std::uint32_t>(value);
        high[i] = static_cast<std::uint32_t>(value >> 32);
    }
    counter[0] = _mm_load_si128(reinterpret_cast<const __m128i*>(low));
    counter[1] = _mm_load_si128(reinterpret_cast<const __m128i*>(high));
}

#include "copse/hash/impl/blake3_lanes.ipp"

#undef COPSE_LANES_TARGET

__attribute__((target("sse4.1"))) void run_4(const std::byte* const* inputs, std::size_t blocks,
                                             const batch& what, std::byte* out)
{
    run(inputs, blocks, what, out);
}

}  // namespace sse41

void many_sse41(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
                const batch& what, std::byte* out)
{
    std::size_t done = 0;
    for (; count - done > 2; done += std::min<std::size_t>(4, count - done)) {
        run_padded<4>(sse41::run_4, inputs + done, std::min<std::size_t>(4, count - done), blocks,
                      advanced(what, done), out + cv_size * done);
    }
    if (done < count) {
        many_portable(inputs + done, count - done, blocks, advanced(what, done),
                      out + cv_size * done);
    }
}

}  // namespace copse::hash::kernel
