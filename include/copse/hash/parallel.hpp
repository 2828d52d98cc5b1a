// Hashing of a large input by several workers: the arithmetic, not the threads.
#pragma once

#include "copse/core/result.hpp"
#include "copse/hash/blake3.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace copse::hash {

/// A part of a large input that one worker hashes.
struct segment {
    std::uint64_t offset = 0;  ///< In bytes, a multiple of the plan's segment size.
    std::uint64_t size = 0;    ///< In bytes; only the last segment may be short.
};

/// Cuts an input into subtrees of one power-of-two size, the last one shorter. Pure arithmetic: the
/// threads are the caller's.
///
/// Workers take the numbers `0 .. count() - 1` in any order and compute `segment_cv`; the values go
/// in order into a `subtree_merger`, whose `root()` is the BLAKE3 hash.
class segment_plan {
public:
    /// \param size           Of the whole input, in bytes.
    /// \param segment_bytes  Wish; rounded up to a power of two of at least one chunk. 1 MiB and more
    ///                       make the cost of merging invisible.
    segment_plan(std::uint64_t size, std::uint64_t segment_bytes) noexcept
        : size_(size),
          segment_bytes_(
              std::bit_ceil(std::clamp<std::uint64_t>(segment_bytes, chunk_size, max_segment)))
    {}

    /// Number of segments, at least one: the empty input is one empty segment.
    [[nodiscard]] std::uint64_t count() const noexcept
    {
        return size_ == 0 ? 1 : (size_ - 1) / segment_bytes_ + 1;
    }

    /// \pre `index < count()`.
    [[nodiscard]] segment operator[](std::uint64_t index) const noexcept
    {
        assert(index < count());
        const std::uint64_t offset = index * segment_bytes_;
        return {offset, std::min(segment_bytes_, size_ - offset)};
    }

    /// True when `part` is the whole input, so that its value is already the root.
    [[nodiscard]] bool is_root(segment part) const noexcept { return part.size == size_; }

    /// Of the whole input, in bytes.
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// After rounding, in bytes.
    [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return segment_bytes_; }

private:
    static constexpr std::uint64_t max_segment = std::uint64_t{1} << 62;

    std::uint64_t size_;
    std::uint64_t segment_bytes_;
};

/// Number of chunks of `size` bytes; the empty input is one empty chunk.
[[nodiscard]] constexpr std::uint64_t chunk_count(std::uint64_t size) noexcept
{
    return size == 0 ? 1 : (size - 1) / chunk_size + 1;
}

/// Joins chaining values of adjacent subtrees, in order, into one value.
///
/// Every subtree starts at a multiple of its power-of-two span (counted from the first one pushed),
/// and only the last may be incomplete: what `segment_plan` yields, but sizes may be mixed.
/// Memory is bounded by the depth of the tree: 54 values.
class subtree_merger {
public:
    /// Appends the next subtree.
    /// \param cv      Not computed as root, unless it is the only one.
    /// \param chunks  Its number of chunks, at least one.
    void push(const digest& cv, std::uint64_t chunks) noexcept
    {
        assert(chunks > 0);
        // Joining waits until something follows: the last join of all may be the root.
        while (depth_ >= 2 && stack_[depth_ - 2].chunks == stack_[depth_ - 1].chunks) join(false);
        assert(depth_ == 0 || std::has_single_bit(stack_[depth_ - 1].chunks));
        assert(depth_ < stack_.size());
        stack_[depth_++] = {cv, chunks};
        total_ += chunks;
    }

    /// Chunks pushed so far.
    [[nodiscard]] std::uint64_t chunks() const noexcept { return total_; }

    /// The hash of the whole input. With a single subtree that value itself, which must then have been
    /// computed as root.
    /// \pre Something was pushed. Nothing may be pushed afterwards.
    [[nodiscard]] digest root() noexcept { return finish(true); }

    /// The value of the joined subtrees as a part of something larger.
    /// \pre As `root()`.
    [[nodiscard]] digest subtree() noexcept { return finish(false); }

private:
    struct item {
        digest cv;
        std::uint64_t chunks = 0;
    };

    void join(bool is_root) noexcept
    {
        const item right = stack_[--depth_];
        item& left = stack_[depth_ - 1];
        left.cv = parent_cv(left.cv, right.cv, is_root);
        left.chunks += right.chunks;
    }

    [[nodiscard]] digest finish(bool is_root) noexcept
    {
        assert(depth_ > 0);
        while (depth_ > 1) join(is_root && depth_ == 2);
        return stack_[0].cv;
    }

    std::array<item, 56> stack_;
    std::size_t depth_ = 0;
    std::uint64_t total_ = 0;
};

/// The chaining value of one segment of a plan, read piece by piece.
/// \param read_at  `result<void>(std::uint64_t offset, std::span<std::byte> out)`: fills all of `out`
///                 or fails.
/// \param scratch  The reading buffer of this worker: a power of two of at least one chunk. 256 KiB
///                 to 1 MiB stays in the second-level cache and keeps the kernels full.
/// \return         The value (the root hash when the plan has one segment).
/// \par Errors      what `read_at` failed with.
/// \par Concurrency any number of workers at once, each with its own scratch.
template <class ReadAt>
[[nodiscard]] result<digest> segment_cv(ReadAt&& read_at, const segment_plan& plan, segment part,
                                        std::span<std::byte> scratch)
{
    assert(scratch.size() >= chunk_size && std::has_single_bit(scratch.size()));
    const bool is_root = plan.is_root(part);
    subtree_merger merger;
    std::uint64_t done = 0;
    do {
        const auto length =
            static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), part.size - done));
        const auto piece = scratch.first(length);
        COPSE_TRYV(read_at(part.offset + done, piece));
        const bool whole = is_root && length == part.size;
        merger.push(subtree_cv(piece, (part.offset + done) / chunk_size, whole),
                    chunk_count(length));
        done += length;
    } while (done < part.size);
    return is_root ? merger.root() : merger.subtree();
}

}  // namespace copse::hash
