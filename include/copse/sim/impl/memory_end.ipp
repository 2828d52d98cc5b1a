// One end of a connection in memory: what handles ask of it, and what the other end tells it.
#pragma once

#include <copse/sim/impl/memory_end.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

namespace copse::sim::detail {

memory_end::memory_end(executor ex, memory_link::state& link, const memory_end_options& own,
                       bool dialler)
    : ex_(std::move(ex)),
      own_(own),
      datagrams_changed_(ex_),
      open_changed_(ex_),
      incoming_changed_(ex_),
      closed_changed_(ex_),
      link_(link),
      dialler_(dialler),
      windows_("sim: stream windows", own.local_windows_total)
{}

void memory_end::meet(memory_end& peer)
{
    peer_ = &peer;
    send_credit_ = peer.own_.connection_window;
    may_open_ = {peer.own_.max_remote_streams, peer.own_.max_remote_streams};
}

// ---- streams ---------------------------------------------------------------------------------------

std::shared_ptr<memory_stream> memory_end::adopt(std::uint64_t id, bool local)
{
    auto s = std::make_shared<memory_stream>(ex_, id);
    if (s->bidirectional()) {
        s->send_limit = local ? peer_->own_.remote_stream_window : peer_->own_.local_stream_window;
        s->first_window = local ? own_.local_stream_window : own_.remote_stream_window;
    } else if (local) {
        s->send_limit = peer_->own_.remote_stream_window;
        s->recv_ended = true;
    } else {
        s->first_window = own_.remote_stream_window;
        s->send_ended = true;
    }
    streams_.emplace(id, s);
    return s;
}

std::shared_ptr<memory_stream> memory_end::open_stream(bool bidirectional, std::error_code& why)
{
    if (why_) {
        why = why_->error;
        return nullptr;
    }
    const std::size_t kind = bidirectional ? 0 : 1;
    credit window;
    if (bidirectional && own_.local_stream_window > 0) {
        window = windows_.try_take(own_.local_stream_window);
        if (!window) {
            if (own_.local_stream_window > windows_.capacity()) why = transport_errc::limit_reached;
            return nullptr;  // until one of our streams ends
        }
    }
    if (may_open_[kind] == 0) return nullptr;
    --may_open_[kind];
    if (windows_.used() > granted_) {
        const std::uint64_t more = windows_.used() - granted_;
        granted_ += more;
        credit_connection(more);
    }
    const std::uint64_t id = 4 * next_id_[kind]++ + 2 * kind + (dialler_ ? 0U : 1U);
    auto s = adopt(id, true);
    s->window = std::move(window);
    return s;
}

// A stream that the other end names is there, or is its newest: it names none that has closed here,
// since that takes the ends of both directions to be known there.
std::shared_ptr<memory_stream> memory_end::find_or_open(std::uint64_t id)
{
    const auto at = streams_.find(id);
    if (at != streams_.end()) return at->second;
    assert(((id & 1) != 0) == dialler_);
    auto s = adopt(id, false);
    s->unaccepted = true;
    (s->bidirectional() ? incoming_bi_ : incoming_uni_).push_back(s);
    incoming_changed_.notify_all();
    return s;
}

void memory_end::queue_data(memory_stream& s, shared_bytes data)
{
    s.queued_end += data.bytes.size();
    s.chunks.push_back(std::move(data));
    tell(s);
}

void memory_end::finish(memory_stream& s)
{
    s.fin_wanted = true;
    tell(s);
}

void memory_end::reset_stream(memory_stream& s, std::uint64_t code)
{
    if (s.send_reset || s.send_stopped || s.fin_acked || s.closed) return;
    s.send_reset = true;
    if (!s.fin_sent) s.tell_reset = code;  // else everything has arrived already
    drop_unsent(s);
    tell(s);
}

void memory_end::drop_unsent(memory_stream& s)
{
    if (s.next_position > 0) {
        shared_bytes& partial = s.chunks[s.next_chunk++];
        partial.bytes = partial.bytes.first(std::exchange(s.next_position, 0));
    }
    s.chunks.erase(s.chunks.begin() + static_cast<std::ptrdiff_t>(s.next_chunk), s.chunks.end());
    s.queued_end = s.sent_end;
    release_acked(s);
    s.send_changed.notify_all();
}

void memory_end::release_acked(memory_stream& s)
{
    while (s.next_chunk > 0 && s.base + s.chunks.front().bytes.size() <= s.acked) {
        s.base += s.chunks.front().bytes.size();
        s.chunks.pop_front();
        --s.next_chunk;
    }
}

void memory_end::drop_chunks(memory_stream& s)
{
    s.chunks.clear();
    s.next_chunk = 0;
    s.next_position = 0;
    s.send_changed.notify_all();
}

void memory_end::stop_stream(memory_stream& s, std::uint64_t code)
{
    if (s.recv_stopped) return;
    settle_receive(s);
    if (!s.recv_ended && !s.closed) {
        s.tell_stop = code;
        tell(s);
    }
    s.recv_changed.notify_all();
}

void memory_end::drop_handle(memory_stream& s, bool sending)
{
    if (sending) {
        if (!s.fin_wanted) reset_stream(s, 0);
    } else {
        s.sink = nullptr;
        stop_stream(s, 0);
    }
}

void memory_end::close_if_ended(memory_stream& s)
{
    if (s.closed || !s.send_ended || !s.recv_ended || s.tell_end_ack) return;
    s.closed = true;
    drop_chunks(s);
    s.recv_changed.notify_all();
    const auto at = streams_.find(s.id);
    const auto keep = at->second;
    streams_.erase(at);
    const bool by_peer = ((s.id & 1) != 0) == dialler_;
    if (!by_peer) open_changed_.notify_all();
    else if (!s.unaccepted) free_place(s);
}

// As in quic/: not while the stream still waits to be accepted, or the queue would grow without end.
void memory_end::free_place(const memory_stream& s)
{
    ++freed_[s.bidirectional() ? 0 : 1];
    link_.wake(*this);
}

void memory_end::accepted(memory_stream& s)
{
    s.unaccepted = false;
    if (s.closed && !why_) free_place(s);
}

// ---- credit ----------------------------------------------------------------------------------------

void memory_end::credit_connection(std::uint64_t bytes)
{
    returned_ += bytes;
    if (!why_) link_.wake(*this);
}

void memory_end::return_credit(memory_stream& s, std::uint64_t bytes)
{
    if (s.recv_stopped || bytes == 0) return;
    assert(bytes <= s.uncredited && "credit is returned once");
    s.uncredited -= bytes;
    s.returned += bytes;
    credit_connection(bytes);
    tell(s);
}

std::size_t memory_end::grow_window(memory_stream& s, std::size_t bytes)
{
    const std::size_t now = s.window.amount();
    if (bytes <= now || why_ || s.closed || s.fin_received || s.recv_stopped) return now;
    credit more = windows_.take_up_to(bytes - now);
    if (windows_.used() > granted_) {
        credit_connection(windows_.used() - granted_);
        granted_ = windows_.used();
    }
    s.returned += more.amount();
    s.window.absorb(std::move(more));
    tell(s);
    return s.window.amount();
}

// The receiving side is over: everything held or queued is credited to the connection, once.
void memory_end::settle_receive(memory_stream& s)
{
    if (s.recv_stopped) return;
    s.recv_stopped = true;
    credit_connection(s.uncredited + s.queued());
    s.uncredited = 0;
    s.queue = {};
    s.head = 0;
    s.window.reset();
    open_changed_.notify_all();
}

void memory_end::feed_sink(memory_stream& s)
{
    while (s.sink && s.queued() > 0 && !s.recv_stopped && !s.sink_error) {
        const auto verdict = s.sink->consume(byte_view(s.queue).subspan(s.head));
        if (!verdict) {
            s.sink_error = verdict.error();
            stop_stream(s, s.sink->stop_code());
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

// ---- what the other end tells ----------------------------------------------------------------------

void memory_end::on_data(std::uint64_t id, byte_view data, bool fin)
{
    if (why_) return;
    const auto keep = find_or_open(id);
    memory_stream& s = *keep;
    s.received += data.size();
    s.tell_ack = s.tell_ack || !data.empty();
    if (fin) {
        s.recv_ended = true;
        s.tell_end_ack = true;
        s.tell_stop.reset();
    }
    tell(s);
    if (s.recv_stopped) {
        credit_connection(data.size());  // nobody will
        return;
    }
    s.fin_received = fin;
    if (s.sink && !s.sink_error && s.queued() == 0 && !data.empty()) {
        const auto verdict = s.sink->consume(data);
        if (!verdict) {
            s.sink_error = verdict.error();
            s.uncredited += data.size();
            stop_stream(s, s.sink->stop_code());
            return;
        }
        const sink_verdict v = verdict.assume_value();
        s.uncredited += v.accepted;
        return_credit(s, v.credit);
        data = data.subspan(v.accepted);
        if (data.empty()) {
            if (fin) s.recv_changed.notify_all();
            return;
        }
    }
    if (s.head > s.queued()) {
        s.queue.erase(s.queue.begin(), s.queue.begin() + static_cast<std::ptrdiff_t>(s.head));
        s.head = 0;
    }
    s.queue.insert(s.queue.end(), data.begin(), data.end());
    s.recv_changed.notify_all();
}

void memory_end::on_reset(std::uint64_t id, std::uint64_t code)
{
    if (why_) return;
    const auto keep = find_or_open(id);
    memory_stream& s = *keep;
    s.recv_ended = true;
    s.tell_end_ack = true;
    s.tell_stop.reset();
    s.reset_code = code;
    settle_receive(s);
    s.recv_changed.notify_all();
    tell(s);
}

// Answered by a reset with the same code, as RFC 9000 section 3.5 asks.
void memory_end::on_stop(std::uint64_t id, std::uint64_t code)
{
    if (why_) return;
    const auto keep = find_or_open(id);
    memory_stream& s = *keep;
    if (s.send_ended || s.fin_sent || s.send_reset || s.send_stopped) return;
    s.send_stopped = true;
    s.stop_code = code;
    s.tell_reset = code;
    drop_unsent(s);
    tell(s);
}

void memory_end::on_window(std::uint64_t id, std::uint64_t bytes)
{
    if (why_) return;
    const auto keep = find_or_open(id);
    keep->send_limit += bytes;
    tell(*keep);
}

void memory_end::on_ack(std::uint64_t id, std::uint64_t offset)
{
    const auto at = streams_.find(id);
    if (at == streams_.end()) return;
    memory_stream& s = *at->second;
    s.acked = std::max(s.acked, offset);
    release_acked(s);
    s.send_changed.notify_all();
}

void memory_end::on_end_ack(std::uint64_t id)
{
    const auto at = streams_.find(id);
    if (at == streams_.end()) return;
    const auto keep = at->second;
    keep->send_ended = true;
    keep->fin_acked = keep->fin_sent;
    keep->send_changed.notify_all();
    close_if_ended(*keep);
}

void memory_end::on_connection_window(std::uint64_t bytes)
{
    send_credit_ += bytes;
    for (const auto& [id, s] : streams_) tell(*s);
}

void memory_end::on_stream_places(bool bidirectional, std::uint64_t count)
{
    may_open_[bidirectional ? 0 : 1] += count;
    open_changed_.notify_all();
}

// ---- datagrams -------------------------------------------------------------------------------------

std::size_t memory_end::max_datagram_payload() const noexcept
{
    return why_ ? 0 : peer_->own_.max_datagram_payload;
}

result<void> memory_end::send_datagram(shared_bytes data)
{
    if (why_) return why_->error;
    const std::size_t most = max_datagram_payload();
    if (most == 0) return make_error_code(std::errc::not_supported);
    if (data.bytes.size() > most) return make_error_code(std::errc::message_size);
    const std::size_t cost = datagram_cost(data);
    if (cost > own_.datagram_send_buffer - datagrams_out_bytes_)
        return transport_errc::limit_reached;
    datagrams_out_bytes_ += cost;
    datagrams_out_.push_back(std::move(data));
    link_.wake(*this);
    return outcome::success();
}

void memory_end::on_datagram(byte_view data)
{
    if (why_) return;
    ++statistics_.datagrams_received;
    datagrams_in_.push_back(shared_bytes::copy(data));
    datagrams_in_bytes_ += datagram_cost(datagrams_in_.back());
    while (datagrams_in_bytes_ > own_.datagram_receive_buffer) {
        const shared_bytes oldest = take_datagram();
        static_cast<void>(oldest);
        ++statistics_.datagrams_dropped_received;
    }
    datagrams_changed_.notify_all();
}

shared_bytes memory_end::take_datagram()
{
    shared_bytes next = std::move(datagrams_in_.front());
    datagrams_in_.pop_front();
    datagrams_in_bytes_ -= datagram_cost(next);
    return next;
}

// ---- the end ---------------------------------------------------------------------------------------

// As quic/ does, a close lets go first what may be sent: a response and its end are not cut off. Copies,
// since the owners of what is queued get it back at once.
void memory_end::keep_last_flight()
{
    std::size_t room = max_flight;
    for (const auto& [id, s] : streams_) {
        last_words words{id, {}, 0, false, s->tell_reset};
        if (s->has_data()) {
            const std::uint64_t most = std::min<std::uint64_t>(
                {room, send_credit_, s->send_limit - s->sent_end, s->queued_end - s->sent_end});
            std::size_t position = s->next_position;
            for (std::size_t i = s->next_chunk; words.data.size() < most; ++i) {
                const byte_view chunk = s->chunks[i].bytes.subspan(std::exchange(position, 0));
                const auto n = std::min<std::size_t>(chunk.size(), most - words.data.size());
                words.data.insert(words.data.end(), chunk.data(), chunk.data() + n);
            }
            words.fin = s->fin_wanted && s->sent_end + most == s->queued_end;
            room -= words.data.size();
            send_credit_ -= words.data.size();
        }
        if (words.reset || words.fin || !words.data.empty()) flight_.push_back(std::move(words));
    }
}

void memory_end::close(std::uint64_t code, std::string_view reason)
{
    if (why_) return;
    keep_last_flight();
    close_reason why;
    why.error = transport_errc::closed_locally;
    why.application = true;
    why.code = code;
    why.reason = std::string(reason.substr(0, max_reason));
    end(std::move(why));
    tell_close_ = true;
    link_.wake(*this);
}

void memory_end::lose(close_reason why)
{
    flight_.clear();
    tell_close_ = false;
    end(std::move(why));
}

void memory_end::end(close_reason why)
{
    if (why_) return;
    why_ = std::move(why);
    for (const auto& [id, s] : streams_) {
        s->closed = true;
        s->window.reset();
        drop_chunks(*s);
        s->recv_changed.notify_all();
    }
    streams_.clear();
    news_.clear();
    datagrams_out_.clear();
    datagrams_out_bytes_ = 0;
    datagrams_changed_.notify_all();
    open_changed_.notify_all();
    incoming_changed_.notify_all();
    closed_changed_.notify_all();
}

}  // namespace copse::sim::detail
