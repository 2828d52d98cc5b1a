#pragma once

#include <copse/core/address.hpp>

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>

namespace copse {

socket_address socket_address::v4(std::array<std::uint8_t, 4> ip, std::uint16_t port) noexcept
{
    socket_address out;
    std::copy(ip.begin(), ip.end(), out.ip.begin());
    out.port = port;
    return out;
}

std::string socket_address::to_string() const
{
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(is_v4() ? AF_INET : AF_INET6, ip.data(), text, sizeof text);
    std::string out = is_v4() ? std::string(text) : "[" + std::string(text);
    if (!is_v4()) {
        if (scope_id != 0) out += "%" + std::to_string(scope_id);
        out += "]";
    }
    return out + ":" + std::to_string(port);
}

result<socket_address> socket_address::parse(std::string_view text)
{
    const auto invalid = make_error_code(std::errc::invalid_argument);
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || text.size() > 100) return invalid;
    // What follows reads texts that end at a zero.
    if (text.find('\0') != std::string_view::npos) return invalid;
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    socket_address out;
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (ec != std::errc{} || port.empty() || end != port.data() + port.size()) return invalid;
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        out.family = family_type::v6;
        host = host.substr(1, host.size() - 2);
        const auto percent = host.find('%');
        if (percent != std::string_view::npos) {
            const std::string zone(host.substr(percent + 1));
            host = host.substr(0, percent);
            const auto parsed =
                std::from_chars(zone.data(), zone.data() + zone.size(), out.scope_id);
            if (zone.empty()) return invalid;
            if (parsed.ec != std::errc{} || parsed.ptr != zone.data() + zone.size()) {
                out.scope_id = ::if_nametoindex(zone.c_str());
                if (out.scope_id == 0) return invalid;
            }
        }
    }
    const std::string copy(host);
    const int family = out.is_v4() ? AF_INET : AF_INET6;
    if (::inet_pton(family, copy.c_str(), out.ip.data()) != 1) return invalid;
    return out;
}

}  // namespace copse
