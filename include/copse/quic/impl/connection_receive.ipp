// One connection over ngtcp2: packets in, to streams and sinks, and the credit for them.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/quic/impl/state.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace copse::quic::detail {

void connection_state::receive(byte_view datagram, const ngtcp2_path& path, std::uint8_t ecn,
                               timestamp now)
{
    if (!conn_ || !owner_) return;
    now = forward(now);
    counted_.bytes_received += datagram.size();
    ++counted_.packets_received;
    if (!established_ && read_sockaddr(path.remote) == remote_) proof_.received(datagram.size());
    if ((ecn & NGTCP2_ECN_MASK) == NGTCP2_ECN_CE) ++counted_.ecn_ce_received;
    else if ((ecn & NGTCP2_ECN_MASK) != NGTCP2_ECN_NOT_ECT) ++counted_.ecn_marked_received;
    ngtcp2_pkt_info info{};
    info.ecn = ecn;
    if (!may_follow(datagram, read_sockaddr(path.remote), now)) {
        ++owner_->counted.refused_moves;
        return;
    }
    reading_ = heard_ = true;
    ids_activated_ = 0;
    const std::uint64_t retired_before = peer_ids_.retire_prior_to();
    ids_of_reader = &peer_ids_;
    const int rv = ::ngtcp2_conn_read_pkt(conn_, &path, &info, raw_bytes(datagram.data()),
                                          datagram.size(), now);
    ids_of_reader = nullptr;
    reading_ = false;
    if (rv != 0) {
        fail(rv);
        return;
    }
    // One that became active because others were retired may be that of two paths.
    after_read(ngtcp2_is_v1 ||
               (ids_activated_ == 1 && retired_before == peer_ids_.retire_prior_to()));
}

void connection_state::after_read(bool own_id)
{
    if (std::exchange(completed_now_, false)) {
        // Another attempt of the same dial was faster: the peer is told before it hears of this one.
        if (race_won_ && std::exchange(*race_won_, true)) {
            close(0, {});
            return;
        }
        established_ = true;
        proof_.prove();
        alpn_ = selected_alpn(session_);
        peer_id_ = *peer_.found;
        // 15 KiB that an established connection does not need: ngtcp2 updates keys by itself, and
        // what TLS may still say is read by on_late_crypto().
        ::ngtcp2_conn_set_tls_native_handle(conn_, nullptr);
        ::gnutls_deinit(std::exchange(session_, nullptr));
        established_changed_.notify_all();
        owner_->established(shared_from_this());
    }
    for (auto& s : std::exchange(failed_sinks_, {})) stop_stream(*s, s->sink_stop_code);
    if (close_wanted_ && owner_) {
        const close_reason wanted = *std::exchange(close_wanted_, std::nullopt);
        close(wanted.code, wanted.reason, wanted.application);
    }
    if (!owner_) return;
    if (next_socket_) try_move();
    follow_peer(own_id);
    owner_->mark_dirty(*this);
}

void connection_state::fail(int error)
{
    close_reason why;
    switch (error) {
    case NGTCP2_ERR_DRAINING: {
        const close_frame frame = received_close(conn_);
        why.by_peer = true;
        why.application = frame.application;
        why.code = frame.code;
        why.reason = std::string(frame.reason.substr(0, max_reason));
        why.error = transport_errc::closed_by_peer;
        if (!frame.application && frame.code == crypto_error_base + alert_no_application_protocol) {
            why.error = transport_errc::no_common_protocol;
        } else if (!frame.application && frame.code == NGTCP2_CONNECTION_REFUSED) {
            why.error = transport_errc::refused;
        } else if (!established_) {
            why.error = transport_errc::handshake_failed;
        }
        // Draining: copies of the first packets that come late are not a new connection.
        closing_connection record;
        record.until = timestamp_now() + 3 * ::ngtcp2_conn_get_pto(conn_);
        end(std::move(why), std::move(record));
        return;
    }
    case NGTCP2_ERR_IDLE_CLOSE: why.error = transport_errc::idle_timeout; break;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT: why.error = transport_errc::handshake_timeout; break;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY: why.error = transport_errc::handshake_failed; break;
    default: break;
    }
    if (why.error) {
        end(std::move(why));
        return;
    }
    native_close native;
    set_default(native);
    why.error =
        established_ ? transport_errc::protocol_violation : transport_errc::handshake_failed;
    if (peer_.mismatch) {
        why.error = transport_errc::peer_id_mismatch;
        why.code = crypto_error_base + alert_unknown_ca;
        set_tls_alert(native, alert_unknown_ca);
    } else if (error == NGTCP2_ERR_CRYPTO) {
        const std::uint8_t alert = ::ngtcp2_conn_get_tls_alert(conn_);
        if (alert == alert_no_application_protocol) why.error = transport_errc::no_common_protocol;
        why.code = crypto_error_base + alert;
        set_tls_alert(native, alert);
    } else {
        set_library_error(native, error);
        why.code = native.error_code;
        why.reason = ::ngtcp2_strerror(error);
        if (error == NGTCP2_ERR_NOMEM || no_memory_) {
            why.error = make_error_code(std::errc::not_enough_memory);  // not the peer's fault
        }
    }
    end(std::move(why), write_close(native));
}

// Writes and sends the close packet, and leaves what answers stragglers with it.
closing_connection connection_state::write_close(const native_close& native)
{
    closing_connection record;
    record.packet.resize(1200);
    ngtcp2_path_storage path;
    ::ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    const timestamp now = forward(timestamp_now());
    const auto n = ::ngtcp2_conn_write_connection_close(conn_, &path.path, &info,
                                                        raw_bytes(record.packet.data()),
                                                        record.packet.size(), &native, now);
    if (n <= 0) return {};
    record.packet.resize(static_cast<std::size_t>(n));
    const bool allowed = proof_.take(record.packet.size());
    record.proof = proof_;
    const socket_address local = read_sockaddr(path.path.local);
    record.socket = owner_->socket_at(local, socket_);
    record.remote = read_sockaddr(path.path.remote);
    if (server_) record.local = local;
    record.until = now + 3 * ::ngtcp2_conn_get_pto(conn_);
    outgoing_datagrams out;
    out.bytes = record.packet;
    out.segment_size = record.packet.size();
    out.to = record.remote;
    out.from = record.local;
    if (!allowed) return record;
    record.owed = owner_->blocked.has_value();
    if (!record.owed) owner_->send(record.socket, out);
    ++counted_.packets_sent;
    counted_.bytes_sent += record.packet.size();
    return record;
}

int connection_state::on_handshake_completed()
{
    if (!peer_.found) return NGTCP2_ERR_CALLBACK_FAILURE;
    completed_now_ = true;
    return 0;
}

int connection_state::on_late_crypto(byte_view data)
{
    if (late_.receive(data, !server_)) return 0;
    ::ngtcp2_conn_set_tls_alert(conn_, alert_unexpected_message);
    return NGTCP2_ERR_CRYPTO;
}

std::shared_ptr<stream_state> connection_state::adopt(std::int64_t id)
{
    auto s = std::make_shared<stream_state>(ex_, id);
    streams_.emplace(id, s);
    ::ngtcp2_conn_set_stream_user_data(conn_, id, s.get());
    return s;
}

int connection_state::on_stream_open(std::int64_t id)
{
    auto s = adopt(id);
    s->unaccepted = true;
    const bool bidirectional = (id & 2) == 0;
    (bidirectional ? incoming_bi_ : incoming_uni_).push_back(std::move(s));
    incoming_changed_.notify_all();
    return 0;
}

int connection_state::on_stream_data(std::uint32_t flags, std::int64_t id, byte_view data,
                                     stream_state* s)
{
    static_cast<void>(id);
    if (!s) return NGTCP2_ERR_CALLBACK_FAILURE;
    s->received += data.size();
    if (s->recv_stopped) {
        // Not forwarded any more: the connection gets its credit at once.
        ::ngtcp2_conn_extend_max_offset(conn_, data.size());
        return 0;
    }
    if (flags & NGTCP2_STREAM_DATA_FLAG_FIN) s->fin_received = true;
    if (s->sink && !s->sink_error && s->queued() == 0 && !data.empty()) {
        const auto verdict = s->sink->consume(data);
        if (!verdict) {
            s->sink_error = verdict.error();
            s->sink_stop_code = s->sink->stop_code();
            s->uncredited += data.size();
            failed_sinks_.push_back(streams_.at(s->id));
            s->recv_changed.notify_all();
            return 0;
        }
        const sink_verdict v = verdict.assume_value();
        s->uncredited += v.accepted;
        credit_stream(*s, v.credit);
        data = data.subspan(v.accepted);
        if (data.empty()) {
            if (s->fin_received) s->recv_changed.notify_all();
            return 0;
        }
    }
    // A reader that never catches up must not leave what it has read behind.
    if (s->head > s->queued()) {
        s->queue.erase(s->queue.begin(), s->queue.begin() + static_cast<std::ptrdiff_t>(s->head));
        s->head = 0;
    }
    s->queue.insert(s->queue.end(), data.begin(), data.end());
    s->recv_changed.notify_all();
    return 0;
}

void connection_state::feed_sink(stream_state& s)
{
    while (s.sink && s.queued() > 0 && !s.recv_stopped && !s.sink_error) {
        const byte_view rest = byte_view(s.queue).subspan(s.head);
        const auto verdict = s.sink->consume(rest);
        if (!verdict) {
            s.sink_error = verdict.error();
            stop_stream(s, s.sink->stop_code());
            s.recv_changed.notify_all();
            return;
        }
        const sink_verdict v = verdict.assume_value();
        s.head += v.accepted;
        s.uncredited += v.accepted;
        if (s.queued() == 0) {
            s.queue.clear();
            s.head = 0;
        }
        return_credit(s, v.credit);
        if (v.accepted == 0) return;
    }
    if (s.fin_received && s.queued() == 0) s.recv_changed.notify_all();
}

// Credit of handed-out bytes, inside callbacks too: ngtcp2 only notes it until the next packet.
void connection_state::credit_stream(stream_state& s, std::size_t bytes)
{
    if (s.recv_stopped || bytes == 0) return;
    assert(bytes <= s.uncredited && "credit is returned once");
    s.uncredited -= bytes;
    if (!conn_) return;
    if (!s.closed && !s.fin_received) ::ngtcp2_conn_extend_max_stream_offset(conn_, s.id, bytes);
    ::ngtcp2_conn_extend_max_offset(conn_, bytes);
    credit_since_flush_ += bytes;
}

void connection_state::return_credit(stream_state& s, std::size_t bytes)
{
    credit_stream(s, bytes);
    if (!owner_ || reading_) return;
    const endpoint_options& o = owner_->options;
    const std::size_t enough = std::min({credit_flush_bytes, o.connection_window / 4,
                                         o.remote_stream_window / 4, o.local_stream_window / 4});
    if (credit_since_flush_ >= enough) owner_->mark_dirty(*this);
}

std::size_t connection_state::grow_window(stream_state& s, std::size_t bytes)
{
    const std::size_t now = s.window.amount();
    if (bytes <= now || !conn_ || s.closed || s.fin_received || s.recv_stopped) return now;
    credit more = windows_.take_up_to(bytes - now);
    const std::size_t total = windows_.used();
    if (total > granted_) {
        // Connection credit follows the windows, out of the endpoint's budget, and stays.
        credit part = owner_->receive_budget.try_take(total - granted_);
        if (!part) return now;
        ::ngtcp2_conn_extend_max_offset(conn_, total - granted_);
        granted_ = total;
        reserved_.absorb(std::move(part));
    }
    ::ngtcp2_conn_extend_max_stream_offset(conn_, s.id, more.amount());
    s.window.absorb(std::move(more));
    owner_->mark_dirty(*this);
    return s.window.amount();
}

// The receiving side is over: everything held or queued is credited to the connection, once.
void connection_state::settle_receive(stream_state& s)
{
    if (s.recv_stopped) return;
    s.recv_stopped = true;
    if (conn_) ::ngtcp2_conn_extend_max_offset(conn_, s.uncredited + s.queued());
    s.uncredited = 0;
    s.queue = {};
    s.head = 0;
    s.window.reset();
    open_changed_.notify_all();
}

int connection_state::on_stream_reset(std::uint64_t code, stream_state* s)
{
    if (!s || s->fin_received) return 0;
    s->reset_code = code;
    settle_receive(*s);
    s->recv_changed.notify_all();
    return 0;
}

// ngtcp2 0.12 never closes a stream that only the peer sends on, and its place would be lost: it is over
// for us when its end has arrived.
void connection_state::on_receiving_end(std::int64_t id)
{
    const bool by_peer = ((id & 1) != 0) != server_;
    const auto at = streams_.find(id);
    if ((id & 2) == 0 || !by_peer || at == streams_.end()) return;
    const auto s = at->second;
    s->closed = true;
    ::ngtcp2_conn_set_stream_user_data(conn_, id, nullptr);
    streams_.erase(at);
    if (!s->unaccepted) free_place(id);
}

void connection_state::stop_stream(stream_state& s, std::uint64_t code)
{
    if (s.recv_stopped) return;
    const bool over = s.fin_received || s.reset_code.has_value();
    settle_receive(s);
    if (!over && conn_ && !s.closed) {
        shutdown_read(conn_, s.id, code);
        if (owner_) owner_->mark_dirty(*this);
    }
    s.recv_changed.notify_all();
}

}  // namespace copse::quic::detail
