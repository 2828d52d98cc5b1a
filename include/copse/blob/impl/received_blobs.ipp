// Blobs of an answer on their way to the store: verified, written, declared. Part of receive.ipp.
#pragma once

#include <copse/bao/decode_core.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/impl/selection.ipp>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace copse::blob::detail {

/// A blob of the answer from its first byte until it is stored.
struct incoming_blob {
    std::uint64_t index = 0;
    hash::digest hash;
    bao::decode_core decoder;
    std::shared_ptr<store::blob_writer> writer;
    std::uint64_t counted_leaf_bytes = 0;
    std::uint64_t verified_end = 0;
    bool proven = false;

    incoming_blob(std::uint64_t i, const hash::digest& h, bao::chunk_ranges ranges,
                  const bao::decode_options& options)
        : index(i), hash(h), decoder(h, std::move(ranges), options)
    {}
};

/// A received extent on its way to the store.
struct incoming_extent {
    std::shared_ptr<incoming_blob> blob;
    std::optional<bao::filled_extent> filled;
    std::optional<bao::verified_extent> verified;
    disk::leaf_pool::buffer buffer;
    std::uint64_t leaf_bytes = 0;
    std::optional<std::uint64_t> failed_at;  ///< where verifying or writing failed
    bool last = false;                       ///< nothing of the blob follows
};

/// What an answer leaves in the store. Calls on the executor, except where they say "on the pool".
class received_blobs {
protected:
    using blocking_jobs = std::vector<std::function<result<void>()>>;

    received_blobs(fetch_environment& env, fetch_options options)
        : env_(env), options_(std::move(options))
    {}
    ~received_blobs() = default;

    // On the pool.
    result<void> verify_and_write(std::deque<incoming_extent>& batch)
    {
        for (incoming_extent& e : batch) {
            if (!e.filled) continue;
            bao::mismatch wrong;
            auto verified = bao::verify(std::move(*e.filled), wrong);
            if (!verified) {
                e.failed_at = wrong.offset();
                return from_bao(verified.error());
            }
            e.verified.emplace(std::move(verified).assume_value());
            const auto written = write(*e.blob, *e.verified);
            if (!written) {
                e.verified.reset();
                e.failed_at = e.blob->verified_end;
                return written;
            }
        }
        return outcome::success();
    }

    // On the pool. Only whole groups are stored: a provider cannot serve less.
    result<void> write(incoming_blob& b, const bao::verified_extent& extent)
    {
        const std::uint64_t chunks = bao::chunk_count(extent.size());
        const bao::chunk_ranges groups = extent.chunks().full_groups(chunks);
        if (groups.empty() || extent.size() == 0) return outcome::success();
        if (!b.writer) {
            // A blob that a sequence names twice is stored by whoever came first.
            if (storing_.contains(b.hash)) return outcome::success();
            COPSE_TRY(b.writer, env_.store.open_partial(b.hash, extent.size()));
            storing_.insert(b.hash);
        }
        for (std::size_t i = 0; i < groups.interval_count(); ++i) {
            const bao::chunk_interval part = groups.interval(i);
            const std::uint64_t first = bao::byte_offset(part.first);
            const std::uint64_t end = bao::byte_end(part.end, extent.size());
            const byte_view bytes =
                extent.bytes().subspan(static_cast<std::size_t>(first - extent.offset()),
                                       static_cast<std::size_t>(end - first));
            COPSE_TRYV(b.writer->write(bytes, first));
        }
        return outcome::success();
    }

    void declare(incoming_extent& e, blocking_jobs& jobs)
    {
        incoming_blob& b = *e.blob;
        const bao::verified_extent& extent = *e.verified;
        b.proven = b.proven || extent.proves_size();
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i < extent.piece_count(); ++i) {
            const auto piece = extent[i];
            bytes += piece.bytes.size();
            b.verified_end = std::max(b.verified_end, piece.offset + piece.bytes.size());
            if (options_.data) options_.data(b.index, piece.offset, piece.bytes);
        }
        report_.payload_bytes += bytes;
        if (b.writer) {
            std::vector<store::pair_run> runs;
            for (std::size_t i = 0; i < extent.pair_run_count(); ++i) {
                const auto run = extent.pairs(i);
                runs.push_back({run.index, run.bytes});
            }
            b.writer->commit(extent.chunks(), runs);
            report_.stored_bytes += bytes;
            if (!e.last && b.writer->checkpoint_due()) jobs.push_back(b.writer->checkpoint());
            open_blobs_[b.index] = e.blob;
        }
        if (options_.progress) options_.progress(bytes);
    }

    // The blob's part of the answer is over: complete, or only the parts that were asked for.
    void finish_blob(incoming_blob& b, blocking_jobs& jobs)
    {
        if (!b.writer) return;
        const std::uint64_t size = b.writer->size();
        if (b.writer->present().covers(0, bao::chunk_count(size))) {
            jobs.push_back(b.writer->finish(options_.durable));
            completed_.push_back(b.index);
        } else {
            jobs.push_back(b.writer->checkpoint());
        }
    }

    void blob_is_over(incoming_blob& b)
    {
        const bool complete = std::erase(completed_, b.index) > 0;
        const bool empty = b.decoder.size() == std::uint64_t{0} && b.proven;
        if (complete || empty) ++report_.blobs;
        if (b.writer) storing_.erase(b.hash);
        b.writer.reset();
        open_blobs_.erase(b.index);
        if (options_.blob && b.proven) {
            options_.blob({b.index, b.hash, *b.decoder.size(), complete || empty});
        }
    }

    // Cancelled or failed: what was declared but not checkpointed.
    awaitable<std::error_code> checkpoint_all()
    {
        blocking_jobs jobs;
        for (auto& [index, b] : open_blobs_) {
            if (b->writer) jobs.push_back(b->writer->checkpoint());
        }
        if (jobs.empty()) co_return std::error_code{};
        auto job = [&jobs]() -> result<void> {
            for (auto& one : jobs) {
                COPSE_TRYV(one());
            }
            return outcome::success();
        };
        const auto done = co_await offload(env_.pool, job);
        if (!done) co_return done.error();
        co_return std::error_code{};
    }

    fetch_environment& env_;
    fetch_options options_;
    fetch_report report_;

private:
    std::map<std::uint64_t, std::shared_ptr<incoming_blob>> open_blobs_;
    std::vector<std::uint64_t> completed_;
    std::set<hash::digest> storing_;  // blobs with an open writer
};

}  // namespace copse::blob::detail
