// Postcard, the serialisation of iroh's protocols: values in order, no names, no padding.
// Spec: docs/specs/postcard.md (the postcard wire format 1.0).
#pragma once

#include <copse/codec/error.hpp>
#include <copse/codec/utf8.hpp>
#include <copse/codec/varint.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace copse::codec {

/// Reads values one after another from bytes that it does not own. Nothing is allocated: strings
/// and byte strings are views into the input, and a count is checked against the bytes there are.
/// After an error the reader stands where the value that failed began.
/// \par Errors `codec_errc::truncated` when the input ends first, in every function.
class postcard_reader {
public:
    /// \param from must outlive the reader, and the views it returns.
    explicit postcard_reader(byte_view from) noexcept : from_(from) {}

    /// Bytes not read yet, a view into the input.
    [[nodiscard]] byte_view rest() const noexcept { return from_.subspan(offset_); }
    /// Bytes read so far.
    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

    /// One byte as it is (integers of eight bits are not varints).
    [[nodiscard]] result<std::uint8_t> u8() noexcept
    {
        if (rest().empty()) return codec_errc::truncated;
        return std::to_integer<std::uint8_t>(from_[offset_++]);
    }
    /// \par Errors `codec_errc::overflow`, here and for the other integers.
    [[nodiscard]] result<std::uint16_t> u16() noexcept { return integer<std::uint16_t>(); }
    /// A varint. \par Errors `codec_errc::overflow`, `truncated`, as of those below.
    [[nodiscard]] result<std::uint32_t> u32() noexcept { return integer<std::uint32_t>(); }
    /// A varint.
    [[nodiscard]] result<std::uint64_t> u64() noexcept { return integer<std::uint64_t>(); }
    /// A varint in zigzag form.
    [[nodiscard]] result<std::int64_t> i64() noexcept
    {
        COPSE_TRY(const std::uint64_t raw, u64());
        return unzigzag(raw);
    }

    /// \par Errors `codec_errc::bad_tag`.
    [[nodiscard]] result<bool> boolean() noexcept { return flag(); }
    /// Whether a value follows. \par Errors `codec_errc::bad_tag`.
    [[nodiscard]] result<bool> option() noexcept { return flag(); }

    /// The index of an enum's variant.
    /// \param variants how many there are; an index at or above it is `codec_errc::bad_tag`.
    [[nodiscard]] result<std::uint32_t> enum_index(std::uint32_t variants) noexcept
    {
        const std::size_t start = offset_;
        COPSE_TRY(const std::uint32_t index, u32());
        if (index < variants) return index;
        offset_ = start;
        return codec_errc::bad_tag;
    }

    /// The number of elements that follow.
    /// \param max           more is `codec_errc::limit_exceeded`.
    /// \param element_size  bytes that one element takes at least, 1 or more: a count that the rest
    ///                      of the input cannot hold is `codec_errc::truncated`, so that a caller
    ///                      may reserve as many elements.
    [[nodiscard]] result<std::size_t> count(std::size_t max, std::size_t element_size) noexcept
    {
        const std::size_t start = offset_;
        COPSE_TRY(const std::uint64_t claimed, u64());
        if (claimed <= max && claimed <= rest().size() / element_size) {
            return static_cast<std::size_t>(claimed);
        }
        offset_ = start;
        return claimed > max ? codec_errc::limit_exceeded : codec_errc::truncated;
    }

    /// `size` bytes as they are, a view into the input.
    [[nodiscard]] result<byte_view> raw(std::size_t size) noexcept
    {
        if (size > rest().size()) return codec_errc::truncated;
        const byte_view out = from_.subspan(offset_, size);
        offset_ += size;
        return out;
    }

    /// A fixed array: its bytes, no length.
    template <std::size_t N>
    [[nodiscard]] result<std::array<std::byte, N>> array() noexcept
    {
        COPSE_TRY(const byte_view view, raw(N));
        std::array<std::byte, N> out;
        std::copy_n(view.begin(), N, out.begin());
        return out;
    }

    /// A byte string, a view into the input. \par Errors `codec_errc::limit_exceeded` above `max`.
    [[nodiscard]] result<byte_view> bytes(std::size_t max) noexcept
    {
        COPSE_TRY(const std::size_t size, count(max, 1));
        return raw(size);
    }

    /// A text, a view into the input.
    /// \par Errors `codec_errc::limit_exceeded` above `max` bytes, `codec_errc::bad_utf8`.
    [[nodiscard]] result<std::string_view> string(std::size_t max) noexcept
    {
        const std::size_t start = offset_;
        COPSE_TRY(const byte_view view, bytes(max));
        if (is_utf8(as_text(view))) return as_text(view);
        offset_ = start;
        return codec_errc::bad_utf8;
    }

    /// For messages that may not carry more than their value.
    /// \par Errors `codec_errc::trailing_bytes`.
    [[nodiscard]] result<void> finish() const noexcept
    {
        if (!rest().empty()) return codec_errc::trailing_bytes;
        return outcome::success();
    }

private:
    template <class T>
    result<T> integer() noexcept
    {
        COPSE_TRY(const auto read, decode_varint<T>(rest()));
        offset_ += read.size;
        return read.value;
    }

    result<bool> flag() noexcept
    {
        if (rest().empty()) return codec_errc::truncated;
        const std::byte tag = from_[offset_];
        if (tag > std::byte{1}) return codec_errc::bad_tag;
        ++offset_;
        return tag == std::byte{1};
    }

    byte_view from_;
    std::size_t offset_ = 0;
};

/// Appends values to a vector that it does not own. Encodings are the shortest ones.
class postcard_writer {
public:
    /// \param to must outlive the writer.
    explicit postcard_writer(std::vector<std::byte>& to) noexcept : to_(to) {}

    /// One byte as it is.
    void u8(std::uint8_t value) { to_.push_back(static_cast<std::byte>(value)); }
    /// u16, u32 and u64 have one form.
    void unsigned_integer(std::uint64_t value) { append_varint(to_, value); }
    /// i16, i32 and i64 have one form.
    void signed_integer(std::int64_t value) { append_varint(to_, zigzag(value)); }
    /// 0 or 1.
    void boolean(bool value) { u8(value ? 1 : 0); }
    /// Whether the value that the caller writes next is there.
    void option(bool present) { u8(present ? 1 : 0); }
    /// The index of a variant; its fields follow.
    void enum_index(std::uint32_t index) { append_varint(to_, index); }
    /// The number of elements that the caller writes next.
    void count(std::size_t elements) { append_varint(to_, elements); }
    /// Bytes as they are: a fixed array, or something already encoded.
    void raw(byte_view bytes) { to_.insert(to_.end(), bytes.begin(), bytes.end()); }
    /// The number of bytes, then the bytes.
    void bytes(byte_view bytes)
    {
        count(bytes.size());
        raw(bytes);
    }
    /// \param text UTF-8; readers refuse anything else.
    void string(std::string_view text) { bytes(as_bytes(text)); }

private:
    std::vector<std::byte>& to_;
};

}  // namespace copse::codec
