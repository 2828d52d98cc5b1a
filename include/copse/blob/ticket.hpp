// Tickets: everything needed to fetch a blob, or to dial an endpoint, in one line of text. They are
// the ones of iroh 1.4: a kind in lower case, then base32 of a postcard value.
// Spec: docs/specs/tickets.md.
#pragma once

#include <copse/blob/error.hpp>
#include <copse/core/address.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace copse::blob {

inline constexpr std::size_t max_ticket_characters = 8192;
inline constexpr std::size_t max_ticket_addresses = 32;  ///< of all kinds together
inline constexpr std::size_t max_relay_url_bytes = 2048;
inline constexpr std::size_t max_custom_address_bytes = 1024;

/// What the hash of a ticket names.
enum class blob_format : std::uint8_t {
    raw = 0,       ///< one blob
    hash_seq = 1,  ///< a blob that lists the hashes of others, such as a collection
};

/// Who has which blob. sendme's tickets are of format hash_seq.
struct blob_ticket {
    endpoint_address address;               ///< of the provider
    blob_format format = blob_format::raw;  ///< one blob, or a hash sequence with its children
    hash::digest hash;                      ///< of the blob
    bool operator==(const blob_ticket&) const = default;
};

/// Reads a hash from 64 lower-case hexadecimal digits or 52 base32 characters of any case.
/// \par Errors `codec_errc::bad_length`, `codec_errc::bad_character`, `codec_errc::bad_padding`.
[[nodiscard]] result<hash::digest> parse_digest(std::string_view text) noexcept;

/// Reads an endpoint id in either of these forms.
/// \par Errors as parse_digest(). Whether it is a point of the curve is not checked: dialling one
///             that is not fails.
[[nodiscard]] result<endpoint_id> parse_endpoint_id(std::string_view text) noexcept;
/// 64 lower-case hexadecimal digits, the form that people see.
[[nodiscard]] std::string to_string(const endpoint_id& id);
/// The first five bytes, for log lines.
[[nodiscard]] std::string to_short_string(const endpoint_id& id);

/// Reads a blob ticket. The kind is lower case, the rest of any case; bytes behind the content are
/// ignored, for the sake of later versions.
/// \par Errors `blob_errc::unsupported_ticket` (another kind or version), `ticket_mistyped`,
///             `ticket_truncated`, `ticket_too_large`, `bad_ticket`.
[[nodiscard]] result<blob_ticket> parse_blob_ticket(std::string_view text);

/// The text of a ticket: at most one relay and no custom addresses fit in one, the others are left
/// out, and so are IP addresses beyond max_ticket_addresses.
[[nodiscard]] std::string to_string(const blob_ticket& ticket);

/// Reads an endpoint ticket. \par Errors as parse_blob_ticket().
[[nodiscard]] result<endpoint_address> parse_endpoint_ticket(std::string_view text);

/// The text of an endpoint ticket. Paths beyond max_ticket_addresses are left out.
[[nodiscard]] std::string to_endpoint_ticket(const endpoint_address& address);

}  // namespace copse::blob
