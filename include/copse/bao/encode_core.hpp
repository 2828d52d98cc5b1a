// What a provider sends for one blob: a walk over the tree, and the bytes of one extent. No I/O.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/detail/append.hpp>
#include <copse/bao/detail/group_tree.hpp>
#include <copse/bao/error.hpp>
#include <copse/bao/geometry.hpp>
#include <copse/bao/outboard.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace copse::bao {

/// One extent to be sent: a self-contained order that may be carried out on any thread.
struct extent_job {
    subtree node;                  ///< chunks of the extent; at most the extent size of the encoder
    std::uint64_t size = 0;        ///< bytes of the blob
    digest expected;               ///< chaining value that the data must have
    bool is_root = false;          ///< the extent is the whole blob
    bool whole = false;            ///< every chunk of it is selected
    chunk_ranges selected;         ///< the chunks to send, absolute, within `node`; never empty
    std::uint64_t pair_index = 0;  ///< where its pairs start in the outboard over groups
    std::size_t wire_bytes = 0;    ///< exact length of what is sent for it

    /// First byte of the extent in the blob.
    [[nodiscard]] std::uint64_t offset() const noexcept { return byte_offset(node.first); }
    /// Bytes of the extent in the blob.
    [[nodiscard]] std::size_t length() const noexcept
    {
        return static_cast<std::size_t>(byte_length(node, size));
    }
    /// Groups of the extent; its pairs in the outboard over groups are one fewer, and adjacent.
    [[nodiscard]] std::size_t groups() const noexcept
    {
        return static_cast<std::size_t>(unit_count(node.count, group_chunks));
    }
    /// The groups whose data must be at hand when the extent's pairs are: the others are not touched.
    [[nodiscard]] chunk_ranges needed_groups() const
    {
        return selected.round_up_to_groups().clipped(node.first, node.end());
    }
};

/// Where one group of a wholly selected extent lies on the wire and in the blob.
struct leaf_placement {
    std::size_t out_offset = 0;     ///< from the start of the extent's wire bytes
    std::uint64_t file_offset = 0;  ///< from the start of the blob
    std::size_t length = 0;         ///< in bytes
};

/// The groups of an extent in order. Between them are the gaps for the pairs.
class extent_layout {
public:
    /// Where the leaf bytes of the extent go, in ascending order. Valid as long as the layout.
    [[nodiscard]] std::span<const leaf_placement> leaves() const& noexcept
    {
        return std::span(leaves_).first(count_);
    }
    void leaves() && = delete;  // would dangle in `for (... : layout(job).leaves())`
    /// Bytes that the extent takes on the wire.
    [[nodiscard]] std::size_t wire_bytes() const noexcept { return wire_bytes_; }

private:
    friend extent_layout layout(const extent_job& job) noexcept;

    std::array<leaf_placement, max_extent_groups> leaves_;
    std::size_t count_ = 0;
    std::size_t wire_bytes_ = 0;
};

/// Plans a wholly selected extent, so that its data can be read (`preadv`) straight to where it is sent
/// from. \pre job.whole.
[[nodiscard]] inline extent_layout layout(const extent_job& job) noexcept
{
    assert(job.whole);
    extent_layout out;
    const std::size_t length = job.length();
    detail::group_tree::for_each(
        job.groups(), [&](std::size_t, std::size_t) { out.wire_bytes_ += pair_size; },
        [&](std::size_t leaf) {
            const std::size_t from = leaf * group_size;
            const std::size_t bytes = std::min(group_size, length - from);
            out.leaves_[out.count_++] = {out.wire_bytes_, job.offset() + from, bytes};
            out.wire_bytes_ += bytes;
        });
    assert(out.wire_bytes_ == job.wire_bytes);
    return out;
}

/// Verifies a wholly selected extent whose groups were read to their places of layout(), and fills in
/// the pairs: after success `out` is what goes on the wire.
/// \param out   `job.wire_bytes` bytes. Not to be sent unless this succeeds.
/// \par Errors  `bao_errc::leaf_mismatch`: the data has changed or rotted; `where` is the extent.
/// \par Cost    one batched hash of the data; no copy.
[[nodiscard]] inline result<void> finish_extent(const extent_job& job, byte_span out,
                                                mismatch& where)
{
    assert(job.whole && out.size() == job.wire_bytes);
    const extent_layout plan = layout(job);
    const std::size_t count = plan.leaves().size();
    std::array<byte_view, max_extent_groups> groups;
    for (std::size_t i = 0; i < count; ++i)
        groups[i] = out.subspan(plan.leaves()[i].out_offset, plan.leaves()[i].length);

    detail::group_tree tree;
    const auto cvs = tree.leaves(count);
    if (count == 1) cvs[0] = hash::subtree_cv(groups[0], job.node.first, job.is_root);
    else hash::group_cvs(std::span<const byte_view>(groups).first(count), job.node.first, cvs);
    tree.fold(job.is_root);
    if (tree.top() != job.expected) {
        where = {job.node.first, job.node.count};
        return bao_errc::leaf_mismatch;
    }
    std::size_t at = 0;
    tree.pre_order(
        [&](pair_view pair) {
            std::memcpy(out.data() + at, pair.data(), pair_size);
            at += pair_size;
        },
        [&](std::size_t leaf) { at += groups[leaf].size(); });
    return outcome::success();
}

namespace detail {

// Writes the nodes of one extent, checking on the way down what is not yet known to be good.
class extent_writer {
public:
    extent_writer(const extent_job& job, byte_view data, byte_view pairs, byte_span out,
                  mismatch& where)
        : job_(job), data_(data), pairs_(pairs), out_(out), where_(where)
    {}

    [[nodiscard]] result<void> write()
    {
        const bool have_all_data = pairs_.empty();
        if (have_all_data) {
            hash_extent(data_, job_.node.first, job_.is_root, tree_);
            if (tree_.top() != job_.expected) return fail(job_.node, bao_errc::leaf_mismatch);
        }
        COPSE_TRYV(walk(job_.node, job_.expected, job_.is_root, have_all_data, 0));
        assert(used_ == out_.size());
        return outcome::success();
    }

private:
    [[nodiscard]] result<void> walk(subtree node, const digest& want, bool is_root, bool good,
                                    std::size_t pair_index)
    {
        if (node.count <= group_chunks) {
            if (!good && hash::subtree_cv(bytes(node), node.first, is_root) != want)
                return fail(node, bao_errc::leaf_mismatch);
            write_group(node);
            return outcome::success();
        }
        const subtree left = left_child(node);
        const subtree right = right_child(node);
        const pair_view pair = good ? computed(left) : stored(pair_index);
        const digest left_cv = left_of(pair);
        const digest right_cv = right_of(pair);
        if (!good && hash::parent_cv(left_cv, right_cv, is_root) != want)
            return fail(node, bao_errc::parent_mismatch);
        put(pair);
        if (meets(left)) COPSE_TRYV(walk(left, left_cv, false, good, pair_index + 1));
        const auto left_groups = static_cast<std::size_t>(unit_count(left.count, group_chunks));
        if (meets(right)) COPSE_TRYV(walk(right, right_cv, false, good, pair_index + left_groups));
        return outcome::success();
    }

    // Of a group or a part of one, whose bytes are known to be good.
    void write_group(subtree node)
    {
        if (is_leaf(node, job_.selected)) return put(bytes(node));
        const subtree left = left_child(node);
        const subtree right = right_child(node);
        put(hash::subtree_cv(bytes(left), left.first, false).bytes);
        put(hash::subtree_cv(bytes(right), right.first, false).bytes);
        if (meets(left)) write_group(left);
        if (meets(right)) write_group(right);
    }

    [[nodiscard]] bool meets(subtree node) const noexcept
    {
        return job_.selected.meets(node.first, node.end());
    }
    [[nodiscard]] byte_view bytes(subtree node) const noexcept
    {
        return data_.subspan(static_cast<std::size_t>(byte_offset(node.first - job_.node.first)),
                             static_cast<std::size_t>(byte_length(node, job_.size)));
    }
    [[nodiscard]] pair_view computed(subtree left) const noexcept
    {
        const auto groups = static_cast<std::size_t>((left.first - job_.node.first) / group_chunks);
        const auto level = static_cast<std::size_t>(std::countr_zero(left.count / group_chunks));
        return tree_.pair(level, groups >> level);
    }
    [[nodiscard]] pair_view stored(std::size_t index) const noexcept
    {
        return pairs_.subspan(index * pair_size).first<pair_size>();
    }
    void put(byte_view from) noexcept
    {
        assert(from.size() <= out_.size() - used_);
        if (!from.empty()) std::memcpy(out_.data() + used_, from.data(), from.size());
        used_ += from.size();
    }
    [[nodiscard]] result<void> fail(subtree node, bao_errc why) noexcept
    {
        where_ = {node.first, node.count};
        return why;
    }

    const extent_job& job_;
    byte_view data_;
    byte_view pairs_;
    byte_span out_;
    mismatch& where_;
    group_tree tree_;
    std::size_t used_ = 0;
};

}  // namespace detail

/// Writes the wire bytes of any extent from its data, verifying what it reads.
/// \param data   `job.length()` bytes: the extent in file order.
/// \param pairs  Empty: all of `data` is valid, and is verified as one. Else the extent's
///               `job.groups() - 1` pairs of the outboard over groups, in its order: then only
///               `job.needed_groups()` of `data` are read, which serves stores that hold a part.
/// \param out    `job.wire_bytes` bytes. Not to be sent unless this succeeds.
/// \par Errors   `bao_errc::leaf_mismatch` or `parent_mismatch` (stored pair), `where` says where.
[[nodiscard]] inline result<void> encode_extent(const extent_job& job, byte_view data,
                                                byte_view pairs, byte_span out, mismatch& where)
{
    assert(data.size() == job.length() && out.size() == job.wire_bytes);
    assert(pairs.empty() || pairs.size() == (job.groups() - 1) * pair_size);
    return detail::extent_writer{job, data, pairs, out, where}.write();
}

/// A parent above extents whose pair is to be looked up.
struct upper_pair {
    subtree node;                    ///< whose children the pair describes
    std::uint64_t group_index = 0;   ///< position in the outboard over groups (`.obao4`)
    std::uint64_t extent_index = 0;  ///< position in the coarse outboard over extents
};

/// The walk of an encoder: which pairs and extents make up the response to a request, in wire order.
///
/// Loop: while `step()` is `pair`, look it up, `supply()` it and send the 64 bytes; at `extent`,
/// `take_extent()`, produce its bytes by layout() and finish_extent() or by encode_extent(), and send
/// them. Extents may be produced concurrently as long as they are sent in order. The size header
/// (`header()`) comes first. `next()` does all of it up to the next extent.
/// \par Limits  memory: the effective set and a stack of `max_depth + 1` nodes, about 4 KiB.
/// \par Spec    docs/specs/bao.md sections 4 and 5.1.
class encode_core {
public:
    /// What is to be sent next: a pair above extents, an extent, or nothing more.
    enum class step_kind { pair, extent, done };

    /// \param request        As received; the effective set is derived here.
    /// \param extent_groups  Groups of an extent: a power of two up to `max_extent_groups`.
    encode_core(const digest& root, std::uint64_t size, const chunk_ranges& request,
                std::size_t extent_groups)
        : size_(size),
          chunks_(chunk_count(size)),
          unit_(extent_groups * group_chunks),
          selected_(request.effective(chunks_))
    {
        assert(std::has_single_bit(extent_groups) && extent_groups <= max_extent_groups);
        if (!selected_.empty()) stack_[depth_++] = {{0, chunks_}, root, 0, 0};
    }

    /// The size header that precedes everything.
    [[nodiscard]] std::array<std::byte, header_size> header() const noexcept
    {
        return encode_header(size_);
    }
    /// The effective set: what is sent.
    [[nodiscard]] const chunk_ranges& selected() const noexcept { return selected_; }
    /// Bytes of the whole encoding, header included.
    [[nodiscard]] std::uint64_t total_bytes() const noexcept
    {
        const std::uint64_t nodes = encoded_nodes_size({0, chunks_}, size_, selected_);
        return nodes > ~std::uint64_t{header_size} ? nodes : nodes + header_size;
    }

    /// What is to be sent next.
    [[nodiscard]] step_kind step() const noexcept
    {
        if (depth_ == 0) return step_kind::done;
        return stack_[depth_ - 1].node.count > unit_ ? step_kind::pair : step_kind::extent;
    }

    /// The parent to supply. \pre step() == pair.
    [[nodiscard]] upper_pair pair() const noexcept
    {
        assert(step() == step_kind::pair);
        const item& top = stack_[depth_ - 1];
        return {top.node, top.group_index, top.extent_index};
    }

    /// Checks the pair of pair() and goes on; after success its bytes are next on the wire.
    /// \par Errors `bao_errc::parent_mismatch`: wrong or missing in the outboard. The step stays.
    [[nodiscard]] result<void> supply(pair_view bytes, mismatch& where)
    {
        assert(step() == step_kind::pair);
        const item at = stack_[depth_ - 1];
        const digest left_cv = left_of(bytes);
        const digest right_cv = right_of(bytes);
        if (hash::parent_cv(left_cv, right_cv, at.node.count == chunks_) != at.cv) {
            where = {at.node.first, at.node.count};
            return bao_errc::parent_mismatch;
        }
        --depth_;
        const subtree left = left_child(at.node);
        const subtree right = right_child(at.node);
        if (selected_.meets(right.first, right.end()))
            stack_[depth_++] = {right, right_cv,
                                at.group_index + unit_count(left.count, group_chunks),
                                at.extent_index + unit_count(left.count, unit_)};
        if (selected_.meets(left.first, left.end()))
            stack_[depth_++] = {left, left_cv, at.group_index + 1, at.extent_index + 1};
        return outcome::success();
    }

    /// The order for the next extent, and goes on. \pre step() == extent.
    [[nodiscard]] extent_job take_extent()
    {
        assert(step() == step_kind::extent);
        const item& at = stack_[depth_ - 1];
        extent_job job;
        job.node = at.node;
        job.size = size_;
        job.expected = at.cv;
        job.is_root = at.node.count == chunks_;
        job.whole = selected_.covers(at.node.first, at.node.end());
        job.selected = selected_.clipped(at.node.first, at.node.end());
        job.pair_index = at.group_index;
        job.wire_bytes = static_cast<std::size_t>(encoded_nodes_size(at.node, size_, job.selected));
        --depth_;  // last: without memory for the selection it is asked for again
        return job;
    }

    /// Goes on to the next extent with pairs from memory.
    /// \param lookup `pair_view(const upper_pair&)`.
    /// \param out    Gets the header (first call) and pairs appended that precede the extent: at most
    ///               `header_size + max_depth * pair_size` bytes a call.
    /// \return       The extent, or nullopt at the end.
    /// \par Errors   as supply(); what was appended before stays valid, also after std::bad_alloc: then
    ///               the call may be repeated.
    template <class Lookup>
    [[nodiscard]] result<std::optional<extent_job>> next(Lookup&& lookup,
                                                         std::vector<std::byte>& out,
                                                         mismatch& where)
    {
        if (!header_sent_) {
            const auto bytes = header();
            detail::append(out, bytes);
            header_sent_ = true;
        }
        while (step() == step_kind::pair) {
            const pair_view bytes = lookup(pair());
            const std::size_t before = out.size();
            detail::append(out, bytes);
            const auto supplied = supply(bytes, where);
            if (!supplied) {
                out.resize(before);
                return supplied.error();
            }
        }
        std::optional<extent_job> job;
        if (step() == step_kind::extent) job = take_extent();
        return job;
    }

private:
    struct item {
        subtree node;
        digest cv;
        std::uint64_t group_index;
        std::uint64_t extent_index;
    };

    std::uint64_t size_;
    std::uint64_t chunks_;
    std::uint64_t unit_;  // chunks of an extent
    chunk_ranges selected_;
    std::array<item, max_depth + 1>
        stack_;  // subtrees still to be sent, all of which are selected in part
    std::size_t depth_ = 0;
    bool header_sent_ = false;
};

/// The encoding of a request on data in memory, for small blobs and tests.
/// \param index An outboard of `data` with any unit.
/// \par Errors  as encode_extent().
[[nodiscard]] inline result<std::vector<std::byte>> encode_all(byte_view data,
                                                               const outboard& index,
                                                               const chunk_ranges& request)
{
    assert(data.size() == index.size());
    encode_core core{index.root(), index.size(), request, index.unit_groups()};
    std::vector<std::byte> out;
    mismatch where;
    for (;;) {
        COPSE_TRY(const auto job,
                  core.next([&](const upper_pair& at) { return index.pair(at.extent_index); }, out,
                            where));
        if (!job) return out;
        const std::size_t at = out.size();
        out.resize(at + job->wire_bytes);
        const byte_view extent =
            data.subspan(static_cast<std::size_t>(job->offset()), job->length());
        COPSE_TRYV(encode_extent(*job, extent, {}, byte_span(out).subspan(at), where));
    }
}

}  // namespace copse::bao
