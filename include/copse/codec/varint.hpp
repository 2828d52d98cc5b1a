// LEB128 variable-length integers: seven bits a byte, low group first, the high bit says "more".
#pragma once

#include <copse/codec/error.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace copse::codec {

/// A decoded integer and the bytes it took.
template <std::unsigned_integral T>
struct varint {
    T value = 0;           ///< what was read
    std::size_t size = 0;  ///< bytes it took
};

/// Most bytes that an integer of type T takes: 3 for u16, 5 for u32, 10 for u64.
template <std::unsigned_integral T>
inline constexpr std::size_t max_varint_size = (std::numeric_limits<T>::digits + 6) / 7;

/// Reads an integer from the front of `from`. Zero padding within max_varint_size is accepted, as
/// postcard does: an encoding is not unique.
/// \par Errors `codec_errc::truncated` (more input may complete it), `codec_errc::overflow`.
template <std::unsigned_integral T>
[[nodiscard]] result<varint<T>> decode_varint(byte_view from) noexcept
{
    constexpr std::size_t last = max_varint_size<T> - 1;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i <= last; ++i) {
        if (i == from.size()) return codec_errc::truncated;
        const auto byte = std::to_integer<std::uint64_t>(from[i]);
        // The last byte may only hold the bits of T that are left, and no "more" bit.
        if (i == last && byte >> (std::numeric_limits<T>::digits - 7 * last) != 0) break;
        value |= (byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) return varint<T>{static_cast<T>(value), i + 1};
    }
    return codec_errc::overflow;
}

/// Bytes of the shortest encoding.
[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) noexcept
{
    std::size_t size = 1;
    while (value >>= 7) ++size;
    return size;
}

/// Appends the shortest encoding.
inline void append_varint(std::vector<std::byte>& to, std::uint64_t value)
{
    for (; value >= 0x80; value >>= 7) to.push_back(static_cast<std::byte>(value | 0x80));
    to.push_back(static_cast<std::byte>(value));
}

/// Signed integers with small absolute values become small: 0, -1, 1, -2 are 0, 1, 2, 3.
[[nodiscard]] constexpr std::uint64_t zigzag(std::int64_t value) noexcept
{
    return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}

/// The inverse of zigzag().
[[nodiscard]] constexpr std::int64_t unzigzag(std::uint64_t value) noexcept
{
    return static_cast<std::int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

}  // namespace copse::codec
