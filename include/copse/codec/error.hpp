// Failures of codecs.
#pragma once

#include <string>
#include <system_error>

namespace copse::codec {

/// Why bytes or text are not what they should be.
enum class codec_errc {
    truncated = 1,   ///< The input ends inside a value; get the rest or drop the message.
    overflow,        ///< A number does not fit its type; drop the message.
    bad_character,   ///< A character outside the alphabet; ask for the text again.
    bad_length,      ///< No value has a text or byte form of this length; ask for it again.
    bad_padding,     ///< The unused bits of the last base32 character are not zero: mistyped text.
    bad_tag,         ///< A boolean, option or variant index that does not exist; drop the message.
    bad_utf8,        ///< A string is not UTF-8; drop the message.
    not_canonical,   ///< A second encoding of a value that must have only one; drop the message.
    limit_exceeded,  ///< Larger than the caller allows; drop the message or raise the limit.
    trailing_bytes,  ///< Bytes follow the value where none may; drop the message.
};

inline const std::error_category& codec_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.codec"; }
        std::string message(int ev) const override
        {
            switch (static_cast<codec_errc>(ev)) {
            case codec_errc::truncated: return "the input ends inside a value";
            case codec_errc::overflow: return "a number does not fit its type";
            case codec_errc::bad_character: return "a character is not of the alphabet";
            case codec_errc::bad_length: return "no value has this length";
            case codec_errc::bad_padding: return "unused bits of the last character are not zero";
            case codec_errc::bad_tag: return "unknown tag or variant";
            case codec_errc::bad_utf8: return "a string is not UTF-8";
            case codec_errc::not_canonical: return "the encoding is not the canonical one";
            case codec_errc::limit_exceeded: return "larger than the limit";
            case codec_errc::trailing_bytes: return "bytes follow the value";
            }
            return "unknown codec error";
        }
    } category;
    return category;
}

inline std::error_code make_error_code(codec_errc e) noexcept
{
    return {static_cast<int>(e), codec_category()};
}

}  // namespace copse::codec

template <>
struct std::is_error_code_enum<copse::codec::codec_errc> : std::true_type {};
