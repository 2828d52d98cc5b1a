// Endpoints, connections, and how they end.
#pragma once

#include "arguments.hpp"
#include "streams.hpp"

#include <copse/core/asio.hpp>
#include <copse/quic/endpoint.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace probe {

/// Of a store in memory, and of the buffers of fetching and providing.
constexpr std::size_t memory_limit = std::size_t{4} << 30;
constexpr std::size_t buffers_bytes = 8U << 20;

/// An endpoint with one UDP socket: `--bind`, else a free port of 127.0.0.1.
quic::endpoint open_endpoint(const executor& ex, const arguments& args,
                             quic::retry_policy retry = quic::retry_policy::under_load);

/// The provider named by `--id HEX --addr IP:PORT`.
endpoint_address provider_address(const arguments& args);

/// What a mode does with its connection; true when the other side did as asked.
using conversation = awaitable<bool> (*)(std::shared_ptr<wrapped_connection>, const arguments&);

/// Dials the peer, says `connected`, has the conversation and closes everything in order.
awaitable<bool> talk(endpoint_address to, std::string alpn, conversation what,
                     const arguments& args);

/// The word for `end` lines.
std::string describe_end(const std::error_code& error, const receipt& seen, const connection& c);

awaitable<void> wait_for_end_of_input();

}  // namespace probe
