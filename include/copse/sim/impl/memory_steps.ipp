// Deliveries between the two ends: one thing a step, chosen and cut by the seed.
#pragma once

#include <copse/sim/impl/memory_end.hpp>

#include <asio/post.hpp>

#include <algorithm>
#include <utility>

namespace copse::sim {

memory_link::state::state(executor e, const memory_transport_options& o)
    : ex(std::move(e)),
      alpn(o.alpn),
      max_piece(std::max<std::size_t>(o.max_piece, 1)),
      random(o.seed),
      dialler(ex, *this, o.dialler, true),
      acceptor(ex, *this, o.acceptor, false)
{
    dialler.meet(acceptor);
    acceptor.meet(dialler);
}

void memory_link::state::wake(detail::memory_end& end)
{
    if (std::exchange(end.stepping_, true)) return;
    asio::post(ex, [self = shared_from_this(), &end] {
        end.stepping_ = false;
        if (!end.step(self->random, self->max_piece)) return;
        ++self->deliveries;
        self->wake(end);
    });
}

}  // namespace copse::sim

namespace copse::sim::detail {

namespace {

// All that fits, any part of it, or a few bytes: what arrives in one piece proves nothing.
std::size_t piece(rng& random, std::size_t most)
{
    if (most <= 1) return most;
    const std::uint64_t kind = random.below(4);
    if (kind < 2) return most;
    return static_cast<std::size_t>(
        1 + random.below(kind == 2 ? most : std::min<std::size_t>(most, 8)));
}

}  // namespace

bool memory_end::has_news(const memory_stream& s) const noexcept
{
    if (s.tell_reset || s.tell_stop || s.tell_ack || s.tell_end_ack || s.window_due()) return true;
    if (!s.has_data()) return false;
    if (s.sent_end == s.queued_end) return true;  // the end alone
    return send_credit_ > 0 && s.sent_end < s.send_limit;
}

void memory_end::tell(memory_stream& s)
{
    if (why_ || s.closed || s.listed || !has_news(s)) return;
    s.listed = true;
    news_.push_back(streams_.at(s.id));
    link_.wake(*this);
}

bool memory_end::step(rng& random, std::size_t max_piece)
{
    const std::uint64_t bytes = statistics_.bytes_sent;
    if (why_) {
        if (!tell_close_) return false;
        step_closing(random, max_piece);
    } else {
        const bool connection_first = random.below(2) == 0;
        if (!(connection_first && step_connection()) && !step_streams(random, max_piece) &&
            !step_connection()) {
            return false;
        }
    }
    ++statistics_.packets_sent;
    ++peer_->statistics_.packets_received;
    peer_->statistics_.bytes_received += statistics_.bytes_sent - bytes;
    return true;
}

bool memory_end::step_connection()
{
    for (const std::size_t kind : {0U, 1U}) {
        if (freed_[kind] == 0) continue;
        peer_->on_stream_places(kind == 0, std::exchange(freed_[kind], 0));
        return true;
    }
    if (returned_ > 0 && returned_ >= own_.connection_window / 2) {
        peer_->on_connection_window(std::exchange(returned_, 0));
        return true;
    }
    if (!datagrams_out_.empty()) {
        const shared_bytes next = std::move(datagrams_out_.front());
        datagrams_out_.pop_front();
        datagrams_out_bytes_ -= datagram_cost(next);
        ++statistics_.datagrams_sent;
        statistics_.bytes_sent += next.bytes.size();
        peer_->on_datagram(next.bytes);
        return true;
    }
    return false;
}

bool memory_end::step_streams(rng& random, std::size_t max_piece)
{
    while (!news_.empty()) {
        const auto at = static_cast<std::ptrdiff_t>(random.below(news_.size()));
        std::swap(news_[static_cast<std::size_t>(at)], news_.front());
        const auto s = std::move(news_.front());
        news_.pop_front();
        s->listed = false;
        if (s->closed || !has_news(*s)) continue;
        step_stream(*s, random, max_piece);
        tell(*s);
        return true;
    }
    return false;
}

void memory_end::step_stream(memory_stream& s, rng& random, std::size_t max_piece)
{
    if (s.tell_reset) {
        peer_->on_reset(s.id, *std::exchange(s.tell_reset, std::nullopt));
    } else if (s.tell_stop) {
        peer_->on_stop(s.id, *std::exchange(s.tell_stop, std::nullopt));
    } else if (s.tell_ack) {
        s.tell_ack = false;
        peer_->on_ack(s.id, s.received);
    } else if (s.tell_end_ack) {
        s.tell_end_ack = false;
        peer_->on_end_ack(s.id);
        close_if_ended(s);
    } else if (s.window_due()) {
        peer_->on_window(s.id, std::exchange(s.returned, 0));
    } else {
        step_data(s, random, max_piece);
    }
}

void memory_end::step_data(memory_stream& s, rng& random, std::size_t max_piece)
{
    std::size_t n = 0;
    byte_view data;
    if (s.sent_end < s.queued_end) {
        data = s.chunks[s.next_chunk].bytes.subspan(s.next_position);
        n = piece(random, static_cast<std::size_t>(std::min<std::uint64_t>(
                              {data.size(), max_piece, send_credit_, s.send_limit - s.sent_end})));
    }
    // Taken note of before the other end sees it: that end may close and drop this one's chunks.
    const shared_bytes keep{n > 0 ? s.chunks[s.next_chunk].owner : nullptr, data.first(n)};
    s.sent_end += n;
    s.next_position += n;
    if (n > 0 && n == data.size()) {
        ++s.next_chunk;
        s.next_position = 0;
    }
    send_credit_ -= n;
    statistics_.bytes_sent += n;
    // The end comes with the last bytes, or alone.
    const bool fin = s.fin_wanted && s.sent_end == s.queued_end && (n == 0 || random.below(2) == 0);
    s.fin_sent = fin;
    peer_->on_data(s.id, keep.bytes, fin);
}

void memory_end::step_closing(rng& random, std::size_t max_piece)
{
    if (flight_.empty()) {
        tell_close_ = false;
        close_reason why = *why_;
        why.error = transport_errc::closed_by_peer;
        why.by_peer = true;
        peer_->end(std::move(why));
        return;
    }
    last_words& words = flight_.front();
    if (words.reset) {
        peer_->on_reset(words.id, *words.reset);
        flight_.pop_front();
        return;
    }
    const std::size_t n = piece(random, std::min(words.data.size() - words.told, max_piece));
    const byte_view data = byte_view(words.data).subspan(words.told, n);
    words.told += n;
    statistics_.bytes_sent += n;
    const bool last = words.told == words.data.size();
    peer_->on_data(words.id, data, words.fin && last);
    if (last) flight_.pop_front();
}

}  // namespace copse::sim::detail
