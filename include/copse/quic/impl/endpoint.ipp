// The endpoint: made, listened with, closed; its tables.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/udp/socket.hpp>

#include <algorithm>
#include <cassert>

namespace copse::quic {

endpoint::state::state(executor e, endpoint_options o)
    : ex(std::move(e)),
      options(std::move(o)),
      receive_budget("quic receive credit", options.receive_budget),
      work(ex),
      flush_wanted(ex),
      deadline_timer(ex)
{
    fill_random(reset_secret);
    fill_random(std::as_writable_bytes(std::span(token_secret)));
}

void endpoint::state::forget(detail::connection_state& c, detail::closing_connection record)
{
    connections.erase(c.serial_);
    if (!c.established()) {
        --(c.server_ ? handshakes : dials);
        if (!c.server_) ++counted.failed_dials;
    }
    if (c.server_) {
        const auto source = sources.find(c.source_);
        if (--source->second == 0) sources.erase(source);
        // What nobody accepted yet leaves its place in the queue to the living.
        for (const auto& l : listeners) {
            std::erase_if(l->waiting, [&](const auto& w) { return w.serial == c.serial_; });
        }
    }
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

endpoint_statistics endpoint::statistics() const noexcept
{
    endpoint_statistics out = state_->counted;
    out.handshaking = state_->handshakes;
    out.dialling = state_->dials;
    out.connections = state_->connections.size() - out.handshaking - out.dialling;
    return out;
}

std::size_t endpoint::connection_count() const noexcept
{
    return state_->connections.size();
}

}  // namespace copse::quic
