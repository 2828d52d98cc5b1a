// Real UDP sockets behind the datagram seam: GSO, GRO, ECN, source addresses, large buffers.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/datagram.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace copse::udp {

/// What is asked of the system for a socket.
struct socket_options {
    /// Asked of the system, which may give less; the effective sizes are on the socket.
    std::size_t send_buffer = 2U << 20;
    /// The same for receiving.
    std::size_t receive_buffer = 2U << 20;
    /// Off to test the path without offload: a fifth of the speed.
    bool segmentation_offload = true;
    /// The same for receiving (GRO).
    bool receive_offload = true;
};

/// Binds a socket; port 0 lets the system choose. An IPv6 socket takes IPv6 only.
/// \par Errors the system's codes (address_in_use, permission_denied, ...).
result<std::unique_ptr<datagram_socket>> bind(executor ex, socket_address local,
                                              socket_options options = {});

/// Addresses of this machine's interfaces that are up, with port 0: global and private ones first,
/// then link-local ones are left out, loopback last and only when asked for or nothing else is there.
std::vector<socket_address> interface_addresses(bool with_loopback);

}  // namespace copse::udp
