// Hash sequences and collections: several files under names, as sendme and iroh's tools write them.
// Spec: docs/specs/collections.md.
#pragma once

#include <copse/blob/error.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace copse::blob {

inline constexpr std::size_t max_hash_sequence_bytes = 32 * 1024 * 1024;
inline constexpr std::size_t max_collection_names = 1'000'000;
inline constexpr std::size_t max_collection_meta_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t max_name_bytes = 4096;           ///< of a whole name
inline constexpr std::size_t max_name_component_bytes = 255;  ///< between two slashes

/// Where receivers keep unfinished downloads, below the destination.
inline constexpr std::string_view partial_folder = ".copse-partial";

/// What the metadata blob of a collection begins with.
inline constexpr std::string_view collection_header = "CollectionV0.";

/// A blob read as the hashes of other blobs. Views the bytes.
class hash_sequence {
public:
    /// \param bytes must outlive the sequence.
    /// \par Errors `blob_errc::bad_hash_sequence`.
    [[nodiscard]] static result<hash_sequence> from_bytes(byte_view bytes) noexcept;
    /// Whether a blob of that size can be one: ask before fetching it.
    [[nodiscard]] static constexpr bool is_valid_size(std::uint64_t size) noexcept
    {
        return size % 32 == 0 && size <= max_hash_sequence_bytes;
    }

    /// Number of hashes.
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() / 32; }
    /// Whether it lists nothing.
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    /// \pre index < size().
    [[nodiscard]] hash::digest operator[](std::size_t index) const noexcept;

private:
    explicit hash_sequence(byte_view bytes) noexcept : bytes_(bytes) {}

    byte_view bytes_;
};

/// The blob that lists these hashes.
[[nodiscard]] std::vector<std::byte> encode_hash_sequence(std::span<const hash::digest> hashes);

/// Whether a file may be created under that name below a destination folder, and be shown on a
/// terminal. Components are separated by slashes. Receivers check before anything is created,
/// senders before anything is hashed.
/// \par Errors `blob_errc::unsafe_name`, `unprintable_name`, `bad_name_encoding`, `name_too_long`,
///             `reserved_name`.
[[nodiscard]] result<void> check_name(std::string_view name) noexcept;

/// Whether a whole list of names can be created side by side: each is good, none occurs twice, and
/// none is a file as well as the folder of another.
/// \param refused  if given, the index of the name that an error is about.
/// \par Errors as check_name(), `blob_errc::duplicate_name`, `blob_errc::conflicting_name`.
/// \par Cost   n log n comparisons, 4 bytes for each name.
[[nodiscard]] result<void> check_names(std::span<const std::string> names,
                                       std::size_t* refused = nullptr);

/// A name as it may be printed in a message, whatever it holds: control characters, backslashes,
/// bytes that are not UTF-8 and the invisible characters that reorder text are written as escapes,
/// and the end of a very long name as "...".
[[nodiscard]] std::string escape_name(std::string_view name, std::size_t max_characters = 200);

/// The metadata blob of a collection, whose hash is the first of its hash sequence; the hash of the
/// file names[i] is number i + 1.
/// \par Errors `blob_errc::collection_too_large`. Names are not checked here: check_names().
[[nodiscard]] result<std::vector<std::byte>> encode_collection_meta(
    std::span<const std::string> names);

/// Reads the names of a collection from its metadata blob. They are not checked yet: check_names().
/// \param meta    the blob. Bytes behind the names are ignored, for the sake of later versions.
/// \param hashes  the size of the collection's hash sequence, one more than the names.
/// \par Errors `blob_errc::bad_collection`, `collection_too_large`, `bad_name_encoding`.
[[nodiscard]] result<std::vector<std::string>> decode_collection_meta(byte_view meta,
                                                                      std::uint64_t hashes);

}  // namespace copse::blob
