// Whole downloads: what a ticket names, resumed from what the store has.
#pragma once

#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>

#include <string>
#include <vector>

namespace copse::blob {

/// A collection whose hash sequence and names are known and checked in form (names are not: see
/// check_names()).
struct manifest {
    hash::digest root;                 ///< hash of the hash sequence
    std::vector<hash::digest> hashes;  ///< all children; [0] is the metadata blob
    std::vector<std::string> names;    ///< names[i] belongs to hashes[i + 1]
    std::vector<std::uint64_t> sizes;  ///< sizes[i] is the proven size of hashes[i + 1]

    /// Bytes of all files, those of equal content counted each.
    [[nodiscard]] std::uint64_t total_bytes() const noexcept
    {
        std::uint64_t sum = 0;
        for (const std::uint64_t s : sizes) sum += s;
        return sum;
    }
};

/// What a download still needs.
struct missing_parts {
    ranges_seq request;               ///< empty when everything is there
    std::uint64_t present_bytes = 0;  ///< verified bytes the store has, of distinct blobs
    std::uint64_t total_bytes = 0;    ///< of distinct blobs; a blob of unknown size counts 0
};

/// Gets a collection's hash sequence, names, and the proven sizes of its files, in one request, and
/// in none when the store has them. Small files come along whole.
/// \par Errors as fetch(), `blob_errc::bad_hash_sequence`, `bad_collection`, `collection_too_large`.
/// \par Cancellation partial.
awaitable<result<manifest>> fetch_manifest(std::shared_ptr<connection> c, hash::digest root,
                                           fetch_environment& env, fetch_options options,
                                           fetch_diagnostics& where);

/// Compares a collection with the store. Blobs that occur several times are asked for once.
awaitable<result<missing_parts>> find_missing(const manifest& m, fetch_environment& env);
/// The same for a single blob.
awaitable<result<missing_parts>> find_missing(hash::digest blob, fetch_environment& env);

}  // namespace copse::blob
