// The endpoint: sockets, routing of datagrams to connections, deadlines, dialling and accepting.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/core/race.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/quic/impl/state.hpp>
#include <copse/udp/socket.hpp>

#include <asio/post.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace copse::quic {

namespace detail {

// Receive calls between two flushes: about 128 KiB an acknowledgement.
inline constexpr unsigned receives_per_flush = 2;
// Flushes between two visits to the reactor, so that timers and other work get their turn.
inline constexpr unsigned rounds_per_yield = 8;
// Send batches (64 KiB each) a connection may write in its turn.
inline constexpr unsigned batches_per_turn = 2;
// Dialling: how many addresses, and how long one has a head start before the next (RFC 8305).
inline constexpr std::size_t max_dialled_addresses = 16;
inline constexpr auto dial_stagger = std::chrono::milliseconds(250);

inline awaitable<void> yield()
{
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

}  // namespace detail

endpoint::state::state(executor e, endpoint_options o)
    : ex(std::move(e)),
      options(std::move(o)),
      receive_budget("quic receive credit", options.receive_budget),
      work(ex),
      flush_wanted(ex),
      deadline_timer(ex)
{
    fill_random(reset_secret);
}

// ---- datagrams in ---------------------------------------------------------------------------------

awaitable<void> endpoint::state::receive_loop(std::size_t index)
{
    const auto keep = shared_from_this();
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    datagram_socket& socket = *sockets[index];
    unsigned rounds = 0;
    while (!closing_down) {
        bool empty = false;
        for (unsigned i = 0; i < detail::receives_per_flush && !empty; ++i) {
            const auto in = socket.try_receive(buffer);
            if (in) receive(index, in.assume_value());
            else empty = in.error() == std::errc::operation_would_block;
        }
        flush_dirty();
        if (empty) {
            const std::error_code ec = co_await socket.wait_readable();
            if (ec) co_return;  // cancelled or closed
            rounds = 0;
        } else if (++rounds % detail::rounds_per_yield == 0) {
            co_await detail::yield();
        }
    }
}

void endpoint::state::receive(std::size_t index, const received_datagrams& in)
{
    const detail::path_buffer path(in.to, in.from);
    const detail::timestamp now = detail::timestamp_now();
    for (byte_view rest = in.bytes; !rest.empty();) {
        const byte_view datagram = rest.first(std::min(rest.size(), in.segment_size));
        rest = rest.subspan(datagram.size());
        ngtcp2_version_cid ids{};
        const int rv =
            ::ngtcp2_pkt_decode_version_cid(&ids, detail::raw_bytes(datagram.data()),
                                            datagram.size(), detail::connection_id_length);
        if (rv != 0 && rv != NGTCP2_ERR_VERSION_NEGOTIATION) continue;
        if (ids.dcidlen > NGTCP2_MAX_CIDLEN) continue;
        const detail::connection_id key(ids.dcid, ids.dcidlen);
        if (const auto found = routes.find(key); found != routes.end()) {
            const auto keep = found->second->shared_from_this();
            keep->receive(datagram, path.path, in.ecn, now);
            continue;
        }
        if (const auto found = closing_routes.find(key); found != closing_routes.end()) {
            // Answered at exponentially rarer packets (RFC 9000 section 10.2.1).
            detail::closing_connection& c = closing.at(found->second);
            if (!c.packet.empty() && std::has_single_bit(++c.heard)) {
                outgoing_datagrams out;
                out.bytes = c.packet;
                out.segment_size = c.packet.size();
                out.to = c.remote;
                out.from = c.local;
                send(c.socket, out);
            }
            continue;
        }
        if (rv == NGTCP2_ERR_VERSION_NEGOTIATION) {
            if (datagram.size() < NGTCP2_MAX_UDP_PAYLOAD_SIZE) continue;
            std::array<std::byte, 256> packet;
            const std::uint32_t versions[] = {NGTCP2_PROTO_VER_V1};
            const auto n = ::ngtcp2_pkt_write_version_negotiation(
                detail::raw_bytes(packet.data()), packet.size(),
                std::to_integer<std::uint8_t>(random_bytes<1>()[0]), ids.scid, ids.scidlen,
                ids.dcid, ids.dcidlen, versions, std::size(versions));
            if (n <= 0) continue;
            outgoing_datagrams out;
            out.bytes = byte_view(packet).first(static_cast<std::size_t>(n));
            out.segment_size = out.bytes.size();
            out.to = in.from;
            out.from = in.to;
            send(index, out);
            continue;
        }
        accept(index, datagram, path.path, in);
    }
}

void endpoint::state::accept(std::size_t index, byte_view datagram, const ngtcp2_path& path,
                             const received_datagrams& in)
{
    ngtcp2_pkt_hd header;
    if (::ngtcp2_accept(&header, detail::raw_bytes(datagram.data()), datagram.size()) != 0) return;
    const std::vector<std::string> names = alpns();
    if (names.empty() || closing_down || connections.size() >= options.max_connections ||
        handshakes >= options.max_handshakes) {
        return;
    }
    const auto c = std::make_shared<detail::connection_state>(*this, next_serial++, true);
    connections.emplace(c->serial_, c);
    ++handshakes;
    if (!c->start_server(header, index, in.to, in.from, names)) {
        c->close(NGTCP2_CONNECTION_REFUSED, {}, false);
        return;
    }
    c->receive(datagram, path, in.ecn, detail::timestamp_now());
}

void endpoint::state::established(const std::shared_ptr<detail::connection_state>& c)
{
    if (!c->server_) return;
    --handshakes;
    for (const auto& l : listeners) {
        if (l->alpn != c->alpn_) continue;
        if (l->waiting.size() >= options.accept_backlog) break;
        l->waiting.push_back(std::make_shared<detail::connection_handle>(c, options.send_buffer));
        l->changed.notify_all();
        return;
    }
    c->close(NGTCP2_CONNECTION_REFUSED, {}, false);
}

// ---- datagrams out --------------------------------------------------------------------------------

bool endpoint::state::send(std::size_t index, const outgoing_datagrams& out)
{
    // While a batch waits, further ones are lost as on a full link: QUIC sends them again.
    if (blocked) return false;
    const auto sent = sockets[index]->try_send(out);
    if (sent || sent.error() != std::errc::operation_would_block) return true;
    blocked.emplace();
    blocked->socket = index;
    blocked->bytes.assign(out.bytes.begin(), out.bytes.end());
    blocked->meta = out;
    flush_wanted.notify_all();
    return false;
}

void endpoint::state::mark_dirty(detail::connection_state& c)
{
    if (c.dirty_) return;
    c.dirty_ = true;
    if (dirty.empty()) flush_wanted.notify_all();
    dirty.push_back(c.shared_from_this());
}

// One turn for every connection that asked; those with more to send stay in the list.
void endpoint::state::flush_dirty()
{
    for (std::size_t n = dirty.size(); n > 0 && !dirty.empty() && !blocked; --n) {
        const auto c = std::move(dirty.front());
        dirty.pop_front();
        c->dirty_ = false;
        const bool more = c->flush(detail::batches_per_turn);
        if (!c->owner_) continue;
        arm(*c);
        if (more || blocked) mark_dirty(*c);
    }
}

awaitable<void> endpoint::state::flush_loop()
{
    const auto keep = shared_from_this();
    while (!closing_down) {
        if (blocked) {
            const std::error_code ec = co_await sockets[blocked->socket]->wait_writable();
            if (ec) co_return;
            blocked->meta.bytes = blocked->bytes;
            const auto sent = sockets[blocked->socket]->try_send(blocked->meta);
            if (!sent && sent.error() == std::errc::operation_would_block) continue;
            blocked.reset();
        }
        if (dirty.empty()) {
            const std::error_code ec = co_await flush_wanted.wait();
            if (ec) co_return;
        }
        flush_dirty();
        if (!dirty.empty() && !blocked) co_await detail::yield();
    }
}

// ---- time -----------------------------------------------------------------------------------------

// Deadlines are armed lazily: one that moved later is found out when the old one fires.
void endpoint::state::arm(detail::connection_state& c)
{
    const detail::timestamp at = c.expiry();
    if (at >= c.armed_) return;
    if (c.armed_ != detail::never) deadlines.erase({c.armed_, c.serial_});
    c.armed_ = at;
    const auto entry = deadlines.emplace(at, c.serial_).first;
    if (entry == deadlines.begin()) deadline_timer.cancel();
}

awaitable<void> endpoint::state::timer_loop()
{
    const auto keep = shared_from_this();
    while (!closing_down) {
        const bool none = deadlines.empty();
        const detail::timestamp at = none ? 0 : deadlines.begin()->first;
        deadline_timer.expires_at(none ? time_point::max()
                                       : time_point(std::chrono::nanoseconds(at)));
        auto [ec] = co_await deadline_timer.async_wait(as_tuple);
        const bool stop = co_await cancellation_requested();
        if (stop) co_return;
        if (ec) continue;  // an earlier deadline was armed
        const detail::timestamp now = detail::timestamp_now();
        expire_closing(now);
        while (!deadlines.empty() && deadlines.begin()->first <= now) {
            const std::uint64_t serial = deadlines.begin()->second;
            deadlines.erase(deadlines.begin());
            const auto found = connections.find(serial);
            if (found == connections.end()) continue;
            const auto c = found->second;
            c->armed_ = detail::never;
            if (c->expiry() <= now) c->expire(now);
            if (c->owner_) arm(*c);
        }
        flush_dirty();
    }
}

// ---- tables ---------------------------------------------------------------------------------------

void endpoint::state::forget(detail::connection_state& c, detail::closing_connection record)
{
    connections.erase(c.serial_);
    if (c.server_ && !c.established()) --handshakes;
    if (c.armed_ != detail::never) deadlines.erase({c.armed_, c.serial_});
    c.armed_ = detail::never;
    for (const auto& id : record.ids) routes.erase(id);
    if (record.until == 0 || closing.size() >= max_closing) return;
    for (const auto& id : record.ids) closing_routes.emplace(id, c.serial_);
    deadlines.emplace(record.until, c.serial_);
    closing.emplace(c.serial_, std::move(record));
}

void endpoint::state::expire_closing(detail::timestamp now)
{
    for (auto it = closing.begin(); it != closing.end();) {
        if (it->second.until > now) {
            ++it;
            continue;
        }
        for (const auto& id : it->second.ids) closing_routes.erase(id);
        it = closing.erase(it);
    }
}

std::vector<std::string> endpoint::state::alpns() const
{
    std::vector<std::string> out;
    out.reserve(listeners.size());
    for (const auto& l : listeners) out.push_back(l->alpn);
    return out;
}

std::optional<std::size_t> endpoint::state::socket_for(const socket_address& remote) const
{
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        if (sockets[i]->local_address().family == remote.family) return i;
    }
    return std::nullopt;
}

std::size_t endpoint::state::socket_at(const socket_address& local, std::size_t first) const
{
    const auto serves = [&](std::size_t i) {
        const socket_address at = sockets[i]->local_address();
        return at.family == local.family && at.port == local.port &&
               (at.is_unspecified() || at.ip == local.ip);
    };
    for (std::size_t i = 0; i < sockets.size() && !serves(first); ++i) {
        if (serves(i)) return i;
    }
    return first;
}

// ---- listener -------------------------------------------------------------------------------------

awaitable<result<std::shared_ptr<connection>>> listener::accept()
{
    const auto s = state_;
    for (;;) {
        if (!s->waiting.empty()) {
            auto next = std::move(s->waiting.front());
            s->waiting.pop_front();
            co_return next;
        }
        if (s->closed) co_return transport_errc::closed_locally;
        const std::error_code ec = co_await s->changed.wait();
        if (ec) co_return ec;
    }
}

// ---- endpoint -------------------------------------------------------------------------------------

endpoint::endpoint(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}
endpoint::endpoint(endpoint&&) noexcept = default;

endpoint::~endpoint()
{
    assert((!state_ || state_->closed) && "close() the endpoint before it dies");
}

result<endpoint> endpoint::make(executor ex, endpoint_options options)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    const bool by_default = options.bind.empty();
    std::vector<socket_address> wanted = options.bind;
    if (by_default) {
        socket_address v6;
        v6.family = socket_address::family_type::v6;
        wanted = {socket_address::v4({0, 0, 0, 0}, 0), v6};
    }
    for (const socket_address& local : wanted) {
        auto socket = udp::bind(ex, local);
        if (socket) sockets.push_back(std::move(socket).assume_value());
        else if (!by_default || sockets.empty()) return socket.error();
    }
    return make(std::move(ex), std::move(options), std::move(sockets));
}

result<endpoint> endpoint::make(executor ex, endpoint_options options,
                                std::vector<std::unique_ptr<datagram_socket>> sockets)
{
    auto s = std::make_shared<state>(std::move(ex), std::move(options));
    COPSE_TRY(s->tls, detail::tls_context::make(s->options.identity));
    s->sockets = std::move(sockets);
    for (std::size_t i = 0; i < s->sockets.size(); ++i) s->work.spawn(s->receive_loop(i));
    s->work.spawn(s->timer_loop());
    s->work.spawn(s->flush_loop());
    return endpoint(std::move(s));
}

const endpoint_id& endpoint::id() const noexcept
{
    return state_->options.identity.id();
}

std::vector<socket_address> endpoint::bound_addresses() const
{
    std::vector<socket_address> out;
    for (const auto& socket : state_->sockets) out.push_back(socket->local_address());
    return out;
}

endpoint_address endpoint::address() const
{
    endpoint_address out;
    out.id = id();
    for (const socket_address& bound : bound_addresses()) {
        if (!bound.is_unspecified()) {
            out.paths.emplace_back(bound);
            continue;
        }
        for (socket_address one : udp::interface_addresses(false)) {
            if (one.family != bound.family) continue;
            one.port = bound.port;
            out.paths.emplace_back(one);
        }
    }
    return out;
}

executor endpoint::get_executor() const
{
    return state_->ex;
}

listener endpoint::listen(std::string_view alpn)
{
    assert(!alpn.empty() && alpn.size() <= max_alpn_bytes);
    assert(state_->listeners.size() < max_protocols);
    auto l = std::make_shared<listener::state>(state_->ex);
    l->alpn = alpn;
    state_->listeners.push_back(l);
    return listener(std::move(l));
}

namespace detail {

using connection_result = result<std::shared_ptr<connection_state>>;

// One attempt at one address.
inline awaitable<connection_result> dial(std::shared_ptr<endpoint::state> ep, endpoint_id peer,
                                         std::string alpn, socket_address remote,
                                         std::size_t socket)
{
    if (ep->closing_down) co_return transport_errc::closed_locally;
    if (ep->connections.size() >= ep->options.max_connections)
        co_return transport_errc::limit_reached;
    const auto c = std::make_shared<connection_state>(*ep, ep->next_serial++, false);
    ep->connections.emplace(c->serial_, c);
    const auto started = c->start_client(peer, alpn, socket, remote);
    if (!started) {
        c->close(0, {});
        co_return started.error();
    }
    ep->mark_dirty(*c);
    while (!c->established() && !c->why_) {
        const std::error_code ec = co_await c->established_changed_.wait();
        if (ec) {
            c->close(0, {});
            co_return ec;
        }
    }
    if (c->why_) co_return c->why_->error;
    co_return c;
}

// What all attempts of one connect() share.
struct dial_race {
    explicit dial_race(const executor& ex) : changed(ex) {}
    event changed;
    std::shared_ptr<connection_state> winner;
    std::error_code error = transport_errc::unreachable;
    std::size_t failed = 0;
    std::size_t beats = 0;  ///< head starts that are over
};

inline awaitable<void> dial_entry(std::shared_ptr<dial_race> race,
                                  std::shared_ptr<endpoint::state> ep, endpoint_id peer,
                                  std::string alpn, socket_address remote, std::size_t socket)
{
    auto dialled = co_await dial(ep, peer, std::move(alpn), remote, socket);
    if (dialled && !race->winner) {
        race->winner = std::move(dialled).assume_value();
    } else if (dialled) {
        dialled.assume_value()->close(0, {});
    } else {
        ++race->failed;
        // The most telling error wins: an answer of the wrong kind says more than silence.
        const auto silent = [](const std::error_code& e) {
            return e == transport_errc::unreachable || e == transport_errc::handshake_timeout ||
                   e == transport_errc::idle_timeout;
        };
        if (silent(race->error)) race->error = dialled.error();
    }
    race->changed.notify_all();
}

}  // namespace detail

awaitable<result<std::shared_ptr<connection>>> endpoint::connect(endpoint_address peer,
                                                                 std::string alpn)
{
    const auto ep = state_;
    if (alpn.empty() || alpn.size() > max_alpn_bytes) {
        co_return make_error_code(std::errc::invalid_argument);
    }
    std::vector<std::pair<socket_address, std::size_t>> targets;
    for (const path_address& path : peer.paths) {
        const auto* const ip = std::get_if<socket_address>(&path);
        if (!ip || ip->port == 0 || ip->is_unspecified()) continue;
        const auto socket = ep->socket_for(*ip);
        if (socket && targets.size() < detail::max_dialled_addresses)
            targets.emplace_back(*ip, *socket);
    }
    if (targets.empty()) co_return transport_errc::no_usable_address;
    const auto race = std::make_shared<detail::dial_race>(ep->ex);
    scope attempts(ep->ex);
    std::size_t started = 0;
    std::error_code stopped;
    while (!race->winner && race->failed < targets.size() && !stopped) {
        if (started < targets.size()) {
            const auto& [remote, socket] = targets[started++];
            attempts.spawn(detail::dial_entry(race, ep, peer.id, alpn, remote, socket));
            const std::size_t failed = race->failed;
            if (started == targets.size()) continue;
            // Until the head start is over, or a failure makes room at once.
            timer head_start(ep->ex);
            head_start.expires_after(detail::dial_stagger);
            const std::size_t beats = race->beats;
            head_start.async_wait([race](std::error_code) {
                ++race->beats;
                race->changed.notify_all();
            });
            while (race->beats == beats && !race->winner && race->failed == failed && !stopped) {
                stopped = co_await race->changed.wait();
            }
            continue;
        }
        stopped = co_await race->changed.wait();
    }
    attempts.request_stop();
    const auto joined = co_await attempts.join();
    static_cast<void>(joined);  // attempts report through the race
    if (race->winner) {
        std::shared_ptr<connection> made =
            std::make_shared<detail::connection_handle>(race->winner, ep->options.send_buffer);
        if (stopped) co_return stopped;
        co_return made;
    }
    if (stopped) co_return stopped;
    co_return race->error;
}

awaitable<void> endpoint::close()
{
    const auto s = state_;
    if (s->closed || s->closing_down) co_return;
    for (const auto& l : s->listeners) {
        l->closed = true;
        l->waiting.clear();
        l->changed.notify_all();
    }
    while (!s->connections.empty()) {
        const auto c = s->connections.begin()->second;
        c->close(0, {});
    }
    s->closing_down = true;
    s->work.request_stop();
    const auto joined = co_await s->work.join();
    static_cast<void>(joined);  // the loops report nothing
    for (const auto& socket : s->sockets) socket->close();
    s->dirty.clear();
    s->closed = true;
}

std::size_t endpoint::send_buffer_size() const noexcept
{
    std::size_t least = SIZE_MAX;
    for (const auto& socket : state_->sockets) least = std::min(least, socket->send_buffer_size());
    return least;
}

std::size_t endpoint::receive_buffer_size() const noexcept
{
    std::size_t least = SIZE_MAX;
    for (const auto& socket : state_->sockets)
        least = std::min(least, socket->receive_buffer_size());
    return least;
}

std::size_t endpoint::connection_count() const noexcept
{
    return state_->connections.size();
}

}  // namespace copse::quic
