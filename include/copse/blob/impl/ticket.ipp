// Reading and writing tickets.
#pragma once

#include <copse/blob/error.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/base32.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/bytes.hpp>

#include <algorithm>
#include <span>
#include <utility>
#include <variant>
#include <vector>

namespace copse::blob {

result<hash::digest> parse_digest(std::string_view text) noexcept
{
    COPSE_TRY(const auto bytes, codec::parse_key_text(text));
    return hash::digest{bytes};
}

result<endpoint_id> parse_endpoint_id(std::string_view text) noexcept
{
    return codec::parse_endpoint_id(text);
}

std::string to_string(const endpoint_id& id)
{
    return codec::to_string(id);
}

std::string to_short_string(const endpoint_id& id)
{
    return codec::to_short_string(id);
}

namespace detail {

inline constexpr std::string_view blob_ticket_kind = "blob";
inline constexpr std::string_view endpoint_ticket_kind = "endpoint";
inline constexpr std::uint8_t ticket_variant = 0;  // the only version so far

inline std::error_code to_ticket_error(const std::error_code& error) noexcept
{
    using codec::codec_errc;
    if (error == codec_errc::truncated) return blob_errc::ticket_truncated;
    if (error == codec_errc::limit_exceeded) return blob_errc::ticket_too_large;
    if (error.category() == codec::codec_category()) return blob_errc::bad_ticket;
    return error;
}

/// The bytes behind the kind. \par Errors as parse_blob_ticket().
inline result<std::vector<std::byte>> read_ticket_text(std::string_view text, std::string_view kind)
{
    if (text.size() > max_ticket_characters) return blob_errc::ticket_too_large;
    if (!text.starts_with(kind)) return blob_errc::unsupported_ticket;
    auto bytes = codec::decode_base32(text.substr(kind.size()), codec::base32_any_case,
                                      codec::base32_byte_size(max_ticket_characters));
    if (!bytes) return blob_errc::ticket_mistyped;
    return std::move(bytes).assume_value();
}

inline std::string write_ticket_text(byte_view bytes, std::string_view kind)
{
    return std::string(kind) + codec::encode_base32(bytes, codec::base32_lower);
}

// A normalised URL is printable ASCII. Anything else could garble the terminal that shows it.
inline result<relay_address> read_relay(codec::postcard_reader& from)
{
    COPSE_TRY(const std::string_view url, from.string(max_relay_url_bytes));
    const bool printable = std::ranges::all_of(url, [](char c) { return c > ' ' && c < '\x7f'; });
    if (url.empty() || !printable) return blob_errc::bad_ticket;
    return relay_address{std::string(url)};
}

inline result<socket_address> read_socket_address(codec::postcard_reader& from)
{
    socket_address out;
    COPSE_TRY(const std::uint32_t family, from.enum_index(2));
    out.family = family == 0 ? socket_address::family_type::v4 : socket_address::family_type::v6;
    COPSE_TRY(const byte_view ip, from.raw(out.is_v4() ? 4 : 16));
    std::ranges::transform(ip, out.ip.begin(),
                           [](std::byte b) { return static_cast<std::uint8_t>(b); });
    COPSE_TRY(out.port, from.u16());
    return out;
}

inline void write_socket_address(codec::postcard_writer& to, const socket_address& from)
{
    to.enum_index(from.is_v4() ? 0 : 1);
    to.raw(byte_view(std::as_bytes(std::span(from.ip))).first(from.is_v4() ? 4 : 16));
    to.unsigned_integer(from.port);
}

inline result<path_address> read_path(codec::postcard_reader& from)
{
    COPSE_TRY(const std::uint32_t kind, from.enum_index(3));
    if (kind == 0) {
        COPSE_TRY(auto relay, read_relay(from));
        return path_address(std::move(relay));
    }
    if (kind == 1) {
        COPSE_TRY(const auto ip, read_socket_address(from));
        return path_address(ip);
    }
    custom_address custom;
    COPSE_TRY(custom.transport, from.u64());
    COPSE_TRY(const byte_view data, from.bytes(max_custom_address_bytes));
    custom.data.assign(data.begin(), data.end());
    return path_address(std::move(custom));
}

inline void write_path(codec::postcard_writer& to, const path_address& from)
{
    to.enum_index(static_cast<std::uint32_t>(from.index()));
    if (const auto* relay = std::get_if<relay_address>(&from)) {
        to.string(relay->url);
    } else if (const auto* ip = std::get_if<socket_address>(&from)) {
        write_socket_address(to, *ip);
    } else {
        const auto& custom = std::get<custom_address>(from);
        to.unsigned_integer(custom.transport);
        to.bytes(custom.data);
    }
}

// In the order of the wire, each once. The interface index of a link-local address means nothing on
// another machine and does not travel.
inline std::vector<path_address> sorted_paths(const endpoint_address& from)
{
    auto out = from.paths;
    for (auto& path : out) {
        if (auto* ip = std::get_if<socket_address>(&path)) ip->scope_id = 0;
    }
    std::ranges::sort(out);
    const auto same = std::ranges::unique(out);
    out.erase(same.begin(), same.end());
    return out;
}

inline result<blob_ticket> decode_blob_ticket(byte_view bytes)
{
    codec::postcard_reader from(bytes);
    COPSE_TRY(const std::uint8_t variant, from.u8());
    if (variant != ticket_variant) return blob_errc::unsupported_ticket;
    blob_ticket out;
    COPSE_TRY(out.address.id.bytes, from.array<32>());
    COPSE_TRY(const bool has_relay, from.option());
    if (has_relay) {
        COPSE_TRY(auto relay, read_relay(from));
        out.address.paths.emplace_back(std::move(relay));
    }
    const std::size_t room = max_ticket_addresses - out.address.paths.size();
    COPSE_TRY(const std::size_t addresses, from.count(room, 1));
    for (std::size_t i = 0; i < addresses; ++i) {
        COPSE_TRY(const auto ip, read_socket_address(from));
        out.address.paths.emplace_back(ip);
    }
    COPSE_TRY(const std::uint32_t format, from.enum_index(2));
    out.format = static_cast<blob_format>(format);
    COPSE_TRY(out.hash.bytes, from.array<32>());
    return out;
}

inline result<endpoint_address> decode_endpoint_ticket(byte_view bytes)
{
    codec::postcard_reader from(bytes);
    COPSE_TRY(const std::uint8_t variant, from.u8());
    if (variant != ticket_variant) return blob_errc::unsupported_ticket;
    endpoint_address out;
    COPSE_TRY(out.id.bytes, from.array<32>());
    COPSE_TRY(const std::size_t paths, from.count(max_ticket_addresses, 1));
    for (std::size_t i = 0; i < paths; ++i) {
        COPSE_TRY(auto path, read_path(from));
        out.paths.push_back(std::move(path));
    }
    return out;
}

}  // namespace detail

result<blob_ticket> parse_blob_ticket(std::string_view text)
{
    COPSE_TRY(const auto bytes, detail::read_ticket_text(text, detail::blob_ticket_kind));
    auto out = detail::decode_blob_ticket(bytes);
    if (!out) return detail::to_ticket_error(out.error());
    return out;
}

std::string to_string(const blob_ticket& ticket)
{
    const auto paths = detail::sorted_paths(ticket.address);
    const relay_address* relay = nullptr;
    std::vector<const socket_address*> addresses;
    for (const auto& path : paths) {
        if (const auto* r = std::get_if<relay_address>(&path); r && !relay) relay = r;
        if (const auto* ip = std::get_if<socket_address>(&path)) addresses.push_back(ip);
    }
    const std::size_t room = max_ticket_addresses - (relay ? 1 : 0);
    if (addresses.size() > room) addresses.resize(room);

    std::vector<std::byte> bytes;
    codec::postcard_writer to(bytes);
    to.u8(detail::ticket_variant);
    to.raw(ticket.address.id.bytes);
    to.option(relay != nullptr);
    if (relay) to.string(relay->url);
    to.count(addresses.size());
    for (const auto* ip : addresses) detail::write_socket_address(to, *ip);
    to.enum_index(static_cast<std::uint32_t>(ticket.format));
    to.raw(ticket.hash.bytes);
    return detail::write_ticket_text(bytes, detail::blob_ticket_kind);
}

result<endpoint_address> parse_endpoint_ticket(std::string_view text)
{
    COPSE_TRY(const auto bytes, detail::read_ticket_text(text, detail::endpoint_ticket_kind));
    auto out = detail::decode_endpoint_ticket(bytes);
    if (!out) return detail::to_ticket_error(out.error());
    return out;
}

std::string to_endpoint_ticket(const endpoint_address& address)
{
    auto paths = detail::sorted_paths(address);
    if (paths.size() > max_ticket_addresses) paths.resize(max_ticket_addresses);
    std::vector<std::byte> bytes;
    codec::postcard_writer to(bytes);
    to.u8(detail::ticket_variant);
    to.raw(address.id.bytes);
    to.count(paths.size());
    for (const auto& path : paths) detail::write_path(to, path);
    return detail::write_ticket_text(bytes, detail::endpoint_ticket_kind);
}

}  // namespace copse::blob
