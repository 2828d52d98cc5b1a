// What a protocol sees of a transport: connections and streams, whatever carries them.
// quic/ and the in-memory transport of sim/ implement it; protocols include only this header.
//
// Threads: an object and everything made from it is used from one executor (one thread or strand).
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/error.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>

namespace copse {

/// Verdict of a sink on the bytes it was shown.
struct sink_verdict {
    std::size_t accepted = 0;  ///< bytes taken; the rest is queued until recv_stream::resume()
    std::size_t credit = 0;    ///< of these, bytes whose flow-control credit returns at once
};

/// Consumer of a stream's bytes, called by the transport as they arrive in order (sink mode).
/// It must not call the stream or its connection from inside a call; it acts afterwards.
class stream_sink {
public:
    /// Takes some or all of `data`, which is valid only during the call. An error stops the stream:
    /// recv_stream::drained() then returns it and the peer is told to stop with `stop_code()`.
    virtual result<sink_verdict> consume(byte_view data) noexcept = 0;
    /// Application code sent to the peer when consume() failed.
    virtual std::uint64_t stop_code() const noexcept { return 0; }

protected:
    ~stream_sink() = default;
};

/// The receiving half of a stream. Dropping it before its end asks the peer to stop (code 0).
class recv_stream {
public:
    virtual ~recv_stream() = default;

    /// Reads at least one byte into `into`; 0 means the clean end of the stream.
    /// \param into must outlive the awaitable.
    /// \par Errors       `transport_errc::stream_reset`, connection errors.
    /// \par Cancellation total: no byte is lost.
    virtual awaitable<result<std::size_t>> read(byte_span into) = 0;

    /// Enters sink mode: queued and future bytes go to `sink` inside the transport's receive path.
    /// `sink` must outlive the stream handle or a detach().
    virtual void attach(stream_sink& sink) = 0;
    /// Leaves sink mode: what the sink did not accept can be read() again.
    virtual void detach() noexcept = 0;
    /// Offers bytes again that the sink did not accept. Not from inside consume().
    virtual void resume() = 0;
    /// Returns flow-control credit for bytes a sink accepted without crediting them.
    virtual void release(std::size_t bytes) noexcept = 0;
    /// Asks for a stream window of `bytes`, granted from what the connection has reserved.
    /// \return the window now in force, which may be smaller.
    virtual std::size_t request_window(std::size_t bytes) noexcept = 0;
    /// Waits until the sink has accepted the last byte of a cleanly ended stream.
    /// \par Errors the sink's own error, `transport_errc::stream_reset`, connection errors.
    /// \par Cancellation total.
    virtual awaitable<result<void>> drained() = 0;

    /// Tells the peer to stop sending. Unread bytes are discarded and credited.
    virtual void stop(std::uint64_t code) noexcept = 0;
    /// The code of the peer's reset, once an operation failed with `stream_reset`.
    virtual std::optional<std::uint64_t> reset_code() const noexcept = 0;
    /// Bytes received in order so far, whether consumed or not.
    virtual std::uint64_t received() const noexcept = 0;
};

/// The sending half of a stream. Dropping it before finish() resets it (code 0).
class send_stream {
public:
    virtual ~send_stream() = default;

    /// Queues `data` without copying it; its owner is released when the peer has acknowledged it.
    /// Completes when all of it is queued, which waits while the send buffer is full.
    /// \par Errors `transport_errc::stream_stopped`, connection errors, std::errc::broken_pipe after
    ///      finish(), also when it was called while this waited.
    /// \par Cancellation terminal: part of the data may be queued.
    virtual awaitable<result<void>> write(shared_bytes data) = 0;
    /// Copies `data` and queues it as write() does. \param data must outlive the awaitable.
    awaitable<result<void>> write_copy(byte_view data) { return write(shared_bytes::copy(data)); }

    /// Ends the stream cleanly behind everything queued.
    virtual void finish() = 0;
    /// Aborts the stream; queued bytes are dropped.
    virtual void reset(std::uint64_t code) noexcept = 0;
    /// Waits until the peer has acknowledged everything, the end included.
    /// \par Errors `transport_errc::stream_stopped`, connection errors.
    /// \par Cancellation total.
    virtual awaitable<result<void>> acknowledged() = 0;
    /// Bytes from the start of the stream that the peer's transport has acknowledged without a gap; 0
    /// where a transport cannot tell.
    virtual std::uint64_t acknowledged_bytes() const noexcept { return 0; }
    /// Waits until the peer stops or closes: the way to notice that nobody reads any more.
    /// Returns the error. \par Cancellation total.
    virtual awaitable<std::error_code> stopped() = 0;

    /// The code of the peer's STOP_SENDING, known at the latest when both halves have ended.
    virtual std::optional<std::uint64_t> stop_code() const noexcept = 0;
};

/// Both halves of a bidirectional stream; each ends by itself.
struct bidi_stream {
    std::unique_ptr<send_stream> send;  ///< ours to write
    std::unique_ptr<recv_stream> recv;  ///< the peer's to write
};

/// Why and by whom a connection ended.
struct close_reason {
    std::error_code error;     ///< transport_errc value
    bool by_peer = false;      ///< the peer closed it
    bool application = false;  ///< `code` is an application code, else a transport code
    std::uint64_t code = 0;    ///< of CONNECTION_CLOSE
    std::string reason;        ///< peer's text, bounded; print it escaped
};

/// What one connection did since its start, and where it stands. Times in nanoseconds. What the
/// transport cannot tell stays 0, or empty where 0 would be a statement; after the end of the
/// connection the values that describe the path are 0.
struct connection_statistics {
    std::uint64_t bytes_sent = 0;        ///< UDP payload
    std::uint64_t bytes_received = 0;    ///< the same, received
    std::uint64_t packets_sent = 0;      ///< UDP datagrams
    std::uint64_t packets_received = 0;  ///< the same, received
    /// QUIC packets taken for lost. Empty: ngtcp2 tells it from version 1.16 on.
    std::optional<std::uint64_t> packets_lost;

    std::uint64_t smoothed_rtt_ns = 0;       ///< round trip as RFC 9002 section 5.3 smooths it
    std::uint64_t latest_rtt_ns = 0;         ///< last sample
    std::uint64_t min_rtt_ns = 0;            ///< least sample
    std::uint64_t rtt_variance_ns = 0;       ///< mean deviation, `rttvar` of RFC 9002 section 5.3
    std::uint64_t congestion_window = 0;     ///< bytes that may be in flight
    std::uint64_t slow_start_threshold = 0;  ///< UINT64_MAX until the first congestion
    std::uint64_t bytes_in_flight = 0;       ///< sent, neither acknowledged nor taken for lost
    std::size_t max_datagram_size = 0;       ///< UDP payload the path is known to carry

    // For how long nothing was sent, and why; the current wait included. The rest of the time it was
    // sending, or the local socket was full.
    std::uint64_t blocked_by_congestion_ns = 0;         ///< congestion window or pacing
    std::uint64_t blocked_by_connection_credit_ns = 0;  ///< the peer's window for all streams
    std::uint64_t blocked_by_stream_credit_ns = 0;      ///< the peer's windows of single streams
    std::uint64_t blocked_by_application_ns = 0;        ///< there was nothing to send

    std::uint64_t datagrams_sent = 0;  ///< RFC 9221 messages, not UDP datagrams; so the next ones
    std::uint64_t datagrams_received = 0;        ///< the same, received
    std::uint64_t datagrams_lost = 0;            ///< sent and taken for lost
    std::uint64_t datagrams_dropped_unsent = 0;  ///< queued, then too large for the path
    /// Pushed out of the receive queue by later ones.
    std::uint64_t datagrams_dropped_received = 0;

    /// The last packet sent was marked: the path carries marks, or is tested.
    bool ecn_in_use = false;
    std::uint64_t ecn_marked_sent = 0;      ///< UDP datagrams sent as ECT(0)
    std::uint64_t ecn_marked_received = 0;  ///< received as ECT(0) or ECT(1)
    std::uint64_t ecn_ce_received = 0;      ///< received with "congestion experienced"
};

/// An authenticated connection to one peer for one protocol (ALPN). All handles to it share it; it is
/// closed (code 0) when the last handle and the last stream are gone.
class connection {
public:
    virtual ~connection() = default;

    /// The peer's proven identity.
    virtual const endpoint_id& peer() const noexcept = 0;
    /// Where the peer is now.
    virtual path_address remote_address() const = 0;
    /// The protocol. Valid as long as the connection.
    virtual std::string_view alpn() const noexcept = 0;
    /// Where everything of the connection runs.
    virtual executor get_executor() const = 0;

    /// Opens a stream; waits while the peer's stream limit or our own window budget is used up.
    /// \par Cancellation total.
    virtual awaitable<result<bidi_stream>> open_bi() = 0;
    /// The same for a stream that only we write to.
    virtual awaitable<result<std::unique_ptr<send_stream>>> open_uni() = 0;
    /// The next stream opened by the peer. \par Cancellation total: no stream is lost.
    virtual awaitable<result<bidi_stream>> accept_bi() = 0;
    /// The same for streams that only the peer writes to.
    virtual awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() = 0;

    /// Largest payload that send_datagram() takes now; changes with the path. 0: the peer takes none,
    /// or the connection has ended.
    virtual std::size_t max_datagram_payload() const noexcept = 0;
    /// Queues one unreliable message (RFC 9221); sent before stream data of the same moment, never
    /// repeated, and dropped unsent when the path shrinks below it. The bytes are not copied.
    /// \par Errors std::errc::message_size, std::errc::not_supported when the peer takes none,
    ///      `transport_errc::limit_reached` while the send queue is full, connection errors.
    virtual result<void> send_datagram(shared_bytes data) = 0;
    /// The next unreliable message of the peer. The queue is bounded: the oldest are dropped.
    /// \par Errors connection errors, once the queue is empty.
    /// \par Cancellation total: no message is lost.
    virtual awaitable<result<shared_bytes>> receive_datagram() = 0;

    /// Closes at once: every pending operation fails with `closed_locally`. Idempotent.
    virtual void close(std::uint64_t code, std::string_view reason) noexcept = 0;
    /// Waits until the connection has ended and says why. \par Cancellation total.
    virtual awaitable<close_reason> closed() = 0;
    /// Empty while the connection lives.
    virtual std::optional<close_reason> why_closed() const = 0;
    /// Counters up to now.
    virtual connection_statistics statistics() const = 0;
};

}  // namespace copse
