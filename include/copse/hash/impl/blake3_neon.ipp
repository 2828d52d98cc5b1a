// NEON: four inputs at once.
#pragma once

#include "copse/hash/impl/blake3_portable.ipp"
#include "copse/hash/impl/blake3_remainder.hpp"

#include <algorithm>

#include <arm_neon.h>

namespace copse::hash::kernel {

namespace neon {

#define COPSE_LANES_TARGET __attribute__((always_inline))

using reg = uint32x4_t;
constexpr std::size_t lanes = 4;

COPSE_LANES_TARGET inline reg splat(std::uint32_t word) noexcept
{
    return vdupq_n_u32(word);
}

COPSE_LANES_TARGET inline reg add(reg a, reg b) noexcept
{
    return vaddq_u32(a, b);
}

COPSE_LANES_TARGET inline reg exor(reg a, reg b) noexcept
{
    return veorq_u32(a, b);
}

template <int Bits>
COPSE_LANES_TARGET inline reg rotate(reg a) noexcept
{
    if constexpr (Bits == 16) {
        return vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(a)));
    } else {
        return vsriq_n_u32(vshlq_n_u32(a, 32 - Bits), a, Bits);
    }
}

COPSE_LANES_TARGET inline reg load(const std::byte* from) noexcept
{
    return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(from)));
}

COPSE_LANES_TARGET inline void store(std::byte* to, reg value) noexcept
{
    vst1q_u8(reinterpret_cast<std::uint8_t*>(to), vreinterpretq_u8_u32(value));
}

COPSE_LANES_TARGET inline void transpose(reg& a, reg& b, reg& c, reg& d) noexcept
{
    const uint32x4x2_t ab = vtrnq_u32(a, b);
    const uint32x4x2_t cd = vtrnq_u32(c, d);
    a = vcombine_u32(vget_low_u32(ab.val[0]), vget_low_u32(cd.val[0]));
    b = vcombine_u32(vget_low_u32(ab.val[1]), vget_low_u32(cd.val[1]));
    c = vcombine_u32(vget_high_u32(ab.val[0]), vget_high_u32(cd.val[0]));
    d = vcombine_u32(vget_high_u32(ab.val[1]), vget_high_u32(cd.val[1]));
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
    std::uint32_t low[lanes];
    std::uint32_t high[lanes];
    for (std::size_t i = 0; i < lanes; ++i) {
        const std::uint64_t value = what.counter + (what.increment ? i : 0);
        low[i] = static_cast<std::uint32_t>(value);
        high[i] = static_cast<std::uint32_t>(value >> 32);
    }
    counter[0] = vld1q_u32(low);
    counter[1] = vld1q_u32(high);
}

#include "copse/hash/impl/blake3_lanes.ipp"

#undef COPSE_LANES_TARGET

void run_4(const std::byte* const* inputs, std::size_t blocks, const batch& what, std::byte* out)
{
    run(inputs, blocks, what, out);
}

}  // namespace neon

void many_neon(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
               const batch& what, std::byte* out)
{
    std::size_t done = 0;
    for (; count - done > 2; done += std::min<std::size_t>(4, count - done)) {
        run_padded<4>(neon::run_4, inputs + done, std::min<std::size_t>(4, count - done), blocks,
                      advanced(what, done), out + cv_size * done);
    }
    if (done < count) {
        many_portable(inputs + done, count - done, blocks, advanced(what, done),
                      out + cv_size * done);
    }
}

}  // namespace copse::hash::kernel
