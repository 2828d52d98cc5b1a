// Dialling: all addresses of a peer, staggered.
#pragma once

#include <copse/core/race.hpp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

#include <algorithm>

namespace copse::quic {

namespace detail {

// How many addresses, and how long one has a head start before the next (RFC 8305 section 5).
inline constexpr std::size_t max_dialled_addresses = 16;
inline constexpr auto dial_stagger = std::chrono::milliseconds(250);

}  // namespace detail

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

}  // namespace copse::quic
