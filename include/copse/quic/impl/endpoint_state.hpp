// The object behind an endpoint: sockets, routing table, deadlines, loops. Internal to quic/.
#pragma once

#include <copse/quic/impl/state.hpp>

#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace copse::quic {

namespace detail {

// What an endpoint itself needs: 8 sockets with 64 KiB each, two batches to send, 256 close packets.
inline constexpr std::size_t endpoint_bytes = 1U << 20;
// What a connection needs besides windows and queues: 64 KiB of ngtcp2's pools, 5 of ours, 15 of TLS
// until it is established (docs/components/quic.md has the measurement).
inline constexpr std::size_t connection_bytes = 96U << 10;
// How much is reserved of the program's memory at once.
inline constexpr std::size_t memory_step = 4U << 20;

// Flushes or receive rounds between two visits to the reactor, so that other work gets its turn.
inline constexpr unsigned rounds_per_yield = 8;

inline awaitable<void> yield()
{
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

}  // namespace detail

/// The endpoint's sockets, routing table, deadlines and loops.
struct endpoint::state : std::enable_shared_from_this<endpoint::state> {
    state(executor e, endpoint_options o);

    // Loops, owned by `work`.
    /// Until the socket at that index is another one.
    awaitable<void> receive_loop(std::size_t index, std::shared_ptr<datagram_socket> socket);
    awaitable<void> timer_loop();
    awaitable<void> flush_loop();

    void receive(std::size_t socket, const received_datagrams& in);
    void accept(std::size_t socket, byte_view datagram, const ngtcp2_path& path,
                const received_datagrams& in);
    void mark_dirty(detail::connection_state& c);
    void flush_dirty();
    void arm(detail::connection_state& c);
    /// Takes a connection out of the tables and keeps what is left of it for stragglers.
    void forget(detail::connection_state& c, detail::closing_connection record);
    void established(const std::shared_ptr<detail::connection_state>& c);
    /// Sends one datagram that no connection stands behind; nothing is kept of it.
    void answer(std::size_t socket, const received_datagrams& in, byte_view packet);
    /// Counts an answer that costs its cause nothing; false beyond the limit a second.
    bool may_answer(detail::timestamp now);
    void answer_version(std::size_t socket, const ngtcp2_version_cid& ids,
                        const received_datagrams& in);
    void refuse(std::size_t socket, const ngtcp2_pkt_hd& header, const received_datagrams& in,
                std::uint64_t code);
    void send_retry(std::size_t socket, const ngtcp2_pkt_hd& header, const ngtcp2_path& path,
                    const received_datagrams& in);
    /// False when the socket is full: the datagrams are kept and nothing more may be sent now.
    bool send(std::size_t socket, const outgoing_datagrams& out);
    /// Takes over from the sockets so far: connections that we dialled move, the others stay.
    result<void> take_over(std::vector<std::unique_ptr<datagram_socket>> fresh);
    /// Closes the retired sockets that nothing uses any more.
    void release_retired(detail::timestamp now);
    /// Sends the close packets that a full socket held up.
    void send_owed_closes();
    void count_sent(const outgoing_datagrams& out);
    [[nodiscard]] std::vector<std::string> alpns() const;
    [[nodiscard]] std::optional<std::size_t> socket_for(const socket_address& remote) const;
    /// The socket that sends from `local`, after a migration maybe another than at first.
    [[nodiscard]] std::size_t socket_at(const socket_address& local, std::size_t first) const;

    const executor ex;
    const endpoint_options options;
    std::unique_ptr<detail::tls_context> tls;
    /// By slot; empty where a socket was retired and closed.
    std::vector<std::shared_ptr<datagram_socket>> sockets;
    /// Slots left behind, and until when they stay.
    std::map<std::size_t, detail::timestamp> retired;
    bool own_sockets = false;  ///< bound by us, not handed in
    std::array<std::byte, 32> reset_secret{};
    std::array<std::uint8_t, 32> token_secret{};
    memory_share own_memory;  ///< of the buffers below, of loops, and of close packets
    budget receive_budget;
    budget send_budget;
    budget connection_memory;  ///< `connection_bytes` for each
    budget places;             ///< of connections, both directions and handshakes together
    budget handshake_places;   ///< of incoming ones that are pending
    scope work;
    event flush_wanted;
    event progress;  ///< a connection ended, or a full socket took what waited
    timer deadline_timer;
    std::uint64_t next_serial = 1;
    std::map<std::uint64_t, std::shared_ptr<detail::connection_state>> connections;
    std::map<detail::connection_id, detail::connection_state*> routes;
    std::set<std::pair<detail::timestamp, std::uint64_t>> deadlines;
    std::deque<std::shared_ptr<detail::connection_state>> dirty;
    std::vector<std::shared_ptr<listener::state>> listeners;
    /// What one source of incoming connections holds.
    struct source_places {
        std::size_t connections = 0;  ///< handshakes included
        std::size_t handshakes = 0;
    };
    std::map<socket_address, source_places> sources;
    std::size_t dials = 0;  ///< outgoing, pending
    bool flooded = false;
    detail::timestamp answers_since = 0;
    unsigned answers = 0;
    endpoint_statistics counted;

    std::map<std::uint64_t, detail::closing_connection> closing;
    std::map<detail::connection_id, std::uint64_t> closing_routes;
    static constexpr std::size_t max_closing = 256;
    void expire_closing(detail::timestamp now);

    /// Batch under construction or waiting for a writable socket.
    std::vector<std::byte> slab = std::vector<std::byte>(65536);
    struct blocked_send {
        blocked_send() noexcept {
        }  // clang: else not default constructible while `state` is incomplete

        std::size_t socket = 0;
        std::vector<std::byte> bytes;
        outgoing_datagrams meta;
    };
    std::optional<blocked_send> blocked;
    bool draining = false;  ///< takes no new connections
    bool ending = false;    ///< close() was called
    bool closing_down = false;
    bool closed = false;
};

}  // namespace copse::quic
