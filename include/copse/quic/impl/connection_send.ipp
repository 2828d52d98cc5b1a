// One connection over ngtcp2: streams opened, queued and written as packets.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/quic/impl/state.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace copse::quic::detail {

// ---- what is queued, and the room for it -----------------------------------------------------------
//
// A connection reserves room of the endpoint's budget as it needs it and gives it back as peers
// acknowledge, but always keeps `least_send_room`: a writer that finds none waits for acknowledgements
// of its own connection and never for other connections.

inline constexpr std::size_t send_room_step = 256U << 10;

std::size_t connection_state::queue_data(const std::shared_ptr<stream_state>& s,
                                         const shared_bytes& data, std::size_t most)
{
    const std::size_t wanted = std::min(most, data.bytes.size());
    const std::size_t room = send_room(chunk_cost(wanted));
    if (room <= chunk_cost(0)) {
        const bool ours = sending_.available() <= chunk_cost(0);
        (ours ? sending_ : owner_->send_budget).count_refusal();
        if (!std::exchange(s->starved, true)) starved_.push_back(s);
        return 0;
    }
    const std::size_t n = std::min(wanted, room - chunk_cost(0));
    s->room.absorb(sending_.try_take(chunk_cost(n)));
    s->queued_end += n;
    s->chunks.push_back({data.owner, data.bytes.first(n)});
    want_send(*s);
    return n;
}

// How much of `wanted` there is; reserves more when it can.
std::size_t connection_state::send_room(std::size_t wanted) noexcept
{
    wanted = std::min(wanted, sending_.available());
    const std::size_t needed = sending_.used() + wanted;
    const std::size_t reserved = send_reserved_.amount();
    if (needed > reserved) {
        const std::size_t more = std::max(needed - reserved, send_room_step);
        send_reserved_.absorb(
            owner_->send_budget.take_up_to(std::min(more, sending_.capacity() - reserved)));
    }
    return std::min(wanted, send_reserved_.amount() - sending_.used());
}

void connection_state::release_room(stream_state& s, std::size_t cost)
{
    s.room.give_back(cost);
    const std::size_t free = send_reserved_.amount() - sending_.used();
    if (free >= 2 * send_room_step)
        send_reserved_.give_back(
            std::min(free - send_room_step, send_reserved_.amount() - least_send_room));
    if (!starved_.empty()) feed_starved();
}

// Not for every byte, or each of many writers would be woken by each packet's acknowledgement.
void connection_state::feed_starved()
{
    if (send_reserved_.amount() - sending_.used() < least_send_room / 2) return;
    for (const auto& s : std::exchange(starved_, {})) {
        s->starved = false;
        s->send_changed.notify_all();
    }
}

void connection_state::want_send(stream_state& s)
{
    if (!owner_ || s.closed) return;
    if (!s.ready && s.sends()) {
        s.ready = true;
        ready_.push_back(streams_.at(s.id));
    }
    owner_->mark_dirty(*this);
}

void connection_state::on_stream_window(stream_state* s)
{
    if (s && !s->ready && s->sends()) {
        s->ready = true;
        ready_.push_back(streams_.at(s->id));
    }
}

int connection_state::on_acked(std::uint64_t offset, std::uint64_t length, stream_state* s)
{
    if (!s) return 0;
    if (length > 0) path_.acknowledged(offset + length - s->acked, timestamp_now());
    s->acked = offset + length;
    if (length == 0) s->fin_frame_acked = true;
    release_acked(*s);
    if (s->fin_sent && s->acked == s->queued_end) {
        s->fin_acked = !s->fin_alone || s->fin_frame_acked;
        ends_in_doubt_ = ends_in_doubt_ || !s->fin_acked;
    }
    s->send_changed.notify_all();
    return 0;
}

void connection_state::release_acked(stream_state& s)
{
    while (s.next_chunk > 0 && s.base + s.chunks.front().bytes.size() <= s.acked) {
        const std::size_t size = s.chunks.front().bytes.size();
        s.base += size;
        s.chunks.pop_front();
        release_room(s, chunk_cost(size));
        --s.next_chunk;
    }
}

void connection_state::reset_stream(stream_state& s, std::uint64_t code)
{
    if (s.send_reset || s.send_stopped || s.fin_acked || s.closed) return;
    s.send_reset = true;
    if (conn_ && owner_) {
        shutdown_write(conn_, s.id, code);
        owner_->mark_dirty(*this);
    }
    drop_unsent(s);
}

// What was given to ngtcp2 stays until it is acknowledged or the stream is closed: 0.12 repeats lost
// data of a reset stream too.
void connection_state::drop_unsent(stream_state& s)
{
    if (s.next_position > 0) {
        shared_bytes& partial = s.chunks[s.next_chunk++];
        const std::size_t sent = std::exchange(s.next_position, 0);
        release_room(s, partial.bytes.size() - sent);
        partial.bytes = partial.bytes.first(sent);
    }
    for (; s.chunks.size() > s.next_chunk; s.chunks.pop_back())
        release_room(s, chunk_cost(s.chunks.back().bytes.size()));
    s.queued_end = s.sent_end;
    release_acked(s);
    s.send_changed.notify_all();
}

// Only for streams that ngtcp2 has forgotten or is about to.
void connection_state::drop_chunks(stream_state& s)
{
    s.chunks.clear();
    release_room(s, s.room.amount());
    s.room.reset();
    s.next_chunk = 0;
    s.next_position = 0;
    s.send_changed.notify_all();
}

// The FIN was sent alone and all data is acknowledged, but a repetition may have joined the two, which
// ngtcp2 reports like data. With nothing in flight and nothing to send all has arrived.
void connection_state::settle_ends()
{
    native_statistics now;
    get_statistics(conn_, now);
    if (now.bytes_in_flight > 0) return;
    ends_in_doubt_ = false;
    for (auto& [id, s] : streams_) {
        if (s->fin_acked || !s->fin_sent || s->send_reset || s->acked != s->queued_end) continue;
        s->fin_acked = true;
        s->send_changed.notify_all();
    }
}

// ngtcp2 tells of STOP_SENDING only when asked to write. A writer that waits for credit never would,
// so it is asked for the impossible, which answers without writing anything.
void connection_state::notice_stops()
{
    ngtcp2_vec endless{nullptr, SIZE_MAX};
    for (auto& [id, s] : streams_) {
        if (!s->send_handle || s->ready || s->send_reset || s->send_stopped || s->fin_sent)
            continue;
        ngtcp2_path_storage path;
        ::ngtcp2_path_storage_zero(&path);
        std::uint8_t none = 0;
        const auto n = ::ngtcp2_conn_writev_stream(conn_, &path.path, nullptr, &none, 0, nullptr, 0,
                                                   id, &endless, 1, forward(timestamp_now()));
        if (n != NGTCP2_ERR_STREAM_SHUT_WR) continue;
        s->send_stopped = true;
        drop_unsent(*s);
    }
}

int connection_state::on_stream_close(std::uint32_t flags, std::int64_t id, std::uint64_t code,
                                      stream_state* s)
{
    if (!s) return 0;
    const auto keep = streams_.at(id);
    s->closed = true;
    const bool has_code = (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0;
    if (!s->fin_acked && !s->send_reset) {
        // Closed before we knew of the end: it was acknowledged with it, or the peer stopped us.
        s->fin_acked = s->fin_sent && (!has_code || s->acked == s->queued_end);
        s->send_stopped = !s->fin_acked;
        if (has_code) s->stop_code = code;
    }
    if (!s->fin_received && !s->reset_code && !s->recv_stopped) {
        // Opened and ended by a reset that overtook everything else.
        s->reset_code = code;
        settle_receive(*s);
    }
    path_.forgotten(s->sent_end - s->acked);
    drop_chunks(*s);
    s->recv_changed.notify_all();
    streams_.erase(id);
    const bool by_peer = ((id & 1) != 0) != server_;
    if (!by_peer) open_changed_.notify_all();
    else if (!s->unaccepted) free_place(id);
    return 0;
}

// A stream that is gone frees its place in the limit that we advertised, but not while it still waits
// to be accepted: the queue would grow without end.
void connection_state::free_place(std::int64_t id)
{
    if ((id & 2) == 0) ::ngtcp2_conn_extend_max_streams_bidi(conn_, 1);
    else if (ngtcp2_is_v1 || kept_streams_++ < owner_->options.max_kept_streams)
        ::ngtcp2_conn_extend_max_streams_uni(conn_, 1);
}

void connection_state::accepted(stream_state& s)
{
    s.unaccepted = false;
    if (!s.closed || !conn_) return;
    free_place(s.id);
    owner_->mark_dirty(*this);
}

int connection_state::on_new_connection_id(ngtcp2_cid* cid, std::uint8_t* token, std::size_t length)
{
    *cid = random_cid(length);
    if (::ngtcp2_crypto_generate_stateless_reset_token(
            token, raw_bytes(owner_->reset_secret.data()), owner_->reset_secret.size(), cid) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    ids_.emplace(cid->data, cid->datalen);
    owner_->routes.emplace(connection_id(cid->data, cid->datalen), this);
    return 0;
}

void connection_state::on_retired_connection_id(const ngtcp2_cid& cid)
{
    const connection_id key(cid.data, cid.datalen);
    ids_.erase(key);
    if (owner_) owner_->routes.erase(key);
}

timestamp connection_state::expiry() const
{
    return conn_ ? ::ngtcp2_conn_get_expiry(conn_) : never;
}

// Some timers of ngtcp2 stay due for a while whatever is done about them: never the same moment again.
timestamp connection_state::next_deadline() const
{
    constexpr timestamp least = NGTCP2_MILLISECONDS;
    const timestamp at = expiry();
    return at <= latest_ ? latest_ + least : at;
}

void connection_state::expire(timestamp now)
{
    if (!conn_ || !owner_) return;
    // Behind the deadline, not at it: ngtcp2 lets go of connection ids only then, and would ask for the
    // same deadline again for as long as the clock stands still.
    now = forward(now + 1);
    const int rv = ::ngtcp2_conn_handle_expiry(conn_, now);
    if (rv != 0) {
        fail(rv);
        return;
    }
    path_.expired(now, ::ngtcp2_conn_get_pto(conn_));
    follow_peer(true);  // an unproven address is given up after a while
    owner_->mark_dirty(*this);
}

/// Packets of one send call: equal sizes but the last, one path, one ECN mark.
struct connection_state::batch {
    std::size_t used = 0;
    std::size_t segment = 0;
    std::size_t packets = 0;
    socket_address to;
    socket_address from;
    std::uint8_t ecn = 0;
    bool more = false;  ///< the batch is full, not the connection

    void start(std::size_t size, const ngtcp2_path& path, std::uint8_t mark)
    {
        used = segment = size;
        packets = 1;
        to = read_sockaddr(path.remote);
        from = read_sockaddr(path.local);
        ecn = mark;
    }
    [[nodiscard]] bool fits(std::size_t size, const ngtcp2_path& path, std::uint8_t mark) const
    {
        return size <= segment && mark == ecn && read_sockaddr(path.remote) == to &&
               read_sockaddr(path.local) == from;
    }
};

// Fills the slab with packets; `carry` is one behind them that goes in a batch of its own. Returns
// false when the connection failed.
bool connection_state::write_packets(batch& out, batch& carry, timestamp now)
{
    std::byte* const slab = owner_->slab.data();
    const std::size_t limit = std::min<std::size_t>(
        {owner_->slab.size() - 1, 65000, ::ngtcp2_conn_get_send_quantum(conn_)});
    const std::size_t most = owner_->sockets[socket_]->max_send_segments();
    ngtcp2_path_storage path;
    ::ngtcp2_path_storage_zero(&path);
    std::size_t since_rotation = 0;
    bool control_only = false;
    for (;;) {
        // More than the path is known to carry, so that there is room for probes.
        const std::size_t room = path_.narrow(now)
                                     ? black_hole::base_size
                                     : ::ngtcp2_conn_get_max_tx_udp_payload_size(conn_);
        if (out.packets > 0 && (out.used + room > limit || out.packets >= most)) {
            out.more = true;
            break;
        }
        stream_state* s = nullptr;
        if (!control_only) {
            while (!ready_.empty() && !ready_.front()->sends()) {
                ready_.front()->ready = false;
                ready_.pop_front();
            }
            if (!ready_.empty()) s = ready_.front().get();
        }
        std::array<ngtcp2_vec, 8> vectors;
        std::size_t count = 0;
        std::uint64_t offered = 0;
        if (s) {
            std::size_t position = s->next_position;
            for (std::size_t i = s->next_chunk; i < s->chunks.size() && count < vectors.size();
                 ++i) {
                const byte_view part = s->chunks[i].bytes.subspan(position);
                position = 0;
                if (part.empty()) continue;
                vectors[count++] = {const_cast<std::uint8_t*>(raw_bytes(part.data())), part.size()};
                offered += part.size();
                if (offered >= room) break;
            }
        }
        const bool reaches_end = s && s->sent_end + offered == s->queued_end;
        const std::uint32_t flags =
            s && s->fin_wanted && reaches_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0U;
        ngtcp2_ssize taken = -1;
        ngtcp2_pkt_info info{};
        ngtcp2_ssize n = NGTCP2_ERR_WRITE_MORE;
        if (may_write_datagrams() && (datagrams_->turn || !s)) {
            datagrams_->turn = false;
            n = write_datagrams(path.path, info, byte_span(slab + out.used, room), now);
        } else if (datagrams_) {
            datagrams_->turn = true;
        }
        if (n == NGTCP2_ERR_WRITE_MORE) {
            n = ::ngtcp2_conn_writev_stream(conn_, &path.path, &info, raw_bytes(slab + out.used),
                                            room, &taken, flags, s ? s->id : -1, vectors.data(),
                                            count, now);
        }
        if (n < 0) {
            if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
                if (::ngtcp2_conn_get_max_data_left(conn_) == 0) {
                    control_only = true;  // the whole connection waits for credit
                } else {
                    s->ready = false;  // on_stream_window() brings it back
                    ready_.pop_front();
                }
                continue;
            }
            if (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND) {
                if (!s->send_reset) s->send_stopped = true;
                drop_unsent(*s);
                s->ready = false;
                ready_.pop_front();
                continue;
            }
            fail(static_cast<int>(n));
            return false;
        }
        if (s && taken >= 0) {
            const auto accepted = static_cast<std::uint64_t>(taken);
            s->sent_end += accepted;
            if (accepted > 0) path_.sent(accepted, now);
            if (flags != 0 && accepted == offered) {
                s->fin_sent = true;
                s->fin_alone = accepted == 0;
            }
            for (std::uint64_t left = accepted; left > 0;) {
                const std::size_t part = s->chunks[s->next_chunk].bytes.size() - s->next_position;
                if (left < part) {
                    s->next_position += static_cast<std::size_t>(left);
                    break;
                }
                left -= part;
                ++s->next_chunk;
                s->next_position = 0;
            }
            since_rotation += accepted;
        }
        if (n == 0) {
            const bool datagrams = datagrams_ && !datagrams_->out.empty();
            limited_by(what_limits(datagrams, s || control_only), now);
            hurry_datagrams();
            break;
        }
        const auto size = static_cast<std::size_t>(n);
        if (!proof_.take(size)) continue;  // lost, for all that ngtcp2 knows
        const auto mark = static_cast<std::uint8_t>(info.ecn);
        limited_by(send_limit::none, now);
        counted_.ecn_in_use = mark != NGTCP2_ECN_NOT_ECT;
        if (counted_.ecn_in_use) ++counted_.ecn_marked_sent;
        if (out.packets == 0) {
            out.start(size, path.path, mark);
        } else if (out.fits(size, path.path, mark)) {
            out.used += size;
            ++out.packets;
        } else {
            // A larger packet (MTU probe) or another path: it begins the next batch.
            carry.start(size, path.path, mark);
            carry.more = out.more = true;
        }
        ++counted_.packets_sent;
        counted_.bytes_sent += size;
        // Streams take turns, a batch each.
        if (s && since_rotation >= (48U << 10) && ready_.size() > 1) {
            since_rotation = 0;
            ready_.push_back(std::move(ready_.front()));
            ready_.pop_front();
        }
        if (carry.packets > 0) break;
        if (size < out.segment) {
            out.more = true;
            break;
        }
    }
    return true;
}

void connection_state::send_batch(const batch& b, byte_view bytes)
{
    outgoing_datagrams message;
    message.bytes = bytes;
    message.segment_size = b.segment;
    message.to = b.to;
    if (server_) message.from = b.from;
    message.ecn = b.ecn;
    owner_->send(owner_->socket_at(b.from, socket_), message);
}

bool connection_state::flush(unsigned batches)
{
    credit_since_flush_ = 0;
    if (conn_ && std::exchange(heard_, false)) notice_stops();
    for (unsigned i = 0; i < batches; ++i) {
        if (!conn_ || !owner_ || owner_->blocked) return false;
        const timestamp now = forward(timestamp_now());
        batch out;
        batch carry;
        ids_of_reader = &peer_ids_;  // packets that came before the keys are read now
        const bool written = write_packets(out, carry, now);
        ids_of_reader = nullptr;
        if (!written) return false;
        if (std::exchange(path_failed_, false)) follow_peer(true);
        if (!out.more) moves_.wrote(now, ::ngtcp2_conn_get_pto(conn_));
        const byte_view slab(owner_->slab);
        if (out.packets > 0) send_batch(out, slab.first(out.used));
        if (carry.packets > 0) send_batch(carry, slab.subspan(out.used, carry.used));
        // Pacing starts with the first round-trip sample: by the assumed 333 ms of RFC 9002 it would
        // hold back the dialler's second flight for tens of milliseconds.
        if (established_) ::ngtcp2_conn_update_pkt_tx_time(conn_, now);
        if (!out.more) {
            if (ends_in_doubt_) settle_ends();
            return false;
        }
    }
    return true;
}

// ---- streams --------------------------------------------------------------------------------------

std::shared_ptr<stream_state> connection_state::open_stream(bool bidirectional,
                                                            std::error_code& why)
{
    if (why_ || !conn_) {
        why = why_ ? why_->error : make_error_code(transport_errc::closed_locally);
        return nullptr;
    }
    credit window;
    credit part;
    const std::size_t wanted = bidirectional ? owner_->options.local_stream_window : 0;
    if (wanted > 0) {
        window = windows_.try_take(wanted);
        if (!window) {
            if (wanted > windows_.capacity()) why = transport_errc::limit_reached;
            return nullptr;  // until one of our streams ends
        }
        if (windows_.used() > granted_) {
            part = owner_->receive_budget.try_take(windows_.used() - granted_);
            if (!part) {
                why = transport_errc::limit_reached;
                return nullptr;
            }
        }
    }
    std::int64_t id = -1;
    const int rv = bidirectional ? ::ngtcp2_conn_open_bidi_stream(conn_, &id, nullptr)
                                 : ::ngtcp2_conn_open_uni_stream(conn_, &id, nullptr);
    if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) return nullptr;
    if (rv != 0) {
        why = transport_errc::limit_reached;
        return nullptr;
    }
    if (part) {
        ::ngtcp2_conn_extend_max_offset(conn_, part.amount());
        granted_ += part.amount();
        reserved_.absorb(std::move(part));
    }
    auto s = adopt(id);
    s->window = std::move(window);
    return s;
}

void connection_state::drop_handle(stream_state& s, bool sending)
{
    if (sending) {
        s.send_handle = false;
        if (!s.fin_wanted) reset_stream(s, 0);
    } else {
        s.recv_handle = false;
        s.sink = nullptr;
        stop_stream(s, 0);
    }
}

}  // namespace copse::quic::detail
