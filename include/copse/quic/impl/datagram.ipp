// Unreliable messages of a connection (RFC 9221): queued, packed, received.
#pragma once

#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/quic/impl/state.hpp>

#include <algorithm>

namespace copse::quic::detail {

// Short header (RFC 9000 section 17.3) without its connection id, with the longest packet number, and
// AEAD tag.
inline constexpr std::size_t packet_overhead = 1 + 4 + 16;

datagram_queues& connection_state::datagrams()
{
    if (!datagrams_) datagrams_ = std::make_unique<datagram_queues>(ex_);
    return *datagrams_;
}

std::size_t connection_state::path_payload() const noexcept
{
    const std::size_t known = ::ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_);
    return path_.narrow(timestamp_now()) ? std::min(known, black_hole::base_size) : known;
}

std::size_t connection_state::max_datagram_payload() const noexcept
{
    if (!conn_ || !owner_ || !established_) return 0;
    const auto* const peer = ::ngtcp2_conn_get_remote_transport_params(conn_);
    if (!peer || peer->max_datagram_frame_size == 0) return 0;
    const std::size_t path = path_payload();
    const std::size_t packet = packet_overhead + ::ngtcp2_conn_get_dcid(conn_)->datalen;
    const std::uint64_t frame =
        std::min<std::uint64_t>(path - packet, peer->max_datagram_frame_size);
    // A type, and a length of two bytes from 64 on (RFC 9000 section 16).
    const std::size_t overhead = frame > 65 ? 3 : 2;
    return frame > overhead ? static_cast<std::size_t>(frame) - overhead : 0;
}

result<void> connection_state::send_datagram(shared_bytes data)
{
    if (why_ || !owner_)
        return why_ ? why_->error : make_error_code(transport_errc::closed_locally);
    const std::size_t most = max_datagram_payload();
    if (most == 0) return make_error_code(std::errc::not_supported);
    if (data.bytes.size() > most) return make_error_code(std::errc::message_size);
    datagram_queues& queues = datagrams();
    const std::size_t cost = datagram_cost(data.bytes);
    const std::size_t buffer = owner_->options.datagram_send_buffer;
    if (!queues.out_reserved) queues.out_reserved = owner_->send_budget.try_take(buffer);
    if (!queues.out_reserved || queues.out_bytes + cost > buffer) {
        return transport_errc::limit_reached;
    }
    queues.out_bytes += cost;
    queues.out.push_back(std::move(data));
    owner_->mark_dirty(*this);
    return outcome::success();
}

void connection_state::on_datagram(byte_view data)
{
    ++counted_.datagrams_received;
    datagram_queues& queues = datagrams();
    const std::size_t buffer = owner_->options.datagram_receive_buffer;
    if (!queues.in_reserved) queues.in_reserved = owner_->receive_budget.try_take(buffer);
    if (!queues.in_reserved) {
        ++counted_.datagrams_dropped_received;
        return;
    }
    queues.in_bytes += datagram_cost(data);
    queues.in.push_back(shared_bytes::copy(data));
    while (queues.in_bytes > buffer) {
        queues.in_bytes -= datagram_cost(queues.in.front().bytes);
        queues.in.pop_front();
        ++counted_.datagrams_dropped_received;
    }
    queues.changed.notify_all();
}

// ngtcp2 0.12 waits for the loss of datagrams without a probe timeout: if all that fill the window
// vanish, only a keep-alive finds out. So a byte of the window is left for it, and it comes soon.
bool connection_state::may_write_datagrams() const
{
    return datagrams_ && !datagrams_->out.empty() &&
           ::ngtcp2_conn_get_cwnd_left(conn_) > path_payload();
}

void connection_state::hurry_datagrams()
{
    if (!datagrams_ || datagrams_->hurried == (datagrams_->in_flight > 0)) return;
    datagrams_->hurried = !datagrams_->hurried;
    const auto usual = static_cast<ngtcp2_duration>(owner_->options.keep_alive.count());
    const ngtcp2_duration soon = 2 * ::ngtcp2_conn_get_pto(conn_);
    const bool sooner = datagrams_->hurried && (usual == 0 || soon < usual);
    ::ngtcp2_conn_set_keep_alive_timeout(conn_, sooner ? soon : usual);
}

// Those that were too large for a packet of the base size tell something of the path.
void connection_state::on_lost_datagram(std::uint64_t size)
{
    ++counted_.datagrams_lost;
    datagrams_->in_flight -= std::min<std::uint64_t>(1, datagrams_->in_flight);
    path_.forgotten(size);
    if (size > black_hole::base_size - packet_overhead) path_.datagram_lost(timestamp_now());
}

void connection_state::on_acked_datagram(std::uint64_t size)
{
    datagrams_->in_flight -= std::min<std::uint64_t>(1, datagrams_->in_flight);
    path_.acknowledged(size, timestamp_now());
    if (size > black_hole::base_size - packet_overhead) path_.datagram_arrived();
}

// Packs queued datagrams into one packet. Its size when it is complete, NGTCP2_ERR_WRITE_MORE when
// a write of stream data, or of none, must complete it, 0 when nothing may be sent now.
ngtcp2_ssize connection_state::write_datagrams(ngtcp2_path& path, ngtcp2_pkt_info& info,
                                               byte_span room, timestamp now)
{
    datagram_queues& queues = *datagrams_;
    const auto pop = [&queues] {
        queues.out_bytes -= datagram_cost(queues.out.front().bytes);
        queues.out.pop_front();
    };
    ngtcp2_ssize written = NGTCP2_ERR_WRITE_MORE;
    const std::size_t most = max_datagram_payload();
    while (!queues.out.empty()) {
        const byte_view next = queues.out.front().bytes;
        if (next.size() > most) {
            pop();
            ++counted_.datagrams_dropped_unsent;
            continue;
        }
        const ngtcp2_vec vector{const_cast<std::uint8_t*>(raw_bytes(next.data())), next.size()};
        int taken = 0;
        written = ::ngtcp2_conn_writev_datagram(
            conn_, &path, &info, raw_bytes(room.data()), room.size(), &taken,
            NGTCP2_WRITE_DATAGRAM_FLAG_MORE, next.size(), &vector, next.empty() ? 0 : 1, now);
        if (taken) {
            path_.sent(next.size(), now);
            ++queues.in_flight;
            pop();
            ++counted_.datagrams_sent;
        }
        if (written != NGTCP2_ERR_WRITE_MORE) return written;
    }
    return written;
}

}  // namespace copse::quic::detail
