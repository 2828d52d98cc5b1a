// Hexadecimal, lower case only: a value has exactly one text.
#pragma once

#include <copse/codec/error.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace copse::codec {

/// Two lower-case digits a byte.
[[nodiscard]] inline std::string encode_hex(byte_view from)
{
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(2 * from.size());
    for (const std::byte b : from) {
        out += digits[std::to_integer<unsigned>(b >> 4)];
        out += digits[std::to_integer<unsigned>(b & std::byte{15})];
    }
    return out;
}

/// Fills `into` from exactly twice as many lower-case digits.
/// \par Errors `codec_errc::bad_length`, `codec_errc::bad_character` (upper case included).
[[nodiscard]] inline result<void> decode_hex(std::string_view text, byte_span into) noexcept
{
    if (text.size() % 2 != 0 || text.size() / 2 != into.size()) return codec_errc::bad_length;
    for (std::size_t i = 0; i < into.size(); ++i) {
        unsigned value = 0;
        for (const char c : text.substr(2 * i, 2)) {
            unsigned digit = 0;
            if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
            else if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
            else return codec_errc::bad_character;
            value = value << 4 | digit;
        }
        into[i] = static_cast<std::byte>(value);
    }
    return outcome::success();
}

}  // namespace copse::codec
