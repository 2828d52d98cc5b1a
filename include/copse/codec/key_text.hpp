// The text forms of 32-byte values in iroh 1.4: endpoint ids, secret keys, hashes.
#pragma once

#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>
#include <copse/core/address.hpp>
#include <copse/core/result.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace copse::codec {

/// Reads 32 bytes from 64 lower-case hexadecimal digits or 52 base32 characters of any case.
/// \par Errors `codec_errc::bad_length`, `codec_errc::bad_character`, `codec_errc::bad_padding`.
[[nodiscard]] inline result<std::array<std::byte, 32>> parse_key_text(
    std::string_view text) noexcept
{
    std::array<std::byte, 32> out;
    if (text.size() == 2 * out.size()) {
        COPSE_TRYV(decode_hex(text, out));
    } else {
        COPSE_TRYV(decode_base32(text, out, base32_any_case));
    }
    return out;
}

/// Reads an endpoint id in either text form. Whether it is a point of the curve is not checked
/// here: dialling one that is not fails.
/// \par Errors as parse_key_text().
[[nodiscard]] inline result<endpoint_id> parse_endpoint_id(std::string_view text) noexcept
{
    COPSE_TRY(const auto bytes, parse_key_text(text));
    return endpoint_id{bytes};
}

/// 64 lower-case hexadecimal digits, the form that people see.
[[nodiscard]] inline std::string to_string(const endpoint_id& id)
{
    return encode_hex(id.bytes);
}

/// The first five bytes, for log lines.
[[nodiscard]] inline std::string to_short_string(const endpoint_id& id)
{
    return encode_hex(byte_view(id.bytes).first(5));
}

/// The form of pkarr and DNS names.
[[nodiscard]] inline std::string to_z_base32(const endpoint_id& id)
{
    return encode_base32(id.bytes, base32_z);
}

}  // namespace copse::codec
