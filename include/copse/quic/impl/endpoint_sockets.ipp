// The endpoint's sockets: bound, replaced when the network changed, and peers that move.
#pragma once

#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/udp/socket.hpp>

#include <algorithm>

namespace copse::quic {

namespace detail {

// Sockets at the same time, the retired ones included.
inline constexpr std::size_t max_sockets = 8;
// A socket left behind still takes what is on its way to it.
inline constexpr timestamp retired_linger = 1'000'000'000;

using socket_list = std::vector<std::unique_ptr<datagram_socket>>;

// Without addresses: everywhere, in both families where both exist.
inline result<socket_list> bind_all(const executor& ex, std::vector<socket_address> wanted,
                                    bool any_port)
{
    const bool by_default = wanted.empty();
    if (by_default) {
        socket_address v6;
        v6.family = socket_address::family_type::v6;
        wanted = {socket_address::v4({0, 0, 0, 0}, 0), v6};
    }
    socket_list out;
    for (socket_address local : wanted) {
        if (any_port) local.port = 0;
        auto socket = udp::bind(ex, local);
        if (socket) out.push_back(std::move(socket).assume_value());
        else if (!by_default || out.empty()) return socket.error();
    }
    return out;
}

// ---- the peer moves -------------------------------------------------------------------------------

bool connection_state::may_follow(byte_view datagram, const socket_address& from, timestamp now)
{
    if (!server_ || !established_ || from == remote_) return true;
    peer_moves::id to{};
    if (datagram.size() <= to.size()) return true;  // no packet
    static_assert(to.size() == connection_id_length);
    std::copy_n(datagram.begin() + 1, to.size(), to.begin());
    if (moves_.allows(from, to, now, ::ngtcp2_conn_get_pto(conn_))) return true;
    owner_->mark_dirty(*this);  // what it waits for may only need a look at the time
    return false;
}

// ngtcp2 sends to a peer's new address at once, little until it has proven to be there, and goes back
// to the old one if it does not (RFC 9000 section 9.3).
void connection_state::follow_peer(bool own_id)
{
    if (!server_ || !established_ || !conn_) return;
    const ngtcp2_path& now = *::ngtcp2_conn_get_path(conn_);
    const socket_address remote = read_sockaddr(now.remote);
    if (remote == remote_) return;
    moves_.followed(remote_, remote, own_id);
    remote_ = remote;
    local_ = read_sockaddr(now.local);
    socket_ = owner_->socket_at(local_, socket_);
    ++owner_->counted.moved;
}

// ---- we move ---------------------------------------------------------------------------------------

void connection_state::move_to(std::optional<std::size_t> socket)
{
    next_socket_ = socket;
    if (socket) try_move();
}

void connection_state::try_move()
{
    if (!conn_ || !established_) return;
    const socket_address local = owner_->sockets[*next_socket_]->local_address();
    const path_buffer path(local, remote_);
    // At once: the old network may be gone, and nothing would come back through it.
    const int rv =
        ::ngtcp2_conn_initiate_immediate_migration(conn_, &path.path, forward(timestamp_now()));
    // Not confirmed yet, or the peer owes us connection ids: the next packets bring that.
    if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_CONN_ID_BLOCKED) return;
    const std::size_t target = *std::exchange(next_socket_, std::nullopt);
    if (rv != 0) return;
    socket_ = target;
    local_ = local;
    owner_->mark_dirty(*this);
}

}  // namespace detail

std::optional<std::size_t> endpoint::state::socket_for(const socket_address& remote) const
{
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        if (!sockets[i] || retired.count(i) != 0) continue;
        if (sockets[i]->local_address().family == remote.family) return i;
    }
    return std::nullopt;
}

std::size_t endpoint::state::socket_at(const socket_address& local, std::size_t first) const
{
    const auto serves = [&](std::size_t i) {
        if (!sockets[i]) return false;
        const socket_address at = sockets[i]->local_address();
        return at.family == local.family && at.port == local.port &&
               (at.is_unspecified() || at.ip == local.ip);
    };
    for (std::size_t i = 0; i < sockets.size() && !serves(first); ++i) {
        if (serves(i)) return i;
    }
    return first;
}

result<void> endpoint::state::take_over(detail::socket_list fresh)
{
    if (draining || closing_down) return transport_errc::closed_locally;
    release_retired(detail::timestamp_now());
    const auto used = static_cast<std::size_t>(std::count_if(
        sockets.begin(), sockets.end(), [](const auto& socket) { return socket != nullptr; }));
    if (used + fresh.size() > detail::max_sockets) return transport_errc::limit_reached;

    const detail::timestamp until = detail::timestamp_now() + detail::retired_linger;
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        if (sockets[i]) retired.emplace(i, until);
    }
    for (auto& socket : fresh) {
        auto slot = std::find(sockets.begin(), sockets.end(), nullptr);
        if (slot == sockets.end()) slot = sockets.emplace(slot);
        *slot = std::move(socket);
        work.spawn(receive_loop(static_cast<std::size_t>(slot - sockets.begin()), *slot));
    }
    for (const auto& [serial, c] : connections) {
        if (c->server_) continue;
        const auto target = socket_for(c->remote_);
        c->move_to(target);
    }
    deadlines.emplace(until, 0);  // no connection: the timer loop only looks around
    deadline_timer.cancel();
    return outcome::success();
}

void endpoint::state::release_retired(detail::timestamp now)
{
    if (retired.empty()) return;
    std::set<std::size_t> used;
    for (const auto& [serial, c] : connections) used.insert(c->socket());
    if (blocked) used.insert(blocked->socket);
    for (auto it = retired.begin(); it != retired.end();) {
        if (it->second > now || used.count(it->first) != 0) {
            ++it;
            continue;
        }
        sockets[it->first]->close();
        sockets[it->first].reset();
        it = retired.erase(it);
    }
}

result<void> endpoint::network_changed()
{
    if (!state_->own_sockets) return make_error_code(std::errc::not_supported);
    COPSE_TRY(auto sockets, detail::bind_all(state_->ex, state_->options.bind, true));
    return state_->take_over(std::move(sockets));
}

result<void> endpoint::rebind(const std::vector<socket_address>& bind)
{
    COPSE_TRY(auto sockets, detail::bind_all(state_->ex, bind, false));
    return state_->take_over(std::move(sockets));
}

result<void> endpoint::rebind(std::vector<std::unique_ptr<datagram_socket>> sockets)
{
    return state_->take_over(std::move(sockets));
}

}  // namespace copse::quic
