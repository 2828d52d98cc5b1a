// Who a peer is and where it may be reached. Values only: no sockets.
#pragma once

#include <copse/core/result.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace copse {

// Orderings say their type: then they are made of == and < where a library (libc++ before 17) has no <=>
// for arrays and vectors yet.

/// The 32-byte compressed Ed25519 public key that names an endpoint.
struct endpoint_id {
    std::array<std::byte, 32> bytes{};  ///< the key as it is sent

    std::strong_ordering operator<=>(const endpoint_id&) const = default;
};

/// An IP address and a UDP port.
struct socket_address {
    /// IPv4 or IPv6.
    enum class family_type : std::uint8_t { v4, v6 };

    family_type family = family_type::v4;  ///< which part of `ip` counts
    std::array<std::uint8_t, 16> ip{};     ///< network order; IPv4 uses the first four
    std::uint16_t port = 0;                ///< host order
    std::uint32_t scope_id = 0;            ///< IPv6 link-local interface index, else 0

    std::strong_ordering operator<=>(const socket_address&) const = default;

    /// Whether it is an IPv4 address.
    [[nodiscard]] bool is_v4() const noexcept { return family == family_type::v4; }
    /// 0.0.0.0 or [::].
    [[nodiscard]] bool is_unspecified() const noexcept
    {
        return ip == std::array<std::uint8_t, 16>{};
    }
    /// An IPv4 address from its four bytes.
    [[nodiscard]] static socket_address v4(std::array<std::uint8_t, 4> ip,
                                           std::uint16_t port) noexcept;
    /// 127.0.0.1 with that port.
    [[nodiscard]] static socket_address loopback_v4(std::uint16_t port) noexcept
    {
        return v4({127, 0, 0, 1}, port);
    }
    /// `192.0.2.1:80` or `[2001:db8::1]:80`.
    [[nodiscard]] std::string to_string() const;
    /// Reads what to_string() writes; the host must be a numeric address.
    /// \par Errors std::errc::invalid_argument.
    [[nodiscard]] static result<socket_address> parse(std::string_view text);
};

/// A relay server that forwards to an endpoint by id.
struct relay_address {
    std::string url;  ///< normalised, as the ticket has it
    std::strong_ordering operator<=>(const relay_address&) const = default;
};

/// An address of a transport that copse does not know.
struct custom_address {
    std::uint64_t transport = 0;  ///< number of the transport
    std::vector<std::byte> data;  ///< what that transport needs
    std::strong_ordering operator<=>(const custom_address&) const = default;
};

/// One way to reach a peer. The order of alternatives is the wire order (relay, IP, custom).
using path_address = std::variant<relay_address, socket_address, custom_address>;

/// A peer's identity with every way known to reach it.
struct endpoint_address {
    endpoint_id id;                   ///< whom to expect there
    std::vector<path_address> paths;  ///< every way known; none is believed before the handshake
    std::strong_ordering operator<=>(const endpoint_address&) const = default;
};

}  // namespace copse
