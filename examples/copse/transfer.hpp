// What sending and receiving share: buffers, endpoints, texts about peers.
#pragma once

#include "failure.hpp"

#include <copse/blob/provide.hpp>
#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/transport.hpp>
#include <copse/quic/endpoint.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace app {

/// Received data waiting for verification and disk, in all.
inline constexpr std::size_t receive_buffer_bytes = 8U << 20;
/// Received extents. What a stream's window allows may make them smaller.
inline constexpr std::size_t receive_extent_bytes = 512U << 10;
/// Data read and not yet acknowledged, in all. One getter takes a few MiB; a getter that vanished
/// keeps them until its connection times out, and must not stop the others.
inline constexpr std::size_t send_buffer_bytes = 256 * blob::provide_buffer_bytes;

/// How a receiver closes a connection when it has what it wanted, and when it has not.
enum class close_code : std::uint64_t { done = 0, interrupted = 1, failed = 2 };

/// Opens the sockets. \par Errors exit_code::other when an address cannot be bound.
step<quic::endpoint> open_endpoint(const executor& ex, quic::endpoint_options options);

/// `1a2b3c4d5e`, the short form of an id.
[[nodiscard]] std::string short_id(const endpoint_id& id);
/// The UDP addresses among the paths.
[[nodiscard]] std::vector<socket_address> udp_addresses(const endpoint_address& from);
/// What a path is, in a word or two.
[[nodiscard]] std::string to_text(const path_address& path);

}  // namespace app
