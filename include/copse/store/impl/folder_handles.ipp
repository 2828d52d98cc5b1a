// Readers and writers of a folder store. Part of folder_store.ipp.
#pragma once

#include <copse/core/clock.hpp>
#include <copse/store/impl/folder_state.ipp>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace copse::store {

namespace detail {

class folder_reader final : public blob_reader {
public:
    /// \param pairs null for a blob of at most one extent of which all is there.
    /// \param growing null for a complete blob.
    folder_reader(std::shared_ptr<folder_store::state> s, const hash::digest& root,
                  std::uint64_t size, std::unique_ptr<file> data, std::unique_ptr<file> pairs,
                  std::shared_ptr<folder_blob> growing)
        : state_(std::move(s)),
          root_(root),
          size_(size),
          data_(std::move(data)),
          pairs_(std::move(pairs)),
          growing_(std::move(growing))
    {}

    const hash::digest& root() const noexcept override { return root_; }
    std::uint64_t size() const noexcept override { return size_; }
    bao::chunk_ranges present() const override
    {
        if (!growing_) return everything(size_);
        const std::lock_guard lock(growing_->mutex);
        return growing_->recorded;
    }
    std::uint64_t pair_granularity() const noexcept override
    {
        return pairs_ ? hash::group_chunks : extent_chunks;
    }

    result<void> read_pairs(std::uint64_t index, byte_span out) override
    {
        const std::uint64_t end = bao::outboard_size(size_);
        if (index > end / bao::pair_size || out.size() > end - index * bao::pair_size) {
            return store_errc::missing;
        }
        if (out.empty()) return outcome::success();
        if (!pairs_) return store_errc::missing;
        const std::uint64_t offset = index * bao::pair_size;
        if (growing_ || out.size() > page_bytes) return fill(*pairs_, out, offset);
        // A walk over a complete blob asks for neighbours: one call fetches 64 pairs.
        const std::lock_guard lock(page_mutex_);
        if (offset < page_offset_ || offset + out.size() > page_offset_ + page_.size()) {
            page_.resize(
                static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes, end - offset)));
            page_offset_ = offset;
            if (auto filled = fill(*pairs_, page_, offset); !filled) {
                page_.clear();
                return filled;
            }
        }
        const auto from = page_.begin() + static_cast<std::ptrdiff_t>(offset - page_offset_);
        std::copy_n(from, out.size(), out.begin());
        return outcome::success();
    }

    result<void> read(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::uint64_t end = offset;
        for (const auto& part : parts) end += part.size();
        if (end < offset || end > size_) return store_errc::missing;
        if (offset == end) return outcome::success();
        if (growing_) {
            const auto wanted = bao::chunk_ranges::from_bytes(offset, end).interval(0);
            const std::lock_guard lock(growing_->mutex);
            if (!growing_->recorded.covers(wanted.first, wanted.end)) return store_errc::missing;
        }
        COPSE_TRY(const std::size_t n, data_->read_at(parts, offset));
        if (n != end - offset) return store_errc::missing;
        return outcome::success();
    }

private:
    static constexpr std::size_t page_bytes = 64 * bao::pair_size;

    static result<void> fill(file& from, byte_span out, std::uint64_t offset)
    {
        COPSE_TRY(const std::size_t n, from.read_at(out, offset));
        if (n != out.size()) return store_errc::missing;
        return outcome::success();
    }

    std::shared_ptr<folder_store::state> state_;
    const hash::digest root_;
    const std::uint64_t size_;
    std::unique_ptr<file> data_;
    std::unique_ptr<file> pairs_;
    std::shared_ptr<folder_blob> growing_;
    std::mutex page_mutex_;
    std::vector<std::byte> page_;
    std::uint64_t page_offset_ = 0;
};

// What was committed since the last checkpoint.
struct pending_commits {
    struct run {
        std::uint64_t index = 0;  // of the first pair in the outboard
        std::size_t offset = 0;   // in `pairs`
        std::size_t length = 0;
    };

    std::vector<std::byte> pairs;
    std::vector<run> runs;
    bao::chunk_ranges present;  // all since the beginning, earlier runs of the program included
    bool proven = false;
    bool changed = false;
};

// The files of a blob being written. Writer and jobs share it.
class folder_target {
public:
    folder_target(std::shared_ptr<folder_store::state> s, std::shared_ptr<folder_blob> blob,
                  std::unique_ptr<file> data, bool fresh)
        : state_(std::move(s)),
          blob_(std::move(blob)),
          data_(std::move(data)),
          fresh_(fresh),
          part_name_(fresh ? state_->name(blob_->root, part_suffix) : std::string())
    {}
    ~folder_target()
    {
        const std::lock_guard lock(blob_->mutex);
        if (!blob_->complete && fresh_ && !touched_) {
            // Nothing arrived: leave no empty file behind. If it stays, it is found empty later.
            static_cast<void>(state_->fs().remove_file(part_name_));
        }
        blob_->writing = false;
    }

    [[nodiscard]] folder_blob& blob() const noexcept { return *blob_; }
    [[nodiscard]] bool direct() const noexcept { return data_->direct(); }
    [[nodiscard]] const folder_options& options() const noexcept { return state_->options(); }

    result<void> write(byte_view data, std::uint64_t offset)
    {
        const std::uint64_t size = blob_->size;
        if (offset > size || data.size() > size - offset) {
            return make_error_code(std::errc::invalid_argument);
        }
        touched_ = true;
        if (!data_->direct()) return data_->write_at(data, offset);
        const std::size_t rest = data.size() % direct_alignment;
        const bool at_end = offset + data.size() == size;
        if (offset % direct_alignment == 0 && (rest == 0 || at_end)) {
            // The caller's buffer has room up to the next multiple; finish() cuts what is too much.
            const std::size_t more = rest == 0 ? 0 : direct_alignment - rest;
            return data_->write_at(byte_view(data.data(), data.size() + more), offset);
        }
        // Pieces of a group: rounding them up would write over their neighbours.
        COPSE_TRY(file* const cached, cached_data());
        return cached->write_at(data, offset);
    }

    result<void> checkpoint(const pending_commits& pending)
    {
        const std::lock_guard lock(jobs_);
        if (failure_) return failure_;
        // Stays when what follows throws: later records would name pairs that are lost.
        failure_ = make_error_code(std::errc::not_enough_memory);
        const auto recorded = record(pending);
        failure_ = recorded ? std::error_code() : recorded.error();
        if (recorded) state_->watchers.notify(blob_->root);
        return recorded;
    }

    result<void> finish(const pending_commits& pending, bool durable)
    {
        const std::lock_guard lock(jobs_);
        if (failure_) return failure_;
        {
            const std::lock_guard blob_lock(blob_->mutex);
            if (blob_->complete) return outcome::success();
        }
        if (pending.present != everything(blob_->size)) return store_errc::incomplete;
        failure_ = make_error_code(std::errc::not_enough_memory);  // when what follows throws
        const auto finished = complete(pending, durable);
        failure_ = finished ? std::error_code() : finished.error();
        if (finished) state_->watchers.notify(blob_->root);
        return finished;
    }

private:
    result<file*> cached_data()
    {
        const std::lock_guard lock(cached_mutex_);
        if (!cached_) {
            COPSE_TRY(cached_, state_->open_side(blob_->root, part_suffix, true));
        }
        return cached_.get();
    }

    result<void> record(const pending_commits& pending)
    {
        if (!pending.changed) return outcome::success();
        COPSE_TRYV(write_pairs(pending));
        if (!bits_) {
            COPSE_TRY(bits_, state_->open_side(blob_->root, bits_suffix, true));
        }
        return state_->write_record(*blob_, *bits_, pending.present, pending.proven);
    }

    // Neighbouring runs become one write.
    result<void> write_pairs(const pending_commits& pending)
    {
        if (pending.runs.empty()) return outcome::success();
        if (!pairs_) {
            COPSE_TRY(pairs_, state_->open_side(blob_->root, pairs_suffix, true));
        }
        auto runs = pending.runs;
        std::sort(runs.begin(), runs.end(),
                  [](const auto& a, const auto& b) { return a.index < b.index; });
        std::vector<std::byte> gathered;
        std::uint64_t offset = 0;
        const auto flush = [&]() -> result<void> {
            if (gathered.empty()) return outcome::success();
            const auto written = pairs_->write_at(gathered, offset);
            gathered.clear();
            return written;
        };
        for (const auto& run : runs) {
            const std::uint64_t at = run.index * bao::pair_size;
            if (at != offset + gathered.size() || gathered.size() >= pair_write_bytes) {
                COPSE_TRYV(flush());
                offset = at;
            }
            const auto from = pending.pairs.begin() + static_cast<std::ptrdiff_t>(run.offset);
            gathered.insert(gathered.end(), from, from + static_cast<std::ptrdiff_t>(run.length));
        }
        return flush();
    }

    result<void> complete(const pending_commits& pending, bool durable)
    {
        const auto& root = blob_->root;
        const bool keeps_pairs = blob_->size > extent_bytes;
        // Readers of the partial blob go on to look for pairs in a file that is about to lose its name.
        if (keeps_pairs || !fresh_ || bits_) COPSE_TRYV(write_pairs(pending));
        COPSE_TRY(const std::uint64_t length, data_->size());
        if (length != blob_->size) COPSE_TRYV(data_->truncate(blob_->size));
        if (keeps_pairs) {
            if (!pairs_) {
                COPSE_TRY(pairs_, state_->open_side(root, pairs_suffix, true));
            }
            // Longer after a larger size was claimed: readers take only what has the right length.
            COPSE_TRY(const std::uint64_t bytes, pairs_->size());
            const std::uint64_t wanted = bao::outboard_size(blob_->size);
            if (bytes > wanted) COPSE_TRYV(pairs_->truncate(wanted));
        }
        if (durable) {
            file* const pairs = keeps_pairs ? pairs_.get() : nullptr;
            COPSE_TRYV(state_->sync_files(*blob_, *data_, pairs, !fresh_ || bits_));
        }
        // All that needs memory comes before the rename.
        const std::string bits_name = state_->name(root, bits_suffix);
        const std::string pairs_name = state_->name(root, pairs_suffix);
        bao::chunk_ranges present = pending.present;
        COPSE_TRYV(state_->fs().rename(state_->name(root, part_suffix),
                                       state_->name(root, durable ? data_suffix : new_suffix),
                                       true));
        {
            const std::lock_guard lock(blob_->mutex);
            blob_->recorded = std::move(present);
            blob_->proven = true;
            blob_->complete = true;
            blob_->writing = false;
        }
        if (!fresh_ || bits_) {
            COPSE_TRYV(state_->remove_named(bits_name));
            if (!keeps_pairs) COPSE_TRYV(state_->remove_named(pairs_name));
        }
        if (!durable) return outcome::success();
        return state_->sync_names();
    }

    std::shared_ptr<folder_store::state> state_;
    std::shared_ptr<folder_blob> blob_;
    std::unique_ptr<file> data_;
    const bool fresh_;                  // no file of the blob was there
    const std::string part_name_;       // when it is fresh
    std::atomic<bool> touched_{false};  // something was written
    std::mutex cached_mutex_;
    std::unique_ptr<file> cached_;  // the data through the page cache
    std::mutex jobs_;               // of what follows
    std::unique_ptr<file> pairs_;
    std::unique_ptr<file> bits_;
    std::error_code failure_;
};

class folder_writer final : public blob_writer {
public:
    explicit folder_writer(std::shared_ptr<folder_target> target)
        : target_(std::move(target)), last_checkpoint_(monotonic_clock::now())
    {
        auto& blob = target_->blob();
        const std::lock_guard lock(blob.mutex);
        pending_.present = blob.recorded;
        pending_.proven = blob.proven;
    }

    const hash::digest& root() const noexcept override { return target_->blob().root; }
    std::uint64_t size() const noexcept override { return target_->blob().size; }
    bao::chunk_ranges present() const override { return pending_.present; }
    bool direct() const noexcept override { return target_->direct(); }
    result<void> write(byte_view data, std::uint64_t offset) override
    {
        return target_->write(data, offset);
    }

    void commit(const bao::chunk_ranges& chunks, std::span<const pair_run> pairs) override
    {
        const std::uint64_t count = bao::chunk_count(size());
        const std::uint64_t pair_count = bao::pair_count(count);
        const auto whole = chunks.full_groups(count);
        bao::chunk_ranges present = pending_.present | whole;
        const std::size_t pairs_before = pending_.pairs.size();
        const std::size_t runs_before = pending_.runs.size();
        try {
            for (const auto& run : pairs) {
                assert(run.bytes.size() % bao::pair_size == 0);
                assert(run.index + run.bytes.size() / bao::pair_size <= pair_count);
                static_cast<void>(pair_count);  // only checked where assert is
                pending_.runs.push_back({run.index, pending_.pairs.size(), run.bytes.size()});
                pending_.pairs.insert(pending_.pairs.end(), run.bytes.begin(), run.bytes.end());
            }
        } catch (...) {
            pending_.runs.resize(runs_before);
            pending_.pairs.resize(pairs_before);
            throw;
        }
        fresh_bytes_ += whole.chunk_total() * hash::chunk_size;
        pending_.present = std::move(present);
        pending_.proven = pending_.proven || chunks.contains(count - 1);
        pending_.changed = true;
    }

    bool checkpoint_due() const noexcept override
    {
        if (fresh_bytes_ == 0) return false;
        return fresh_bytes_ >= target_->options().checkpoint_bytes ||
               monotonic_clock::now() - last_checkpoint_ >= target_->options().checkpoint_interval;
    }

    std::function<result<void>()> checkpoint() override
    {
        const auto pending = copy_pending();
        job_type job = [target = target_, pending] { return target->checkpoint(*pending); };
        hand_over(*pending);
        last_checkpoint_ = monotonic_clock::now();
        return job;
    }

    std::function<result<void>()> finish(bool durable) override
    {
        const auto pending = copy_pending();
        job_type job = [target = target_, pending, durable] {
            return target->finish(*pending, durable);
        };
        hand_over(*pending);
        return job;
    }

private:
    using job_type = std::function<result<void>()>;

    // A job takes what is pending in two steps, so that nothing is lost when there is no memory for it:
    // what must be copied, and when the job exists, the rest.
    [[nodiscard]] std::shared_ptr<pending_commits> copy_pending() const
    {
        auto out = std::make_shared<pending_commits>();
        out->present = pending_.present;
        out->proven = pending_.proven;
        return out;
    }
    void hand_over(pending_commits& to) noexcept
    {
        to.pairs = std::exchange(pending_.pairs, {});
        to.runs = std::exchange(pending_.runs, {});
        to.changed = std::exchange(pending_.changed, false);
        fresh_bytes_ = 0;
    }

    std::shared_ptr<folder_target> target_;
    pending_commits pending_;
    std::uint64_t fresh_bytes_ = 0;  // committed since the last checkpoint
    time_point last_checkpoint_;
};

// The writer of a blob that needs nothing.
class complete_writer final : public blob_writer {
public:
    complete_writer(const hash::digest& root, std::uint64_t size) : root_(root), size_(size) {}

    const hash::digest& root() const noexcept override { return root_; }
    std::uint64_t size() const noexcept override { return size_; }
    bao::chunk_ranges present() const override { return everything(size_); }
    bool direct() const noexcept override { return false; }
    result<void> write(byte_view, std::uint64_t) override { return outcome::success(); }
    void commit(const bao::chunk_ranges&, std::span<const pair_run>) override {}
    bool checkpoint_due() const noexcept override { return false; }
    std::function<result<void>()> checkpoint() override { return done; }
    std::function<result<void>()> finish(bool) override { return done; }

private:
    static result<void> done() { return outcome::success(); }

    const hash::digest root_;
    const std::uint64_t size_;
};

}  // namespace detail

}  // namespace copse::store
