// The datagram seam: what an endpoint needs of a UDP socket. udp/ has the real one.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <system_error>

namespace copse {

/// One or several datagrams received together from one sender (GRO).
struct received_datagrams {
    byte_span bytes;               ///< inside the buffer given to try_receive()
    std::size_t segment_size = 0;  ///< every datagram but the last has this size
    socket_address from;           ///< sender
    socket_address to;             ///< local address it was sent to
    std::uint8_t ecn = 0;          ///< the two ECN bits
};

/// Datagrams of equal size (but the last) to one receiver (GSO).
struct outgoing_datagrams {
    byte_view bytes;               ///< all datagrams, one behind the other
    std::size_t segment_size = 0;  ///< bytes of every datagram but the last
    socket_address to;             ///< receiver
    socket_address from;           ///< source address; unspecified lets the system choose
    std::uint8_t ecn = 0;          ///< the two ECN bits
};

/// An unreliable datagram path bound to one local address.
/// \par Threads one executor.
class datagram_socket {
public:
    virtual ~datagram_socket() = default;

    /// Where it is bound.
    virtual socket_address local_address() const noexcept = 0;
    /// Receives what is there without waiting.
    /// \param buffer at least max_receive_bytes.
    /// \par Errors std::errc::operation_would_block when nothing is there; others are transient.
    virtual result<received_datagrams> try_receive(byte_span buffer) = 0;
    /// Sends without waiting. A datagram too large for the path is dropped silently, as a lost one.
    /// \par Errors std::errc::operation_would_block: wait_writable(), then send the same again.
    virtual result<void> try_send(const outgoing_datagrams& out) = 0;
    /// \par Cancellation total.
    virtual awaitable<std::error_code> wait_readable() = 0;
    /// Waits until try_send() may go on. \par Cancellation total.
    virtual awaitable<std::error_code> wait_writable() = 0;
    /// Most datagrams one try_send() takes; 1 without segmentation offload.
    virtual std::size_t max_send_segments() const noexcept = 0;
    /// Effective socket buffer sizes in bytes, as the system accounts them.
    virtual std::size_t send_buffer_size() const noexcept = 0;
    /// The same for received datagrams.
    virtual std::size_t receive_buffer_size() const noexcept = 0;
    /// Ends every wait with an error; nothing is received or sent from then on.
    virtual void close() noexcept = 0;

    /// What the buffer of try_receive() must hold.
    static constexpr std::size_t max_receive_bytes = 65536;
};

}  // namespace copse
