// The receiving side of one blob: bytes in any pieces in, verified extents out. No I/O.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/detail/append.hpp>
#include <copse/bao/error.hpp>
#include <copse/bao/extent.hpp>
#include <copse/bao/geometry.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace copse::bao {

/// Limits of one decoder.
struct decode_options {
    /// Bytes handed out at a time: a power of two from 16 KiB to 1 MiB.
    std::size_t extent_bytes = 256 * 1024;
    /// Largest size header accepted. File offsets are signed.
    std::uint64_t max_size = std::numeric_limits<std::int64_t>::max();
};

/// Incremental decoder of the encoding of one blob.
///
/// The thread that receives only follows the tree's shape: pairs above extents are verified at once,
/// the bytes of an extent are copied to their place in a buffer of the caller's. A full extent is
/// handed out and verified by `verify()`, on any thread. The loop around it:
///
///     while (!in.empty()) {
///         COPSE_TRY(auto used, core.push(in));       // stops early at the two events below
///         in = in.subspan(used);
///         if (auto extent = core.take_extent()) ...  // verify it; its buffer is no longer the decoder's
///         if (core.needs_buffer()) ...               // none free: accept no more bytes for now
///             core.provide_buffer(...);
///         if (core.finished()) break;                // `in` is what follows the encoding
///     }
///
/// For an encoding that selects nothing `finished()` holds after the header. The empty blob is an
/// extent of no bytes: it needs a buffer (of no bytes) and verification as any other. After the last
/// byte of a stream, `end_of_input()`; when bytes were missing, `take_interrupted()` saves what came.
/// \par Limits  memory by this object: itself (4 KiB), the effective set (as many boundaries as
///              the request, plus one) and at most `max_extent_pairs` pairs of 64 bytes; then one
///              buffer lent by the caller. None of it depends on the claimed size.
/// \par Cost    one copy of each byte; no allocation per push, three to four an extent.
/// \par Threads one; extents taken from it are independent of it.
/// \par Spec    docs/specs/bao.md sections 4 and 5.
class decode_core {
public:
    /// Pairs held at most: the path to an extent, and all inside one of single, alternating chunks.
    static constexpr std::size_t max_extent_pairs =
        max_depth + max_extent_groups * group_chunks - 1;

    /// \param root     The blob's hash.
    /// \param request  What was asked for, as sent.
    decode_core(const digest& root, chunk_ranges request, const decode_options& options = {})
        : unit_(options.extent_bytes / chunk_size),
          max_size_(options.max_size),
          root_(root),
          selected_(std::move(request))
    {
        assert(std::has_single_bit(options.extent_bytes) && options.extent_bytes >= group_size &&
               options.extent_bytes <= max_extent_bytes);
        expect(state::header, scratch_.data(), header_size);
    }
    decode_core(const decode_core&) = delete;
    decode_core& operator=(const decode_core&) = delete;

    /// Consumes bytes of the encoding, in any pieces.
    /// \return      How many were consumed. Fewer than given: a buffer is needed, an extent waits to be
    ///              taken, or the encoding has ended.
    /// \par Errors  `bao_errc::size_limit`, `bao_errc::parent_mismatch` (see where()); they repeat.
    /// \throws std::bad_alloc; then it is `std::errc::not_enough_memory` that repeats.
    [[nodiscard]] result<std::size_t> push(byte_view in)
    {
        if (failed_) [[unlikely]]
            return failed_;
        std::size_t used = 0;
        while (wants_bytes()) {
            const std::size_t n = std::min(remaining_, in.size() - used);
            if (n == 0) break;
            std::memcpy(target_, in.data() + used, n);
            target_ += n;
            used += n;
            remaining_ -= n;
            if (state_ == state::leaf) leaf_bytes_ += n;
            if (remaining_ != 0) break;
            try {
                item_complete();
            } catch (...) {
                failed_ = make_error_code(std::errc::not_enough_memory);
                throw;
            }
            if (failed_) [[unlikely]] {
                consumed_ += used;
                return failed_;
            }
        }
        consumed_ += used;
        return used;
    }

    /// The next extent waits for a buffer; push() consumes nothing before it has one.
    [[nodiscard]] bool needs_buffer() const noexcept { return state_ == state::buffer; }
    /// Bytes that the next extent takes of its buffer: at most `extent_bytes`, at the blob's end less.
    /// \pre needs_buffer().
    [[nodiscard]] std::size_t buffer_bytes() const noexcept
    {
        assert(needs_buffer());
        return static_cast<std::size_t>(byte_length(current_.node_, size_));
    }
    /// First byte of that extent in the blob. \pre needs_buffer().
    [[nodiscard]] std::uint64_t buffer_offset() const noexcept
    {
        assert(needs_buffer());
        return current_.offset();
    }
    /// Lends the buffer for the next extent. \pre needs_buffer().
    /// \param buffer at least buffer_bytes(); must stay until the extent was taken and is done with, or
    ///               the decoder is gone. Bytes appear at their distance from buffer_offset().
    void provide_buffer(byte_span buffer) noexcept
    {
        assert(needs_buffer() && buffer.size() >= buffer_bytes());
        current_.buffer_ = buffer.first(buffer_bytes());
        inner_[0] = current_.node_;
        inner_depth_ = 1;
        next_item();
        if (remaining_ == 0) item_complete();  // the empty blob's only leaf
    }

    /// An extent whose last byte has arrived; push() consumes nothing before it is taken.
    [[nodiscard]] std::optional<filled_extent> take_extent() noexcept
    {
        return std::exchange(ready_, std::nullopt);
    }
    /// Whether take_extent() has something to give.
    [[nodiscard]] bool extent_ready() const noexcept { return ready_.has_value(); }

    /// Ends the decoding where the stream has ended or is given up, and gives the buffer back: with the
    /// extent in progress, of which verify() keeps what has arrived whole (maybe nothing), or finds
    /// out that the peer was wrong already (a wrong size header often shows as a stream that seems too
    /// short). nullopt when no item of an extent is complete, or nothing was missing. push() repeats
    /// the error of end_of_input() afterwards. \pre !extent_ready().
    [[nodiscard]] std::optional<filled_extent> take_interrupted() noexcept
    {
        assert(!ready_);
        std::optional<filled_extent> out;
        const bool filling = state_ == state::leaf || state_ == state::inner_pair;
        if (failed_ || state_ == state::done) return out;
        fail(consumed_ == 0 ? bao_errc::absent : bao_errc::truncated);
        if (!filling || (current_.arrived_end_ == 0 && current_.arrived_pairs_ == 0)) return out;
        current_.interrupted_ = true;
        out.emplace(std::move(current_));
        current_ = filled_extent{};
        return out;
    }

    /// Every byte of the encoding has been consumed and every extent taken (not: verified).
    [[nodiscard]] bool finished() const noexcept { return state_ == state::done && !ready_; }

    /// Says how a stream that ends here has ended.
    /// \par Errors  `bao_errc::absent` when nothing of this encoding came, else `bao_errc::truncated`
    ///              after `consumed()` bytes; or the earlier error.
    [[nodiscard]] result<void> end_of_input() const
    {
        if (failed_) return failed_;
        if (state_ == state::done) return outcome::success();
        if (consumed_ == 0) return bao_errc::absent;
        return bao_errc::truncated;
    }

    /// The size header, once it has arrived: a claim until size_proven().
    [[nodiscard]] std::optional<std::uint64_t> size() const noexcept
    {
        if (!have_size_) return std::nullopt;
        return size_;
    }
    /// The last chunk was verified, as far as note_verified() was told.
    [[nodiscard]] bool size_proven() const noexcept { return proven_; }
    /// Tells the decoder of an extent that passed verify().
    void note_verified(const verified_extent& extent) noexcept
    {
        if (extent.proves_size()) proven_ = true;
    }

    /// What is selected: the request until the header came, then the effective set.
    [[nodiscard]] const chunk_ranges& selected() const noexcept { return selected_; }
    /// Bytes of the encoding consumed so far.
    [[nodiscard]] std::uint64_t consumed() const noexcept { return consumed_; }
    /// How many of them were blob bytes, now in buffers; the rest were header and pairs.
    [[nodiscard]] std::uint64_t leaf_bytes() const noexcept { return leaf_bytes_; }
    /// The node that push() rejected with `bao_errc::parent_mismatch`.
    [[nodiscard]] const mismatch& where() const noexcept { return where_; }

private:
    enum class state : std::uint8_t { header, upper_pair, buffer, inner_pair, leaf, done };

    struct item {
        subtree node;
        digest cv;
        std::uint64_t pair_index;  // of the node in the outboard over groups
    };

    [[nodiscard]] bool wants_bytes() const noexcept
    {
        return state_ != state::buffer && state_ != state::done && !ready_;
    }

    void expect(state what, std::byte* target, std::size_t bytes) noexcept
    {
        state_ = what;
        target_ = target;
        remaining_ = bytes;
    }

    void fail(bao_errc why) noexcept { failed_ = why; }

    void item_complete()
    {
        switch (state_) {
        case state::header: return header_complete();
        case state::upper_pair: return upper_pair_complete();
        case state::inner_pair: ++current_.arrived_pairs_; return next_item();
        case state::leaf: current_.arrived_end_ = leaf_end_; return next_item();
        case state::buffer:
        case state::done: break;
        }
        assert(false);
    }

    void header_complete()
    {
        size_ = decode_header(std::span<const std::byte>(scratch_).first<header_size>());
        if (size_ > max_size_) return fail(bao_errc::size_limit);
        have_size_ = true;
        chunks_ = chunk_count(size_);
        selected_ = selected_.effective(chunks_);
        if (!selected_.empty()) stack_[depth_++] = {{0, chunks_}, root_, 0};
        next_node();
    }

    void upper_pair_complete()
    {
        const item at = stack_[--depth_];
        const pair_view pair{scratch_};
        const digest left_cv = left_of(pair);
        const digest right_cv = right_of(pair);
        if (hash::parent_cv(left_cv, right_cv, at.node.count == chunks_) != at.cv) {
            where_ = {at.node.first, at.node.count};
            return fail(bao_errc::parent_mismatch);
        }
        add_run(at.pair_index, 1);
        detail::append(current_.pairs_, scratch_);
        ++current_.upper_pairs_;

        const subtree left = left_child(at.node);
        const subtree right = right_child(at.node);
        if (selected_.meets(right.first, right.end()))
            stack_[depth_++] = {right, right_cv,
                                at.pair_index + unit_count(left.count, group_chunks)};
        if (selected_.meets(left.first, left.end()))
            stack_[depth_++] = {left, left_cv, at.pair_index + 1};
        next_node();
    }

    // Turns to the top of the stack: a parent above extents, an extent, or the end.
    void next_node()
    {
        if (depth_ == 0) return expect(state::done, nullptr, 0);
        if (stack_[depth_ - 1].node.count > unit_)
            return expect(state::upper_pair, scratch_.data(), pair_size);
        const item& at = stack_[--depth_];
        current_.node_ = at.node;
        current_.size_ = size_;
        current_.expected_ = at.cv;
        current_.is_root_ = at.node.count == chunks_;
        current_.whole_ = selected_.covers(at.node.first, at.node.end());
        current_.selected_ = selected_.clipped(at.node.first, at.node.end());
        current_.arrived_end_ = 0;
        next_pair_ = current_.upper_pairs_;
        std::size_t pairs = 0;
        if (current_.whole_) {
            pairs = static_cast<std::size_t>(pair_count(at.node.count));
            if (pairs > 0) add_run(at.pair_index, pairs);
        } else {
            pairs = plan_pairs(at.node, at.pair_index, 0);
        }
        current_.pairs_.resize((current_.upper_pairs_ + pairs) * pair_size);
        expect(state::buffer, nullptr, 0);
    }

    // Counts the pairs that will come for a partly selected extent, and notes those of the outboard.
    std::size_t plan_pairs(subtree node, std::uint64_t pair_index, std::size_t before)
    {
        if (is_leaf(node, current_.selected_)) return before;
        if (node.count > group_chunks) add_run(pair_index, 1, current_.upper_pairs_ + before);
        ++before;
        const subtree left = left_child(node);
        const subtree right = right_child(node);
        if (current_.selected_.meets(left.first, left.end()))
            before = plan_pairs(left, pair_index + 1, before);
        if (current_.selected_.meets(right.first, right.end()))
            before = plan_pairs(right, pair_index + unit_count(left.count, group_chunks), before);
        return before;
    }

    void add_run(std::uint64_t index, std::size_t count)
    {
        add_run(index, count, current_.upper_pairs_);
    }
    void add_run(std::uint64_t index, std::size_t count, std::size_t first)
    {
        if (!current_.runs_.empty()) {
            detail::pair_run& last = current_.runs_.back();
            if (last.index + last.count == index && last.first + last.count == first) {
                last.count += count;
                return;
            }
        }
        current_.runs_.push_back({index, first, count});
    }

    // Turns to the next pair or leaf of the current extent, or hands the extent out.
    void next_item()
    {
        if (inner_depth_ == 0) {
            ready_.emplace(std::move(current_));
            current_ = filled_extent{};
            return next_node();
        }
        const subtree node = inner_[--inner_depth_];
        if (node.count == 1 ||
            (node.count <= group_chunks &&
             (current_.whole_ || current_.selected_.covers(node.first, node.end())))) {
            leaf_end_ = node.end();
            const std::uint64_t at = byte_offset(node.first - current_.node_.first);
            return expect(state::leaf, current_.buffer_.data() + at,
                          static_cast<std::size_t>(byte_length(node, size_)));
        }
        // Spelled out: with whole nodes as locals GCC 12 suspects a dangling pointer at -O3.
        const std::uint64_t half = left_chunks(node.count);
        const std::uint64_t middle = node.first + half;
        if (current_.whole_ || current_.selected_.meets(middle, node.end()))
            inner_[inner_depth_++] = {middle, node.count - half};
        if (current_.whole_ || current_.selected_.meets(node.first, middle))
            inner_[inner_depth_++] = {node.first, half};
        expect(state::inner_pair, current_.pairs_.data() + next_pair_++ * pair_size, pair_size);
    }

    // An extent has at most 1024 chunks: ten levels of parents.
    static constexpr std::size_t inner_levels = 10;
    static_assert(std::size_t{1} << inner_levels == max_extent_groups * group_chunks);

    // The members that push() touches come first.
    std::byte* target_ = nullptr;
    std::size_t remaining_ = 0;
    state state_ = state::header;
    bool have_size_ = false;
    bool proven_ = false;
    std::error_code failed_;
    std::uint64_t consumed_ = 0;
    std::uint64_t leaf_bytes_ = 0;
    std::uint64_t leaf_end_ = 0;
    std::size_t next_pair_ = 0;
    std::size_t inner_depth_ = 0;
    std::array<subtree, inner_levels + 1> inner_;  // what is left of the extent, next on top

    std::uint64_t unit_;  // chunks of an extent
    std::uint64_t max_size_;
    std::uint64_t size_ = 0;
    std::uint64_t chunks_ = 0;
    digest root_;
    chunk_ranges selected_;
    filled_extent current_;
    std::optional<filled_extent> ready_;
    std::array<std::byte, pair_size> scratch_;
    std::array<item, max_depth + 1>
        stack_;  // what is left of the tree; only nodes that are selected in part
    std::size_t depth_ = 0;
    mismatch where_;
};

/// Verified bytes of a blob and where they belong.
struct decoded_piece {
    std::uint64_t offset = 0;      ///< in the blob, in bytes
    std::vector<std::byte> bytes;  ///< verified
    bool operator==(const decoded_piece&) const = default;
};

/// Decodes an encoding that lies in memory, for small blobs and tests.
/// \return      The pieces, ascending, adjacent ones joined only within an extent.
/// \par Errors  as decode_core and verify(); `bao_errc::truncated` when bytes are missing. Bytes that
///              follow the encoding are not looked at.
[[nodiscard]] inline result<std::vector<decoded_piece>> decode_all(
    byte_view encoding, const digest& root, const chunk_ranges& request,
    const decode_options& options = {})
{
    decode_core core{root, request, options};
    std::vector<decoded_piece> out;
    std::vector<std::byte> buffer;
    mismatch where;
    for (;;) {
        COPSE_TRY(const std::size_t used, core.push(encoding));
        encoding = encoding.subspan(used);
        if (auto filled = core.take_extent()) {
            COPSE_TRY(const verified_extent extent, verify(std::move(*filled), where));
            for (std::size_t i = 0; i < extent.piece_count(); ++i) {
                const auto bytes = extent[i].bytes;
                out.push_back({extent[i].offset, {bytes.begin(), bytes.end()}});
            }
        } else if (core.needs_buffer()) {
            buffer.resize(core.buffer_bytes());
            core.provide_buffer(buffer);
        } else {
            COPSE_TRYV(core.end_of_input());
            return out;
        }
    }
}

}  // namespace copse::bao
