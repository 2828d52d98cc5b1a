// Receiving an answer: the sink that decodes in the receive path, the loop that verifies and stores.
#pragma once

#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/impl/received_blobs.ipp>
#include <copse/blob/impl/selection.ipp>
#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <new>
#include <optional>
#include <utility>

namespace copse::blob::detail {

/// Ends of blobs and filled extents that wait to be verified and stored; then the peer waits.
inline constexpr std::size_t max_waiting_extents = 1024;

/// Receives one answer: the sink that decodes in the receive path, and the loop that verifies and
/// stores. Used by the getter, and by a provider that is pushed to.
class receive_session final : private received_blobs,
                              public stream_sink,
                              public disk::leaf_pool::waiter {
public:
    /// \param on_failure code that the sender is told when its bytes are wrong.
    /// \param sequences  what the hashes of children are counted in; may be null.
    receive_session(executor ex, selection wanted, fetch_environment& env, fetch_options options,
                    fetch_diagnostics& where, wire_code on_failure, budget* sequences = nullptr)
        : received_blobs(env, std::move(options)),
          where_(where),
          wanted_(std::move(wanted)),
          on_failure_(on_failure),
          sequences_(sequences),
          cursor_(wanted_.ranges),
          changed_(ex),
          children_(ex)
    {
        where_.hash = wanted_.root;
    }

    /// Finds the children's hashes in the store, unless they come with the answer.
    awaitable<result<void>> prepare()
    {
        if (!wanted_.wants_children()) co_return outcome::success();
        const std::error_code full = co_await reserve_sequence();
        if (full) co_return full;
        auto job = [this] { return read_blob(env_.store, wanted_.root, max_hash_sequence_bytes); };
        auto found = co_await offload(env_.pool, job);
        if (found) co_return take_sequence(std::move(found).assume_value());
        if (wanted_.ranges.at(0) != bao::chunk_ranges::all()) co_return found.error();
        co_return outcome::success();  // they come with the root
    }

    /// Receives everything. What was verified stays stored, whatever happens.
    awaitable<result<fetch_report>> run(recv_stream& from)
    {
        recv_ = &from;
        const std::size_t window = recv_->request_window(options_.window);
        const std::size_t part =
            std::clamp<std::size_t>(window / 4, hash::group_size, bao::max_extent_bytes);
        decode_.extent_bytes = std::bit_floor(std::min(part, env_.buffers.extent_bytes()));
        decode_.max_size = options_.max_blob_size;
        std::error_code error = co_await or_no_memory(receive());
        // Everything below runs to its end, also when this fetch was cancelled.
        recv_->detach();
        if (waiting_) env_.buffers.leave(*this);
        children_.request_stop();
        const auto joined = co_await children_.join();
        static_cast<void>(joined);  // the watchers report through members
        if (error) salvage();
        while (!filled_.empty()) {
            const std::error_code late = co_await or_no_memory(process());
            if (!error) error = late;
            if (late) filled_.clear();
        }
        const std::error_code kept = co_await or_no_memory(checkpoint_all());
        if (!error) error = kept;
        where_.peer_code = recv_->reset_code();
        if (error) co_return error;
        co_return report_;
    }

    [[nodiscard]] const fetch_report& report() const noexcept { return report_; }

    // ---- in the receive path ----

    result<sink_verdict> consume(byte_view data) noexcept override
    {
        sink_verdict out;
        for (;;) {
            advance();
            if (failure_) {
                changed_.notify_all();
                return failure_;
            }
            if (!wants_bytes_ || data.empty()) break;
            bao::decode_core& decoder = current_->decoder;
            const std::uint64_t leaf_before = decoder.leaf_bytes();
            const auto taken = push(decoder, data);
            if (!taken) {
                failure_ = from_bao(taken.error());
                note(*current_, decoder.where().offset());
                changed_.notify_all();
                return failure_;
            }
            const std::size_t n = taken.assume_value();
            data = data.subspan(n);
            out.accepted += n;
            // Headers and hash pairs are used up; leaves are credited when they are written.
            out.credit += n - static_cast<std::size_t>(decoder.leaf_bytes() - leaf_before);
        }
        received_ += out.accepted;
        report_.other_bytes += out.credit;
        if (finished_ && !data.empty()) {
            failure_ = blob_errc::extra_data;
            changed_.notify_all();
            return failure_;
        }
        return out;
    }

    std::uint64_t stop_code() const noexcept override
    {
        return static_cast<std::uint64_t>(on_failure_);
    }

    void buffer_available() noexcept override
    {
        buffer_came_ = true;
        changed_.notify_all();
    }

private:
    static awaitable<std::error_code> or_no_memory(awaitable<std::error_code> step)
    {
        try {
            const std::error_code ec = co_await std::move(step);
            co_return ec;
        } catch (const std::bad_alloc&) {
            // Reported as any other failure, since what is stored must be checkpointed all the same.
        }
        co_return make_error_code(std::errc::not_enough_memory);
    }

    static result<std::size_t> push(bao::decode_core& decoder, byte_view data) noexcept
    {
        try {
            return decoder.push(data);
        } catch (const std::bad_alloc&) {
            return make_error_code(std::errc::not_enough_memory);
        }
    }

    // Moves on as far as possible without bytes: extents out, buffers in, the next blob.
    void advance() noexcept
    {
        try {
            try_to_advance();
        } catch (const std::bad_alloc&) {
            wants_bytes_ = false;
            failure_ = make_error_code(std::errc::not_enough_memory);
        }
    }

    void try_to_advance()
    {
        wants_bytes_ = false;
        if (failure_) return;
        for (;;) {
            // Blobs without bytes need no buffer: a provider could send them faster than they are kept.
            if (filled_.size() >= max_waiting_extents) return;
            if (!current_ && !next_blob()) return;
            bao::decode_core& decoder = current_->decoder;
            if (auto extent = decoder.take_extent()) {
                incoming_extent e;
                e.blob = current_;
                e.filled.emplace(std::move(*extent));
                e.buffer = std::move(buffer_);
                e.leaf_bytes = decoder.leaf_bytes() - current_->counted_leaf_bytes;
                current_->counted_leaf_bytes = decoder.leaf_bytes();
                push(std::move(e));
            } else if (decoder.finished()) {
                if (filled_.empty() || filled_.back().blob != current_) {
                    incoming_extent end;
                    end.blob = current_;
                    push(std::move(end));
                }
                filled_.back().last = true;
                current_.reset();
            } else if (decoder.needs_buffer()) {
                auto buffer = env_.buffers.try_take(decoder.buffer_bytes(), this);
                if (!buffer) {
                    waiting_ = true;
                    env_.buffers.wait(*this);
                    return;
                }
                if (std::exchange(waiting_, false)) env_.buffers.leave(*this);
                buffer_ = std::move(*buffer);
                decoder.provide_buffer(buffer_.bytes().first(decoder.buffer_bytes()));
            } else {
                wants_bytes_ = true;
                return;
            }
        }
    }

    void push(incoming_extent e)
    {
        filled_.push_back(std::move(e));
        changed_.notify_all();
    }

    // False when there is none (then finished_ is set) or its hash is not known yet.
    bool next_blob()
    {
        const auto index = cursor_.next_wanted(next_index_);
        if (!index) return end_of_answer();
        next_index_ = *index;  // the cursor does not go back when this is asked again
        hash::digest id = wanted_.root;
        if (wanted_.many) {
            if (*index >= wanted_.listed.size()) return end_of_answer();
            id = wanted_.listed[static_cast<std::size_t>(*index)];
        } else if (*index > 0) {
            if (!sequence_) return false;
            const std::uint64_t child = *index - 1;
            if (child >= sequence_->size() / 32) return end_of_answer();
            std::memcpy(id.bytes.data(), sequence_->data() + 32 * child, 32);
        }
        current_ = std::make_shared<incoming_blob>(*index, id, cursor_.ranges(), decode_);
        next_index_ = *index + 1;
        return true;
    }

    bool end_of_answer()
    {
        if (!std::exchange(finished_, true)) changed_.notify_all();
        return false;
    }

    void note(const incoming_blob& b, std::uint64_t offset)
    {
        where_.hash = b.hash;
        where_.index = b.index;
        where_.offset = offset;
    }

    // ---- on the executor, outside the receive path ----

    awaitable<void> watch_stream()
    {
        const auto drained = co_await recv_->drained();
        if (!drained && drained.error() == std::errc::operation_canceled) co_return;
        ended_ = true;
        if (!drained) end_error_ = drained.error();
        changed_.notify_all();
    }

    awaitable<void> watch_progress()
    {
        // A quarter at a time, so that a stall is noticed at most a quarter late.
        std::uint64_t received = 0;
        int quiet = 0;
        for (;;) {
            const std::error_code ec = co_await sleep_for(options_.progress_timeout / 4);
            if (ec) co_return;
            const bool moved = received_ - received >= least_progress_bytes || waiting_ || busy_;
            if (moved) {
                received = received_;
                quiet = 0;
            } else if (++quiet == 4) {
                stalled_ = true;
                changed_.notify_all();
                co_return;
            }
        }
    }

    awaitable<std::error_code> receive()
    {
        advance();
        recv_->attach(*this);
        children_.spawn(watch_stream());
        children_.spawn(watch_progress());
        for (;;) {
            if (!filled_.empty()) {
                const std::error_code ec = co_await process();
                if (ec) co_return ec;
                continue;
            }
            if (failure_) co_return failure_;
            if (buffer_came_ || !wants_bytes_) {
                buffer_came_ = false;
                advance();
                if (!filled_.empty()) continue;
                if (wants_bytes_ || finished_) recv_->resume();
                if (!filled_.empty()) continue;
                if (failure_) co_return failure_;
            }
            if (finished_ && (ended_ || stalled_)) {
                // Complete and verified: how the stream ended makes no difference any more.
                co_return std::error_code{};
            }
            if (ended_) co_return why_ended();
            if (stalled_) {
                if (current_) note(*current_, current_->verified_end);
                co_return blob_errc::stalled;
            }
            const std::error_code ec = co_await changed_.wait();
            if (ec) co_return ec;
        }
    }

    std::error_code why_ended()
    {
        if (current_) note(*current_, current_->verified_end);
        if (end_error_ == transport_errc::stream_reset) {
            return from_wire_code(recv_->reset_code().value_or(0));
        }
        if (end_error_) return end_error_;
        if (!current_) return blob_errc::truncated_response;
        const auto end = current_->decoder.end_of_input();
        // A blob that did not even begin is one the provider lacks, when it is the first.
        if (!end && end.error() == bao::bao_errc::absent && report_.blobs > 0) {
            return blob_errc::truncated_response;
        }
        return end ? std::error_code(blob_errc::truncated_response) : from_bao(end.error());
    }

    // After a failure: the complete leaves of the extent in progress are kept too.
    void salvage()
    {
        if (!current_ || failure_) return;
        if (auto extent = current_->decoder.take_interrupted()) {
            incoming_extent e;
            e.blob = current_;
            e.filled.emplace(std::move(*extent));
            e.buffer = std::move(buffer_);
            e.leaf_bytes = current_->decoder.leaf_bytes() - current_->counted_leaf_bytes;
            try {
                filled_.push_back(std::move(e));
            } catch (const std::bad_alloc&) {
                // It is fetched again next time.
            }
        }
    }

    // Verifies and writes what is filled, then declares it to the writers. One batch at a time.
    awaitable<std::error_code> process()
    {
        std::deque<incoming_extent> batch = std::exchange(filled_, {});
        busy_ = true;
        auto job = [this, &batch] { return verify_and_write(batch); };
        const auto stored = co_await offload(env_.pool, job);
        std::vector<std::function<result<void>()>> jobs;
        std::uint64_t credit = 0;
        for (incoming_extent& e : batch) {
            credit += e.leaf_bytes;
            if (e.failed_at) note(*e.blob, *e.failed_at);
            if (e.verified) declare(e, jobs);
            if (e.last && stored) finish_blob(*e.blob, jobs);
            // Slots go back in order, so that the longest waiting fetch is served first.
            e.verified.reset();
            e.filled.reset();
            e.buffer = {};
        }
        // Credit that comes late slows the sender: that is how the rate is kept.
        std::error_code stop;
        if (options_.rate && credit > 0) stop = co_await options_.rate->take(credit);
        recv_->release(static_cast<std::size_t>(credit));
        result<void> kept = outcome::success();
        if (!jobs.empty()) {
            auto keep = [&jobs]() -> result<void> {
                for (auto& one : jobs) {
                    COPSE_TRYV(one());
                }
                return outcome::success();
            };
            kept = co_await offload(env_.pool, keep);
        }
        if (!stored) {
            busy_ = false;
            co_return stored.error();
        }
        if (!kept) {
            busy_ = false;
            co_return kept.error();
        }
        for (incoming_extent& e : batch) {
            if (e.last) blob_is_over(*e.blob);
        }
        const std::error_code children = co_await load_children(batch);
        busy_ = false;
        if (stop) co_return stop;
        advance();
        if (wants_bytes_ || finished_)
            recv_->resume();  // what is queued behind the end is too much
        co_return children;
    }

    // ---- children ----

    awaitable<std::error_code> load_children(const std::deque<incoming_extent>& batch)
    {
        const bool root_over = std::ranges::any_of(
            batch, [](const incoming_extent& e) { return e.last && e.blob->index == 0; });
        if (!root_over || sequence_ || !wanted_.wants_children()) co_return std::error_code{};
        const std::error_code full = co_await reserve_sequence();
        if (full) co_return full;
        auto job = [this] { return read_blob(env_.store, wanted_.root, max_hash_sequence_bytes); };
        auto found = co_await offload(env_.pool, job);
        if (!found) co_return found.error();
        const auto taken = take_sequence(std::move(found).assume_value());
        if (!taken) co_return taken.error();
        co_return std::error_code{};
    }

    // Its size is the sender's choice.
    awaitable<std::error_code> reserve_sequence()
    {
        if (!sequences_) co_return std::error_code{};
        auto job = [this] { return env_.store.status(wanted_.root); };
        const auto found = co_await offload(env_.pool, job);
        if (!found) co_return found.error();
        const std::uint64_t size = found.assume_value().size;
        sequence_held_ = sequences_->try_take(
            static_cast<std::size_t>(std::min<std::uint64_t>(size, max_hash_sequence_bytes)));
        if (!sequence_held_) co_return blob_errc::rate_limited;
        co_return std::error_code{};
    }

    result<void> take_sequence(std::vector<std::byte> bytes)
    {
        if (!hash_sequence::is_valid_size(bytes.size())) return blob_errc::bad_hash_sequence;
        sequence_ = std::move(bytes);
        return outcome::success();
    }

    fetch_diagnostics& where_;
    selection wanted_;
    const wire_code on_failure_;
    budget* const sequences_;
    ranges_seq::cursor cursor_;
    event changed_;
    scope children_;
    recv_stream* recv_ = nullptr;
    bao::decode_options decode_;

    std::optional<std::vector<std::byte>> sequence_;  // the children's hashes, once known
    credit sequence_held_;                            // for it, when `sequences_` counts
    std::uint64_t next_index_ = 0;
    std::shared_ptr<incoming_blob> current_;  // the one whose bytes arrive
    disk::leaf_pool::buffer buffer_;          // lent to current_'s decoder
    std::deque<incoming_extent> filled_;
    std::uint64_t received_ = 0;
    std::error_code failure_;  // of the decoder
    std::error_code end_error_;
    bool wants_bytes_ = false;
    bool waiting_ = false;  // queued at the pool
    bool buffer_came_ = false;
    bool finished_ = false;  // all blobs of the answer were decoded
    bool ended_ = false;     // the stream is over
    bool stalled_ = false;
    bool busy_ = false;  // a batch is on the pool
};

}  // namespace copse::blob::detail
