// Base32 without padding in the alphabets that peers use. Bits go most significant first.
#pragma once

#include <copse/codec/error.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace copse::codec {

/// The 32 characters of a base32 variant, and which characters are read as which.
class base32_alphabet {
public:
    /// \param symbols   32 distinct ASCII characters, written.
    /// \param any_case  whether letters of the other case are read too.
    consteval base32_alphabet(std::string_view symbols, bool any_case)
    {
        for (auto& v : value_of_) v = not_a_symbol;
        for (std::size_t i = 0; i < 32; ++i) {
            const char c = symbols[i];
            symbols_[i] = c;
            value_of_[static_cast<unsigned char>(c)] = static_cast<std::uint8_t>(i);
            if (any_case && is_letter(c)) {
                value_of_[static_cast<unsigned char>(c ^ 0x20)] = static_cast<std::uint8_t>(i);
            }
        }
    }

    /// The character of a value below 32.
    [[nodiscard]] constexpr char symbol(unsigned value) const noexcept { return symbols_[value]; }
    /// 0 to 31, not_a_symbol for characters outside the alphabet.
    [[nodiscard]] constexpr unsigned value(char c) const noexcept
    {
        return value_of_[static_cast<unsigned char>(c)];
    }
    /// What value() gives for a character outside the alphabet.
    static constexpr std::uint8_t not_a_symbol = 0xff;

private:
    static consteval bool is_letter(char c)
    {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }

    std::array<char, 32> symbols_{};
    std::array<std::uint8_t, 256> value_of_{};
};

/// RFC 4648 s.6, lower case.
inline constexpr base32_alphabet base32_lower{"abcdefghijklmnopqrstuvwxyz234567", false};
/// RFC 4648 s.6, upper case.
inline constexpr base32_alphabet base32_upper{"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", false};
/// RFC 4648 s.6, written in lower case, read in any.
inline constexpr base32_alphabet base32_any_case{"abcdefghijklmnopqrstuvwxyz234567", true};
/// z-base-32, the human-oriented variant of pkarr and DNS names.
inline constexpr base32_alphabet base32_z{"ybndrfg8ejkmcpqxot1uwisza345h769", false};
/// RFC 4648 s.7 (base32hex), lower case.
inline constexpr base32_alphabet base32_hex_lower{"0123456789abcdefghijklmnopqrstuv", false};

/// Characters that `bytes` bytes take.
[[nodiscard]] constexpr std::size_t base32_text_size(std::size_t bytes) noexcept
{
    return bytes / 5 * 8 + (bytes % 5 * 8 + 4) / 5;
}

/// Bytes that `characters` characters hold.
[[nodiscard]] constexpr std::size_t base32_byte_size(std::size_t characters) noexcept
{
    return characters / 8 * 5 + characters % 8 * 5 / 8;
}

/// The text of `from`, without padding.
[[nodiscard]] inline std::string encode_base32(byte_view from, const base32_alphabet& alphabet)
{
    std::string out;
    out.reserve(base32_text_size(from.size()));
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const std::byte b : from) {
        bits = bits << 8 | std::to_integer<std::uint32_t>(b);
        for (held += 8; held >= 5; held -= 5) out += alphabet.symbol(bits >> (held - 5) & 31);
    }
    if (held > 0) out += alphabet.symbol(bits << (5 - held) & 31);
    return out;
}

/// Fills `into` from a text of exactly base32_text_size(into.size()) characters.
/// \par Errors `codec_errc::bad_length`, `codec_errc::bad_character`, `codec_errc::bad_padding`.
[[nodiscard]] inline result<void> decode_base32(std::string_view text, byte_span into,
                                                const base32_alphabet& alphabet) noexcept
{
    if (text.size() != base32_text_size(into.size())) return codec_errc::bad_length;
    std::uint32_t bits = 0;
    unsigned held = 0;
    std::size_t filled = 0;
    for (const char c : text) {
        const unsigned value = alphabet.value(c);
        if (value == base32_alphabet::not_a_symbol) return codec_errc::bad_character;
        bits = bits << 5 | value;
        held += 5;
        if (held < 8) continue;
        held -= 8;
        into[filled++] = static_cast<std::byte>(bits >> held);
    }
    if ((bits & ((1u << held) - 1)) != 0) return codec_errc::bad_padding;
    assert(filled == into.size());
    return outcome::success();
}

/// The bytes of a text.
/// \param max_bytes what the caller is ready to hold; checked before anything is allocated.
/// \par Errors as above, and `codec_errc::limit_exceeded`.
[[nodiscard]] inline result<std::vector<std::byte>> decode_base32(std::string_view text,
                                                                  const base32_alphabet& alphabet,
                                                                  std::size_t max_bytes)
{
    const std::size_t size = base32_byte_size(text.size());
    if (size > max_bytes) return codec_errc::limit_exceeded;
    std::vector<std::byte> out(size);
    COPSE_TRYV(decode_base32(text, out, alphabet));
    return out;
}

}  // namespace copse::codec
