// The chaining values above the groups of one extent, all levels at once.
#pragma once

#include <copse/bao/geometry.hpp>

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <span>

namespace copse::bao::detail {

/// Values of a subtree of at most `max_extent_groups` units, level by level: level 0 are the units, a
/// node of level k covers 2^k of them. A level's odd last node is the one below it unchanged, which
/// makes the shape BLAKE3's. Two siblings are neighbours in memory, so a pair is a view.
class group_tree {
public:
    /// Room for the values of `count` units, to be filled before fold().
    [[nodiscard]] std::span<digest> leaves(std::size_t count) noexcept
    {
        assert(count > 0 && count <= max_extent_groups);
        count_ = count;
        return std::span(nodes_).first(count);
    }

    /// Computes everything above the leaves.
    /// \param is_root The subtree is a whole blob. \pre then a single leaf is hashed as root already.
    void fold(bool is_root) noexcept
    {
        std::size_t begin = 0;
        std::size_t size = count_;
        levels_ = 0;
        start_[0] = 0;
        while (size > 1) {
            const std::size_t next = begin + size;
            const std::size_t pairs = size / 2;
            assert(next + (size + 1) / 2 <= nodes_.size());
            if (size == 2)
                nodes_[next] = hash::parent_cv(nodes_[begin], nodes_[begin + 1], is_root);
            else
                hash::parent_cvs(std::as_bytes(std::span(nodes_).subspan(begin, 2 * pairs)),
                                 std::span(nodes_).subspan(next, pairs));
            if (size % 2 != 0) nodes_[next + pairs] = nodes_[begin + size - 1];
            begin = next;
            size = (size + 1) / 2;
            start_[++levels_] = begin;
        }
    }

    /// Value of the whole subtree. \pre fold().
    [[nodiscard]] const digest& top() const noexcept { return nodes_[start_[levels_]]; }

    /// The pair whose left child is the `at`-th node of `level`. \pre fold().
    [[nodiscard]] pair_view pair(std::size_t level, std::size_t at) const noexcept
    {
        const auto both = std::as_bytes(std::span(nodes_).subspan(start_[level] + at, 2));
        return both.first<pair_size>();
    }

    /// Walks the subtree in the order of the wire: `on_pair(pair_view)` for each parent,
    /// `on_leaf(std::size_t)` for each unit. \pre fold().
    template <class OnPair, class OnLeaf>
    void pre_order(OnPair&& on_pair, OnLeaf&& on_leaf) const
    {
        for_each(
            count_, [&](std::size_t level, std::size_t at) { on_pair(pair(level, at)); }, on_leaf);
    }

    /// The same walk without values: `on_pair(level, index)` names a parent by its left child.
    template <class OnPair, class OnLeaf>
    static void for_each(std::size_t count, OnPair&& on_pair, OnLeaf&& on_leaf)
    {
        const auto top = static_cast<std::size_t>(std::bit_width(count - 1));
        for (std::size_t leaf = 0; leaf < count; ++leaf) {
            // The parents that begin at this leaf, highest first; those without right child are none.
            std::size_t level = leaf == 0 ? top : static_cast<std::size_t>(std::countr_zero(leaf));
            while (level-- > 0) {
                if (leaf + (std::size_t{1} << level) < count) on_pair(level, leaf >> level);
            }
            on_leaf(leaf);
        }
    }

private:
    static_assert(sizeof(digest) == 32);

    // 64 units have 127 nodes; an odd level adds at most one, and has fewer below the top.
    std::array<digest, 2 * max_extent_groups> nodes_;
    std::array<std::size_t, 8> start_{};
    std::size_t count_ = 0;
    std::size_t levels_ = 0;
};

/// The values of all groups of an extent that lies in one piece in memory.
/// \param data The whole extent; empty only for the empty blob.
inline void hash_extent(std::span<const std::byte> data, std::uint64_t first_chunk, bool is_root,
                        group_tree& tree) noexcept
{
    const std::size_t groups = data.empty() ? 1 : (data.size() - 1) / group_size + 1;
    const auto leaves = tree.leaves(groups);
    if (groups == 1) leaves[0] = hash::subtree_cv(data, first_chunk, is_root);
    else hash::group_cvs(data, first_chunk, leaves);
    tree.fold(is_root);
}

}  // namespace copse::bao::detail
