// The hash pairs of a blob kept beside it: of every group, or only above extents.
#pragma once

#include <copse/bao/detail/append.hpp>
#include <copse/bao/detail/group_tree.hpp>
#include <copse/bao/error.hpp>
#include <copse/bao/geometry.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace copse::bao {

/// Calls `fn(subtree node, std::uint64_t group_index)` for every node of more than `unit_groups`
/// groups, in pre-order. `group_index` is the node's position in the outboard over groups; the calls
/// themselves count the position in the coarse one.
template <class Fn>
void for_each_upper_pair(std::uint64_t size, std::size_t unit_groups, Fn&& fn)
{
    struct item {
        subtree node;
        std::uint64_t index;
    };
    const std::uint64_t unit = unit_groups * group_chunks;
    std::array<item, max_depth + 1> stack;
    std::size_t depth = 0;
    stack[depth++] = {{0, chunk_count(size)}, 0};
    while (depth > 0) {
        const item at = stack[--depth];
        if (at.node.count <= unit) continue;
        fn(at.node, at.index);
        const subtree left = left_child(at.node);
        stack[depth++] = {right_child(at.node), at.index + unit_count(left.count, group_chunks)};
        stack[depth++] = {left, at.index + 1};
    }
}

/// Hash pairs of a blob in pre-order, in memory.
///
/// Over groups (`unit_groups` 1) its bytes are an `.obao4` file. Over extents (a power of two up to
/// `max_extent_groups`) it is the coarse index of a provider, which recomputes the pairs inside an
/// extent from the data while it verifies that: 64 bytes an extent, 64 MiB for 1 TiB at 1 MiB.
/// Pairs need not be right or even present: who uses one checks it against what is above it.
/// \par Spec docs/specs/bao.md section 6.2.
class outboard {
public:
    outboard() = default;

    /// Takes pairs that are stored somewhere; zeros stand for pairs that are missing.
    /// \par Errors `bao_errc::invalid_outboard` when the length does not fit.
    [[nodiscard]] static result<outboard> from_pairs(std::uint64_t size, const digest& root,
                                                     std::vector<std::byte> pairs,
                                                     std::size_t unit_groups = 1)
    {
        assert(valid_unit(unit_groups));
        outboard out{size, root, unit_groups};
        if (pairs.size() != outboard_size(size, out.unit())) return bao_errc::invalid_outboard;
        out.pairs_ = std::move(pairs);
        return out;
    }

    /// Hashes data in memory.
    [[nodiscard]] static outboard build(byte_view data, std::size_t unit_groups = 1);

    /// Bytes of the blob.
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Hash of the blob.
    [[nodiscard]] const digest& root() const noexcept { return root_; }
    /// Groups of a unit: pairs are kept above units only.
    [[nodiscard]] std::size_t unit_groups() const noexcept { return unit_groups_; }
    /// Chunks of a whole unit.
    [[nodiscard]] std::uint64_t unit() const noexcept { return unit_groups_ * group_chunks; }
    /// Units of the blob, the last one maybe short.
    [[nodiscard]] std::uint64_t units() const noexcept
    {
        return unit_count(chunk_count(size_), unit());
    }
    /// All pairs in pre-order, without size header.
    [[nodiscard]] byte_view pairs() const noexcept { return pairs_; }

    /// The pair at a position of this outboard's own pre-order. \pre index + 1 < units().
    [[nodiscard]] pair_view pair(std::uint64_t index) const noexcept
    {
        assert(index + 1 < units());
        return byte_view(pairs_)
            .subspan(static_cast<std::size_t>(index) * pair_size)
            .first<pair_size>();
    }
    /// The pair of a node. \pre `node` is in the tree and covers more than one unit.
    [[nodiscard]] pair_view pair(subtree node) const noexcept
    {
        return pair(pre_order_index(chunk_count(size_), node, unit()));
    }

    /// The expected chaining value of a unit (the root for a blob of one unit), as good as the pair
    /// that holds it. \pre index < units().
    [[nodiscard]] digest unit_cv(std::uint64_t index) const noexcept
    {
        assert(index < units());
        digest cv = root_;
        const std::uint64_t chunk = index * unit();
        std::uint64_t at = 0;
        subtree node{0, chunk_count(size_)};
        while (node.count > unit()) {
            const subtree left = left_child(node);
            const bool go_left = chunk < left.end();
            const pair_view both = pair(at);
            cv = go_left ? left_of(both) : right_of(both);
            at += go_left ? 1 : unit_count(left.count, unit());
            node = go_left ? left : right_child(node);
        }
        return cv;
    }

    /// Checks every pair against the root.
    /// \par Errors `bao_errc::parent_mismatch`, with the first wrong node in pre-order in `where`.
    [[nodiscard]] result<void> check(mismatch& where) const;

    /// The pairs above larger units only. \pre unit_groups >= this->unit_groups().
    [[nodiscard]] outboard coarsened(std::size_t unit_groups) const
    {
        assert(valid_unit(unit_groups) && unit_groups >= unit_groups_);
        outboard out{size_, root_, unit_groups};
        out.pairs_.reserve(static_cast<std::size_t>(outboard_size(size_, out.unit())));
        for_each_upper_pair(size_, unit_groups, [&](subtree node, std::uint64_t) {
            detail::append(out.pairs_, pair(node));
        });
        return out;
    }

private:
    friend class outboard_builder;

    outboard(std::uint64_t size, const digest& root, std::size_t unit_groups) noexcept
        : size_(size), unit_groups_(unit_groups), root_(root)
    {}
    static constexpr bool valid_unit(std::size_t groups) noexcept
    {
        return std::has_single_bit(groups) && groups <= max_extent_groups;
    }

    std::uint64_t size_ = 0;
    std::size_t unit_groups_ = 1;
    digest root_;
    std::vector<std::byte> pairs_;
};

/// Builds an outboard from the chaining values of its units, pushed in order. The size must be known;
/// the values may come from any number of threads (`hash::subtree_cv` of each unit, with `is_root` only
/// for a blob of one unit).
/// \par Limits memory: the pairs, plus one value a level.
class outboard_builder {
public:
    /// \param unit_groups Groups of a unit: a power of two up to `max_extent_groups`.
    explicit outboard_builder(std::uint64_t size, std::size_t unit_groups = 1)
        : out_(size, digest{}, unit_groups), chunks_(chunk_count(size))
    {
        assert(outboard::valid_unit(unit_groups));
        out_.pairs_.resize(static_cast<std::size_t>(outboard_size(size, out_.unit())));
    }

    /// Bytes that the next unit covers; 0 when the blob is complete or empty.
    [[nodiscard]] std::size_t next_length() const noexcept
    {
        return complete() ? 0 : static_cast<std::size_t>(byte_length(next_node(), out_.size_));
    }
    /// First chunk of the next unit.
    [[nodiscard]] std::uint64_t next_chunk() const noexcept { return next_; }
    /// Whether all units were given.
    [[nodiscard]] bool complete() const noexcept { return next_ == chunks_; }

    /// Appends the value of the next unit. \pre !complete().
    void push(const digest& cv) noexcept
    {
        assert(!complete());
        stack_[depth_++] = {next_node(), cv};
        next_ = stack_[depth_ - 1].node.end();
        while (depth_ >= 2) {
            item& left = stack_[depth_ - 2];
            const item& right = stack_[depth_ - 1];
            if (right.node.count != left.node.count && next_ != chunks_) break;
            const subtree parent{left.node.first, left.node.count + right.node.count};
            const std::uint64_t at = pre_order_index(chunks_, parent, out_.unit());
            const auto slot = out_.pairs_.begin() + static_cast<std::ptrdiff_t>(at * pair_size);
            std::copy(left.cv.bytes.begin(), left.cv.bytes.end(), slot);
            std::copy(right.cv.bytes.begin(), right.cv.bytes.end(), slot + 32);
            left = {parent, hash::parent_cv(left.cv, right.cv, parent.count == chunks_)};
            --depth_;
        }
    }

    /// Hashes and appends the next unit. \param data Its `next_length()` bytes.
    void push_data(byte_view data) noexcept
    {
        assert(data.size() == next_length());
        push(hash::subtree_cv(data, next_, next_node().count == chunks_));
    }

    /// The outboard with the root computed. \pre complete(). The builder is spent.
    [[nodiscard]] outboard finish() noexcept
    {
        assert(complete() && depth_ == 1);
        out_.root_ = stack_[0].cv;
        return std::move(out_);
    }

private:
    struct item {
        subtree node;
        digest cv;
    };

    [[nodiscard]] subtree next_node() const noexcept
    {
        return {next_, std::min(out_.unit(), chunks_ - next_)};
    }

    outboard out_;
    std::uint64_t chunks_;
    std::uint64_t next_ = 0;
    std::array<item, max_depth + 1> stack_;
    std::size_t depth_ = 0;
};

inline outboard outboard::build(byte_view data, std::size_t unit_groups)
{
    outboard_builder builder{data.size(), unit_groups};
    while (!builder.complete())
        builder.push_data(data.subspan(static_cast<std::size_t>(byte_offset(builder.next_chunk())),
                                       builder.next_length()));
    return builder.finish();
}

inline result<void> outboard::check(mismatch& where) const
{
    struct item {
        subtree node;
        digest cv;
    };
    const std::uint64_t chunks = chunk_count(size_);
    std::array<item, max_depth + 1> stack;
    std::size_t depth = 0;
    stack[depth++] = {{0, chunks}, root_};
    std::uint64_t index = 0;
    while (depth > 0) {
        const item at = stack[--depth];
        if (at.node.count <= unit()) continue;
        const pair_view both = pair(index++);
        const digest left = left_of(both);
        const digest right = right_of(both);
        if (hash::parent_cv(left, right, at.node.count == chunks) != at.cv) {
            where = {at.node.first, at.node.count};
            return bao_errc::parent_mismatch;
        }
        stack[depth++] = {right_child(at.node), right};
        stack[depth++] = {left_child(at.node), left};
    }
    return outcome::success();
}

}  // namespace copse::bao
