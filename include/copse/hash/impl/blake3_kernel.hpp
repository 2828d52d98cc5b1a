// What a BLAKE3 implementation offers to the tree code, and the constants they share. Not API.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace copse::hash::kernel {

inline constexpr std::size_t block_size = 64;
inline constexpr std::size_t cv_size = 32;
inline constexpr std::size_t rounds = 7;

// Domain flags, one bit each (BLAKE3 paper, table 3).
inline constexpr std::uint32_t chunk_start = 1;
inline constexpr std::uint32_t chunk_end = 2;
inline constexpr std::uint32_t parent = 4;
inline constexpr std::uint32_t root = 8;
inline constexpr std::uint32_t keyed_hash = 16;
inline constexpr std::uint32_t derive_key_context = 32;
inline constexpr std::uint32_t derive_key_material = 64;

// The initialisation vector of SHA-256 (BLAKE3 paper, table 1).
alignas(32) inline constexpr std::uint32_t iv[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                                    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

struct schedule_table {
    std::uint8_t word[rounds][16];
};

/// Which message word each position of each round takes: the permutation of table 2 applied again and
/// again to the order of the first round.
inline constexpr schedule_table schedule = [] {
    constexpr std::uint8_t permutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
    schedule_table table{};
    for (std::size_t i = 0; i < 16; ++i) table.word[0][i] = static_cast<std::uint8_t>(i);
    for (std::size_t r = 1; r < rounds; ++r) {
        for (std::size_t i = 0; i < 16; ++i) table.word[r][i] = table.word[r - 1][permutation[i]];
    }
    return table;
}();

inline std::uint32_t load32(const std::byte* from) noexcept
{
    std::uint32_t value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap32(value);
    return value;
}

inline void store32(std::byte* to, std::uint32_t value) noexcept
{
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap32(value);
    std::memcpy(to, &value, sizeof value);
}

/// What stays the same over the inputs of one batch.
struct batch {
    const std::uint32_t* key;   ///< 8 words
    std::uint64_t counter;      ///< of the first input
    bool increment;             ///< whether each further input has the next counter, or the same
    std::uint32_t flags;        ///< of every block
    std::uint32_t first_flags;  ///< added on the first block of an input
    std::uint32_t last_flags;   ///< added on the last block of an input
};

/// Hashes `count` inputs of `blocks` whole blocks each; writes `count` values of 32 bytes. `out` may be
/// the memory of the inputs when they are adjacent pairs of values (parents reduced in place): what is
/// read together is read before anything is written, in rising order.
using many_function = void(const std::byte* const* inputs, std::size_t count, std::size_t blocks,
                           const batch& what, std::byte* out);

}  // namespace copse::hash::kernel
