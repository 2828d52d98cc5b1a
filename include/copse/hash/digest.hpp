// The 32-byte value of every hash function here.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <span>
#include <string>

namespace copse::hash {

/// 32 bytes of hash: a root hash, or a chaining value (its words written little endian).
struct digest {
    std::array<std::byte, 32> bytes{};  ///< as on the wire

    /// Lexicographic by byte, which is also the order of the hexadecimal text.
    std::strong_ordering operator<=>(const digest&) const = default;

    /// A view of the bytes, valid as long as this object.
    [[nodiscard]] std::span<const std::byte, 32> span() const noexcept { return bytes; }
};

/// 64 lower-case hexadecimal characters, as b3sum prints them.
[[nodiscard]] inline std::string to_hex(const digest& value)
{
    static constexpr char alphabet[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * value.bytes.size());
    for (const std::byte b : value.bytes) {
        text.push_back(alphabet[std::to_integer<unsigned>(b >> 4)]);
        text.push_back(alphabet[std::to_integer<unsigned>(b & std::byte{15})]);
    }
    return text;
}

}  // namespace copse::hash
