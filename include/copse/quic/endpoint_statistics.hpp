// What an endpoint did so far: connections, handshakes, refusals, datagrams.
#pragma once

#include <cstddef>
#include <cstdint>

namespace copse::quic {

/// Counters of one endpoint. The first three describe this moment, the others count since its start.
struct endpoint_statistics {
    std::size_t connections = 0;  ///< established, both directions
    std::size_t handshaking = 0;  ///< incoming, not yet established
    std::size_t dialling = 0;     ///< outgoing attempts, not yet established

    std::uint64_t accepted = 0;  ///< incoming connections handed to a listener
    std::uint64_t dialled = 0;   ///< outgoing connections that were established
    /// Attempts at one address that failed, abandoned ones included.
    std::uint64_t failed_dials = 0;
    std::uint64_t moved = 0;          ///< times a peer's address changed under a connection
    std::uint64_t refused_moves = 0;  ///< datagrams from new addresses beyond the limit of changes

    std::uint64_t refused_full = 0;     ///< Initials beyond `max_connections` or the receive budget
    std::uint64_t refused_source = 0;   ///< Initials beyond `max_connections_per_source`
    std::uint64_t refused_backlog = 0;  ///< established connections beyond `accept_backlog`
    std::uint64_t refused_closing = 0;  ///< Initials that came during shutdown()
    /// Initials beyond `max_handshakes`, or their source's part of them.
    std::uint64_t dropped_handshakes = 0;
    std::uint64_t dropped_unlistened = 0;  ///< Initials while nothing is listened to

    std::uint64_t floods = 0;        ///< times that `retry_above` pending handshakes were reached
    std::uint64_t retries_sent = 0;  ///< Retry packets
    std::uint64_t tokens_accepted = 0;  ///< Initials with a valid Retry token
    /// Initials with a Retry token that is not, or no longer, valid.
    std::uint64_t tokens_rejected = 0;
    std::uint64_t version_answers = 0;   ///< Version Negotiation packets sent
    std::uint64_t unknown_versions = 0;  ///< datagrams of versions we do not speak

    std::uint64_t datagrams_received = 0;  ///< UDP datagrams, whatever became of them
    std::uint64_t bytes_received = 0;      ///< their payload
    std::uint64_t datagrams_sent = 0;      ///< UDP datagrams given to the system
    std::uint64_t bytes_sent = 0;          ///< their payload
    std::uint64_t dropped_unroutable = 0;  ///< received, of no connection known here
    std::uint64_t dropped_malformed = 0;   ///< received, no QUIC packet or a bad Initial
    std::uint64_t dropped_answers = 0;     ///< stateless answers beyond the limit a second
    std::uint64_t blocked_sends = 0;       ///< times a socket was full
    std::uint64_t dropped_sends = 0;       ///< send calls given up while it was, or failed
};

}  // namespace copse::quic
