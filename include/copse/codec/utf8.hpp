// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace copse::codec {

/// One character at the front of a text.
struct utf8_character {
    char32_t code_point = 0;  ///< a Unicode scalar value
    std::size_t size = 0;     ///< bytes, 1 to 4; 0 when the front of the text is not UTF-8
};

/// Decodes the first character of `text`, which must not be empty.
[[nodiscard]] constexpr utf8_character decode_utf8(std::string_view text) noexcept
{
    const auto byte = [text](std::size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
    };
    const char32_t lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
    char32_t value = lead & (0x7fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        value = value << 6 | (byte(i) & 0x3f);
    }
    // RFC 3629 s.3: each character has exactly one form, and surrogates have none.
    if (size == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000))) return {};
    if (size == 4 && (value < 0x10000 || value > 0x10ffff)) return {};
    return {value, size};
}

/// Whether all of `text` is UTF-8.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) noexcept
{
    while (!text.empty()) {
        const utf8_character c = decode_utf8(text);
        if (c.size == 0) return false;
        text.remove_prefix(c.size);
    }
    return true;
}

}  // namespace copse::codec
