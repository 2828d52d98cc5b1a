// What a Get, a GetMany or a Push is about, whatever its kind: shared by both sides.
#pragma once

#include <copse/bao/error.hpp>
#include <copse/blob/wire.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace copse::blob::detail {

/// The blobs of an answer in order, and what is wanted of each.
struct selection {
    explicit selection(get_request from) : root(from.hash), ranges(std::move(from.ranges)) {}
    explicit selection(get_many_request from)
        : listed(std::move(from.hashes)), many(true), ranges(std::move(from.ranges))
    {
        if (!listed.empty()) root = listed.front();
    }

    /// Whether blobs are wanted whose hashes only the root names.
    [[nodiscard]] bool wants_children() const noexcept { return !many && ranges.wants_children(); }

    hash::digest root;                 ///< blob 0; of a Get the sequence that names the others
    std::vector<hash::digest> listed;  ///< of a GetMany: blob i
    bool many = false;
    ranges_seq ranges;
};

inline std::error_code from_bao(const std::error_code& e) noexcept
{
    if (e == bao::bao_errc::leaf_mismatch) return blob_errc::leaf_mismatch;
    if (e == bao::bao_errc::parent_mismatch) return blob_errc::parent_mismatch;
    if (e == bao::bao_errc::truncated) return blob_errc::truncated_response;
    if (e == bao::bao_errc::absent) return blob_errc::not_available;
    if (e == bao::bao_errc::size_limit) return blob_errc::too_large;
    return e;
}

/// Reads a stored blob whole. Blocking.
inline result<std::vector<std::byte>> read_blob(store::blob_store& from, const hash::digest& root,
                                                std::uint64_t limit)
{
    COPSE_TRY(const auto reader, from.open(root));
    const std::uint64_t size = reader->size();
    if (size > limit) return blob_errc::too_large;
    std::vector<std::byte> bytes(static_cast<std::size_t>(size));
    const byte_span part(bytes);
    COPSE_TRYV(reader->read(std::span(&part, 1), 0));
    if (hash::blake3_hash(bytes) != root) return store::store_errc::missing;
    return bytes;
}

}  // namespace copse::blob::detail
