// The state of both ends of a connection in memory. Internal to sim/.
//
// What one end wants the other to know is kept as flags and amounts of its streams (so it needs no
// queue and no limit), and a step takes one of them and calls the other end. Steps are posted.
#pragma once

#include <copse/core/credit.hpp>
#include <copse/core/event.hpp>
#include <copse/sim/memory_transport.hpp>
#include <copse/sim/rng.hpp>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace copse::sim::detail {

class memory_end;

/// What a queued datagram counts: an empty one is not free.
inline std::size_t datagram_cost(const shared_bytes& datagram) noexcept
{
    return datagram.bytes.size() + 64;
}

/// Longest close reason that is passed on, as in quic/.
inline constexpr std::size_t max_reason = 256;

/// Most stream data that goes out ahead of a close.
inline constexpr std::size_t max_flight = 64U << 10;

/// What is still told of a stream after this end has closed.
struct last_words {
    std::uint64_t id = 0;
    std::vector<std::byte> data;
    std::size_t told = 0;
    bool fin = false;
    std::optional<std::uint64_t> reset;
};

/// One end's view of a stream. Lives until its handles are dropped and both directions have ended.
struct memory_stream {
    memory_stream(const executor& ex, std::uint64_t stream_id)
        : id(stream_id), send_changed(ex), recv_changed(ex)
    {}

    const std::uint64_t id;  ///< as in RFC 9000 section 2.1
    bool closed = false;     ///< both directions ended, or the connection did
    bool unaccepted = false;
    bool listed = false;  ///< in the list of streams that have something to tell

    // Sending.
    event send_changed;
    std::deque<shared_bytes> chunks;  ///< not acknowledged; the first starts at `base`
    std::uint64_t base = 0;
    std::uint64_t acked = 0;
    std::uint64_t queued_end = 0;   ///< offset behind the last byte queued
    std::uint64_t sent_end = 0;     ///< offset behind the last byte delivered
    std::size_t next_chunk = 0;     ///< chunk that holds sent_end
    std::size_t next_position = 0;  ///< and where in it
    std::uint64_t send_limit = 0;   ///< offset up to which the other end gave credit
    bool fin_wanted = false;
    bool fin_sent = false;
    bool fin_acked = false;
    bool send_reset = false;    ///< by us
    bool send_stopped = false;  ///< by the other end
    bool send_ended = false;    ///< the end or the reset is acknowledged
    std::optional<std::uint64_t> stop_code;
    std::optional<std::uint64_t> tell_reset;

    // Receiving.
    event recv_changed;
    std::vector<std::byte> queue;  ///< received, not accepted: [head, size)
    std::size_t head = 0;
    std::uint64_t received = 0;
    std::uint64_t uncredited = 0;  ///< handed out, credit not yet returned
    std::uint64_t returned = 0;    ///< credit that the other end does not know of yet
    std::size_t first_window = 0;
    bool fin_received = false;
    bool recv_stopped = false;  ///< by us, or settled after an end
    bool recv_ended = false;    ///< the end or the reset has arrived
    std::optional<std::uint64_t> reset_code;
    std::error_code sink_error;
    stream_sink* sink = nullptr;
    credit window;
    std::optional<std::uint64_t> tell_stop;
    bool tell_ack = false;
    bool tell_end_ack = false;

    [[nodiscard]] std::size_t queued() const noexcept { return queue.size() - head; }
    [[nodiscard]] bool bidirectional() const noexcept { return (id & 2) == 0; }
    [[nodiscard]] bool has_data() const noexcept
    {
        return !send_reset && !send_stopped && (sent_end < queued_end || (fin_wanted && !fin_sent));
    }
    /// Worth a message: less is kept back, as QUIC implementations do.
    [[nodiscard]] bool window_due() const noexcept
    {
        return returned > 0 && returned >= first_window / 2 && !fin_received && !recv_stopped;
    }
};

/// One end of the pair: everything but the handles.
class memory_end {
public:
    memory_end(executor ex, memory_link::state& link, const memory_end_options& own, bool dialler);
    /// What the other end grants from the start.
    void meet(memory_end& peer);

    std::shared_ptr<memory_stream> open_stream(bool bidirectional, std::error_code& why);
    void queue_data(memory_stream& s, shared_bytes data);
    void finish(memory_stream& s);
    void reset_stream(memory_stream& s, std::uint64_t code);
    void stop_stream(memory_stream& s, std::uint64_t code);
    void return_credit(memory_stream& s, std::uint64_t bytes);
    std::size_t grow_window(memory_stream& s, std::size_t bytes);
    void feed_sink(memory_stream& s);
    void drop_handle(memory_stream& s, bool sending);
    void accepted(memory_stream& s);
    result<void> send_datagram(shared_bytes data);
    [[nodiscard]] std::size_t max_datagram_payload() const noexcept;
    shared_bytes take_datagram();
    void close(std::uint64_t code, std::string_view reason);
    void end(close_reason why);
    /// The end without a word to the other end.
    void lose(close_reason why);

    /// Tells the other end one thing. False when there is nothing to tell.
    bool step(rng& random, std::size_t max_piece);
    [[nodiscard]] const connection_statistics& statistics() const noexcept { return statistics_; }
    [[nodiscard]] std::error_code closed_error() const
    {
        return why_ ? why_->error : make_error_code(transport_errc::closed_locally);
    }

    const executor ex_;
    const memory_end_options own_;
    memory_end* peer_ = nullptr;  ///< lives as long
    event datagrams_changed_;
    event open_changed_;
    event incoming_changed_;
    event closed_changed_;
    std::deque<std::shared_ptr<memory_stream>> incoming_bi_;
    std::deque<std::shared_ptr<memory_stream>> incoming_uni_;
    std::deque<shared_bytes> datagrams_in_;
    std::optional<close_reason> why_;
    bool stepping_ = false;  ///< a step is posted

private:
    std::shared_ptr<memory_stream> adopt(std::uint64_t id, bool local);
    std::shared_ptr<memory_stream> find_or_open(std::uint64_t id);
    void tell(memory_stream& s);
    [[nodiscard]] bool has_news(const memory_stream& s) const noexcept;
    bool step_connection();
    bool step_streams(rng& random, std::size_t max_piece);
    void step_stream(memory_stream& s, rng& random, std::size_t max_piece);
    void step_data(memory_stream& s, rng& random, std::size_t max_piece);
    void keep_last_flight();
    void step_closing(rng& random, std::size_t max_piece);
    void settle_receive(memory_stream& s);
    void drop_unsent(memory_stream& s);
    void drop_chunks(memory_stream& s);
    void release_acked(memory_stream& s);
    void credit_connection(std::uint64_t bytes);
    void close_if_ended(memory_stream& s);
    void free_place(const memory_stream& s);

    // What the other end tells.
    void on_data(std::uint64_t id, byte_view data, bool fin);
    void on_reset(std::uint64_t id, std::uint64_t code);
    void on_stop(std::uint64_t id, std::uint64_t code);
    void on_window(std::uint64_t id, std::uint64_t bytes);
    void on_ack(std::uint64_t id, std::uint64_t offset);
    void on_end_ack(std::uint64_t id);
    void on_datagram(byte_view data);
    void on_connection_window(std::uint64_t bytes);
    void on_stream_places(bool bidirectional, std::uint64_t count);

    memory_link::state& link_;
    const bool dialler_;
    budget windows_;  ///< what the streams we opened may hold together
    std::map<std::uint64_t, std::shared_ptr<memory_stream>> streams_;
    std::deque<std::shared_ptr<memory_stream>> news_;  ///< streams with something to tell
    std::uint64_t granted_ = 0;  ///< connection credit beyond the first window
    std::uint64_t send_credit_ = 0;
    std::uint64_t returned_ = 0;              ///< credit that the other end does not know of yet
    std::array<std::uint64_t, 2> next_id_{};  ///< bidirectional, unidirectional
    std::array<std::uint64_t, 2> may_open_{};
    std::array<std::uint64_t, 2> freed_{};  ///< places that the other end does not know of yet
    std::deque<shared_bytes> datagrams_out_;
    std::size_t datagrams_out_bytes_ = 0;
    std::size_t datagrams_in_bytes_ = 0;
    std::deque<last_words> flight_;
    bool tell_close_ = false;  ///< behind the flight
    connection_statistics statistics_;
};

}  // namespace copse::sim::detail

namespace copse::sim {

/// Both ends and the seeded choices between them. Kept alive by handles and posted steps.
struct memory_link::state : std::enable_shared_from_this<memory_link::state> {
    state(executor e, const memory_transport_options& o);

    /// Posts a step of `end` unless one is posted.
    void wake(detail::memory_end& end);

    const executor ex;
    const std::string alpn;
    const std::size_t max_piece;
    rng random;
    std::uint64_t deliveries = 0;
    detail::memory_end dialler;
    detail::memory_end acceptor;
};

}  // namespace copse::sim
