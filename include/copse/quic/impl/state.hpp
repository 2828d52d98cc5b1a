// The objects behind endpoint, connection and streams. Internal to quic/.
//
// Rules: one executor; no ngtcp2 call that writes or deletes a connection inside one of its callbacks
// (`reading_` is set then; such wishes are kept and acted on when the call returned).
#pragma once

#include <copse/core/clock.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/datagram.hpp>
#include <copse/core/event.hpp>
#include <copse/core/scope.hpp>
#include <copse/core/transport.hpp>
#include <copse/quic/detail/black_hole.hpp>
#include <copse/quic/detail/peer_moves.hpp>
#include <copse/quic/detail/post_handshake.hpp>
#include <copse/quic/detail/retired_ids.hpp>
#include <copse/quic/detail/unproven_address.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/quic/impl/ngtcp2_api.hpp>
#include <copse/quic/impl/tls.hpp>
#include <copse/quic/impl/transport_memory.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <compare>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace copse::quic::detail {

class connection_state;

using timestamp = std::uint64_t;  // nanoseconds of the monotonic clock, as ngtcp2 wants them
inline constexpr timestamp never = UINT64_MAX;

inline timestamp timestamp_now() noexcept
{
    return static_cast<timestamp>(monotonic_clock::now().time_since_epoch().count());
}

/// A connection id as key of the routing table. Ordered: peers choose ids and could aim at a hash.
struct connection_id {
    std::array<std::uint8_t, NGTCP2_MAX_CIDLEN> bytes{};
    std::uint8_t length = 0;

    connection_id() = default;
    connection_id(const std::uint8_t* data, std::size_t size) noexcept
        : length(static_cast<std::uint8_t>(size))
    {
        for (std::size_t i = 0; i < size; ++i) bytes[i] = data[i];
    }
    std::strong_ordering operator<=>(const connection_id&) const = default;
};

/// Length of the ids we issue: a worker index (0 so far), then random bytes.
inline constexpr std::size_t connection_id_length = 8;

/// What is left of a connection that ended: its close packet answers stragglers, or without one they
/// are swallowed (RFC 9000 section 10.2).
struct closing_connection {
    std::set<connection_id> ids;
    std::vector<std::byte> packet;  ///< empty: the peer closed
    std::size_t socket = 0;
    socket_address remote;
    socket_address local;
    std::uint64_t heard = 0;
    unproven_address proof;  ///< bounds the answers
    timestamp until = 0;     ///< 0: nothing is left
    bool owed = false;       ///< the packet could not be sent yet
};

/// Both directions of one stream. Lives until both handles are dropped and ngtcp2 closed it.
struct stream_state {
    stream_state(const executor& ex, std::int64_t stream_id)
        : id(stream_id), send_changed(ex), recv_changed(ex)
    {}

    const std::int64_t id;
    bool closed = false;      ///< ngtcp2 forgot it: its id must not be used any more
    bool unaccepted = false;  ///< opened by the peer, not yet taken by accept_bi() or accept_uni()

    // Sending. chunks[0] starts at `base`; bytes before `acked` are released.
    event send_changed;
    std::deque<shared_bytes> chunks;
    credit room;           ///< what `chunks` cost, of the connection's send buffer
    bool starved = false;  ///< a writer waits for room there
    std::uint64_t base = 0;
    std::uint64_t acked = 0;
    std::uint64_t queued_end = 0;   ///< offset behind the last byte queued
    std::uint64_t sent_end = 0;     ///< offset behind the last byte given to ngtcp2
    std::size_t next_chunk = 0;     ///< chunk that holds sent_end
    std::size_t next_position = 0;  ///< and where in it
    bool fin_wanted = false;
    bool fin_sent = false;
    bool fin_alone = false;        ///< the FIN went in a frame of its own
    bool fin_frame_acked = false;  ///< that frame was acknowledged
    bool fin_acked = false;        ///< as was everything before it
    bool send_reset = false;       ///< by us
    bool send_stopped = false;     ///< by the peer
    std::optional<std::uint64_t> stop_code;
    bool ready = false;  ///< in the connection's list of streams with something to send
    bool send_handle = false;

    // Receiving.
    event recv_changed;
    std::vector<std::byte> queue;  ///< received, not accepted: [head, size)
    std::size_t head = 0;
    std::uint64_t received = 0;
    std::uint64_t uncredited = 0;  ///< handed out, credit not yet returned
    bool fin_received = false;
    bool recv_stopped = false;  ///< by us, or settled after an end
    std::optional<std::uint64_t> reset_code;
    std::error_code sink_error;
    std::uint64_t sink_stop_code = 0;
    stream_sink* sink = nullptr;
    credit window;  ///< reserved of the connection's local windows
    bool recv_handle = false;

    [[nodiscard]] std::size_t queued() const noexcept { return queue.size() - head; }
    [[nodiscard]] bool sends() const noexcept
    {
        return !send_reset && !send_stopped && !closed &&
               (sent_end < queued_end || (fin_wanted && !fin_sent));
    }
};

/// What keeps a connection from sending.
enum class send_limit : unsigned char {
    none,  ///< sending, or the socket is full
    congestion,
    connection_credit,
    stream_credit,
    application,
};

/// Datagrams of one connection, made when the first is sent, received or waited for.
struct datagram_queues {
    explicit datagram_queues(const executor& ex) : changed(ex) {}

    event changed;
    std::deque<shared_bytes> out;
    std::deque<shared_bytes> in;
    std::size_t out_bytes = 0;  ///< in the measure of datagram_cost()
    std::size_t in_bytes = 0;
    credit out_reserved;  ///< of the endpoint's budgets, from the first datagram on
    credit in_reserved;
    bool turn = true;             ///< the next packet is theirs, though streams have data too
    std::uint64_t in_flight = 0;  ///< sent, neither acknowledged nor lost
    bool hurried = false;         ///< keep-alives follow the round trip
};

/// What a connection keeps of the endpoint's send budget: it never waits for others.
inline constexpr std::size_t least_send_room = 64U << 10;

/// What a part of a stream's data counts while it is queued.
inline std::size_t chunk_cost(std::size_t bytes) noexcept
{
    return bytes + 64;
}

/// What a queued datagram counts: an empty one is not free.
inline std::size_t datagram_cost(byte_view datagram) noexcept
{
    return datagram.size() + 64;
}

}  // namespace copse::quic::detail

namespace copse::quic {

struct listener::state {
    state(const executor& ex, std::size_t backlog)
        : changed(ex), places("quic: accept backlog", backlog, limit_unit::count)
    {}

    std::string alpn;
    event changed;
    budget places;
    /// An accepted connection and what it is known by.
    struct accepted {
        std::uint64_t serial = 0;
        std::shared_ptr<connection> handle;
        credit place;
    };
    std::deque<accepted> waiting;
    bool closed = false;
};

}  // namespace copse::quic

namespace copse::quic::detail {

/// One connection: ngtcp2's state, its TLS session and the streams.
class connection_state : public std::enable_shared_from_this<connection_state> {
public:
    connection_state(endpoint::state& owner, std::uint64_t serial, bool server);
    connection_state(const connection_state&) = delete;
    connection_state& operator=(const connection_state&) = delete;
    ~connection_state();

    result<void> start_client(const endpoint_id& peer, std::string_view alpn, std::size_t socket,
                              const socket_address& remote);
    result<void> start_server(const ngtcp2_pkt_hd& header, std::size_t socket,
                              const socket_address& local, const socket_address& remote,
                              std::span<const std::string> alpns, const ngtcp2_cid* retried);

    // Driven by the endpoint.
    void receive(byte_view datagram, const ngtcp2_path& path, std::uint8_t ecn, timestamp now);
    void expire(timestamp now);
    /// Writes what may be sent, at most `batches` batches. True when there may be more at once.
    bool flush(unsigned batches);
    [[nodiscard]] timestamp expiry() const;
    [[nodiscard]] timestamp next_deadline() const;
    /// Goes on through another socket of the endpoint, as soon as ngtcp2 allows it. Empty: stays, also
    /// if it was to move before.
    void move_to(std::optional<std::size_t> socket);
    [[nodiscard]] std::size_t socket() const noexcept { return socket_; }

    // Streams and closing, called by handles.
    std::shared_ptr<stream_state> open_stream(bool bidirectional, std::error_code& why);
    /// Queues at most `most` of `data`, as there is room. \return how much; when 0, `send_changed` tells
    /// of room.
    std::size_t queue_data(const std::shared_ptr<stream_state>& s, const shared_bytes& data,
                           std::size_t most);
    void want_send(stream_state& s);
    void reset_stream(stream_state& s, std::uint64_t code);
    void stop_stream(stream_state& s, std::uint64_t code);
    void return_credit(stream_state& s, std::size_t bytes);
    std::size_t grow_window(stream_state& s, std::size_t bytes);
    void feed_sink(stream_state& s);
    void drop_handle(stream_state& s, bool sending);
    void accepted(stream_state& s);
    void close(std::uint64_t code, std::string_view reason, bool application = true);

    // Datagrams, called by handles.
    [[nodiscard]] std::size_t max_datagram_payload() const noexcept;
    /// UDP payload that the path carries, as far as is known.
    [[nodiscard]] std::size_t path_payload() const noexcept;
    result<void> send_datagram(shared_bytes data);
    datagram_queues& datagrams();

    [[nodiscard]] bool established() const noexcept { return established_; }
    [[nodiscard]] connection_statistics statistics() const;

    // ngtcp2's callbacks.
    int on_handshake_completed();
    int on_late_crypto(byte_view data);
    void on_id_activated() noexcept { ++ids_activated_; }
    void on_path_validated(bool works) noexcept
    {
        moves_.validated(works);
        path_failed_ = path_failed_ || !works;
    }
    int on_stream_data(std::uint32_t flags, std::int64_t id, byte_view data, stream_state* s);
    int on_stream_open(std::int64_t id);
    int on_stream_close(std::uint32_t flags, std::int64_t id, std::uint64_t code, stream_state* s);
    int on_stream_reset(std::uint64_t code, stream_state* s);
    void on_receiving_end(std::int64_t id);
    int on_acked(std::uint64_t offset, std::uint64_t length, stream_state* s);
    int on_new_connection_id(ngtcp2_cid* cid, std::uint8_t* token, std::size_t length);
    void on_retired_connection_id(const ngtcp2_cid& cid);
    void on_peer_stream_limit() { open_changed_.notify_all(); }
    void on_stream_window(stream_state* s);
    void on_datagram(byte_view data);
    [[nodiscard]] bool may_write_datagrams() const;
    void hurry_datagrams();
    void on_lost_datagram(std::uint64_t size);
    void on_acked_datagram(std::uint64_t size);

    endpoint::state* owner_;  ///< null once the connection has ended
    const std::uint64_t serial_;
    const bool server_;
    const executor ex_;
    event established_changed_;
    event open_changed_;
    event incoming_changed_;
    event closed_changed_;
    std::deque<std::shared_ptr<stream_state>> incoming_bi_;
    std::deque<std::shared_ptr<stream_state>> incoming_uni_;
    std::unique_ptr<datagram_queues> datagrams_;
    std::optional<close_reason> why_;
    endpoint_id peer_id_;
    std::string alpn_;
    socket_address remote_;
    socket_address source_;  ///< of an incoming connection: whom its place is counted for
    /// Of an outgoing one: set by the first attempt of a dial that is established.
    std::shared_ptr<bool> race_won_;
    std::unique_ptr<qlog_sink> qlog_;
    gnutls_session_t session_ = nullptr;  ///< null again when the handshake is complete
    post_handshake late_;
    credit place_;             ///< among the connections of the endpoint
    credit handshake_place_;   ///< of an incoming one, until it is established
    bool dirty_ = false;       ///< in the endpoint's list of connections to flush
    bool no_memory_ = false;   ///< a callback found none
    timestamp armed_ = never;  ///< its entry in the endpoint's deadlines

private:
    void start(ngtcp2_conn* conn);
    void start_qlog(ngtcp2_settings& settings, const ngtcp2_cid& original_id);
    [[nodiscard]] send_limit what_limits(bool datagrams_wait, bool stream_waits) const;
    void limited_by(send_limit what, timestamp now);
    void settle_receive(stream_state& s);
    void release_acked(stream_state& s);
    void drop_unsent(stream_state& s);
    void drop_chunks(stream_state& s);
    result<void> reserve();
    [[nodiscard]] std::size_t send_room(std::size_t wanted) noexcept;
    void release_room(stream_state& s, std::size_t cost);
    void feed_starved();
    void settle_ends();
    void notice_stops();
    void free_place(std::int64_t id);
    void after_read(bool own_id);
    void try_move();
    /// Time as this connection tells it to ngtcp2, where going back is an error: one stamp serves a batch
    /// of datagrams, and some of what they cause takes a later one.
    timestamp forward(timestamp now) noexcept { return latest_ = std::max(latest_, now); }
    void follow_peer(bool own_id);
    [[nodiscard]] bool may_follow(byte_view datagram, const socket_address& from, timestamp now);
    void fail(int library_error);
    closing_connection write_close(const native_close& native);
    void end(close_reason why, closing_connection record = {});
    void credit_stream(stream_state& s, std::size_t bytes);
    std::shared_ptr<stream_state> adopt(std::int64_t id);
    struct batch;
    bool write_packets(batch& out, batch& carry, timestamp now);
    ngtcp2_ssize write_datagrams(ngtcp2_path& path, ngtcp2_pkt_info& info, byte_span room,
                                 timestamp now);
    void send_batch(const batch& b, byte_view bytes);

    tls_peer peer_;
    ngtcp2_crypto_conn_ref ref_{};
    transport_memory memory_;
    std::size_t most_in_flight_ = 0;  ///< bytes, since memory_ is beyond what is free
    [[nodiscard]] std::size_t memory_allowed() noexcept;
    ngtcp2_conn* conn_ = nullptr;
    std::size_t socket_ = 0;
    std::optional<std::size_t> next_socket_;  ///< where to move when that is allowed
    socket_address local_;
    unproven_address proof_;          ///< of the address that a server's handshake is with
    std::uint64_t kept_streams_ = 0;  ///< of the peer, over, but not for ngtcp2 0.12
    peer_moves moves_;
    retired_ids peer_ids_;
    unsigned ids_activated_ = 0;  ///< of the peer's, by the packet that is being read
    bool path_failed_ = false;    ///< the peer may be back where it was
    std::set<connection_id> ids_;
    std::map<std::int64_t, std::shared_ptr<stream_state>> streams_;
    std::deque<std::shared_ptr<stream_state>> ready_;
    std::vector<std::shared_ptr<stream_state>> failed_sinks_;
    std::deque<std::shared_ptr<stream_state>> starved_;  ///< whose writers wait for room
    budget windows_;           ///< what the streams we opened may hold together
    budget sending_;           ///< what the streams' chunks may cost together
    credit send_reserved_;     ///< of the endpoint's budget: at least what they cost
    credit state_reserved_;    ///< of the endpoint's budget: what the connection itself takes
    credit reserved_;          ///< of the endpoint's budget: all credit ever given to the peer
    std::size_t granted_ = 0;  ///< connection credit beyond the first window
    std::size_t credit_since_flush_ = 0;
    bool established_ = false;
    bool completed_now_ = false;
    bool reading_ = false;
    bool heard_ = false;          ///< a datagram came in since the last flush
    bool ends_in_doubt_ = false;  ///< a FIN may have been acknowledged unseen
    std::optional<close_reason> close_wanted_;
    black_hole path_;
    connection_statistics counted_;  ///< what is counted here; the rest is asked for
    send_limit limit_ = send_limit::none;
    timestamp limited_since_ = 0;
    timestamp latest_ = 0;  ///< see forward()
};

}  // namespace copse::quic::detail

// Connections call their endpoint.
#include <copse/quic/impl/endpoint_state.hpp>
