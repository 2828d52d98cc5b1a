// Sets of chunk numbers, as requests, availability maps and effective selections.
#pragma once

#include <copse/bao/error.hpp>
#include <copse/core/result.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace copse::bao {

/// Chunks `first` up to, not including, `end`.
struct chunk_interval {
    std::uint64_t first = 0;  ///< first chunk
    std::uint64_t end = 0;    ///< first chunk behind it; max_chunk when open ended
    bool operator==(const chunk_interval&) const = default;
};

/// A set of chunk numbers (1 KiB units) kept as strictly increasing boundaries: selection is off
/// before 0 and flips at each. An odd number of boundaries leaves the set open-ended.
/// \par Limits  Memory is 8 bytes a boundary; the binary operations return at most as many
///              boundaries as both operands have. Bound what a peer may send before building a set.
/// \par Spec    docs/specs/bao.md sections 3 and 7.
class chunk_ranges {
public:
    /// The largest number of a chunk; as a request, the last chunk whichever that is.
    static constexpr std::uint64_t max_chunk = std::numeric_limits<std::uint64_t>::max();
    /// Bytes of every chunk but the last of a blob.
    static constexpr std::uint64_t chunk_bytes = 1024;
    static constexpr std::uint64_t group = 16;  ///< chunks of a group

    /// The empty set.
    chunk_ranges() = default;

    /// Nothing.
    [[nodiscard]] static chunk_ranges none() { return {}; }
    /// Every chunk of a blob of any size.
    [[nodiscard]] static chunk_ranges all() { return from(0); }
    /// The idiom for "whatever the last chunk is": a size proof.
    [[nodiscard]] static chunk_ranges last_chunk() { return from(max_chunk); }
    /// Chunks [first, end); empty unless first < end.
    [[nodiscard]] static chunk_ranges range(std::uint64_t first, std::uint64_t end)
    {
        return first < end ? chunk_ranges{{first, end}} : chunk_ranges{};
    }
    /// Chunk `first` and all after it.
    [[nodiscard]] static chunk_ranges from(std::uint64_t first) { return chunk_ranges{{first}}; }
    /// The chunks that hold any of the bytes [start, end).
    [[nodiscard]] static chunk_ranges from_bytes(std::uint64_t start, std::uint64_t end)
    {
        if (start >= end) return {};
        return range(start / chunk_bytes, (end - 1) / chunk_bytes + 1);
    }
    /// \par Errors `bao_errc::invalid_ranges` unless strictly increasing.
    [[nodiscard]] static result<chunk_ranges> from_boundaries(std::vector<std::uint64_t> boundaries)
    {
        for (std::size_t i = 1; i < boundaries.size(); ++i) {
            if (boundaries[i - 1] >= boundaries[i]) return bao_errc::invalid_ranges;
        }
        return chunk_ranges{std::move(boundaries)};
    }

    /// Valid until the set changes.
    [[nodiscard]] std::span<const std::uint64_t> boundaries() const noexcept
    {
        return {boundaries_.data(), boundaries_.size()};
    }
    /// Whether nothing is selected.
    [[nodiscard]] bool empty() const noexcept { return boundaries_.empty(); }
    /// Whether everything behind the last boundary is selected.
    [[nodiscard]] bool open_ended() const noexcept { return boundaries_.size() % 2 != 0; }

    /// Number of runs of selected chunks.
    [[nodiscard]] std::size_t interval_count() const noexcept
    {
        return (boundaries_.size() + 1) / 2;
    }
    /// The `i`-th maximal interval, ascending; the end of an open one reads as `max_chunk`.
    [[nodiscard]] chunk_interval interval(std::size_t i) const noexcept
    {
        assert(i < interval_count());
        return {boundaries_[2 * i],
                2 * i + 1 < boundaries_.size() ? boundaries_[2 * i + 1] : max_chunk};
    }

    /// Whether the chunk is selected. \par Cost logarithmic in the boundaries.
    [[nodiscard]] bool contains(std::uint64_t chunk) const noexcept
    {
        return not_after(chunk) % 2 != 0;
    }
    /// Whether all of [first, end) is selected; true when that is empty. Logarithmic.
    [[nodiscard]] bool covers(std::uint64_t first, std::uint64_t end) const noexcept
    {
        if (first >= end) return true;
        const std::size_t i = not_after(first);
        return i % 2 != 0 && (i == boundaries_.size() || boundaries_[i] >= end);
    }
    /// Whether any of [first, end) is selected. Logarithmic.
    [[nodiscard]] bool meets(std::uint64_t first, std::uint64_t end) const noexcept
    {
        if (first >= end) return false;
        const std::size_t i = not_after(first);
        return i % 2 != 0 || (i < boundaries_.size() && boundaries_[i] < end);
    }

    /// What a request selects of a blob with `chunk_count` chunks: its chunks below that, and the
    /// last chunk if it selects anything at or beyond the end. Never open-ended.
    /// \pre chunk_count > 0.
    [[nodiscard]] chunk_ranges effective(std::uint64_t chunk_count) const
    {
        assert(chunk_count > 0);
        const bool beyond = open_ended() || (!empty() && boundaries_.back() > chunk_count);
        chunk_ranges selected = clipped(0, chunk_count);
        if (beyond) selected.insert(chunk_count - 1, chunk_count);
        return selected;
    }

    /// The part within [first, end).
    [[nodiscard]] chunk_ranges clipped(std::uint64_t first, std::uint64_t end) const
    {
        chunk_ranges out;
        if (first >= end) return out;
        std::size_t i = not_after(first);
        if (i % 2 != 0) out.boundaries_.push_back(first);
        for (; i < boundaries_.size() && boundaries_[i] < end; ++i)
            out.boundaries_.push_back(boundaries_[i]);
        if (out.open_ended()) out.boundaries_.push_back(end);
        return out;
    }

    /// Number of selected chunks below `end`.
    [[nodiscard]] std::uint64_t chunk_total(std::uint64_t end = max_chunk) const noexcept
    {
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < interval_count(); ++i) {
            const chunk_interval part = interval(i);
            if (part.first >= end) break;
            total += (part.end < end ? part.end : end) - part.first;
        }
        return total;
    }

    /// Every group that the set touches, whole.
    [[nodiscard]] chunk_ranges round_up_to_groups() const
    {
        chunk_ranges out;
        for (std::size_t i = 0; i < boundaries_.size(); i += 2) {
            const std::uint64_t first = boundaries_[i] / group * group;
            if (i + 1 == boundaries_.size() || boundaries_[i + 1] > max_chunk / group * group)
                return out |= from(first);
            out.insert(first, (boundaries_[i + 1] + group - 1) / group * group);
        }
        return out;
    }

    /// Only the groups of which every chunk is selected.
    [[nodiscard]] chunk_ranges full_groups() const
    {
        chunk_ranges out;
        for (std::size_t i = 0; i < boundaries_.size(); i += 2) {
            if (boundaries_[i] > max_chunk / group * group) break;
            const std::uint64_t first = (boundaries_[i] + group - 1) / group * group;
            if (i + 1 == boundaries_.size()) {
                out.boundaries_.push_back(first);
                break;
            }
            const std::uint64_t end = boundaries_[i + 1] / group * group;
            if (first < end) out.insert(first, end);
        }
        return out;
    }

    /// The same for a blob of `chunk_count` chunks, whose last group may be short.
    [[nodiscard]] chunk_ranges full_groups(std::uint64_t chunk_count) const
    {
        chunk_ranges out = clipped(0, chunk_count);
        const std::uint64_t last_group = chunk_count == 0 ? 0 : (chunk_count - 1) / group * group;
        const bool tail = chunk_count > 0 && covers(last_group, chunk_count);
        out = out.full_groups();
        if (tail) out.insert(last_group, chunk_count);
        return out;
    }

    /// Adds [first, end). Linear at worst, logarithmic at the end of the set.
    chunk_ranges& insert(std::uint64_t first, std::uint64_t end)
    {
        if (first < end) splice(first, end, 0);
        return *this;
    }
    /// Removes [first, end).
    chunk_ranges& erase(std::uint64_t first, std::uint64_t end)
    {
        if (first < end) splice(first, end, 1);
        return *this;
    }

    /// The union. \par Cost linear in the boundaries, as of those below.
    friend chunk_ranges operator|(const chunk_ranges& a, const chunk_ranges& b)
    {
        return merge(a, b, [](bool x, bool y) { return x || y; });
    }
    /// The intersection.
    friend chunk_ranges operator&(const chunk_ranges& a, const chunk_ranges& b)
    {
        return merge(a, b, [](bool x, bool y) { return x && y; });
    }
    /// What is in `a` and not in `b`.
    friend chunk_ranges operator-(const chunk_ranges& a, const chunk_ranges& b)
    {
        return merge(a, b, [](bool x, bool y) { return x && !y; });
    }
    /// What is in exactly one of both.
    friend chunk_ranges operator^(const chunk_ranges& a, const chunk_ranges& b)
    {
        return merge(a, b, [](bool x, bool y) { return x != y; });
    }
    /// Adds the chunks of `other`.
    chunk_ranges& operator|=(const chunk_ranges& other) { return *this = *this | other; }
    /// Keeps the chunks that are in `other` too.
    chunk_ranges& operator&=(const chunk_ranges& other) { return *this = *this & other; }
    /// Removes the chunks of `other`.
    chunk_ranges& operator-=(const chunk_ranges& other) { return *this = *this - other; }
    bool operator==(const chunk_ranges&) const = default;

private:
    explicit chunk_ranges(std::vector<std::uint64_t> boundaries)
        : boundaries_(std::move(boundaries))
    {}

    // Number of boundaries at or below `chunk`; odd means selected. By hand, since <algorithm> would
    // be most of what this header costs those who include it.
    [[nodiscard]] std::size_t not_after(std::uint64_t chunk) const noexcept
    {
        std::size_t first = 0;
        for (std::size_t count = boundaries_.size(); count > 0;) {
            const std::size_t half = count / 2;
            if (boundaries_[first + half] <= chunk) {
                first += half + 1;
                count -= half + 1;
            } else {
                count = half;
            }
        }
        return first;
    }

    // Replaces the boundaries within [first, end] so that this stretch is selected (outside = 0) or
    // not (outside = 1). A boundary appears where the state beyond differs, that is where the number
    // of boundaries beside it has the parity `outside`.
    void splice(std::uint64_t first, std::uint64_t end, std::size_t outside)
    {
        const std::size_t from = first == 0 ? 0 : not_after(first - 1);
        const std::size_t to = not_after(end);
        std::uint64_t put[2];
        std::size_t count = 0;
        if (from % 2 == outside) put[count++] = first;
        if (to % 2 == outside) put[count++] = end;
        std::size_t at = from;
        std::size_t used = 0;
        while (used < count && at < to) boundaries_[at++] = put[used++];
        const auto where = boundaries_.begin() + static_cast<std::ptrdiff_t>(at);
        if (used < count) boundaries_.insert(where, put + used, put + count);
        else boundaries_.erase(where, boundaries_.begin() + static_cast<std::ptrdiff_t>(to));
    }

    template <class Keep>
    static chunk_ranges merge(const chunk_ranges& a, const chunk_ranges& b, Keep keep)
    {
        chunk_ranges out;
        auto i = a.boundaries_.begin();
        auto j = b.boundaries_.begin();
        bool in_a = false;
        bool in_b = false;
        bool on = false;
        while (i != a.boundaries_.end() || j != b.boundaries_.end()) {
            std::uint64_t at = 0;
            if (j == b.boundaries_.end() || (i != a.boundaries_.end() && *i <= *j)) at = *i;
            else at = *j;
            if (i != a.boundaries_.end() && *i == at) {
                in_a = !in_a;
                ++i;
            }
            if (j != b.boundaries_.end() && *j == at) {
                in_b = !in_b;
                ++j;
            }
            if (keep(in_a, in_b) != on) {
                on = !on;
                out.boundaries_.push_back(at);
            }
        }
        return out;
    }

    std::vector<std::uint64_t> boundaries_;
};

}  // namespace copse::bao
