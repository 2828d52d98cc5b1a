// A QUIC endpoint: one Ed25519 identity, a few UDP sockets, many connections, several protocols.
// Spec: docs/specs/endpoint.md.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/datagram.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/memory.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>
#include <copse/quic/dial_report.hpp>
#include <copse/quic/endpoint_statistics.hpp>
#include <copse/quic/identity.hpp>
#include <copse/quic/qlog.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace copse::quic {

/// When an incoming handshake must first prove that its address is its own (RFC 9000 section 8.1.2):
/// a Retry costs the dialler a round trip and us no memory.
enum class retry_policy : std::uint8_t {
    never,       ///< spoofed Initials may use up `max_handshakes`
    under_load,  ///< while `retry_above` handshakes or more are pending
    always,      ///< every time
};

/// Settings of an endpoint. The defaults suit file transfer between machines.
struct endpoint_options {
    secret_key identity = secret_key::generate();  ///< who we are; a new identity by default
    /// Addresses to bind; IPv6 sockets take IPv6 only. Empty: 0.0.0.0:0, and [::]:0 where IPv6 exists.
    std::vector<socket_address> bind;

    /// A connection ends when nothing arrived for this long; the peer's value counts if smaller.
    std::chrono::nanoseconds idle_timeout = std::chrono::seconds(30);
    /// A PING goes out after this long without traffic.
    std::chrono::nanoseconds keep_alive = std::chrono::seconds(5);
    /// A handshake, ours or a peer's, must be complete after this long.
    std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);

    /// Upper bound of UDP payloads we send; MTU discovery finds the path's value below it.
    std::size_t max_datagram_size = 1452;
    /// Flow-control credit of a connection for streams the peer opens, all together, in bytes.
    std::size_t connection_window = 512U << 10;
    /// First window of each stream the peer opens.
    std::size_t remote_stream_window = 64U << 10;
    /// First window of each stream we open; recv_stream::request_window() grows it.
    std::size_t local_stream_window = 256U << 10;
    /// Most credit that all streams we open on one connection may hold together.
    std::size_t local_windows_total = 8U << 20;
    /// Most receive credit of all connections of the endpoint together, and what they queue of datagrams.
    std::size_t receive_budget = std::size_t{1} << 30;
    /// Bytes a stream queues for sending, those not yet acknowledged included, before write() waits.
    std::size_t send_buffer = 2U << 20;
    /// The same for all streams of a connection together, 64 bytes more for each part that is queued.
    /// At least 64 KiB.
    std::size_t connection_send_buffer = 16U << 20;
    /// The same for all connections of the endpoint, and their datagrams. Each connection has 64 KiB of
    /// it for itself, so that none ever waits for another.
    std::size_t send_budget = std::size_t{1} << 30;
    /// What the memory of all this is reserved of; null: process_memory(). Must outlive the endpoint.
    memory_budget* memory = nullptr;
    /// Streams a peer may have open at once, of each kind.
    std::uint64_t max_remote_streams = 100;
    /// One-way streams that a peer may open on one connection beyond the first, in all: ngtcp2 before
    /// version 1 keeps some 400 bytes of each until the connection ends. Not used with later versions.
    std::uint64_t max_kept_streams = 16384;
    /// Largest DATAGRAM frame that peers may send (RFC 9221); 0 refuses datagrams.
    std::size_t max_datagram_frame_size = 65535;
    /// Bytes of datagrams that a connection queues each way, each counted with 64 bytes more. Beyond
    /// it send_datagram() fails; of those received the oldest are dropped.
    std::size_t datagram_send_buffer = 256U << 10;
    /// The same for those received.
    std::size_t datagram_receive_buffer = 256U << 10;
    /// Connections of the endpoint, both directions and handshakes together.
    std::size_t max_connections = 1024;
    /// Incoming connections of one IPv4 address or IPv6 /64, handshakes included.
    std::size_t max_connections_per_source = 512;
    /// Incoming handshakes at the same time; more Initials are dropped until some finish. One IPv4
    /// address or IPv6 /64 has no more of them than it leaves free.
    std::size_t max_handshakes = 256;
    /// When addresses are validated before anything is kept.
    retry_policy retry = retry_policy::under_load;
    /// Pending handshakes from which on `under_load` asks for validation.
    std::size_t retry_above = 64;
    /// How long a Retry token is good.
    std::chrono::nanoseconds retry_token_lifetime = std::chrono::seconds(10);
    /// Accepted connections that wait for listener::accept(); more are refused. Those that end while
    /// they wait leave the queue.
    std::size_t accept_backlog = 64;
    /// Makes the qlog of each connection, for example qlog_directory(). Empty: none is written.
    qlog_factory qlog;
};

/// Limits of GnuTLS: bytes in the name of a protocol, and protocols that an endpoint listens to.
inline constexpr std::size_t max_alpn_bytes = 31;
inline constexpr std::size_t max_protocols = 8;

class endpoint;

/// Incoming connections of one protocol.
class listener {
public:
    /// Implementation, shared with the endpoint.
    struct state;

    /// Made by endpoint::listen().
    explicit listener(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}

    /// The next authenticated connection. \par Errors `closed_locally` after the endpoint closed.
    /// \par Cancellation total: no connection is lost.
    awaitable<result<std::shared_ptr<connection>>> accept();

private:
    std::shared_ptr<state> state_;
};

/// One identity on the network. \par Threads one executor.
/// \par Lifetime `co_await close()` before it is destroyed; connections fail from then on.
class endpoint {
public:
    /// Binds the sockets and starts receiving.
    /// \par Errors the system's codes of bind, std::errc::not_enough_memory when `options.memory` has no
    ///      room for the endpoint's own buffers (1 MiB).
    static result<endpoint> make(executor ex, endpoint_options options);
    /// The same over datagram paths made elsewhere (simulation).
    static result<endpoint> make(executor ex, endpoint_options options,
                                 std::vector<std::unique_ptr<datagram_socket>> sockets);

    /// Moves the handle; connections stay as they are.
    endpoint(endpoint&&) noexcept;
    endpoint& operator=(endpoint&&) = delete;
    ~endpoint();

    /// Who we are: the public key.
    [[nodiscard]] const endpoint_id& id() const noexcept;
    /// Where the sockets are bound; may be unspecified addresses.
    [[nodiscard]] std::vector<socket_address> bound_addresses() const;
    /// What to tell peers: this id and the addresses of the interfaces it is bound to.
    [[nodiscard]] endpoint_address address() const;
    /// Where everything of the endpoint runs.
    [[nodiscard]] executor get_executor() const;

    /// Accepts connections that offer `alpn`. Of several offered, the one listened to first wins.
    /// \pre 1 to max_alpn_bytes bytes, not listened to before, at most max_protocols in all.
    [[nodiscard]] listener listen(std::string_view alpn);

    /// Dials a peer: all its UDP addresses, staggered; the first that proves the identity wins.
    /// \par Errors `no_usable_address`, `unreachable`, `peer_id_mismatch`, `no_common_protocol`,
    ///      `handshake_timeout`, `refused`, `limit_reached`, std::errc::invalid_argument for an impossible `alpn`.
    /// \par Cancellation total: attempts are abandoned.
    awaitable<result<std::shared_ptr<connection>>> connect(endpoint_address peer, std::string alpn);
    /// The same, and says what was tried, whether it succeeded or not.
    /// \param report overwritten; must outlive the awaitable.
    awaitable<result<std::shared_ptr<connection>>> connect(endpoint_address peer, std::string alpn,
                                                           dial_report& report);

    /// Moves to new sockets after the machine's network changed: bound like the first ones, at ports
    /// of the system's choice. Connections that we dialled migrate (RFC 9000 section 9) as soon as
    /// they may and go on; those that peers dialled stay at the old sockets, which are closed once
    /// nothing uses them. New peers find the endpoint at the new bound_addresses() only.
    /// \par Errors those of bind (the old sockets stay), `limit_reached` with 8 sockets in use,
    ///      std::errc::not_supported for an endpoint over sockets made elsewhere.
    result<void> network_changed();
    /// The same at addresses of the caller's choice.
    result<void> rebind(const std::vector<socket_address>& bind);
    /// The same over datagram paths made elsewhere.
    result<void> rebind(std::vector<std::unique_ptr<datagram_socket>> sockets);

    /// Ends in good order: takes no new connections (`refused` for those who dial), lets the present
    /// ones finish until `patience` is over, then close(). Listeners end at once; what nobody accepted
    /// is refused. \par Cancellation closes without further patience.
    awaitable<void> shutdown(std::chrono::nanoseconds patience);
    /// Closes all connections with code 0, sends what must be sent, joins everything, closes the
    /// sockets. A further call waits for the first. \par Cancellation none.
    awaitable<void> close();

    /// Effective socket buffers in bytes (smallest over the sockets).
    [[nodiscard]] std::size_t send_buffer_size() const noexcept;
    /// The same for receiving.
    [[nodiscard]] std::size_t receive_buffer_size() const noexcept;
    /// Counters up to now.
    [[nodiscard]] endpoint_statistics statistics() const noexcept;
    /// Connections alive now, handshakes included.
    [[nodiscard]] std::size_t connection_count() const noexcept;

    struct state;

private:
    explicit endpoint(std::shared_ptr<state> s) noexcept;
    std::shared_ptr<state> state_;
};

}  // namespace copse::quic
