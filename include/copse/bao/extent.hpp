// One extent as it arrived, and the same extent once it is verified.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/detail/group_tree.hpp>
#include <copse/bao/error.hpp>
#include <copse/bao/geometry.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace copse::bao {

class decode_core;
class filled_extent;
class verified_extent;

/// Verifies an extent against the value promised for it. A pure function: any thread.
/// Leaves and the pairs between them are compared; what the peer sent in any order that the walk of
/// the specification would reject is rejected, with the same error and place.
/// \return       The extent with its bytes readable; of an interrupted extent, the part that is there.
/// \param where  Filled with the first wrong node of the walk when verification fails.
/// \par Errors   `bao_errc::leaf_mismatch`, `bao_errc::parent_mismatch`: drop the peer. The bytes in
///               the buffer are then worthless.
/// \par Cost     one batched hash of the bytes; once more after a mismatch, to find its place.
/// \par Spec     docs/specs/bao.md section 5.2.
[[nodiscard]] result<verified_extent> verify(filled_extent&& extent, mismatch& where);

namespace detail {

/// Pairs that are neighbours in the outboard over groups and in an extent's list.
struct pair_run {
    std::uint64_t index = 0;  ///< position in the outboard
    std::size_t first = 0;    ///< position in the extent's list
    std::size_t count = 0;
};

class strict_walk;

}  // namespace detail

/// What a decoder hands out when the last byte of an extent has arrived. Nothing in it can be read
/// before verify(). Refers to the buffer that the caller provided, which must stay until it is done.
class filled_extent {
public:
    filled_extent(filled_extent&&) noexcept = default;
    filled_extent& operator=(filled_extent&&) noexcept = default;
    filled_extent(const filled_extent&) = delete;
    filled_extent& operator=(const filled_extent&) = delete;

    /// The chunks that the extent covers.
    [[nodiscard]] subtree node() const noexcept { return node_; }
    /// First byte of the extent in the blob.
    [[nodiscard]] std::uint64_t offset() const noexcept { return byte_offset(node_.first); }
    /// Bytes of the extent in the blob, and of the buffer that belong to it.
    [[nodiscard]] std::size_t length() const noexcept { return buffer_.size(); }
    /// Every chunk was requested and is there.
    [[nodiscard]] bool whole() const noexcept { return whole_ && !interrupted_; }
    /// Taken by `decode_core::take_interrupted()`.
    [[nodiscard]] bool interrupted() const noexcept { return interrupted_; }

private:
    friend class decode_core;
    friend class verified_extent;
    friend class detail::strict_walk;
    friend result<verified_extent> verify(filled_extent&& extent, mismatch& where);

    filled_extent() = default;

    subtree node_;
    std::uint64_t size_ = 0;  // claimed, of the blob
    digest expected_;
    bool is_root_ = false;
    bool whole_ = false;
    bool interrupted_ = false;
    chunk_ranges selected_;  // within node_
    byte_span buffer_;       // node_'s bytes in file order, with holes where nothing is selected
    std::vector<std::byte>
        pairs_;  // the pairs on the path to the extent, then those within, as they came
    std::size_t upper_pairs_ = 0;    // how many of them are verified already
    std::size_t arrived_pairs_ = 0;  // how many of those within are there
    std::uint64_t arrived_end_ = 0;  // leaves below this chunk are there
    std::vector<detail::pair_run> runs_;
};

/// An extent whose bytes and pairs are proven to belong to the blob.
class verified_extent {
public:
    /// A run of verified bytes.
    struct piece {
        std::uint64_t offset = 0;  ///< in the blob
        byte_view bytes;           ///< valid as long as the extent's buffer
    };
    /// Verified pairs, adjacent in the pre-order outboard over groups.
    struct pair_run {
        std::uint64_t index = 0;  ///< position of the first, in pairs
        byte_view bytes;          ///< pairs of 64 bytes, valid as long as the extent
    };

    verified_extent(verified_extent&&) noexcept = default;
    verified_extent& operator=(verified_extent&&) noexcept = default;
    verified_extent(const verified_extent&) = delete;
    verified_extent& operator=(const verified_extent&) = delete;

    /// The chunks that the extent covers.
    [[nodiscard]] subtree node() const noexcept { return inner_.node_; }
    /// First byte of the extent in the blob: where bytes() belongs when whole().
    [[nodiscard]] std::uint64_t offset() const noexcept { return inner_.offset(); }
    /// Every byte of the extent is there: then bytes() is one verified piece.
    [[nodiscard]] bool whole() const noexcept { return inner_.whole(); }
    /// The caller's buffer as far as the extent reaches. Holes are not verified unless whole().
    [[nodiscard]] byte_view bytes() const noexcept { return inner_.buffer_; }
    /// The verified chunks, absolute.
    [[nodiscard]] const chunk_ranges& chunks() const noexcept { return inner_.selected_; }

    /// Number of runs of verified bytes: `operator[]` gives each.
    [[nodiscard]] std::size_t piece_count() const noexcept
    {
        return inner_.selected_.interval_count();
    }
    /// The `i`-th maximal run of verified bytes, ascending.
    [[nodiscard]] piece operator[](std::size_t i) const noexcept
    {
        const chunk_interval part = inner_.selected_.interval(i);
        const std::uint64_t first = byte_offset(part.first);
        const std::uint64_t end = byte_end(part.end, inner_.size_);
        return {first, bytes().subspan(static_cast<std::size_t>(first - offset()),
                                       static_cast<std::size_t>(end - first))};
    }

    /// Number of runs of hash pairs.
    [[nodiscard]] std::size_t pair_run_count() const noexcept { return inner_.runs_.size(); }
    /// The pairs to store in an outboard over groups: those on the path to the extent that came since
    /// the extent before, and those within it. For a whole blob the runs of all extents follow each
    /// other without gap. Valid as long as this object.
    [[nodiscard]] pair_run pairs(std::size_t i) const noexcept
    {
        const detail::pair_run& run = inner_.runs_[i];
        return {run.index,
                byte_view(inner_.pairs_).subspan(run.first * pair_size, run.count * pair_size)};
    }

    /// The size of the blob as claimed; proven when proves_size().
    [[nodiscard]] std::uint64_t size() const noexcept { return inner_.size_; }
    /// Holds the blob's last chunk: the size is the true one.
    [[nodiscard]] bool proves_size() const noexcept
    {
        return inner_.selected_.contains(chunk_count(inner_.size_) - 1);
    }

private:
    friend result<verified_extent> verify(filled_extent&& extent, mismatch& where);

    explicit verified_extent(filled_extent&& inner) noexcept : inner_(std::move(inner)) {}

    filled_extent inner_;
};

namespace detail {

// The decoder of the specification, over an extent's items in their order of arrival.
class strict_walk {
public:
    strict_walk(const filled_extent& extent, mismatch& where) : extent_(extent), where_(where) {}

    [[nodiscard]] result<void> run()
    {
        COPSE_TRYV(walk(extent_.node_, extent_.expected_, extent_.is_root_));
        return outcome::success();
    }
    /// Leaves below this chunk are verified.
    [[nodiscard]] std::uint64_t verified_end() const noexcept { return verified_end_; }
    /// So many of the extent's own pairs are.
    [[nodiscard]] std::size_t verified_pairs() const noexcept { return next_pair_; }

private:
    // False when the item has not arrived; nothing behind it has either.
    [[nodiscard]] result<bool> walk(subtree node, const digest& want, bool is_root)
    {
        if (is_leaf(node, extent_.selected_)) {
            if (node.end() > extent_.arrived_end_) return false;
            const byte_view bytes = extent_.buffer_.subspan(
                static_cast<std::size_t>(byte_offset(node.first - extent_.node_.first)),
                static_cast<std::size_t>(byte_length(node, extent_.size_)));
            if (hash::subtree_cv(bytes, node.first, is_root) != want)
                return fail(node, bao_errc::leaf_mismatch);
            verified_end_ = node.end();
            return true;
        }
        if (next_pair_ == extent_.arrived_pairs_) return false;
        const pair_view pair = byte_view(extent_.pairs_)
                                   .subspan((extent_.upper_pairs_ + next_pair_) * pair_size)
                                   .first<pair_size>();
        const digest left_cv = left_of(pair);
        const digest right_cv = right_of(pair);
        if (hash::parent_cv(left_cv, right_cv, is_root) != want)
            return fail(node, bao_errc::parent_mismatch);
        ++next_pair_;
        const subtree left = left_child(node);
        const subtree right = right_child(node);
        if (extent_.selected_.meets(left.first, left.end())) {
            COPSE_TRY(const bool more, walk(left, left_cv, false));
            if (!more) return false;
        }
        if (!extent_.selected_.meets(right.first, right.end())) return true;
        return walk(right, right_cv, false);
    }

    [[nodiscard]] bao_errc fail(subtree node, bao_errc why) noexcept
    {
        where_ = {node.first, node.count};
        return why;
    }

    const filled_extent& extent_;
    mismatch& where_;
    std::size_t next_pair_ = 0;
    std::uint64_t verified_end_ = 0;
};

}  // namespace detail

inline result<verified_extent> verify(filled_extent&& extent, mismatch& where)
{
    if (extent.whole()) {
        detail::group_tree tree;
        detail::hash_extent(extent.buffer_, extent.node_.first, extent.is_root_, tree);
        bool good = tree.top() == extent.expected_;
        const std::byte* received = extent.pairs_.data() + extent.upper_pairs_ * pair_size;
        tree.pre_order(
            [&](pair_view pair) {
                good = good && std::memcmp(pair.data(), received, pair_size) == 0;
                received += pair_size;
            },
            [](std::size_t) {});
        if (good) return verified_extent{std::move(extent)};
    }
    detail::strict_walk walk{extent, where};
    COPSE_TRYV(walk.run());
    if (extent.interrupted_) {
        extent.selected_ = extent.selected_.clipped(extent.node_.first, walk.verified_end());
        std::size_t limit = extent.upper_pairs_ + walk.verified_pairs();
        for (detail::pair_run& run : extent.runs_) {
            run.count = std::min(run.count, limit - std::min(limit, run.first));
        }
        std::erase_if(extent.runs_, [](const detail::pair_run& run) { return run.count == 0; });
    }
    return verified_extent{std::move(extent)};
}

}  // namespace copse::bao
