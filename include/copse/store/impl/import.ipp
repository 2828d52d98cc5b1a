// Hashing files in place. Compiled once per program.
#pragma once

#include <copse/bao/outboard.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/event.hpp>
#include <copse/core/scope.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/hash/parallel.hpp>
#include <copse/store/error.hpp>
#include <copse/store/import.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace copse::store {

namespace detail {

// Workers take segments of this size; for files above 64 GiB larger ones, so that the values of a
// file that is only hashed take at most 2 MiB.
inline constexpr std::uint64_t min_segment_bytes = std::uint64_t{1} << 20;
inline constexpr std::uint64_t max_segments = std::uint64_t{1} << 16;
// Below this a second worker costs more than it brings.
inline constexpr std::uint64_t bytes_worth_a_worker = std::uint64_t{2} << 20;
// How long a job hashes before it looks whether it should stop.
inline constexpr std::chrono::milliseconds slice_time{50};
inline constexpr std::size_t stream_block = std::size_t{1} << 20;

inline result<void> read_exactly(file& from, byte_span out, std::uint64_t offset)
{
    COPSE_TRY(const std::size_t n, from.read_at(out, offset));
    if (n != out.size()) return store_errc::file_changed;
    return outcome::success();
}

// One file being hashed: shared by its workers, which write disjoint elements of `values`.
class import_run {
public:
    import_run(std::unique_ptr<file> from, std::uint64_t size, bool keep_index)
        : file_(std::move(from)),
          size_(size),
          keep_index_(keep_index),
          plan_(size, std::max(min_segment_bytes, std::bit_ceil(size / max_segments + 1)))
    {
        const std::uint64_t extents = bao::unit_count(bao::chunk_count(size), extent_chunks);
        values_.resize(static_cast<std::size_t>(keep_index ? extents : plan_.count()));
    }

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t done() const noexcept
    {
        return done_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool complete() const noexcept
    {
        return next_.load() >= plan_.count() && done() == size_;
    }
    /// A worker's buffer: an extent, or the whole file if that is smaller.
    [[nodiscard]] std::size_t buffer_bytes() const noexcept
    {
        return static_cast<std::size_t>(
            std::bit_ceil(std::clamp<std::uint64_t>(size_, hash::chunk_size, extent_bytes)));
    }

    /// Hashes segments until `deadline` or the end. \return true while there may be more to do.
    result<bool> work(byte_span buffer, time_point deadline)
    {
        for (;;) {
            const std::uint64_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= plan_.count()) return false;
            const auto hashed = hash_segment(index, buffer);
            if (!hashed) {
                next_.store(plan_.count());  // the others stop at their next segment
                return hashed.error();
            }
            if (monotonic_clock::now() >= deadline) return true;
        }
    }

    /// Folds the values. \pre complete().
    imported_file finish()
    {
        imported_file out;
        out.size = size_;
        if (keep_index_) {
            bao::outboard_builder builder(size_, extent_groups);
            for (const auto& value : values_) builder.push(value);
            out.index = std::make_shared<const bao::outboard>(builder.finish());
            out.root = out.index->root();
        } else {
            hash::subtree_merger merger;
            for (std::uint64_t i = 0; i < plan_.count(); ++i) {
                merger.push(values_[static_cast<std::size_t>(i)], hash::chunk_count(plan_[i].size));
            }
            out.root = merger.root();
        }
        values_ = {};
        return out;
    }

    /// Errors unless the file ends where it ended at the start.
    result<void> check_end()
    {
        std::byte one;
        COPSE_TRY(const std::size_t more, file_->read_at(byte_span(&one, 1), size_));
        if (more != 0) return store_errc::file_changed;
        return outcome::success();
    }

private:
    result<void> hash_segment(std::uint64_t index, byte_span buffer)
    {
        const hash::segment part = plan_[index];
        hash::subtree_merger merger;
        std::uint64_t at = 0;
        do {
            const auto length =
                static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), part.size - at));
            const auto piece = buffer.first(length);
            const std::uint64_t offset = part.offset + at;
            COPSE_TRYV(read_exactly(*file_, piece, offset));
            const auto cv = hash::subtree_cv(piece, offset / hash::chunk_size, length == size_);
            if (keep_index_) values_[static_cast<std::size_t>(offset / extent_bytes)] = cv;
            else merger.push(cv, hash::chunk_count(length));
            at += length;
            done_.fetch_add(length, std::memory_order_relaxed);
        } while (at < part.size);
        if (!keep_index_) {
            values_[static_cast<std::size_t>(index)] =
                plan_.is_root(part) ? merger.root() : merger.subtree();
        }
        return outcome::success();
    }

    std::unique_ptr<file> file_;
    const std::uint64_t size_;
    const bool keep_index_;
    const hash::segment_plan plan_;
    std::vector<hash::digest> values_;  // of extents in order, or of segments
    std::atomic<std::uint64_t> next_{0};
    std::atomic<std::uint64_t> done_{0};
};

struct opened_import {
    file_status identity;
    std::unique_ptr<import_run> run;
    std::optional<imported_file> whole;  // when it was so small that the first job hashed it
};

inline bool same_identity(const file_status& a, const file_status& b) noexcept
{
    return a.kind == b.kind && a.size == b.size && a.modified_ns == b.modified_ns &&
           a.inode == b.inode && a.device == b.device;
}

inline result<imported_file> close_import(file_system& fs, const std::string& path,
                                          const opened_import& opened)
{
    COPSE_TRYV(opened.run->check_end());
    COPSE_TRY(const auto now, fs.status(path));
    if (!same_identity(now, opened.identity)) return store_errc::file_changed;
    imported_file out = opened.run->finish();
    out.path = path;
    out.identity = now;
    return out;
}

inline result<opened_import> open_import(file_system& fs, const std::string& path,
                                         bool follow_links, bool keep_index)
{
    opened_import out;
    COPSE_TRY(out.identity, fs.status(path));
    const bool link = follow_links && out.identity.kind == file_kind::symbolic_link;
    if (out.identity.kind != file_kind::regular && !link) return store_errc::not_a_file;
    open_options options;
    options.follow_links = follow_links;
    COPSE_TRY(auto opened, fs.open(path, options));
    COPSE_TRY(const std::uint64_t size, opened->size());
    if (!link && size != out.identity.size) return store_errc::file_changed;
    out.run = std::make_unique<import_run>(std::move(opened), size, keep_index);
    if (size <= min_segment_bytes) {
        std::vector<std::byte> buffer(out.run->buffer_bytes());
        COPSE_TRYV(out.run->work(buffer, time_point::max()));
        COPSE_TRY(out.whole, close_import(fs, path, out));
    }
    return out;
}

inline awaitable<result<void>> import_worker(import_run& run, offload_pool& pool,
                                             const std::function<void(std::uint64_t)>& progress)
{
    std::vector<std::byte> buffer(run.buffer_bytes());
    for (;;) {
        const byte_span view = buffer;
        auto slice = [&run, view] { return run.work(view, monotonic_clock::now() + slice_time); };
        const auto more = co_await offload(pool, std::move(slice));
        if (!more) co_return more.error();
        if (progress) progress(run.done());
        if (!more.value()) co_return outcome::success();
        const bool stop = co_await cancellation_requested();
        if (stop) co_return make_error_code(std::errc::operation_canceled);
    }
}

inline awaitable<result<void>> import_workers(import_run& run, offload_pool& pool, unsigned workers,
                                              const std::function<void(std::uint64_t)>& progress)
{
    if (workers == 1) {
        const auto only = co_await import_worker(run, pool, progress);
        co_return only;
    }
    scope children(co_await asio::this_coro::executor);
    for (unsigned i = 0; i < workers; ++i) children.spawn(import_worker(run, pool, progress));
    const auto joined = co_await children.join();
    if (!joined) co_return joined.error();
    if (!run.complete()) co_return make_error_code(std::errc::operation_canceled);
    co_return outcome::success();
}

// Inline, unlike what it implements: g++ 12 warns of closures without linkage in other coroutines.
inline awaitable<result<imported_file>> import_in_place(file_system& fs, offload_pool& pool,
                                                        std::string path, import_options options)
{
    auto open = [&fs, &path, &options] {
        return open_import(fs, path, options.follow_links, options.keep_index);
    };
    auto opened = co_await offload(pool, std::move(open));
    if (!opened) co_return opened.error();
    auto& file = opened.value();
    if (file.whole) {
        if (options.progress) options.progress(file.whole->size);
        co_return std::move(*file.whole);
    }
    const bool stop = co_await cancellation_requested();
    if (stop) co_return make_error_code(std::errc::operation_canceled);
    const std::uint64_t useful = file.run->size() / bytes_worth_a_worker;
    const auto workers =
        static_cast<unsigned>(std::clamp<std::uint64_t>(useful, 1, std::max(1U, options.workers)));
    const auto worked = co_await import_workers(*file.run, pool, workers, options.progress);
    if (!worked) co_return worked.error();
    auto close = [&fs, &path, &file] { return close_import(fs, path, file); };
    auto closed = co_await offload(pool, std::move(close));
    co_return closed;
}

}  // namespace detail

awaitable<result<imported_file>> import_file(file_system& fs, offload_pool& pool, std::string path,
                                             import_options options)
{
    return detail::import_in_place(fs, pool, std::move(path), std::move(options));
}

result<stream_hash> hash_stream(const std::function<result<std::size_t>(byte_span)>& read)
{
    hash::blake3 hasher;
    stream_hash out;
    std::vector<std::byte> block(detail::stream_block);
    for (;;) {
        // Whole blocks keep the wide kernels full, also when a pipe gives 64 KiB at a time.
        std::size_t fill = 0;
        bool ended = false;
        while (fill < block.size() && !ended) {
            COPSE_TRY(const std::size_t n, read(byte_span(block).subspan(fill)));
            fill += n;
            ended = n == 0;
        }
        hasher.update(byte_view(block).first(fill));
        out.size += fill;
        if (ended) break;
    }
    out.root = hasher.finalize();
    return out;
}

}  // namespace copse::store
