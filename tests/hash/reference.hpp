// BLAKE3 as the paper tells it: one block after the other, the message permuted before each round, the
// tree by recursion. Slow, and independent of everything in include/copse/hash but `digest`.
#pragma once

#include "copse/hash/blake3.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace copse::test::reference {

using words = std::array<std::uint32_t, 8>;

inline constexpr words iv{0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                          0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
enum flag : std::uint32_t { chunk_start = 1, chunk_end = 2, parent = 4, root = 8 };

inline void mix(std::array<std::uint32_t, 16>& v, std::size_t a, std::size_t b, std::size_t c,
                std::size_t d, std::uint32_t x, std::uint32_t y)
{
    v[a] = v[a] + v[b] + x;
    v[d] = std::rotr(v[d] ^ v[a], 16);
    v[c] = v[c] + v[d];
    v[b] = std::rotr(v[b] ^ v[c], 12);
    v[a] = v[a] + v[b] + y;
    v[d] = std::rotr(v[d] ^ v[a], 8);
    v[c] = v[c] + v[d];
    v[b] = std::rotr(v[b] ^ v[c], 7);
}

inline words compress(const words& cv, std::span<const std::byte> block, std::uint64_t counter,
                      std::uint32_t flags)
{
    std::array<std::uint32_t, 16> m{};
    for (std::size_t i = 0; i < block.size(); ++i) {
        m[i / 4] |= std::to_integer<std::uint32_t>(block[i]) << (8 * (i % 4));
    }
    std::array<std::uint32_t, 16> v{};
    for (std::size_t i = 0; i < 8; ++i) v[i] = cv[i];
    for (std::size_t i = 0; i < 4; ++i) v[8 + i] = iv[i];
    v[12] = static_cast<std::uint32_t>(counter);
    v[13] = static_cast<std::uint32_t>(counter >> 32);
    v[14] = static_cast<std::uint32_t>(block.size());
    v[15] = flags;
    for (int round = 0; round < 7; ++round) {
        for (std::size_t i = 0; i < 4; ++i) mix(v, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
        for (std::size_t i = 0; i < 4; ++i) {
            mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i],
                m[9 + 2 * i]);
        }
        constexpr std::array<std::size_t, 16> permutation{2, 6,  3,  10, 7, 0,  4,  13,
                                                          1, 11, 12, 5,  9, 14, 15, 8};
        const auto before = m;
        for (std::size_t i = 0; i < 16; ++i) m[i] = before[permutation[i]];
    }
    words out{};
    for (std::size_t i = 0; i < 8; ++i) out[i] = v[i] ^ v[i + 8];
    return out;
}

inline hash::digest to_digest(const words& w)
{
    hash::digest out;
    for (std::size_t i = 0; i < 32; ++i) {
        out.bytes[i] = static_cast<std::byte>(w[i / 4] >> (8 * (i % 4)));
    }
    return out;
}

inline hash::digest parent_of(const hash::digest& left, const hash::digest& right, bool is_root)
{
    std::vector<std::byte> block;
    for (const auto& half : {left, right}) {
        block.insert(block.end(), half.bytes.begin(), half.bytes.end());
    }
    return to_digest(compress(iv, block, 0, parent | (is_root ? root : 0u)));
}

inline hash::digest subtree_of(std::span<const std::byte> data, std::uint64_t first, bool is_root)
{
    if (data.size() <= 1024) {
        words cv = iv;
        std::uint32_t flags = chunk_start;
        for (; data.size() > 64; data = data.subspan(64), flags = 0) {
            cv = compress(cv, data.first(64), first, flags);
        }
        return to_digest(compress(cv, data, first, flags | chunk_end | (is_root ? root : 0u)));
    }
    std::size_t left = 1;  // the largest power of two of chunks that leaves something for the right
    while (2 * left * 1024 < data.size()) left *= 2;
    return parent_of(subtree_of(data.first(left * 1024), first, false),
                     subtree_of(data.subspan(left * 1024), first + left, false), is_root);
}

}  // namespace copse::test::reference

namespace copse::test {

/// Runs `body` once with every implementation that this processor has, and restores the choice.
template <class Body>
void with_every_instruction_set(Body body)
{
    using hash::instruction_set;
    const instruction_set before = hash::active_instruction_set();
    for (const auto set : {instruction_set::portable, instruction_set::neon, instruction_set::sse41,
                           instruction_set::avx2, instruction_set::avx512}) {
        if (hash::set_instruction_set(set)) body(hash::to_string(set));
    }
    hash::set_instruction_set(before);
}

}  // namespace copse::test
