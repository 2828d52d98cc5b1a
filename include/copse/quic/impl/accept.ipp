// Accepting: Initials that begin a connection, address validation, and listeners.
#pragma once

#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

#include <algorithm>
#include <array>

namespace copse::quic {

namespace detail {

inline constexpr std::uint8_t long_header_form = 0x80;  // RFC 9000 section 17.2
inline constexpr std::uint8_t long_header_type = 0x30;  // 0: Initial

/// Whom an incoming connection's place is counted for: an IPv4 address, or an IPv6 network of 64 bits,
/// which is what one customer has at least.
inline socket_address source_of(socket_address remote) noexcept
{
    remote.port = 0;
    remote.scope_id = 0;
    if (!remote.is_v4()) std::fill(remote.ip.begin() + 8, remote.ip.end(), std::uint8_t{0});
    return remote;
}

}  // namespace detail

void endpoint::state::accept(std::size_t index, byte_view datagram, const ngtcp2_path& path,
                             const received_datagrams& in)
{
    ngtcp2_pkt_hd header;
    if (::ngtcp2_accept(&header, detail::raw_bytes(datagram.data()), datagram.size()) != 0) {
        const auto first = std::to_integer<std::uint8_t>(datagram[0]);
        const bool initial =
            (first & detail::long_header_form) != 0 && (first & detail::long_header_type) == 0;
        ++(initial ? counted.dropped_malformed : counted.dropped_unroutable);
        return;
    }
    const std::vector<std::string> names = alpns();
    if (names.empty()) {
        ++counted.dropped_unlistened;
        return;
    }
    if (draining || closing_down) {
        ++counted.refused_closing;
        refuse(index, header, in, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    credit place = places.try_take(1);
    if (!place) {
        ++counted.refused_full;
        refuse(index, header, in, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    const detail::timestamp now = detail::timestamp_now();
    const ngtcp2_vec token = detail::token_of(header);
    ngtcp2_cid original{};
    bool validated = false;
    // Other tokens, of NEW_TOKEN frames say, are none of ours: they count as absent.
    if (token.len == NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN &&
        token.base[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
        validated =
            ::ngtcp2_crypto_verify_retry_token(
                &original, token.base, token.len, token_secret.data(), token_secret.size(),
                header.version, path.remote.addr, path.remote.addrlen, &header.dcid,
                static_cast<ngtcp2_duration>(options.retry_token_lifetime.count()), now) == 0;
        ++(validated ? counted.tokens_accepted : counted.tokens_rejected);
        if (!validated) {
            // The dialler would ignore a second Retry: it is told to start anew (section 8.1.2).
            refuse(index, header, in, NGTCP2_INVALID_TOKEN);
            return;
        }
    }
    const bool loaded = handshake_places.used() >= options.retry_above;
    if (loaded && !flooded) ++counted.floods;
    flooded = loaded;
    if (!validated && (options.retry == retry_policy::always ||
                       (options.retry == retry_policy::under_load && loaded))) {
        send_retry(index, header, path, in);
        return;
    }
    const socket_address source = detail::source_of(in.from);
    const auto same = sources.find(source);
    const source_places held = same != sources.end() ? same->second : source_places{};
    // As many as it leaves free: one source alone gets half of them, and n of them leave one part in n + 1.
    credit handshake_place;
    if (held.handshakes < handshake_places.available())
        handshake_place = handshake_places.try_take(1);
    if (!handshake_place) {
        ++counted.dropped_handshakes;  // the dialler sends it again
        return;
    }
    if (held.connections >= options.max_connections_per_source) {
        ++counted.refused_source;
        refuse(index, header, in, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    const auto c = std::make_shared<detail::connection_state>(*this, next_serial++, true);
    connections.emplace(c->serial_, c);
    c->source_ = source;
    source_places& taken = sources[source];
    ++taken.connections;
    ++taken.handshakes;
    c->place_ = std::move(place);
    c->handshake_place_ = std::move(handshake_place);
    if (!c->start_server(header, index, in.to, in.from, names, validated ? &original : nullptr)) {
        ++counted.refused_full;
        c->close(NGTCP2_CONNECTION_REFUSED, {}, false);
        refuse(index, header, in, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    c->receive(datagram, path, in.ecn, now);
}

void endpoint::state::refuse(std::size_t index, const ngtcp2_pkt_hd& header,
                             const received_datagrams& in, std::uint64_t code)
{
    if (!may_answer(detail::timestamp_now())) return;
    std::array<std::byte, 256> packet;
    const auto n = ::ngtcp2_crypto_write_connection_close(
        detail::raw_bytes(packet.data()), packet.size(), header.version, &header.scid, &header.dcid,
        code, nullptr, 0);
    if (n > 0) answer(index, in, byte_view(packet).first(static_cast<std::size_t>(n)));
}

void endpoint::state::send_retry(std::size_t index, const ngtcp2_pkt_hd& header,
                                 const ngtcp2_path& path, const received_datagrams& in)
{
    // The dialler's next destination id: the token is bound to it.
    const ngtcp2_cid scid = detail::random_cid(detail::connection_id_length);
    std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN> token;
    const auto length = ::ngtcp2_crypto_generate_retry_token(
        token.data(), token_secret.data(), token_secret.size(), header.version, path.remote.addr,
        path.remote.addrlen, &scid, &header.dcid, detail::timestamp_now());
    if (length <= 0) return;
    std::array<std::byte, 256> packet;
    const auto n = ::ngtcp2_crypto_write_retry(detail::raw_bytes(packet.data()), packet.size(),
                                               header.version, &header.scid, &scid, &header.dcid,
                                               token.data(), static_cast<std::size_t>(length));
    if (n <= 0) return;
    ++counted.retries_sent;
    answer(index, in, byte_view(packet).first(static_cast<std::size_t>(n)));
}

void endpoint::state::established(const std::shared_ptr<detail::connection_state>& c)
{
    if (!c->server_) {
        --dials;
        ++counted.dialled;
        return;
    }
    c->handshake_place_.reset();
    --sources.at(c->source_).handshakes;
    for (const auto& l : listeners) {
        if (l->alpn != c->alpn_) continue;
        if (l->closed) break;
        credit place = l->places.try_take(1);
        if (!place) break;
        auto handle = std::make_shared<detail::connection_handle>(c, options.send_buffer);
        l->waiting.push_back({c->serial_, std::move(handle), std::move(place)});
        l->changed.notify_all();
        ++counted.accepted;
        return;
    }
    ++(draining ? counted.refused_closing : counted.refused_backlog);
    c->close(NGTCP2_CONNECTION_REFUSED, {}, false);
}

// ---- listener -------------------------------------------------------------------------------------

awaitable<result<std::shared_ptr<connection>>> listener::accept()
{
    const auto s = state_;
    for (;;) {
        if (!s->waiting.empty()) {
            auto next = std::move(s->waiting.front().handle);
            s->waiting.pop_front();
            co_return next;
        }
        if (s->closed) co_return transport_errc::closed_locally;
        const std::error_code ec = co_await s->changed.wait();
        if (ec) co_return ec;
    }
}

}  // namespace copse::quic
