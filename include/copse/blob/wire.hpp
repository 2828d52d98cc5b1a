// Requests of the blob protocol and the codes that refuse them.
// Spec: iroh-blobs 0.104, ALPN /iroh-bytes/4.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/blob/error.hpp>
#include <copse/codec/error.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/error.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace copse::blob {

inline constexpr std::string_view alpn = "/iroh-bytes/4";

/// Largest body of a request behind its type byte; a real provider drops longer ones too.
inline constexpr std::size_t max_request_bytes = 1024 * 1024;

/// Codes of RESET_STREAM and STOP_SENDING on request streams, and of a refused connection.
enum class wire_code : std::uint64_t {
    dropped = 0,     ///< The peer lost interest.
    permission = 1,  ///< Policy, or a request that is not understood: do not ask again.
    limit = 2,       ///< Too many requests: ask later.
    internal = 3,    ///< The data is missing or failed verification, or anything else.
};

/// The code that tells a peer about a local failure.
[[nodiscard]] inline wire_code to_wire_code(const std::error_code& error) noexcept
{
    if (error == transport_errc::limit_reached) return wire_code::limit;
    if (error.category() != blob_category()) return wire_code::internal;
    switch (static_cast<blob_errc>(error.value())) {
    case blob_errc::refused:
    case blob_errc::malformed_request:
    case blob_errc::unknown_request:
    case blob_errc::unsupported_request:
    case blob_errc::request_too_large: return wire_code::permission;
    case blob_errc::rate_limited: return wire_code::limit;
    default: return wire_code::internal;
    }
}

/// What a provider's reset or stop with this code means to a getter.
[[nodiscard]] inline std::error_code from_wire_code(std::uint64_t code) noexcept
{
    switch (static_cast<wire_code>(code)) {
    case wire_code::permission: return blob_errc::refused;
    case wire_code::limit: return blob_errc::rate_limited;
    case wire_code::internal: return blob_errc::not_available;
    case wire_code::dropped: break;
    }
    return blob_errc::aborted_by_peer;
}

/// Appends a range spec: the number of boundaries, the first one, then the distances between them.
inline void encode_range_spec(codec::postcard_writer& to, const bao::chunk_ranges& ranges)
{
    to.count(ranges.boundaries().size());
    std::uint64_t previous = 0;
    for (const std::uint64_t boundary : ranges.boundaries()) {
        to.unsigned_integer(boundary - previous);
        previous = boundary;
    }
}

/// Reads a range spec. Memory is at most 8 bytes for each byte received.
/// \par Errors `codec_errc::not_canonical` (a distance of 0), `codec_errc::overflow`, `truncated`.
[[nodiscard]] inline result<bao::chunk_ranges> decode_range_spec(codec::postcard_reader& from)
{
    COPSE_TRY(const std::size_t count, from.count(max_request_bytes, 1));
    std::vector<std::uint64_t> boundaries;
    boundaries.reserve(count);
    std::uint64_t boundary = 0;
    for (std::size_t i = 0; i < count; ++i) {
        COPSE_TRY(const std::uint64_t width, from.u64());
        if (width == 0 && i > 0) return codec::codec_errc::not_canonical;
        if (width > bao::chunk_ranges::max_chunk - boundary) return codec::codec_errc::overflow;
        boundary += width;
        boundaries.push_back(boundary);
    }
    return bao::chunk_ranges::from_boundaries(std::move(boundaries));
}

/// Which chunks are wanted of each blob of a sequence: nothing before the first entry, and each
/// entry holds from its index until the next. Index 0 is the blob that the request names, index i + 1
/// is child i of that hash sequence (in a get-many request, index i is hash i).
///
/// It holds its own canonical encoding, so that a request costs no more memory than its bytes; a
/// cursor decodes the entries one at a time.
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
    [[nodiscard]] static result<ranges_seq> decode(codec::postcard_reader& from)
    {
        // An entry takes two bytes at least.
        COPSE_TRY(const std::size_t count, from.count(max_request_bytes / 2, 2));
        ranges_seq out;
        out.count_ = count;
        codec::postcard_writer to(out.entries_);
        std::uint64_t index = 0;
        bao::chunk_ranges previous;
        for (std::size_t i = 0; i < count; ++i) {
            COPSE_TRY(const std::uint64_t delta, from.u64());
            if (delta == 0 && i > 0) return codec::codec_errc::not_canonical;
            if (delta > std::numeric_limits<std::uint64_t>::max() - index) {
                return codec::codec_errc::overflow;
            }
            index += delta;
            COPSE_TRY(auto ranges, decode_range_spec(from));
            if (ranges == previous) return codec::codec_errc::not_canonical;
            to.unsigned_integer(delta);
            encode_range_spec(to, ranges);
            previous = std::move(ranges);
        }
        return out;
    }
    void encode(codec::postcard_writer& to) const
    {
        to.count(count_);
        to.raw(entries_);
    }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
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
    explicit cursor(const ranges_seq& seq) noexcept : from_(seq.entries_) { look_ahead(); }

    /// The first index at or after `at` of which something is wanted, nullopt when there is none.
    /// \param at not less than what the call before returned.
    [[nodiscard]] std::optional<std::uint64_t> next_wanted(std::uint64_t at) noexcept
    {
        while (next_ && *next_ <= at) step();
        if (!wanted_) {
            if (!next_) return std::nullopt;
            at = *next_;
            step();  // canonical: behind nothing there is something
        }
        return at;
    }
    /// What is wanted of the index that next_wanted() returned last.
    [[nodiscard]] bao::chunk_ranges ranges() const
    {
        codec::postcard_reader spec(spec_);
        return decode_range_spec(spec).assume_value();
    }

private:
    // The bytes were checked, or made, by the sequence: reading them cannot fail.
    void look_ahead() noexcept
    {
        if (from_.rest().empty()) next_.reset();
        else next_ = next_.value_or(0) + from_.u64().assume_value();
    }
    void step() noexcept
    {
        spec_ = from_.rest();
        const std::uint64_t boundaries = from_.u64().assume_value();
        for (std::uint64_t i = 0; i < boundaries; ++i) {
            static_cast<void>(from_.u64());  // checked before, see above
        }
        spec_ = spec_.first(spec_.size() - from_.rest().size());
        wanted_ = boundaries > 0;
        look_ahead();
    }

    codec::postcard_reader from_;
    std::optional<std::uint64_t> next_;  // where the entry after the current one begins
    byte_view spec_;                     // the current entry's ranges
    bool wanted_ = false;                // whether there are any
};

/// Makes a sequence from its entries, in ascending order, merging runs of equal ranges.
class ranges_seq::builder {
public:
    /// From blob `index` on, until the next call, `ranges` are wanted.
    /// \pre `index` is above that of the call before.
    builder& from(std::uint64_t index, const bao::chunk_ranges& ranges)
    {
        assert(first_ || index > last_given_);
        first_ = false;
        last_given_ = index;
        std::vector<std::byte> spec;
        codec::postcard_writer spec_writer(spec);
        encode_range_spec(spec_writer, ranges);
        if (spec == previous_) return *this;
        codec::postcard_writer to(seq_.entries_);
        to.unsigned_integer(index - last_entry_);
        to.raw(spec);
        ++seq_.count_;
        last_entry_ = index;
        previous_ = std::move(spec);
        return *this;
    }
    /// The sequence; the builder is used up.
    [[nodiscard]] ranges_seq build() { return std::move(seq_); }

private:
    ranges_seq seq_;
    std::uint64_t last_given_ = 0;
    std::uint64_t last_entry_ = 0;
    bool first_ = true;
    std::vector<std::byte> previous_{std::byte{0}};  // before the first entry: nothing
};

inline ranges_seq ranges_seq::root(const bao::chunk_ranges& ranges)
{
    return builder().from(0, ranges).from(1, bao::chunk_ranges::none()).build();
}

inline ranges_seq ranges_seq::all()
{
    return builder().from(0, bao::chunk_ranges::all()).build();
}

inline ranges_seq ranges_seq::root_and_child_sizes()
{
    return builder()
        .from(0, bao::chunk_ranges::all())
        .from(1, bao::chunk_ranges::last_chunk())
        .build();
}

inline bao::chunk_ranges ranges_seq::at(std::uint64_t index) const
{
    cursor walk(*this);
    if (walk.next_wanted(index) == index) return walk.ranges();
    return {};
}

inline bool ranges_seq::wants_children() const noexcept
{
    return cursor(*this).next_wanted(1).has_value();
}

inline bool ranges_seq::is_single_blob() const noexcept
{
    return count_ == 2 && cursor(*this).next_wanted(0) == 0 && !wants_children();
}

/// The first byte of a request stream.
enum class request_type : std::uint8_t { get = 0, observe = 1, push = 8, get_many = 9 };

/// Chunks of a blob and of the blobs it lists.
struct get_request {
    hash::digest hash;
    ranges_seq ranges;
    bool operator==(const get_request&) const = default;
};

/// Which chunks of a blob does the provider have?
struct observe_request {
    hash::digest hash;
    bao::chunk_ranges ranges;
    bool operator==(const observe_request&) const = default;
};

/// What follows is the answer to this request; the provider may keep it.
struct push_request {
    get_request content;
    bool operator==(const push_request&) const = default;
};

/// Chunks of several blobs.
struct get_many_request {
    std::vector<hash::digest> hashes;
    ranges_seq ranges;
    bool operator==(const get_many_request&) const = default;
};

using request = std::variant<get_request, observe_request, push_request, get_many_request>;

namespace detail {

inline void encode_body(codec::postcard_writer& to, const get_request& from)
{
    to.raw(from.hash.bytes);
    from.ranges.encode(to);
}

inline result<get_request> decode_get_body(codec::postcard_reader& from)
{
    get_request out;
    COPSE_TRY(out.hash.bytes, from.array<32>());
    COPSE_TRY(out.ranges, ranges_seq::decode(from));
    return out;
}

inline result<request> decode_body(request_type type, codec::postcard_reader& from)
{
    switch (type) {
    case request_type::get: {
        COPSE_TRY(auto out, decode_get_body(from));
        return request(std::move(out));
    }
    case request_type::observe: {
        observe_request out;
        COPSE_TRY(out.hash.bytes, from.array<32>());
        COPSE_TRY(out.ranges, decode_range_spec(from));
        return request(std::move(out));
    }
    case request_type::push: {
        COPSE_TRY(const byte_view body, from.bytes(max_request_bytes));
        codec::postcard_reader inner(body);
        COPSE_TRY(auto content, decode_get_body(inner));
        return request(push_request{std::move(content)});
    }
    case request_type::get_many: {
        get_many_request out;
        COPSE_TRY(const std::size_t count, from.count(max_request_bytes / 32, 32));
        out.hashes.resize(count);
        for (auto& hash : out.hashes) {
            COPSE_TRY(hash.bytes, from.array<32>());
        }
        COPSE_TRY(out.ranges, ranges_seq::decode(from));
        return request(std::move(out));
    }
    }
    return blob_errc::unknown_request;
}

}  // namespace detail

/// The whole request stream, up to its end.
[[nodiscard]] inline std::vector<std::byte> encode_request(const get_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::get));
    detail::encode_body(to, from);
    return out;
}

/// The whole request stream, up to its end.
[[nodiscard]] inline std::vector<std::byte> encode_request(const observe_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::observe));
    to.raw(from.hash.bytes);
    encode_range_spec(to, from.ranges);
    return out;
}

/// What precedes the data of a push.
[[nodiscard]] inline std::vector<std::byte> encode_request(const push_request& from)
{
    std::vector<std::byte> body;
    codec::postcard_writer body_writer(body);
    detail::encode_body(body_writer, from.content);
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::push));
    to.bytes(body);
    return out;
}

/// The whole request stream, up to its end.
[[nodiscard]] inline std::vector<std::byte> encode_request(const get_many_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::get_many));
    to.count(from.hashes.size());
    for (const auto& hash : from.hashes) to.raw(hash.bytes);
    from.ranges.encode(to);
    return out;
}

/// The kind of request that a first byte announces, so that a provider can refuse one that it does
/// not serve before its body arrives.
/// \par Errors `blob_errc::unknown_request`.
[[nodiscard]] inline result<request_type> decode_request_type(std::byte first) noexcept
{
    const auto type = static_cast<request_type>(first);
    switch (type) {
    case request_type::get:
    case request_type::observe:
    case request_type::push:
    case request_type::get_many: return type;
    }
    return blob_errc::unknown_request;
}

/// Reads a request from all the bytes of its stream (of a push: up to its data at least). Bytes
/// behind it are ignored, as real providers do.
/// \par Errors `blob_errc::unknown_request`, `blob_errc::request_too_large`,
///             `blob_errc::malformed_request` for everything else.
[[nodiscard]] inline result<request> decode_request(byte_view stream)
{
    if (stream.empty()) return blob_errc::malformed_request;
    COPSE_TRY(const request_type type, decode_request_type(stream.front()));
    if (type != request_type::push && stream.size() > 1 + max_request_bytes) {
        return blob_errc::request_too_large;
    }
    codec::postcard_reader from(stream.subspan(1));
    auto out = detail::decode_body(type, from);
    if (out) return out;
    if (out.error() == codec::codec_errc::limit_exceeded) return blob_errc::request_too_large;
    return blob_errc::malformed_request;
}

}  // namespace copse::blob
