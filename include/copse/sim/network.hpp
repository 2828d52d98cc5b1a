// A network between machines of a world: links with latency, jitter, bandwidth, loss, duplication,
// reordering and an MTU; address translators of every kind; partitions that come and go.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/datagram.hpp>
#include <copse/core/result.hpp>
#include <copse/sim/rng.hpp>
#include <copse/sim/world.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace copse::sim {

/// One direction of a host's link to the network. Chances are thousandths of all datagrams.
struct link_options {
    std::chrono::nanoseconds latency = std::chrono::milliseconds(5);  ///< least time on the way
    std::chrono::nanoseconds jitter{0};  ///< added to the latency: a random part of it, order kept
    std::uint64_t bytes_per_second = 0;  ///< 0: without limit
    std::size_t queue_bytes = 256U << 10;  ///< waiting for a limited link; more is dropped
    unsigned loss = 0;                     ///< never arrives
    unsigned duplicate = 0;                ///< arrives twice
    unsigned reorder = 0;                  ///< overtaken by what is sent in the next `latency`
    unsigned corrupt = 0;  ///< one bit flipped (a real network's checksums let few of them through)
    std::size_t mtu = 1500;  ///< largest IP packet; larger ones are dropped without a word
    unsigned mark = 0;       ///< ECN-capable datagrams marked as having met congestion
};

/// How a translator maps and filters (the terms of RFC 3489, which say both at once).
enum class nat_kind : std::uint8_t {
    none,             ///< a public address
    full_cone,        ///< one mapping for a socket; anybody may send to it
    restricted,       ///< only addresses it has sent to
    port_restricted,  ///< only addresses and ports it has sent to
    symmetric,        ///< a mapping of its own for each destination, port-restricted
};

/// How often things happened to datagrams of a network.
struct network_statistics {
    std::uint64_t sent = 0;         ///< by programs
    std::uint64_t bytes = 0;        ///< of these
    std::uint64_t delivered = 0;    ///< into the queue of a socket, copies included
    std::uint64_t lost = 0;         ///< by chance, or by drop_all()
    std::uint64_t duplicated = 0;   ///< sent on twice
    std::uint64_t reordered = 0;    ///< held back
    std::uint64_t corrupted = 0;    ///< with one bit flipped
    std::uint64_t too_large = 0;    ///< for the MTU of a link
    std::uint64_t queue_full = 0;   ///< dropped before a slow link
    std::uint64_t partitioned = 0;  ///< sent where a partition is
    std::uint64_t filtered = 0;     ///< by a translator
    std::uint64_t nobody = 0;       ///< no such host, port, or it is down
    std::uint64_t marked = 0;       ///< as having met congestion
};

class network;

/// A machine's place in the network: addresses, links and sockets.
class host {
public:
    /// Made by network::add_host().
    host(network& n, machine& m, std::array<std::uint8_t, 4> ip, nat_kind nat);

    /// Whose place it is.
    [[nodiscard]] machine& computer() const noexcept { return machine_; }
    /// The address its sockets are bound to.
    [[nodiscard]] socket_address address(std::uint16_t port = 0) const noexcept;
    /// Moves to another address, as after a change of network: old sockets are cut off.
    void readdress(std::array<std::uint8_t, 4> ip);
    /// Forgets all mappings of its translator, as after its restart.
    void forget_mappings();

    /// Sockets of the current life that are open.
    [[nodiscard]] std::size_t open_sockets() const noexcept;
    /// A socket of the current life, bound to `port` (0: the next free one).
    /// \par Errors std::errc::address_in_use.
    result<std::unique_ptr<datagram_socket>> bind(std::uint16_t port = 0);
    /// Sends a datagram under any sender's name, as attackers may whose network lets them.
    /// \pre no translator.
    void forge(const socket_address& from, const socket_address& to, byte_view bytes);

    link_options up;    ///< from the host
    link_options down;  ///< to the host

private:
    friend class network;
    struct socket;
    struct port_state;
    struct mapping {
        std::uint16_t inside = 0;
        socket_address towards;  ///< symmetric: the destination it is for
        std::set<socket_address> allowed;
    };
    struct lane {
        std::chrono::nanoseconds free_at{0};  ///< when the last byte queued has left
        std::chrono::nanoseconds last{0};     ///< latest arrival in order
    };

    [[nodiscard]] bool holds(const port_state& p) const;

    network& network_;
    machine& machine_;
    std::array<std::uint8_t, 4> ip_;
    nat_kind nat_;
    std::array<std::uint8_t, 4> public_ip_;
    static constexpr std::uint16_t first_free_port = 49152;
    std::uint16_t next_port_ = first_free_port;
    std::uint16_t next_public_port_ = 20000;
    std::map<std::uint16_t, std::shared_ptr<port_state>> ports_;
    std::map<std::uint16_t, mapping> mappings_;  ///< by public port
    lane up_lane_;
    lane down_lane_;
};

/// All hosts and what is between them. \par Lifetime shorter than its world's, longer than sockets.
class network {
public:
    /// A network without hosts. \param w must outlive it.
    explicit network(world& w);
    network(const network&) = delete;
    network& operator=(const network&) = delete;

    /// Gives a machine an address: 10.0.x.y behind a translator, else public (198.18.x.y).
    host& add_host(machine& m, nat_kind nat = nat_kind::none);
    /// All hosts in the order in which they were added.
    [[nodiscard]] const std::vector<std::unique_ptr<host>>& hosts() const noexcept
    {
        return hosts_;
    }

    /// Cuts (or joins again) the way between two hosts, both directions.
    void partition(const host& a, const host& b, bool cut);
    /// The same for one direction: what the other sends still arrives.
    void partition_one_way(const host& from, const host& to, bool cut);
    /// Every datagram of what is under way now is lost.
    void drop_all() noexcept { ++epoch_; }

    /// Counts since the beginning.
    [[nodiscard]] const network_statistics& statistics() const noexcept { return statistics_; }

    /// Most datagrams that wait in a socket of a host; more are dropped.
    static constexpr std::size_t max_socket_queue = 4096;

private:
    friend class host;
    struct flight;
    void send(host& from, std::uint16_t port, const outgoing_datagrams& out);
    void send(host& from, const socket_address& name, const socket_address& to, std::uint8_t ecn,
              byte_view bytes);
    void send_one(host& from, flight f);
    void arrive(const flight& f);
    bool translate_out(host& from, flight& f);
    host* translate_in(flight& f);
    bool lane_delay(host::lane& lane, const link_options& o, std::size_t bytes,
                    std::chrono::nanoseconds start, std::chrono::nanoseconds& arrival);

    world& world_;
    rng random_;
    std::vector<std::unique_ptr<host>> hosts_;
    std::map<std::array<std::uint8_t, 4>, host*> by_ip_;
    std::set<std::pair<std::size_t, std::size_t>> cut_;  ///< machines: from, to
    network_statistics statistics_;
    std::uint64_t epoch_ = 0;
};

}  // namespace copse::sim
