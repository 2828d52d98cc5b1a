// Answers as sequences of filled buffers: the blocking part, which reads and verifies.
#pragma once

#include <copse/bao/encode_core.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/impl/selection.ipp>
#include <copse/blob/provide.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace copse::blob::detail {

inline constexpr std::size_t answer_extent_groups = 16;
inline constexpr std::size_t answer_extent_bytes = answer_extent_groups * hash::group_size;

/// Selected chunks of one blob in wire order. Blocking.
class blob_source {
public:
    /// \par Errors store_errc::missing when any group that is needed is.
    result<void> open(store::blob_store& from, const hash::digest& id,
                      const bao::chunk_ranges& ranges)
    {
        COPSE_TRY(reader_, from.open(id));
        core_.emplace(id, reader_->size(), ranges, answer_extent_groups);
        const bao::chunk_ranges groups = core_->selected().round_up_to_groups();
        const std::uint64_t chunks = bao::chunk_count(reader_->size());
        present_ = reader_->present();
        const auto needed = groups & bao::chunk_ranges::range(0, chunks);
        if (!(needed - present_).empty()) return store::store_errc::missing;
        return outcome::success();
    }
    void close() noexcept
    {
        core_.reset();
        reader_.reset();
    }

    [[nodiscard]] bool is_open() const noexcept { return core_.has_value(); }
    [[nodiscard]] std::uint64_t size() const noexcept { return reader_->size(); }

    /// The next extent; what precedes it on the wire is appended to `prefix`.
    result<std::optional<bao::extent_job>> next(std::vector<std::byte>& prefix)
    {
        std::error_code failed;
        std::array<std::byte, bao::pair_size> pair{};
        bao::mismatch where;
        const auto lookup = [&](const bao::upper_pair& at) -> bao::pair_view {
            const bool full = reader_->pair_granularity() == bao::group_chunks;
            const auto read = reader_->read_pairs(full ? at.group_index : at.extent_index, pair);
            if (!read && !failed) failed = read.error();
            return pair;
        };
        auto extent = core_->next(lookup, prefix, where);
        if (failed) return failed;
        return extent;
    }

    /// Fills `out` (`job.wire_bytes`). \return leaf bytes in it.
    result<std::uint64_t> write(const bao::extent_job& job, byte_span out)
    {
        bao::mismatch where;
        if (job.whole) {
            // From the file to its place in the answer; the pairs go into the gaps.
            const bao::extent_layout plan = layout(job);
            std::array<byte_span, bao::max_extent_groups> parts;
            std::size_t n = 0;
            for (const auto& leaf : plan.leaves())
                parts[n++] = out.subspan(leaf.out_offset, leaf.length);
            COPSE_TRYV(reader_->read(std::span<const byte_span>(parts).first(n), job.offset()));
            COPSE_TRYV(bao::finish_extent(job, out, where));
            return std::uint64_t{job.length()};
        }
        COPSE_TRYV(write_part(job, out));
        std::uint64_t leaf = 0;
        for (std::size_t i = 0; i < job.selected.interval_count(); ++i) {
            const auto part = job.selected.interval(i);
            leaf += bao::byte_end(part.end, job.size) - bao::byte_offset(part.first);
        }
        return leaf;
    }

    /// Verified data of the last extent that was written and not whole; only its selected chunks.
    [[nodiscard]] byte_view part_data() const noexcept { return scratch_; }

private:
    result<void> write_part(const bao::extent_job& job, byte_span out)
    {
        bao::mismatch where;
        scratch_.resize(job.length());
        std::vector<std::byte> pairs;
        if (present_.covers(job.node.first, job.node.end())) {
            const byte_span all(scratch_);
            COPSE_TRYV(reader_->read(std::span(&all, 1), job.offset()));
        } else {
            const bao::chunk_ranges groups = job.needed_groups();
            for (std::size_t i = 0; i < groups.interval_count(); ++i) {
                const auto part = groups.interval(i);
                const std::uint64_t first = bao::byte_offset(part.first);
                const std::uint64_t end = bao::byte_end(part.end, job.size);
                const byte_span bytes =
                    byte_span(scratch_).subspan(static_cast<std::size_t>(first - job.offset()),
                                                static_cast<std::size_t>(end - first));
                COPSE_TRYV(reader_->read(std::span(&bytes, 1), first));
            }
            pairs.resize((job.groups() - 1) * bao::pair_size);
            COPSE_TRYV(reader_->read_pairs(job.pair_index, pairs));
        }
        return bao::encode_extent(job, scratch_, pairs, out, where);
    }

    std::shared_ptr<store::blob_reader> reader_;
    bao::chunk_ranges present_;
    std::optional<bao::encode_core> core_;
    std::vector<std::byte> scratch_;
};

/// The hashes of a stored sequence, read and verified an extent (8192 hashes) at a time: what a
/// request costs does not depend on how long the sequence is. A partial one serves what is there.
class sequence_window {
public:
    /// \par Errors `blob_errc::bad_hash_sequence`.
    result<void> open(store::blob_store& from, const hash::digest& root)
    {
        COPSE_TRY(const auto reader, from.open(root));
        if (!hash_sequence::is_valid_size(reader->size())) return blob_errc::bad_hash_sequence;
        size_ = reader->size();
        present_ = reader->present();
        from_ = &from;
        root_ = root;
        return outcome::success();
    }
    [[nodiscard]] bool is_open() const noexcept { return from_ != nullptr; }
    [[nodiscard]] std::uint64_t count() const noexcept { return size_ / 32; }

    /// \pre child < count(). \par Errors store_errc::missing.
    result<hash::digest> at(std::uint64_t child)
    {
        const std::uint64_t chunk = child * 32 / hash::chunk_size;
        if (!valid_.contains(chunk)) COPSE_TRYV(load(chunk));
        hash::digest out;
        std::memcpy(out.bytes.data(), bytes_.data() + (child * 32 - offset_), 32);
        return out;
    }

private:
    result<void> load(std::uint64_t chunk)
    {
        if (!present_.contains(chunk)) return store::store_errc::missing;
        const std::uint64_t unit = answer_extent_groups * hash::group_chunks;
        const std::uint64_t first = chunk / unit * unit;
        blob_source source;
        COPSE_TRYV(source.open(*from_, root_, present_.clipped(first, first + unit)));
        std::vector<std::byte> prefix;
        COPSE_TRY(const auto job, source.next(prefix));
        if (!job) return store::store_errc::missing;
        std::vector<std::byte> wire(job->wire_bytes);
        COPSE_TRYV(source.write(*job, wire));
        bytes_.resize(job->length());
        if (job->whole) {
            const bao::extent_layout plan = layout(*job);
            for (const auto& leaf : plan.leaves())
                std::memcpy(bytes_.data() + (leaf.file_offset - job->offset()),
                            wire.data() + leaf.out_offset, leaf.length);
        } else {
            std::ranges::copy(source.part_data(), bytes_.begin());
        }
        offset_ = job->offset();
        valid_ = job->selected;
        return outcome::success();
    }

    store::blob_store* from_ = nullptr;
    hash::digest root_;
    std::uint64_t size_ = 0;
    bao::chunk_ranges present_;
    std::uint64_t offset_ = 0;  // of bytes_ in the sequence
    std::vector<std::byte> bytes_;
    bao::chunk_ranges valid_;
};

/// The answer to one request as a sequence of filled buffers. Blocking; one thread at a time.
class answer {
public:
    /// \param note_starts remember blobs for take_started().
    answer(store::blob_store& from, selection wanted, bool note_starts)
        : from_(from),
          wanted_(std::move(wanted)),
          cursor_(wanted_.ranges),
          note_starts_(note_starts)
    {}
    answer(const answer&) = delete;
    answer& operator=(const answer&) = delete;

    /// Fills `out` with as much of the answer as fits, verified; less at the end, and after
    /// `blobs_a_turn` blobs, since opening one takes time also when it is small.
    /// \return bytes written; done() says whether more follow.
    /// \par Errors after an error the bytes of this call are worthless, earlier ones are good.
    result<std::size_t> fill(byte_span out)
    {
        auto used = fill_from_store(out);
        // Asked for the children of what is no sequence, the store is not to blame.
        if (!used && used.error() != blob_errc::bad_hash_sequence) failed_ = reading_;
        return used;
    }

    [[nodiscard]] bool done() const noexcept { return done_; }
    [[nodiscard]] std::uint64_t payload_bytes() const noexcept { return payload_; }
    [[nodiscard]] std::uint64_t other_bytes() const noexcept { return other_; }
    [[nodiscard]] std::uint64_t blobs() const noexcept { return blobs_; }
    [[nodiscard]] blob_position position() const noexcept { return position_; }
    [[nodiscard]] const hash::digest& root() const noexcept { return wanted_.root; }
    /// The blob that fill() could not read.
    [[nodiscard]] const std::optional<hash::digest>& failed() const noexcept { return failed_; }
    /// Blobs begun since the last call.
    [[nodiscard]] std::vector<provided_blob> take_started() { return std::exchange(started_, {}); }

private:
    static constexpr std::size_t blobs_a_turn = 256;

    result<std::size_t> fill_from_store(byte_span out)
    {
        std::size_t used = 0;
        std::size_t opened = 0;
        while (!done_) {
            if (!source_.is_open()) {
                if (opened++ == blobs_a_turn) break;
                COPSE_TRYV(next_blob());
                if (done_) break;
            }
            if (prefix_.empty() && !extent_) {
                COPSE_TRY(extent_, source_.next(prefix_));
                if (prefix_.empty() && !extent_) {
                    source_.close();
                    ++blobs_;
                    continue;
                }
            }
            const std::size_t needed = prefix_.size() + (extent_ ? extent_->wire_bytes : 0);
            if (needed > out.size() - used) break;
            std::memcpy(out.data() + used, prefix_.data(), prefix_.size());
            used += prefix_.size();
            other_ += prefix_.size();
            prefix_.clear();
            if (extent_) {
                COPSE_TRY(const std::uint64_t leaf,
                          source_.write(*extent_, out.subspan(used, extent_->wire_bytes)));
                payload_ += leaf;
                other_ += extent_->wire_bytes - leaf;
                used += extent_->wire_bytes;
                position_.end = extent_->offset() + extent_->length();
                extent_.reset();
            }
        }
        return used;
    }

    result<void> next_blob()
    {
        const auto index = cursor_.next_wanted(next_index_);
        if (!index) {
            done_ = true;
            return outcome::success();
        }
        hash::digest id = wanted_.root;
        if (wanted_.many) {
            if (*index >= wanted_.listed.size()) {
                done_ = true;
                return outcome::success();
            }
            id = wanted_.listed[static_cast<std::size_t>(*index)];
        } else if (*index > 0) {
            reading_ = wanted_.root;
            if (!sequence_.is_open()) COPSE_TRYV(sequence_.open(from_, wanted_.root));
            const std::uint64_t child = *index - 1;
            if (child >= sequence_.count()) {
                done_ = true;
                return outcome::success();
            }
            COPSE_TRY(id, sequence_.at(child));
        }
        next_index_ = *index + 1;
        reading_ = id;
        COPSE_TRYV(source_.open(from_, id, cursor_.ranges()));
        position_ = {*index, 0};
        if (note_starts_) started_.push_back({*index, id, source_.size()});
        return outcome::success();
    }

    store::blob_store& from_;
    selection wanted_;
    ranges_seq::cursor cursor_;
    const bool note_starts_;
    std::uint64_t next_index_ = 0;
    sequence_window sequence_;
    blob_source source_;
    std::optional<bao::extent_job> extent_;
    std::vector<std::byte> prefix_;
    std::vector<provided_blob> started_;
    blob_position position_;
    hash::digest reading_;                // the blob that is read now
    std::optional<hash::digest> failed_;  // the one that could not be
    std::uint64_t payload_ = 0;
    std::uint64_t other_ = 0;
    std::uint64_t blobs_ = 0;
    bool done_ = false;
};

}  // namespace copse::blob::detail
