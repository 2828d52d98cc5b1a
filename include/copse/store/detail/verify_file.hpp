// Finds out what is present of a blob by verifying its files from the root. Blocking.
#pragma once

#include <copse/bao/geometry.hpp>
#include <copse/core/file.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/import.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace copse::store::detail {

/// Verifies data and pairs (pre-order over groups) against a root.
/// \par Limits memory: one extent of data, its pairs, and one node a level.
class file_verifier {
public:
    /// \param pairs null: no pairs are stored, so only a blob of at most one extent can be verified.
    file_verifier(file& data, file* pairs, const hash::digest& root, std::uint64_t size)
        : data_(data), pairs_(pairs), root_(root), size_(size), chunks_(bao::chunk_count(size))
    {
        buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(size, extent_bytes)));
    }

    /// The groups that are verified. Nothing else is believed: missing, short or wrong files just
    /// give less. \par Errors those of reading.
    result<bao::chunk_ranges> present()
    {
        if (chunks_ <= extent_chunks && whole_extent_matches()) {
            return bao::chunk_ranges::range(0, chunks_);
        }
        stack_.push_back({{0, chunks_}, root_, 0});
        while (!stack_.empty()) {
            const node at = stack_.back();
            stack_.pop_back();
            if (at.tree.count <= extent_chunks) {
                COPSE_TRYV(verify_extent(at));
                continue;
            }
            std::array<std::byte, bao::pair_size> pair{};
            COPSE_TRY(const std::size_t n, read_pairs(pair, at.index));
            if (n == pair.size()) descend(at, pair);
        }
        return std::move(found_);
    }

private:
    struct node {
        bao::subtree tree;
        hash::digest cv;
        std::uint64_t index = 0;  // of its pair
    };

    result<std::size_t> read_pairs(byte_span out, std::uint64_t index)
    {
        if (!pairs_) return std::size_t{0};
        return pairs_->read_at(out, index * bao::pair_size);
    }

    // A complete small blob needs no pairs. Reading errors come again, and out, in verify_extent().
    bool whole_extent_matches()
    {
        const auto n = data_.read_at(byte_span(buffer_), 0);
        return n && n.value() == size_ && hash::subtree_cv(buffer_, 0, true) == root_;
    }

    // Pushes the children of a node whose pair matches, the left one on top.
    void descend(const node& at, bao::pair_view pair)
    {
        const auto left = bao::left_of(pair);
        const auto right = bao::right_of(pair);
        if (hash::parent_cv(left, right, at.tree.count == chunks_) != at.cv) return;
        const auto left_tree = bao::left_child(at.tree);
        const auto left_groups = bao::unit_count(left_tree.count, hash::group_chunks);
        stack_.push_back({bao::right_child(at.tree), right, at.index + left_groups});
        stack_.push_back({left_tree, left, at.index + 1});
    }

    // Reads data and pairs of an extent at once and walks down to its groups.
    result<void> verify_extent(const node& top)
    {
        const auto length = static_cast<std::size_t>(bao::byte_length(top.tree, size_));
        const std::uint64_t offset = bao::byte_offset(top.tree.first);
        COPSE_TRY(const std::size_t n, data_.read_at(byte_span(buffer_).first(length), offset));
        // A group that is cut off is missing, unless it is the short last one.
        const std::size_t usable = n == length ? n : n / hash::group_size * hash::group_size;
        const std::size_t groups = (usable + hash::group_size - 1) / hash::group_size;
        if (groups == 0) return outcome::success();
        std::array<hash::digest, extent_groups> cvs;
        const byte_view data = byte_view(buffer_).first(usable);
        if (top.tree.count == chunks_ && chunks_ <= hash::group_chunks) {
            cvs[0] = hash::subtree_cv(data, 0, true);
        } else {
            hash::group_cvs(data, top.tree.first, std::span(cvs).first(groups));
        }

        std::array<std::byte, (extent_groups - 1) * bao::pair_size> pairs{};
        const std::size_t pair_bytes =
            bao::pair_size * static_cast<std::size_t>(bao::pair_count(top.tree.count));
        COPSE_TRYV(read_pairs(byte_span(pairs).first(pair_bytes), top.index));
        const std::size_t floor = stack_.size();
        stack_.push_back(top);
        while (stack_.size() > floor) {
            const node at = stack_.back();
            stack_.pop_back();
            if (at.tree.count <= hash::group_chunks) {
                const auto group =
                    static_cast<std::size_t>((at.tree.first - top.tree.first) / hash::group_chunks);
                if (group < groups && cvs[group] == at.cv)
                    found_.insert(at.tree.first, at.tree.end());
            } else {
                const auto place = static_cast<std::size_t>(at.index - top.index) * bao::pair_size;
                descend(at, byte_view(pairs).subspan(place).first<bao::pair_size>());
            }
        }
        return outcome::success();
    }

    file& data_;
    file* pairs_;
    const hash::digest root_;
    const std::uint64_t size_;
    const std::uint64_t chunks_;
    std::vector<std::byte> buffer_;
    std::vector<node> stack_;
    bao::chunk_ranges found_;
};

}  // namespace copse::store::detail
