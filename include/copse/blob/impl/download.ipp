#pragma once

#include <copse/blob/download.hpp>
#include <copse/blob/impl/receive.ipp>
#include <copse/core/race.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace copse::blob {

namespace detail {

/// On the pool: what is missing of each listed blob, a repeated one only at its first place.
inline result<missing_parts> compare(store::blob_store& with, std::span<const hash::digest> hashes,
                                     std::uint64_t first_index)
{
    missing_parts out;
    ranges_seq::builder wanted;
    std::set<hash::digest> seen;
    std::uint64_t index = first_index;
    bool any = false;
    for (const hash::digest& hash : hashes) {
        bao::chunk_ranges missing;
        if (seen.insert(hash).second) {
            COPSE_TRY(const auto have, with.status(hash));
            if (!have.complete()) missing = bao::chunk_ranges::all() - have.present;
            if (have.size_proven || !have.present.empty()) {
                out.total_bytes = add_sizes(out.total_bytes, have.size);
                for (std::size_t i = 0; i < have.present.interval_count(); ++i) {
                    const auto part = have.present.interval(i);
                    const std::uint64_t chunks = bao::chunk_count(have.size);
                    out.present_bytes += bao::byte_end(std::min(part.end, chunks), have.size) -
                                         std::min(bao::byte_offset(part.first), have.size);
                }
            }
        }
        any = any || !missing.empty();
        wanted.from(index++, missing);
    }
    if (any) out.request = wanted.from(index, bao::chunk_ranges::none()).build();
    return out;
}

// The coroutines are inline for the sake of their closures: g++ gives those of others no linkage.

inline awaitable<result<missing_parts>> missing_of_collection(const manifest& m,
                                                              fetch_environment& env)
{
    auto job = [&m, &env] { return compare(env.store, m.hashes, 1); };
    auto compared = co_await offload(env.pool, job);
    if (!compared) co_return compared.error();
    missing_parts out = std::move(compared).assume_value();
    std::map<hash::digest, std::uint64_t> sizes;
    for (std::size_t i = 0; i < m.sizes.size(); ++i) sizes.emplace(m.hashes[i + 1], m.sizes[i]);
    out.total_bytes = 0;
    for (const auto& [hash, size] : sizes) {
        out.total_bytes = add_sizes(out.total_bytes, size);
    }
    out.present_bytes = std::min(out.present_bytes, out.total_bytes);
    co_return out;
}

inline awaitable<result<missing_parts>> missing_of_blob(hash::digest blob, fetch_environment& env)
{
    auto job = [&blob, &env] { return compare(env.store, std::span(&blob, 1), 0); };
    auto compared = co_await offload(env.pool, job);
    co_return compared;
}

/// On the pool: the sequence and the names as they are in the store.
inline result<manifest> read_manifest(store::blob_store& from, const hash::digest& root)
{
    manifest out;
    out.root = root;
    COPSE_TRY(const auto bytes, read_blob(from, root, max_hash_sequence_bytes));
    COPSE_TRY(const auto sequence, hash_sequence::from_bytes(bytes));
    if (sequence.empty()) return blob_errc::bad_collection;
    for (std::size_t i = 0; i < sequence.size(); ++i) out.hashes.push_back(sequence[i]);
    COPSE_TRY(const auto meta, read_blob(from, out.hashes[0], max_collection_meta_bytes));
    COPSE_TRY(out.names, decode_collection_meta(meta, sequence.size()));
    return out;
}

/// On the pool: the sizes that the store knows for certain. \return whether these are all.
inline result<bool> read_sizes(store::blob_store& from, manifest& m)
{
    for (std::size_t i = 1; i < m.hashes.size(); ++i) {
        COPSE_TRY(const auto have, from.status(m.hashes[i]));
        if (!have.size_proven) return false;
        m.sizes.push_back(have.size);
    }
    return true;
}

inline awaitable<result<manifest>> get_manifest(std::shared_ptr<connection> c, hash::digest root,
                                                fetch_environment& env, fetch_options options,
                                                fetch_diagnostics& where)
{
    auto look = [&root, &env]() -> result<manifest> {
        COPSE_TRY(auto found, read_manifest(env.store, root));
        COPSE_TRY(const bool all, read_sizes(env.store, found));
        if (!all) return store::store_errc::missing;
        return found;
    };
    auto known = co_await offload(env.pool, look);
    if (known) co_return std::move(known).assume_value();

    // The sequence and the names whole, and the last chunk of every file: its size, proven.
    std::map<hash::digest, std::uint64_t> sizes;
    options.blob = [&sizes, user = options.blob](const fetched_blob& b) {
        sizes[b.hash] = b.size;
        if (user) user(b);
    };
    options.data = {};
    get_request wanted;
    wanted.hash = root;
    wanted.ranges = ranges_seq::builder()
                        .from(0, bao::chunk_ranges::all())
                        .from(2, bao::chunk_ranges::last_chunk())
                        .build();
    const auto fetched = co_await fetch(c, std::move(wanted), env, options, where);
    if (!fetched) co_return fetched.error();

    auto read = [&root, &env] { return read_manifest(env.store, root); };
    auto stored = co_await offload(env.pool, read);
    if (!stored) co_return stored.error();
    manifest m = std::move(stored).assume_value();
    for (std::size_t i = 1; i < m.hashes.size(); ++i) {
        const auto found = sizes.find(m.hashes[i]);
        if (found == sizes.end()) co_return blob_errc::truncated_response;
        m.sizes.push_back(found->second);
    }
    co_return m;
}

// \param m null: `root` is a single blob.
inline awaitable<result<fetch_report>> get_missing(std::shared_ptr<connection> c, hash::digest root,
                                                   const manifest* m, fetch_environment& env,
                                                   fetch_options options, retry_options retry,
                                                   fetch_diagnostics& where)
{
    fetch_report sum;
    bool progressed = false;
    options.progress = [&sum, &progressed, user = options.progress](std::uint64_t bytes) {
        progressed = true;
        sum.payload_bytes += bytes;
        if (user) user(bytes);
    };
    backoff_core backoff(retry);
    for (;;) {
        auto look = m ? find_missing(*m, env) : find_missing(root, env);
        auto missing = co_await std::move(look);
        if (!missing) co_return missing.error();
        if (missing.assume_value().request.empty()) co_return sum;
        get_request wanted;
        wanted.hash = root;
        wanted.ranges = std::move(missing.assume_value().request);
        progressed = false;
        const auto got = co_await fetch(c, std::move(wanted), env, options, where);
        if (got) {
            sum.stored_bytes += got.assume_value().stored_bytes;
            sum.other_bytes += got.assume_value().other_bytes;
            sum.blobs += got.assume_value().blobs;
            co_return sum;
        }
        if (!is_worth_retrying(got.error()) || c->why_closed()) co_return got.error();
        const auto pause = backoff.next(progressed);
        if (!pause) co_return got.error();
        const std::error_code stop = co_await sleep_for(*pause);
        if (stop) co_return stop;
    }
}

}  // namespace detail

bool is_worth_retrying(const std::error_code& error) noexcept
{
    return error == blob_errc::not_available || error == blob_errc::rate_limited ||
           error == blob_errc::aborted_by_peer || error == blob_errc::truncated_response;
}

std::optional<std::chrono::nanoseconds> backoff_core::next(bool progressed) noexcept
{
    failures_ = progressed ? 1 : failures_ + 1;
    if (failures_ >= options_.attempts) return std::nullopt;
    auto pause = options_.first_pause;
    for (unsigned i = 1; i < failures_ && pause < options_.longest_pause; ++i) pause *= 2;
    return std::min(pause, options_.longest_pause);
}

awaitable<result<fetch_report>> download(std::shared_ptr<connection> c, hash::digest blob,
                                         fetch_environment& env, fetch_options options,
                                         retry_options retry, fetch_diagnostics& where)
{
    return detail::get_missing(std::move(c), blob, nullptr, env, std::move(options), retry, where);
}

awaitable<result<fetch_report>> download(std::shared_ptr<connection> c, const manifest& m,
                                         fetch_environment& env, fetch_options options,
                                         retry_options retry, fetch_diagnostics& where)
{
    return detail::get_missing(std::move(c), m.root, &m, env, std::move(options), retry, where);
}

awaitable<result<missing_parts>> find_missing(const manifest& m, fetch_environment& env)
{
    return detail::missing_of_collection(m, env);
}

awaitable<result<missing_parts>> find_missing(hash::digest blob, fetch_environment& env)
{
    return detail::missing_of_blob(blob, env);
}

awaitable<result<manifest>> fetch_manifest(std::shared_ptr<connection> c, hash::digest root,
                                           fetch_environment& env, fetch_options options,
                                           fetch_diagnostics& where)
{
    return detail::get_manifest(std::move(c), root, env, std::move(options), where);
}

}  // namespace copse::blob
