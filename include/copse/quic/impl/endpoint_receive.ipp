// The endpoint: datagrams in, routed to connections, and answers without a connection.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

#include <algorithm>
#include <array>
#include <bit>

namespace copse::quic {

namespace detail {

// Receive calls between two flushes: about 128 KiB an acknowledgement.
inline constexpr unsigned receives_per_flush = 2;
// Version Negotiation packets and refusals: whoever forges a sender must not make us flood it.
inline constexpr unsigned max_answers_per_second = 1000;

}  // namespace detail

awaitable<void> endpoint::state::receive_loop(std::size_t index,
                                              std::shared_ptr<datagram_socket> socket)
{
    const auto keep = shared_from_this();
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    unsigned rounds = 0;
    while (!closing_down && sockets[index] == socket) {
        bool empty = false;
        for (unsigned i = 0; i < detail::receives_per_flush && !empty; ++i) {
            const auto in = socket->try_receive(buffer);
            if (in) receive(index, in.assume_value());
            else empty = in.error() == std::errc::operation_would_block;
        }
        flush_dirty();
        if (empty) {
            const std::error_code ec = co_await socket->wait_readable();
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
    // A dialler bound to a wildcard address does not follow the local address the reply came to.
    const detail::path_buffer bound(sockets[index]->local_address(), in.from);
    const detail::timestamp now = detail::timestamp_now();
    for (byte_view rest = in.bytes; !rest.empty();) {
        const byte_view datagram = rest.first(std::min(rest.size(), in.segment_size));
        rest = rest.subspan(datagram.size());
        ++counted.datagrams_received;
        counted.bytes_received += datagram.size();
        ngtcp2_version_cid ids{};
        const int rv =
            ::ngtcp2_pkt_decode_version_cid(&ids, detail::raw_bytes(datagram.data()),
                                            datagram.size(), detail::connection_id_length);
        if ((rv != 0 && rv != NGTCP2_ERR_VERSION_NEGOTIATION) || ids.dcidlen > NGTCP2_MAX_CIDLEN) {
            ++counted.dropped_malformed;
            continue;
        }
        const detail::connection_id key(ids.dcid, ids.dcidlen);
        if (const auto found = routes.find(key); found != routes.end()) {
            const auto keep = found->second->shared_from_this();
            keep->receive(datagram, keep->server_ ? path.path : bound.path, in.ecn, now);
            continue;
        }
        if (const auto found = closing_routes.find(key); found != closing_routes.end()) {
            // Answered at exponentially rarer packets (RFC 9000 section 10.2.1).
            detail::closing_connection& c = closing.at(found->second);
            if (in.from == c.remote) c.proof.received(datagram.size());
            if (!c.packet.empty() && std::has_single_bit(++c.heard) &&
                c.proof.take(c.packet.size())) {
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
            ++counted.unknown_versions;
            if (datagram.size() >= NGTCP2_MAX_UDP_PAYLOAD_SIZE) answer_version(index, ids, in);
            continue;
        }
        accept(index, datagram, path.path, in);
    }
}

void endpoint::state::answer_version(std::size_t index, const ngtcp2_version_cid& ids,
                                     const received_datagrams& in)
{
    if (!may_answer(detail::timestamp_now())) return;
    std::array<std::byte, 256> packet;
    const std::uint32_t versions[] = {NGTCP2_PROTO_VER_V1};
    const auto n = ::ngtcp2_pkt_write_version_negotiation(
        detail::raw_bytes(packet.data()), packet.size(),
        std::to_integer<std::uint8_t>(random_bytes<1>()[0]), ids.scid, ids.scidlen, ids.dcid,
        ids.dcidlen, versions, std::size(versions));
    if (n <= 0) return;
    ++counted.version_answers;
    answer(index, in, byte_view(packet).first(static_cast<std::size_t>(n)));
}

bool endpoint::state::may_answer(detail::timestamp now)
{
    if (now - answers_since >= 1'000'000'000U) {
        answers_since = now;
        answers = 0;
    }
    if (answers >= detail::max_answers_per_second) {
        ++counted.dropped_answers;
        return false;
    }
    ++answers;
    return true;
}

void endpoint::state::answer(std::size_t index, const received_datagrams& in, byte_view packet)
{
    outgoing_datagrams out;
    out.bytes = packet;
    out.segment_size = packet.size();
    out.to = in.from;
    out.from = in.to;
    send(index, out);
}

}  // namespace copse::quic
