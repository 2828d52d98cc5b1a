// The compression function in plain C++: for single blocks, for processors without a kernel of their
// own, and as the one that all others are tested against.
#pragma once

#include "copse/hash/impl/blake3_kernel.hpp"

namespace copse::hash::kernel {

namespace portable {

inline void mix(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c, std::uint32_t& d,
                std::uint32_t x, std::uint32_t y) noexcept
{
#if defined(__clang__)
    // Keeps the four mixes of half a round apart: clang would join them into vectors, which is slower.
    asm("" : "+r"(a));
#endif
    a += b + x;
    d = std::rotr(d ^ a, 16);
    c += d;
    b = std::rotr(b ^ c, 12);
    a += b + y;
    d = std::rotr(d ^ a, 8);
    c += d;
    b = std::rotr(b ^ c, 7);
}

template <std::size_t Round>
inline void round(std::uint32_t (&v)[16], const std::uint32_t (&m)[16]) noexcept
{
    constexpr auto& order = schedule.word[Round];
    mix(v[0], v[4], v[8], v[12], m[order[0]], m[order[1]]);
    mix(v[1], v[5], v[9], v[13], m[order[2]], m[order[3]]);
    mix(v[2], v[6], v[10], v[14], m[order[4]], m[order[5]]);
    mix(v[3], v[7], v[11], v[15], m[order[6]], m[order[7]]);
    mix(v[0], v[5], v[10], v[15], m[order[8]], m[order[9]]);
    mix(v[1], v[6], v[11], v[12], m[order[10]], m[order[11]]);
    mix(v[2], v[7], v[8], v[13], m[order[12]], m[order[13]]);
    mix(v[3], v[4], v[9], v[14], m[order[14]], m[order[15]]);
}

/// The state after the rounds, before the halves are joined.
inline void permute(std::uint32_t (&v)[16], const std::uint32_t* cv, const std::byte* block,
                    std::uint32_t length, std::uint64_t counter, std::uint32_t flags) noexcept
{
    std::uint32_t m[16];
    for (std::size_t i = 0; i < 16; ++i) m[i] = load32(block + 4 * i);
    for (std::size_t i = 0; i < 8; ++i) v[i] = cv[i];
    for (std::size_t i = 0; i < 4; ++i) v[8 + i] = iv[i];
    v[12] = static_cast<std::uint32_t>(counter);
    v[13] = static_cast<std::uint32_t>(counter >> 32);
    v[14] = length;
    v[15] = flags;
    round<0>(v, m);
    round<1>(v, m);
    round<2>(v, m);
    round<3>(v, m);
    round<4>(v, m);
    round<5>(v, m);
    round<6>(v, m);
}

}  // namespace portable

/// Compresses one block into the chaining value `cv` (8 words). Every implementation uses this one for
/// single blocks: the chain of a block is as long in vector registers, and their latency is higher.
void compress(std::uint32_t* cv, const std::byte* block, std::uint32_t length,
              std::uint64_t counter, std::uint32_t flags)
{
    std::uint32_t v[16];
    portable::permute(v, cv, block, length, counter, flags);
    for (std::size_t i = 0; i < 8; ++i) cv[i] = v[i] ^ v[i + 8];
}

/// One block of extended output: all 16 words, with the chaining value fed forward.
void compress_extended(const std::uint32_t* cv, const std::byte* block, std::uint32_t length,
                       std::uint64_t counter, std::uint32_t flags, std::byte* out)
{
    std::uint32_t v[16];
    portable::permute(v, cv, block, length, counter, flags);
    for (std::size_t i = 0; i < 8; ++i) {
        store32(out + 4 * i, v[i] ^ v[i + 8]);
        store32(out + 32 + 4 * i, v[i + 8] ^ cv[i]);
    }
}

/// One input after the other; also what wide kernels leave over.
void many_portable(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
                   const batch& what, std::byte* out)
{
    for (std::size_t n = 0; n < count; ++n) {
        std::uint32_t cv[8];
        std::memcpy(cv, what.key, sizeof cv);
        for (std::size_t b = 0; b < blocks; ++b) {
            const std::uint32_t flags = what.flags | (b == 0 ? what.first_flags : 0) |
                                        (b + 1 == blocks ? what.last_flags : 0);
            compress(cv, inputs[n] + block_size * b, block_size,
                     what.counter + (what.increment ? n : 0), flags);
        }
        for (std::size_t i = 0; i < 8; ++i) store32(out + cv_size * n + 4 * i, cv[i]);
    }
}

}  // namespace copse::hash::kernel
