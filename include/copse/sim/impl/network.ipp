// Datagrams from socket to socket: translators at both ends, two links, and what they do to a datagram.
#pragma once

#include <copse/core/event.hpp>
#include <copse/sim/network.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <deque>
#include <utility>

namespace copse::sim {

namespace detail {
inline constexpr std::size_t ip_and_udp_header = 28;
inline constexpr std::size_t max_mappings = 256;
}  // namespace detail

/// A datagram under way.
struct network::flight {
    std::vector<std::byte> bytes;
    socket_address from;
    socket_address to;
    std::uint8_t ecn = 0;
    std::uint64_t epoch = 0;
};

// ---- sockets --------------------------------------------------------------------------------------

/// What the network knows of a socket. It stays when a crash takes the program's side of it.
struct host::port_state {
    port_state(host& h, std::uint16_t p)
        : life(h.machine_.life()), port(p), local(h.address(p)), readable(life.get_executor())
    {}

    incarnation life;
    std::uint16_t port;
    socket_address local;
    event readable;
    std::deque<network::flight> queue;
    bool closed = false;

    /// Whether what it sends and gets concerns the world.
    [[nodiscard]] bool open() const noexcept { return !closed && life.alive(); }
};

struct host::socket final : datagram_socket {
    socket(host& h, std::shared_ptr<port_state> p) : owner(h), at(std::move(p)) {}
    ~socket() override { close(); }

    socket_address local_address() const noexcept override { return at->local; }

    result<received_datagrams> try_receive(byte_span buffer) override
    {
        if (at->closed) return make_error_code(std::errc::bad_file_descriptor);
        if (at->queue.empty()) return make_error_code(std::errc::operation_would_block);
        const network::flight f = std::move(at->queue.front());
        at->queue.pop_front();
        std::memcpy(buffer.data(), f.bytes.data(), f.bytes.size());
        received_datagrams out;
        out.bytes = buffer.first(f.bytes.size());
        out.segment_size = f.bytes.size();
        out.from = f.from;
        out.to = at->local;
        out.ecn = f.ecn;
        return out;
    }

    result<void> try_send(const outgoing_datagrams& out) override
    {
        if (at->closed) return make_error_code(std::errc::bad_file_descriptor);
        // After a crash or on an address that is gone it sends into the void.
        if (at->open() && owner.holds(*at)) owner.network_.send(owner, at->port, out);
        return outcome::success();
    }

    awaitable<std::error_code> wait_readable() override
    {
        port_state& p = *at;
        while (p.queue.empty() && !p.closed) {
            const std::error_code ec = co_await p.readable.wait();
            if (ec) co_return ec;
        }
        if (p.closed) co_return make_error_code(std::errc::operation_canceled);
        co_return std::error_code{};
    }
    awaitable<std::error_code> wait_writable() override { co_return std::error_code{}; }

    std::size_t max_send_segments() const noexcept override { return 16; }
    std::size_t send_buffer_size() const noexcept override { return 1U << 20; }
    std::size_t receive_buffer_size() const noexcept override
    {
        return network::max_socket_queue * 1500;
    }

    void close() noexcept override
    {
        if (std::exchange(at->closed, true)) return;
        at->queue.clear();
        at->readable.notify_all();
        at->life.wake();
        if (at->life.alive() && owner.holds(*at)) owner.ports_.erase(at->port);
    }

    host& owner;  ///< not to be touched after the crash: the network may be gone
    std::shared_ptr<port_state> at;
};

bool host::holds(const port_state& p) const
{
    const auto found = ports_.find(p.port);
    return found != ports_.end() && found->second.get() == &p;
}

// ---- hosts ----------------------------------------------------------------------------------------

host::host(network& n, machine& m, std::array<std::uint8_t, 4> ip, nat_kind nat)
    : network_(n), machine_(m), ip_(ip), nat_(nat), public_ip_(ip)
{}

socket_address host::address(std::uint16_t port) const noexcept
{
    return socket_address::v4(ip_, port);
}

void host::readdress(std::array<std::uint8_t, 4> ip)
{
    network_.world_.record("readdress", machine_.name());
    network_.by_ip_.erase(public_ip_);
    if (nat_ == nat_kind::none) public_ip_ = ip;
    network_.by_ip_[public_ip_] = this;
    ip_ = ip;
    ports_.clear();
    mappings_.clear();
}

void host::forget_mappings()
{
    network_.world_.record("forget mappings", machine_.name());
    mappings_.clear();
}

std::size_t host::open_sockets() const noexcept
{
    std::size_t open = 0;
    for (const auto& [port, at] : ports_) open += at->open() ? 1U : 0U;
    return open;
}

result<std::unique_ptr<datagram_socket>> host::bind(std::uint16_t port)
{
    const auto taken = [this](std::uint16_t p) {
        const auto at = ports_.find(p);
        return at != ports_.end() && at->second->open();
    };
    if (port == 0) {
        while (taken(next_port_)) ++next_port_;
        port = next_port_++;
        if (next_port_ == 0) next_port_ = first_free_port;
    } else if (taken(port)) {
        return make_error_code(std::errc::address_in_use);
    }
    auto& at = ports_[port];
    at = std::make_shared<port_state>(*this, port);
    return std::unique_ptr<datagram_socket>(std::make_unique<socket>(*this, at));
}

void host::forge(const socket_address& from, const socket_address& to, byte_view bytes)
{
    assert(nat_ == nat_kind::none);
    network_.send(*this, from, to, 0, bytes);
}

// ---- the network ----------------------------------------------------------------------------------

network::network(world& w) : world_(w), random_(w.fork("network")) {}

host& network::add_host(machine& m, nat_kind nat)
{
    const auto n = hosts_.size() + 1;
    const auto high = static_cast<std::uint8_t>(n >> 8);
    const auto low = static_cast<std::uint8_t>(n);
    const std::array<std::uint8_t, 4> outside{198, 18, high, low};
    const std::array<std::uint8_t, 4> inside{10, 0, high, low};
    hosts_.push_back(
        std::make_unique<host>(*this, m, nat == nat_kind::none ? outside : inside, nat));
    hosts_.back()->public_ip_ = outside;
    by_ip_[outside] = hosts_.back().get();
    return *hosts_.back();
}

void network::partition(const host& a, const host& b, bool cut)
{
    partition_one_way(a, b, cut);
    partition_one_way(b, a, cut);
}

void network::partition_one_way(const host& from, const host& to, bool cut)
{
    world_.record(cut ? "cut" : "join", from.machine_.name() + " " + to.machine_.name());
    const std::pair way(from.machine_.index(), to.machine_.index());
    if (cut) cut_.insert(way);
    else cut_.erase(way);
}

void network::send(host& from, std::uint16_t port, const outgoing_datagrams& out)
{
    for (byte_view rest = out.bytes; !rest.empty();) {
        const byte_view one = rest.first(std::min(rest.size(), out.segment_size));
        rest = rest.subspan(one.size());
        send(from, from.address(port), out.to, out.ecn, one);
    }
}

void network::send(host& from, const socket_address& name, const socket_address& to,
                   std::uint8_t ecn, byte_view bytes)
{
    flight f;
    f.bytes.assign(bytes.begin(), bytes.end());
    f.from = name;
    f.to = to;
    f.ecn = ecn;
    f.epoch = epoch_;
    ++statistics_.sent;
    statistics_.bytes += bytes.size();
    world_.record("send", from.machine_.name(), bytes);
    send_one(from, std::move(f));
}

// When a datagram that enters a link at `start` comes out. False: its queue is full.
bool network::lane_delay(host::lane& lane, const link_options& o, std::size_t bytes,
                         std::chrono::nanoseconds start, std::chrono::nanoseconds& arrival)
{
    arrival = start;
    if (o.bytes_per_second > 0) {
        const auto time_for = [&](std::uint64_t n) {
            return std::chrono::nanoseconds(n * 1'000'000'000U / o.bytes_per_second);
        };
        lane.free_at = std::max(lane.free_at, start);
        if (lane.free_at - start > time_for(o.queue_bytes)) return false;
        lane.free_at += time_for(bytes + detail::ip_and_udp_header);
        arrival = lane.free_at;
    }
    arrival += o.latency;
    if (o.jitter.count() > 0) {
        arrival +=
            std::chrono::nanoseconds(random_.below(static_cast<std::uint64_t>(o.jitter.count())));
    }
    if (random_.happens(o.reorder)) {
        ++statistics_.reordered;
        arrival += o.latency;
    } else {
        arrival = std::max(arrival, lane.last);
        lane.last = arrival;
    }
    return true;
}

void network::send_one(host& from, flight f)
{
    if (f.bytes.size() + detail::ip_and_udp_header > from.up.mtu) {
        ++statistics_.too_large;
        return;
    }
    if (!translate_out(from, f)) return;
    host* const to = translate_in(f);
    if (!to) return;
    if (cut_.contains({from.machine_.index(), to->machine_.index()})) {
        ++statistics_.partitioned;
        return;
    }
    if (f.bytes.size() + detail::ip_and_udp_header > to->down.mtu) {
        ++statistics_.too_large;
        return;
    }
    for (const link_options* o : {&from.up, &to->down}) {
        if (random_.happens(o->loss)) {
            ++statistics_.lost;
            return;
        }
        if (random_.happens(o->corrupt) && !f.bytes.empty()) {
            ++statistics_.corrupted;
            const std::uint64_t bit = random_.below(f.bytes.size() * 8);
            f.bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        }
        if (f.ecn != 0 && random_.happens(o->mark)) {
            ++statistics_.marked;
            f.ecn = 3;
        }
    }
    const bool twice = random_.happens(from.up.duplicate + to->down.duplicate);
    if (twice) ++statistics_.duplicated;
    for (int copies = twice ? 2 : 1; copies > 0; --copies) {
        std::chrono::nanoseconds middle{};
        if (!lane_delay(from.up_lane_, from.up, f.bytes.size(), world_.now(), middle)) {
            ++statistics_.queue_full;
            continue;
        }
        // The second link sees datagrams in the order in which they leave the first ones.
        auto shared = std::make_shared<flight>(f);
        world_.at(middle, [this, to, shared] {
            std::chrono::nanoseconds end{};
            if (!lane_delay(to->down_lane_, to->down, shared->bytes.size(), world_.now(), end)) {
                ++statistics_.queue_full;
                return;
            }
            world_.at(end, [this, shared] { arrive(*shared); });
        });
    }
}

void network::arrive(const flight& f)
{
    if (f.epoch != epoch_) {
        ++statistics_.lost;
        return;
    }
    // The addresses are the inner ones by now; ports that nobody holds swallow what comes.
    host* to = nullptr;
    for (const auto& h : hosts_) {
        if (h->ip_ == std::array{f.to.ip[0], f.to.ip[1], f.to.ip[2], f.to.ip[3]}) to = h.get();
    }
    const auto at = to ? to->ports_.find(f.to.port) : decltype(to->ports_.begin()){};
    if (!to || at == to->ports_.end() || !at->second->open() ||
        at->second->queue.size() >= max_socket_queue) {
        ++statistics_.nobody;
        return;
    }
    ++statistics_.delivered;
    world_.record("deliver", to->machine_.name(), f.bytes);
    at->second->queue.push_back(f);
    at->second->readable.notify_all();
    at->second->life.wake();
}

// Gives a datagram its public source, and opens the way for answers.
bool network::translate_out(host& from, flight& f)
{
    if (from.nat_ == nat_kind::none) return true;
    const socket_address towards = from.nat_ == nat_kind::symmetric ? f.to : socket_address{};
    auto found = std::find_if(from.mappings_.begin(), from.mappings_.end(), [&](const auto& m) {
        return m.second.inside == f.from.port && m.second.towards == towards;
    });
    if (found == from.mappings_.end()) {
        if (from.mappings_.size() >= detail::max_mappings) {
            ++statistics_.filtered;
            return false;
        }
        found = from.mappings_.try_emplace(from.next_public_port_++).first;
        found->second.inside = f.from.port;
        found->second.towards = towards;
    }
    found->second.allowed.insert(f.to);
    f.from = socket_address::v4(from.public_ip_, found->first);
    return true;
}

// Finds the host of a public destination and the inner address; null when nobody takes it.
host* network::translate_in(flight& f)
{
    const auto at = by_ip_.find({f.to.ip[0], f.to.ip[1], f.to.ip[2], f.to.ip[3]});
    if (at == by_ip_.end()) {
        ++statistics_.nobody;
        return nullptr;
    }
    host& to = *at->second;
    if (to.nat_ == nat_kind::none) return &to;
    const auto mapped = to.mappings_.find(f.to.port);
    const bool known = mapped != to.mappings_.end();
    bool allowed = false;
    if (known) {
        const auto& by = mapped->second.allowed;
        switch (to.nat_) {
        case nat_kind::none:
        case nat_kind::full_cone: allowed = true; break;
        case nat_kind::restricted:
            allowed = std::any_of(by.begin(), by.end(),
                                  [&](const socket_address& a) { return a.ip == f.from.ip; });
            break;
        case nat_kind::port_restricted:
        case nat_kind::symmetric: allowed = by.contains(f.from); break;
        }
    }
    if (!allowed) {
        ++statistics_.filtered;
        return nullptr;
    }
    f.to = to.address(mapped->second.inside);
    return &to;
}

}  // namespace copse::sim
