// The endpoint: made, listened with, closed; its tables.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/endpoint_sockets.ipp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/udp/socket.hpp>

#include <algorithm>
#include <cassert>

namespace copse::quic {

namespace {

memory_budget& memory_of(const endpoint_options& o)
{
    return o.memory ? *o.memory : process_memory();
}

}  // namespace

endpoint::state::state(executor e, endpoint_options o)
    : ex(std::move(e)),
      options(std::move(o)),
      receive_budget("quic: receive credit", options.receive_budget, memory_of(options),
                     detail::memory_step),
      send_budget("quic: send queues", options.send_budget, memory_of(options),
                  detail::memory_step),
      connection_memory("quic: state of connections",
                        options.max_connections > SIZE_MAX / detail::connection_bytes
                            ? SIZE_MAX
                            : options.max_connections * detail::connection_bytes,
                        memory_of(options), detail::memory_step),
      places("quic: connections", options.max_connections, limit_unit::count),
      handshake_places("quic: handshakes", options.max_handshakes, limit_unit::count),
      work(ex),
      flush_wanted(ex),
      progress(ex),
      deadline_timer(ex)
{
    fill_random(reset_secret);
    fill_random(std::as_writable_bytes(std::span(token_secret)));
}

void endpoint::state::forget(detail::connection_state& c, detail::closing_connection record)
{
    connections.erase(c.serial_);
    if (!c.established() && !c.server_) {
        --dials;
        ++counted.failed_dials;
    }
    c.place_.reset();
    c.handshake_place_.reset();
    if (c.server_) {
        const auto source = sources.find(c.source_);
        if (!c.established()) --source->second.handshakes;
        if (--source->second.connections == 0) sources.erase(source);
        // What nobody accepted yet leaves its place in the queue to the living.
        for (const auto& l : listeners) {
            std::erase_if(l->waiting, [&](const auto& w) { return w.serial == c.serial_; });
        }
    }
    if (c.armed_ != detail::never) deadlines.erase({c.armed_, c.serial_});
    c.armed_ = detail::never;
    for (const auto& id : record.ids) routes.erase(id);
    progress.notify_all();
    if (record.until == 0 || (closing.size() >= max_closing && !record.owed)) return;
    for (const auto& id : record.ids) closing_routes.emplace(id, c.serial_);
    deadlines.emplace(record.until, c.serial_);
    closing.emplace(c.serial_, std::move(record));
}

void endpoint::state::expire_closing(detail::timestamp now)
{
    for (auto it = closing.begin(); it != closing.end();) {
        // What a full socket holds back is still to be sent.
        if (it->second.until > now || (it->second.owed && blocked)) {
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

endpoint::endpoint(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}
endpoint::endpoint(endpoint&&) noexcept = default;

endpoint::~endpoint()
{
    assert((!state_ || state_->closed) && "close() the endpoint before it dies");
}

result<endpoint> endpoint::make(executor ex, endpoint_options options)
{
    COPSE_TRY(auto sockets, detail::bind_all(ex, options.bind, false));
    COPSE_TRY(endpoint made, make(std::move(ex), std::move(options), std::move(sockets)));
    made.state_->own_sockets = true;
    return made;
}

result<endpoint> endpoint::make(executor ex, endpoint_options options,
                                std::vector<std::unique_ptr<datagram_socket>> sockets)
{
    assert(options.connection_send_buffer >= detail::least_send_room);
    auto s = std::make_shared<state>(std::move(ex), std::move(options));
    s->own_memory = memory_of(s->options).try_reserve(detail::endpoint_bytes);
    if (!s->own_memory) return make_error_code(std::errc::not_enough_memory);
    COPSE_TRY(s->tls, detail::tls_context::make(s->options.identity));
    for (auto& socket : sockets) s->sockets.push_back(std::move(socket));
    for (std::size_t i = 0; i < s->sockets.size(); ++i)
        s->work.spawn(s->receive_loop(i, s->sockets[i]));
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
    for (std::size_t i = 0; i < state_->sockets.size(); ++i) {
        if (state_->retired.count(i) == 0 && state_->sockets[i]) {
            out.push_back(state_->sockets[i]->local_address());
        }
    }
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
    auto l = std::make_shared<listener::state>(state_->ex, state_->options.accept_backlog);
    l->alpn = alpn;
    state_->listeners.push_back(l);
    return listener(std::move(l));
}

endpoint_statistics endpoint::statistics() const noexcept
{
    endpoint_statistics out = state_->counted;
    out.handshaking = state_->handshake_places.used();
    out.dialling = state_->dials;
    out.connections = state_->connections.size() - out.handshaking - out.dialling;
    return out;
}

std::size_t endpoint::connection_count() const noexcept
{
    return state_->connections.size();
}

}  // namespace copse::quic
