// Requests of the blob protocol and the codes that refuse them.
// Spec: docs/specs/blob.md (iroh-blobs 0.104, ALPN /iroh-bytes/4).
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/blob/error.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace copse::codec {
class postcard_reader;
class postcard_writer;
}  // namespace copse::codec

namespace copse::blob {

inline constexpr std::string_view alpn = "/iroh-bytes/4";

/// Largest body of a request behind its type byte; a real provider drops longer ones too.
inline constexpr std::size_t max_request_bytes = 1024 * 1024;

/// Most hashes of a GetMany request; with all of 32 bytes they fill a quarter of a request.
inline constexpr std::size_t max_get_many_hashes = 8192;

/// A peer that moves this much within a timeout for progress is slow, not stalled.
inline constexpr std::uint64_t least_progress_bytes = 16U << 10;

/// Codes of RESET_STREAM and STOP_SENDING on request streams, and of a refused connection.
/// \par Spec docs/specs/blob.md section 4.
enum class wire_code : std::uint64_t {
    dropped = 0,     ///< The peer lost interest.
    permission = 1,  ///< Policy, or a request that is not understood: do not ask again.
    limit = 2,       ///< Too many requests: ask later.
    internal = 3,    ///< The data is missing or failed verification, or anything else.
};

/// The code that tells a peer about a local failure.
[[nodiscard]] wire_code to_wire_code(const std::error_code& error) noexcept;

/// What a provider's reset or stop with this code means to a getter.
[[nodiscard]] std::error_code from_wire_code(std::uint64_t code) noexcept;

/// Appends a range spec: the number of boundaries, the first one, then the distances between them.
/// \par Spec docs/specs/blob.md section 3.1.
void encode_range_spec(codec::postcard_writer& to, const bao::chunk_ranges& ranges);

/// Reads a range spec. Memory is at most 8 bytes for each byte received.
/// \par Errors `codec_errc::not_canonical` (a distance of 0), `codec_errc::overflow`, `truncated`.
[[nodiscard]] result<bao::chunk_ranges> decode_range_spec(codec::postcard_reader& from);

/// Which chunks are wanted of each blob of a sequence: nothing before the first entry, and each
/// entry holds from its index until the next. Index 0 is the blob that the request names, index i + 1
/// is child i of that hash sequence (in a get-many request, index i is hash i).
///
/// It holds its own canonical encoding, so that a request costs no more memory than its bytes; a
/// cursor decodes the entries one at a time.
/// \par Spec docs/specs/blob.md section 3.2.
class ranges_seq {
public:
    class builder;
    class cursor;

    /// Nothing at all.
    ranges_seq() = default;
    /// Only these chunks of the root blob.
    [[nodiscard]] static ranges_seq root(const bao::chunk_ranges& ranges);
    /// The root blob and all its children, without end.
    [[nodiscard]] static ranges_seq all();
    /// The root blob, and of each child the last chunk, which proves its size.
    [[nodiscard]] static ranges_seq root_and_child_sizes();

    /// \par Errors `codec_errc::not_canonical` for encodings that a second one equals in meaning
    ///             (padded integers excepted), `overflow`, `truncated`, `limit_exceeded`.
    [[nodiscard]] static result<ranges_seq> decode(codec::postcard_reader& from);
    /// Appends the canonical encoding.
    void encode(codec::postcard_writer& to) const;

    /// Whether nothing is wanted.
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    /// Number of entries.
    [[nodiscard]] std::size_t entry_count() const noexcept { return count_; }
    /// What is wanted of one blob. Reads all entries before it: use a cursor for more than one.
    [[nodiscard]] bao::chunk_ranges at(std::uint64_t index) const;
    /// Whether anything is wanted of a blob other than the root.
    [[nodiscard]] bool wants_children() const noexcept;
    /// Whether this is how a request for (part of) one blob is written: two entries, at 0 and 1,
    /// the second of them empty. Anything else is taken as a request over a hash sequence.
    [[nodiscard]] bool is_single_blob() const noexcept;

    bool operator==(const ranges_seq&) const = default;

private:
    std::vector<std::byte> entries_;  // canonical, without the count
    std::size_t count_ = 0;
};

/// Walks over the wanted indices in ascending order. Views the sequence, holds no ranges. Its work
/// is in the bytes of the request, plus one step for each call, whatever numbers a peer claims.
class ranges_seq::cursor {
public:
    /// \param seq must outlive the cursor.
    explicit cursor(const ranges_seq& seq) noexcept : rest_(seq.entries_) { look_ahead(); }

    /// The first index at or after `at` of which something is wanted, nullopt when there is none.
    /// \param at not less than what the call before returned.
    [[nodiscard]] std::optional<std::uint64_t> next_wanted(std::uint64_t at) noexcept;
    /// What is wanted of the index that next_wanted() returned last.
    [[nodiscard]] bao::chunk_ranges ranges() const;

private:
    void look_ahead() noexcept;
    void step() noexcept;

    byte_view rest_;                     // the entries not looked at yet
    std::optional<std::uint64_t> next_;  // where the entry after the current one begins
    byte_view spec_;                     // the current entry's ranges
    bool wanted_ = false;                // whether there are any
};

/// Makes a sequence from its entries, in ascending order, merging runs of equal ranges.
class ranges_seq::builder {
public:
    /// From blob `index` on, until the next call, `ranges` are wanted.
    /// \pre `index` is above that of the call before.
    builder& from(std::uint64_t index, const bao::chunk_ranges& ranges);
    /// The sequence; the builder is used up.
    [[nodiscard]] ranges_seq build() { return std::move(seq_); }

private:
    ranges_seq seq_;
    std::uint64_t last_given_ = 0;
    std::uint64_t last_entry_ = 0;
    bool first_ = true;
    std::vector<std::byte> previous_{std::byte{0}};  // before the first entry: nothing
};

/// The first byte of a request stream.
enum class request_type : std::uint8_t { get = 0, observe = 1, push = 8, get_many = 9 };

/// Chunks of a blob and of the blobs it lists.
struct get_request {
    hash::digest hash;  ///< index 0 of the ranges
    ranges_seq ranges;  ///< what is wanted of it and its children
    bool operator==(const get_request&) const = default;
};

/// Which chunks of a blob does the provider have?
struct observe_request {
    hash::digest hash;         ///< of the blob
    bao::chunk_ranges ranges;  ///< of interest; real providers report all chunks whatever it says
    bool operator==(const observe_request&) const = default;
};

/// What follows is the answer to this request; the provider may keep it.
struct push_request {
    get_request content;  ///< the request that the data would answer
    bool operator==(const push_request&) const = default;
};

/// Chunks of several blobs.
struct get_many_request {
    std::vector<hash::digest> hashes;  ///< blob of index i
    ranges_seq ranges;                 ///< what is wanted of each
    bool operator==(const get_many_request&) const = default;
};

using request = std::variant<get_request, observe_request, push_request, get_many_request>;

/// The whole request stream, up to its end.
[[nodiscard]] std::vector<std::byte> encode_request(const get_request& from);

/// The whole request stream, up to its end.
[[nodiscard]] std::vector<std::byte> encode_request(const observe_request& from);

/// What precedes the data of a push.
[[nodiscard]] std::vector<std::byte> encode_request(const push_request& from);

/// The whole request stream, up to its end.
[[nodiscard]] std::vector<std::byte> encode_request(const get_many_request& from);

/// The kind of request that a first byte announces, so that a provider can refuse one that it does
/// not serve before its body arrives.
/// \par Errors `blob_errc::unknown_request`.
[[nodiscard]] result<request_type> decode_request_type(std::byte first) noexcept;

/// Reads a request from all the bytes of its stream (of a push: up to its data at least). Bytes
/// behind it are ignored, as real providers do.
/// \par Errors `blob_errc::unknown_request`, `blob_errc::request_too_large`,
///             `blob_errc::malformed_request` for everything else.
[[nodiscard]] result<request> decode_request(byte_view stream);

}  // namespace copse::blob
