// Accepting: Initials that begin a connection, and listeners.
#pragma once

#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

namespace copse::quic {

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

}  // namespace copse::quic
