// Two connections joined in memory, so that protocols can be tested without sockets and keys.
//
// They keep to the rules of quic/, limit by limit: what a protocol gets away with here it gets away with
// there. tests/sim/transport_conformance_test.cpp holds both to the same checks.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace copse::sim {

/// One end of a pair: who it is and what it grants, with the meaning and the defaults of
/// quic::endpoint_options.
struct memory_end_options {
    endpoint_id id;                           ///< what the other end sees as peer()
    path_address address = custom_address{};  ///< what the other end sees as remote_address()

    /// Flow-control credit of the connection for streams the other end opens, all together, in bytes.
    std::size_t connection_window = 512U << 10;
    /// First window of each stream the other end opens.
    std::size_t remote_stream_window = 64U << 10;
    /// First window of each stream this end opens; recv_stream::request_window() grows it.
    std::size_t local_stream_window = 256U << 10;
    /// Most credit that all streams this end opens may hold together.
    std::size_t local_windows_total = 8U << 20;
    /// Bytes a stream queues for sending before write() waits.
    std::size_t send_buffer = 2U << 20;
    /// Streams of each kind that the other end may have open at the same time.
    std::uint64_t max_remote_streams = 100;
    /// Largest datagram this end takes; 0: none. Datagrams arrive whole, in order, and none is lost
    /// but those that the receive queue has no room for.
    std::size_t max_datagram_payload = 1200;
    /// Bytes of datagrams that wait to be sent, then to be received, each with 64 more.
    std::size_t datagram_send_buffer = 256U << 10;
    /// The same for those received.
    std::size_t datagram_receive_buffer = 256U << 10;
};

/// Settings of a pair. The defaults are those of two QUIC endpoints.
struct memory_transport_options {
    memory_transport_options();

    /// Decides how data is cut into pieces and which stream goes first. The same seed and the same
    /// calls give the same deliveries in the same order.
    std::uint64_t seed = 1;
    std::string alpn = "copse-sim";  ///< of both ends
    /// Most bytes delivered at once. Pieces are of any size up to it, often of very few bytes.
    std::size_t max_piece = 1350;
    memory_end_options dialler;   ///< id: 32 bytes 0x01
    memory_end_options acceptor;  ///< id: 32 bytes 0x02
};

/// The wire between two connections. A handle: copies mean the same wire.
class memory_link {
public:
    struct state;  ///< implementation, shared with the connections

    /// Made by make_connection_pair().
    explicit memory_link(std::shared_ptr<state> s) noexcept;

    /// Loses the peer on both sides at once: both connections end with `transport_errc::idle_timeout`,
    /// and what was under way is gone. Nothing happens to a connection that has ended.
    void cut() noexcept;

    /// Deliveries made so far, both directions: the same for the same seed and calls.
    [[nodiscard]] std::uint64_t deliveries() const noexcept;

private:
    std::shared_ptr<state> state_;
};

/// Both ends of a pair, and what joins them.
struct connection_pair {
    std::shared_ptr<connection> dialler;   ///< the end that would have called connect()
    std::shared_ptr<connection> acceptor;  ///< the end that would have come out of a listener
    memory_link link;                      ///< what joins them
};

/// Joins two connections in memory. Everything that one end does reaches the other in steps posted to
/// `ex`, never inside the call.
/// \par Limits  as in `options`; a step moves at most `max_piece` bytes, and none is queued in between.
/// \par Threads one executor. \par Lifetime of its own: handles may be dropped in any order.
/// \par Cost    payload touched once, when it is received in read mode (copied into its queue); in sink
///              mode not at all.
[[nodiscard]] connection_pair make_connection_pair(executor ex,
                                                   memory_transport_options options = {});

}  // namespace copse::sim
