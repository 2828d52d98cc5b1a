// The shape of BLAKE3 trees over chunks, groups and extents. Arithmetic only.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/hash/blake3.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace copse::bao {

using hash::chunk_size;
using hash::digest;
using hash::group_chunks;
using hash::group_size;

/// Bytes of a hash pair: left chaining value, then right one.
inline constexpr std::size_t pair_size = 64;
/// Bytes of the size header in front of an encoding.
inline constexpr std::size_t header_size = 8;
/// Largest extent in groups: 1 MiB.
inline constexpr std::size_t max_extent_groups = 64;
inline constexpr std::size_t max_extent_bytes = max_extent_groups * group_size;
/// Most parents on one path: 2^64 bytes are 2^54 chunks.
inline constexpr std::size_t max_depth = 54;

using pair_view = std::span<const std::byte, pair_size>;

/// Chunks [first, first + count) as a node of the tree.
struct subtree {
    std::uint64_t first = 0;  ///< first chunk
    std::uint64_t count = 0;  ///< chunks, those that exist
    /// The first chunk behind it.
    [[nodiscard]] constexpr std::uint64_t end() const noexcept { return first + count; }
    bool operator==(const subtree&) const = default;
};

/// Chunks of a blob: at least one, the empty blob has one empty chunk.
[[nodiscard]] constexpr std::uint64_t chunk_count(std::uint64_t size) noexcept
{
    return size == 0 ? 1 : (size - 1) / chunk_size + 1;
}

/// How many units of `unit` chunks cover `chunks` chunks; `unit` is a power of two.
[[nodiscard]] constexpr std::uint64_t unit_count(std::uint64_t chunks, std::uint64_t unit) noexcept
{
    return (chunks + unit - 1) / unit;
}

/// Groups of a blob, at least one.
[[nodiscard]] constexpr std::uint64_t group_count(std::uint64_t size) noexcept
{
    return unit_count(chunk_count(size), group_chunks);
}

/// Chunks of the left child of a subtree of `chunks` > 1: the largest power of two below that.
[[nodiscard]] constexpr std::uint64_t left_chunks(std::uint64_t chunks) noexcept
{
    assert(chunks > 1);
    return std::bit_floor(chunks - 1);
}

[[nodiscard]] constexpr subtree left_child(subtree node) noexcept
{
    return {node.first, left_chunks(node.count)};
}

[[nodiscard]] constexpr subtree right_child(subtree node) noexcept
{
    const std::uint64_t left = left_chunks(node.count);
    return {node.first + left, node.count - left};
}

/// Pairs that an outboard keeps of a subtree: one fewer than its units.
/// \param unit Chunks of the outboard's unit: a group for the usual one, an extent for a coarse one.
[[nodiscard]] constexpr std::uint64_t pair_count(std::uint64_t chunks,
                                                 std::uint64_t unit = group_chunks) noexcept
{
    return unit_count(chunks, unit) - 1;
}

/// Bytes of the outboard of a blob, which has no size header.
[[nodiscard]] constexpr std::uint64_t outboard_size(std::uint64_t size,
                                                    std::uint64_t unit = group_chunks) noexcept
{
    return pair_size * pair_count(chunk_count(size), unit);
}

/// Position of a node's pair in the pre-order outboard: the root's is 0. For a node of one unit or
/// less, where its first pair would be.
/// \param chunks Chunks of the blob. \pre `node` belongs to its tree.
/// \par Spec docs/specs/bao.md section 6.2.
[[nodiscard]] constexpr std::uint64_t pre_order_index(std::uint64_t chunks, subtree node,
                                                      std::uint64_t unit = group_chunks) noexcept
{
    std::uint64_t index = 0;
    subtree at{0, chunks};
    while (at != node && at.count > unit) {
        const subtree left = left_child(at);
        if (node.first < left.end()) {
            index += 1;
            at = left;
        } else {
            index += unit_count(left.count, unit);
            at = right_child(at);
        }
    }
    return index;
}

/// Position of a node's pair in the post-order outboard: the root's is the last.
/// \pre `node` belongs to the tree of `chunks` chunks and covers more than one unit.
[[nodiscard]] constexpr std::uint64_t post_order_index(std::uint64_t chunks, subtree node,
                                                       std::uint64_t unit = group_chunks) noexcept
{
    std::uint64_t before = 0;
    subtree at{0, chunks};
    while (at != node) {
        assert(at.count > unit);
        const subtree left = left_child(at);
        if (node.first < left.end()) {
            at = left;
        } else {
            before += pair_count(left.count, unit);
            at = right_child(at);
        }
    }
    return before + pair_count(at.count, unit) - 1;
}

/// The in-order number of a node of more than one chunk: its middle chunk minus one.
/// \par Spec docs/specs/bao.md section 6.1.
[[nodiscard]] constexpr std::uint64_t node_number(subtree node) noexcept
{
    return node.first + left_chunks(node.count) - 1;
}

/// First byte of a chunk.
[[nodiscard]] constexpr std::uint64_t byte_offset(std::uint64_t chunk) noexcept
{
    return chunk * chunk_size;
}

/// One past the last byte of the chunks below `end` in a blob of `size` bytes.
[[nodiscard]] constexpr std::uint64_t byte_end(std::uint64_t end, std::uint64_t size) noexcept
{
    return end >= chunk_count(size) ? size : end * chunk_size;  // the product may not fit beyond
}

/// Bytes of a subtree of a blob of `size` bytes.
[[nodiscard]] constexpr std::uint64_t byte_length(subtree node, std::uint64_t size) noexcept
{
    return byte_end(node.end(), size) - byte_offset(node.first);
}

/// Whether a subtree travels as one run of bytes, without pairs inside.
/// \param selected Effective set, which meets `node`.
[[nodiscard]] inline bool is_leaf(subtree node, const chunk_ranges& selected) noexcept
{
    return node.count == 1 ||
           (node.count <= group_chunks && selected.covers(node.first, node.end()));
}

/// Bytes that a subtree's nodes take on the wire.
/// \param selected Effective set. \return 2^64-1 when it would not fit.
/// \par Cost proportional to the boundaries within, times the height.
[[nodiscard]] inline std::uint64_t encoded_nodes_size(subtree node, std::uint64_t size,
                                                      const chunk_ranges& selected) noexcept
{
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    if (!selected.meets(node.first, node.end())) return 0;
    if (node.count == 1) return byte_length(node, size);
    if (selected.covers(node.first, node.end())) {
        const std::uint64_t bytes = byte_length(node, size);
        const std::uint64_t pairs = pair_size * pair_count(node.count);
        return bytes > most - pairs ? most : bytes + pairs;
    }
    const std::uint64_t left = encoded_nodes_size(left_child(node), size, selected);
    const std::uint64_t right = encoded_nodes_size(right_child(node), size, selected);
    const std::uint64_t both = left > most - right ? most : left + right;
    return both > most - pair_size ? most : both + pair_size;
}

/// Bytes of the whole encoding of a request, header included; 2^64-1 when it would not fit.
[[nodiscard]] inline std::uint64_t encoded_size(std::uint64_t size, const chunk_ranges& request)
{
    const std::uint64_t chunks = chunk_count(size);
    const std::uint64_t nodes = encoded_nodes_size({0, chunks}, size, request.effective(chunks));
    return nodes > std::numeric_limits<std::uint64_t>::max() - header_size ? nodes
                                                                           : nodes + header_size;
}

/// The size header of an encoding.
[[nodiscard]] constexpr std::array<std::byte, header_size> encode_header(
    std::uint64_t size) noexcept
{
    std::array<std::byte, header_size> out{};
    for (std::size_t i = 0; i < header_size; ++i)
        out[i] = static_cast<std::byte>(size >> 8 * i & 0xff);
    return out;
}

/// Reads what encode_header() wrote.
[[nodiscard]] constexpr std::uint64_t decode_header(
    std::span<const std::byte, header_size> header) noexcept
{
    std::uint64_t size = 0;
    for (std::size_t i = header_size; i-- > 0;)
        size = size << 8 | std::to_integer<std::uint64_t>(header[i]);
    return size;
}

[[nodiscard]] inline digest left_of(pair_view pair) noexcept
{
    digest out;
    std::copy_n(pair.begin(), out.bytes.size(), out.bytes.begin());
    return out;
}

[[nodiscard]] inline digest right_of(pair_view pair) noexcept
{
    digest out;
    std::copy_n(pair.begin() + 32, out.bytes.size(), out.bytes.begin());
    return out;
}

}  // namespace copse::bao
