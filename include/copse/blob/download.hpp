// Whole downloads: what a ticket names, resumed from what the store has.
#pragma once

#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace copse::blob {

/// A sum of sizes, at most 2^64 - 1: peers choose sizes, and a limit must not be passed by overflow.
[[nodiscard]] constexpr std::uint64_t add_sizes(std::uint64_t a, std::uint64_t b) noexcept
{
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    return b > most - a ? most : a + b;
}

/// A collection whose hash sequence and names are known and checked in form (names are not: see
/// check_names()).
struct manifest {
    hash::digest root;                 ///< hash of the hash sequence
    std::vector<hash::digest> hashes;  ///< all children; [0] is the metadata blob
    std::vector<std::string> names;    ///< names[i] belongs to hashes[i + 1]
    std::vector<std::uint64_t> sizes;  ///< sizes[i] is the proven size of hashes[i + 1]

    /// Bytes of all files, those of equal content counted each; see add_sizes().
    [[nodiscard]] std::uint64_t total_bytes() const noexcept
    {
        std::uint64_t sum = 0;
        for (const std::uint64_t s : sizes) sum = add_sizes(sum, s);
        return sum;
    }
};

/// What a download still needs.
struct missing_parts {
    ranges_seq request;               ///< empty when everything is there
    std::uint64_t present_bytes = 0;  ///< verified bytes the store has, of distinct blobs
    std::uint64_t total_bytes = 0;    ///< of distinct blobs, see add_sizes(); of unknown size: 0
};

/// Gets a collection's hash sequence, names, and the proven sizes of its files, in one request, and
/// in none when the store has them. Small files come along whole.
/// \par Errors as fetch(), `blob_errc::bad_hash_sequence`, `bad_collection`, `collection_too_large`.
/// \par Cancellation partial.
awaitable<result<manifest>> fetch_manifest(std::shared_ptr<connection> c, hash::digest root,
                                           fetch_environment& env, fetch_options options,
                                           fetch_diagnostics& where);

/// Compares a collection with the store. Blobs that occur several times are asked for once.
/// \par Cancellation none: it is one job on the pool.
awaitable<result<missing_parts>> find_missing(const manifest& m, fetch_environment& env);
/// The same for a single blob.
awaitable<result<missing_parts>> find_missing(hash::digest blob, fetch_environment& env);

/// How patiently a provider is asked again that fails for the moment.
struct retry_options {
    /// Attempts in a row that bring nothing before it is given up; at least 1.
    unsigned attempts = 4;
    /// Pause after the first of them; it doubles with each.
    std::chrono::nanoseconds first_pause = std::chrono::milliseconds(250);
    /// Longest pause.
    std::chrono::nanoseconds longest_pause = std::chrono::seconds(8);
};

/// Whether the same provider may do better in a moment: `not_available` (a busy one says that too),
/// `rate_limited`, `aborted_by_peer` and `truncated_response`. Not for liars, refusals and stalls.
[[nodiscard]] bool is_worth_retrying(const std::error_code& error) noexcept;

/// When to ask again. No I/O, no clock.
class backoff_core {
public:
    /// Starts with all attempts left.
    explicit backoff_core(const retry_options& options) noexcept : options_(options) {}
    /// After a failure: how long to pause, or nothing when it is time to give up.
    /// \param progressed the attempt brought something, which makes it the first again.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> next(bool progressed) noexcept;

private:
    retry_options options_;
    unsigned failures_ = 0;
};

/// Fetches what is missing of a blob, asking again as `retry` says. Nothing missing: no request.
/// \return what came, over all attempts.
/// \par Errors the last one of fetch(), when it is not worth retrying or was retried enough.
/// \par Cancellation partial.
awaitable<result<fetch_report>> download(std::shared_ptr<connection> c, hash::digest blob,
                                         fetch_environment& env, fetch_options options,
                                         retry_options retry, fetch_diagnostics& where);
/// The same for the blobs of a collection.
/// \param m must outlive the awaitable.
awaitable<result<fetch_report>> download(std::shared_ptr<connection> c, const manifest& m,
                                         fetch_environment& env, fetch_options options,
                                         retry_options retry, fetch_diagnostics& where);

}  // namespace copse::blob
