// Bytes and addresses as ngtcp2 wants them, and what connections have in common. Internal to quic/.
#pragma once

#include <copse/core/address.hpp>

#include <ngtcp2/ngtcp2.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace copse::quic::detail {

// TLS alert of a certificate by an unknown authority: what real peers send when the id differs.
inline constexpr std::uint8_t alert_unknown_ca = 48;
inline constexpr std::uint64_t crypto_error_base = 0x100;  // RFC 9001 section 4.8
inline constexpr std::uint64_t alert_no_application_protocol = 120;
inline constexpr std::uint8_t alert_unexpected_message = 10;
inline constexpr std::size_t max_reason = 256;
// Flush for credit alone once this much came back, or a quarter of the smallest window if that is
// less: before ngtcp2's smallest threshold.
inline constexpr std::size_t credit_flush_bytes = 8U << 10;

inline const std::uint8_t* raw_bytes(const std::byte* p) noexcept
{
    return reinterpret_cast<const std::uint8_t*>(p);
}
inline std::uint8_t* raw_bytes(std::byte* p) noexcept
{
    return reinterpret_cast<std::uint8_t*>(p);
}

inline socklen_t fill_sockaddr(const socket_address& from, ngtcp2_sockaddr_union& out) noexcept
{
    std::memset(&out, 0, sizeof out);
    if (from.is_v4()) {
        out.in.sin_family = AF_INET;
        out.in.sin_port = __builtin_bswap16(from.port);
        std::memcpy(&out.in.sin_addr, from.ip.data(), 4);
        return sizeof out.in;
    }
    out.in6.sin6_family = AF_INET6;
    out.in6.sin6_port = __builtin_bswap16(from.port);
    out.in6.sin6_scope_id = from.scope_id;
    std::memcpy(&out.in6.sin6_addr, from.ip.data(), 16);
    return sizeof out.in6;
}

inline socket_address read_sockaddr(const ngtcp2_addr& from) noexcept
{
    socket_address out;
    if (from.addr->sa_family == AF_INET) {
        sockaddr_in in;
        std::memcpy(&in, from.addr, sizeof in);
        out.port = __builtin_bswap16(in.sin_port);
        std::memcpy(out.ip.data(), &in.sin_addr, 4);
        return out;
    }
    sockaddr_in6 in;
    std::memcpy(&in, from.addr, sizeof in);
    out.family = socket_address::family_type::v6;
    out.port = __builtin_bswap16(in.sin6_port);
    out.scope_id = in.sin6_scope_id;
    std::memcpy(out.ip.data(), &in.sin6_addr, 16);
    return out;
}

/// A network path as ngtcp2 wants it; must not move while the path is in use.
struct path_buffer {
    path_buffer(const socket_address& local, const socket_address& remote) noexcept
    {
        path.local.addr = &local_address.sa;
        path.local.addrlen = fill_sockaddr(local, local_address);
        path.remote.addr = &remote_address.sa;
        path.remote.addrlen = fill_sockaddr(remote, remote_address);
    }
    path_buffer(const path_buffer&) = delete;
    path_buffer& operator=(const path_buffer&) = delete;

    ngtcp2_sockaddr_union local_address;
    ngtcp2_sockaddr_union remote_address;
    ngtcp2_path path{};
};
}  // namespace copse::quic::detail
