// Encoding and decoding of requests.
#pragma once

#include <copse/blob/wire.hpp>
#include <copse/codec/error.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/error.hpp>

#include <cassert>
#include <limits>
#include <utility>

namespace copse::blob {

wire_code to_wire_code(const std::error_code& error) noexcept
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

std::error_code from_wire_code(std::uint64_t code) noexcept
{
    switch (static_cast<wire_code>(code)) {
    case wire_code::permission: return blob_errc::refused;
    case wire_code::limit: return blob_errc::rate_limited;
    case wire_code::internal: return blob_errc::not_available;
    case wire_code::dropped: break;
    }
    return blob_errc::aborted_by_peer;
}

void encode_range_spec(codec::postcard_writer& to, const bao::chunk_ranges& ranges)
{
    to.count(ranges.boundaries().size());
    std::uint64_t previous = 0;
    for (const std::uint64_t boundary : ranges.boundaries()) {
        to.unsigned_integer(boundary - previous);
        previous = boundary;
    }
}

result<bao::chunk_ranges> decode_range_spec(codec::postcard_reader& from)
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

result<ranges_seq> ranges_seq::decode(codec::postcard_reader& from)
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

void ranges_seq::encode(codec::postcard_writer& to) const
{
    to.count(count_);
    to.raw(entries_);
}

std::optional<std::uint64_t> ranges_seq::cursor::next_wanted(std::uint64_t at) noexcept
{
    while (next_ && *next_ <= at) step();
    if (!wanted_) {
        if (!next_) return std::nullopt;
        at = *next_;
        step();  // canonical: behind nothing there is something
    }
    return at;
}

bao::chunk_ranges ranges_seq::cursor::ranges() const
{
    codec::postcard_reader spec(spec_);
    return decode_range_spec(spec).assume_value();
}

// The bytes were checked, or made, by the sequence: reading them cannot fail.
void ranges_seq::cursor::look_ahead() noexcept
{
    if (rest_.empty()) {
        next_.reset();
        return;
    }
    codec::postcard_reader from(rest_);
    next_ = next_.value_or(0) + from.u64().assume_value();
    rest_ = from.rest();
}

void ranges_seq::cursor::step() noexcept
{
    codec::postcard_reader from(rest_);
    const std::uint64_t boundaries = from.u64().assume_value();
    for (std::uint64_t i = 0; i < boundaries; ++i) {
        static_cast<void>(from.u64());  // checked before, see above
    }
    spec_ = rest_.first(from.offset());
    rest_ = from.rest();
    wanted_ = boundaries > 0;
    look_ahead();
}

ranges_seq::builder& ranges_seq::builder::from(std::uint64_t index, const bao::chunk_ranges& ranges)
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

ranges_seq ranges_seq::root(const bao::chunk_ranges& ranges)
{
    return builder().from(0, ranges).from(1, bao::chunk_ranges::none()).build();
}

ranges_seq ranges_seq::all()
{
    return builder().from(0, bao::chunk_ranges::all()).build();
}

ranges_seq ranges_seq::root_and_child_sizes()
{
    return builder()
        .from(0, bao::chunk_ranges::all())
        .from(1, bao::chunk_ranges::last_chunk())
        .build();
}

bao::chunk_ranges ranges_seq::at(std::uint64_t index) const
{
    cursor walk(*this);
    if (walk.next_wanted(index) == index) return walk.ranges();
    return {};
}

bool ranges_seq::wants_children() const noexcept
{
    return cursor(*this).next_wanted(1).has_value();
}

bool ranges_seq::is_single_blob() const noexcept
{
    return count_ == 2 && cursor(*this).next_wanted(0) == 0 && !wants_children();
}

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

std::vector<std::byte> encode_request(const get_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::get));
    detail::encode_body(to, from);
    return out;
}

std::vector<std::byte> encode_request(const observe_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::observe));
    to.raw(from.hash.bytes);
    encode_range_spec(to, from.ranges);
    return out;
}

std::vector<std::byte> encode_request(const push_request& from)
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

std::vector<std::byte> encode_request(const get_many_request& from)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.u8(static_cast<std::uint8_t>(request_type::get_many));
    to.count(from.hashes.size());
    for (const auto& hash : from.hashes) to.raw(hash.bytes);
    from.ranges.encode(to);
    return out;
}

result<request_type> decode_request_type(std::byte first) noexcept
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

result<request> decode_request(byte_view stream)
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
