// Handles of connections and streams in memory: what users hold. Thin: the work is in memory_end.
#pragma once

#include <copse/sim/impl/memory_end.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace copse::sim::detail {

class memory_send final : public send_stream {
public:
    memory_send(std::shared_ptr<connection> keep, std::shared_ptr<memory_end> end,
                std::shared_ptr<memory_stream> s)
        : keep_(std::move(keep)), end_(std::move(end)), s_(std::move(s))
    {}
    ~memory_send() override { end_->drop_handle(*s_, true); }

    awaitable<result<void>> write(shared_bytes data) override
    {
        for (;;) {
            const std::error_code failed = failure();
            if (failed) co_return failed;
            if (s_->fin_wanted) co_return make_error_code(std::errc::broken_pipe);
            if (data.bytes.empty()) co_return outcome::success();
            const std::uint64_t buffered = s_->queued_end - s_->acked;
            const std::size_t limit = end_->own_.send_buffer;
            if (buffered < limit) {
                const std::size_t n =
                    std::min(static_cast<std::size_t>(limit - buffered), data.bytes.size());
                end_->queue_data(*s_, {data.owner, data.bytes.first(n)});
                data.bytes = data.bytes.subspan(n);
                continue;
            }
            const std::error_code ec = co_await s_->send_changed.wait();
            if (ec) co_return ec;
        }
    }

    void finish() override
    {
        if (s_->fin_wanted || failure()) return;
        end_->finish(*s_);
    }

    void reset(std::uint64_t code) noexcept override { end_->reset_stream(*s_, code); }

    awaitable<result<void>> acknowledged() override
    {
        for (;;) {
            if (s_->fin_acked) co_return outcome::success();
            const std::error_code failed = failure();
            if (failed) co_return failed;
            const std::error_code ec = co_await s_->send_changed.wait();
            if (ec) co_return ec;
        }
    }

    std::uint64_t acknowledged_bytes() const noexcept override { return s_->acked; }

    awaitable<std::error_code> stopped() override
    {
        for (;;) {
            const std::error_code failed = failure();
            if (failed) co_return failed;
            if (s_->closed) co_return std::error_code{};
            const std::error_code ec = co_await s_->send_changed.wait();
            if (ec) co_return ec;
        }
    }

    std::optional<std::uint64_t> stop_code() const noexcept override { return s_->stop_code; }

private:
    [[nodiscard]] std::error_code failure() const
    {
        if (s_->send_stopped) return transport_errc::stream_stopped;
        if (end_->why_ && !s_->fin_acked) return end_->why_->error;
        if (s_->send_reset) return make_error_code(std::errc::operation_canceled);
        return {};
    }

    std::shared_ptr<connection> keep_;
    std::shared_ptr<memory_end> end_;
    std::shared_ptr<memory_stream> s_;
};

class memory_recv final : public recv_stream {
public:
    memory_recv(std::shared_ptr<connection> keep, std::shared_ptr<memory_end> end,
                std::shared_ptr<memory_stream> s)
        : keep_(std::move(keep)), end_(std::move(end)), s_(std::move(s))
    {}
    ~memory_recv() override { end_->drop_handle(*s_, false); }

    awaitable<result<std::size_t>> read(byte_span into) override
    {
        for (;;) {
            const std::size_t n = std::min(into.size(), s_->queued());
            if (n > 0) {
                std::memcpy(into.data(), s_->queue.data() + s_->head, n);
                take(n);
                co_return n;
            }
            if (into.empty()) co_return std::size_t{0};
            const std::error_code failed = failure();
            if (failed) co_return failed;
            if (s_->fin_received) co_return std::size_t{0};
            const std::error_code ec = co_await s_->recv_changed.wait();
            if (ec) co_return ec;
        }
    }

    void attach(stream_sink& sink) override
    {
        s_->sink = &sink;
        end_->feed_sink(*s_);
    }
    void detach() noexcept override { s_->sink = nullptr; }
    void resume() override { end_->feed_sink(*s_); }
    void release(std::size_t bytes) noexcept override { end_->return_credit(*s_, bytes); }
    std::size_t request_window(std::size_t bytes) noexcept override
    {
        return end_->grow_window(*s_, bytes);
    }

    awaitable<result<void>> drained() override
    {
        for (;;) {
            if (s_->sink_error) co_return s_->sink_error;
            if (s_->fin_received && s_->queued() == 0) co_return outcome::success();
            const std::error_code failed = failure();
            if (failed) co_return failed;
            const std::error_code ec = co_await s_->recv_changed.wait();
            if (ec) co_return ec;
        }
    }

    void stop(std::uint64_t code) noexcept override { end_->stop_stream(*s_, code); }
    std::optional<std::uint64_t> reset_code() const noexcept override { return s_->reset_code; }
    std::uint64_t received() const noexcept override { return s_->received; }

private:
    void take(std::size_t n)
    {
        s_->head += n;
        s_->uncredited += n;
        if (s_->head == s_->queue.size()) {
            s_->queue.clear();
            s_->head = 0;
        }
        end_->return_credit(*s_, n);
    }

    [[nodiscard]] std::error_code failure() const
    {
        if (s_->sink_error) return s_->sink_error;
        if (s_->reset_code) return transport_errc::stream_reset;
        if (s_->fin_received) return {};
        if (end_->why_) return end_->why_->error;
        if (s_->recv_stopped) return make_error_code(std::errc::operation_canceled);
        return {};
    }

    std::shared_ptr<connection> keep_;
    std::shared_ptr<memory_end> end_;
    std::shared_ptr<memory_stream> s_;
};

class memory_connection final : public connection,
                                public std::enable_shared_from_this<memory_connection> {
public:
    memory_connection(std::shared_ptr<memory_link::state> link, memory_end& end)
        : end_(link, &end), alpn_(link->alpn)
    {}
    ~memory_connection() override { end_->close(0, {}); }

    const endpoint_id& peer() const noexcept override { return end_->peer_->own_.id; }
    path_address remote_address() const override { return end_->peer_->own_.address; }
    std::string_view alpn() const noexcept override { return alpn_; }
    executor get_executor() const override { return end_->ex_; }

    awaitable<result<bidi_stream>> open_bi() override
    {
        auto opened = co_await open(true);
        if (!opened) co_return opened.error();
        co_return bidi(std::move(opened).assume_value());
    }
    awaitable<result<std::unique_ptr<send_stream>>> open_uni() override
    {
        auto opened = co_await open(false);
        if (!opened) co_return opened.error();
        co_return make_send(std::move(opened).assume_value());
    }
    awaitable<result<bidi_stream>> accept_bi() override
    {
        auto next = co_await take(end_->incoming_bi_);
        if (!next) co_return next.error();
        co_return bidi(std::move(next).assume_value());
    }
    awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() override
    {
        auto next = co_await take(end_->incoming_uni_);
        if (!next) co_return next.error();
        co_return make_recv(std::move(next).assume_value());
    }

    std::size_t max_datagram_payload() const noexcept override
    {
        return end_->max_datagram_payload();
    }
    result<void> send_datagram(shared_bytes data) override
    {
        return end_->send_datagram(std::move(data));
    }
    awaitable<result<shared_bytes>> receive_datagram() override
    {
        for (;;) {
            if (!end_->datagrams_in_.empty()) co_return end_->take_datagram();
            if (end_->why_) co_return end_->why_->error;
            const std::error_code ec = co_await end_->datagrams_changed_.wait();
            if (ec) co_return ec;
        }
    }

    void close(std::uint64_t code, std::string_view reason) noexcept override
    {
        end_->close(code, reason);
    }
    awaitable<close_reason> closed() override
    {
        while (!end_->why_) {
            const std::error_code ec = co_await end_->closed_changed_.wait();
            if (ec) {
                close_reason cancelled;
                cancelled.error = ec;
                co_return cancelled;
            }
        }
        co_return *end_->why_;
    }
    std::optional<close_reason> why_closed() const override { return end_->why_; }
    connection_statistics statistics() const override { return end_->statistics(); }

private:
    using opened_stream = std::shared_ptr<memory_stream>;

    awaitable<result<opened_stream>> open(bool bidirectional)
    {
        for (;;) {
            std::error_code why;
            opened_stream s = end_->open_stream(bidirectional, why);
            if (s) co_return s;
            if (why) co_return why;
            const std::error_code ec = co_await end_->open_changed_.wait();
            if (ec) co_return ec;
        }
    }

    awaitable<result<opened_stream>> take(std::deque<opened_stream>& from)
    {
        for (;;) {
            if (!from.empty()) {
                opened_stream s = std::move(from.front());
                from.pop_front();
                end_->accepted(*s);
                co_return s;
            }
            if (end_->why_) co_return end_->why_->error;
            const std::error_code ec = co_await end_->incoming_changed_.wait();
            if (ec) co_return ec;
        }
    }

    std::unique_ptr<send_stream> make_send(const opened_stream& s)
    {
        return std::make_unique<memory_send>(shared_from_this(), end_, s);
    }
    std::unique_ptr<recv_stream> make_recv(const opened_stream& s)
    {
        return std::make_unique<memory_recv>(shared_from_this(), end_, s);
    }
    bidi_stream bidi(const opened_stream& s) { return {make_send(s), make_recv(s)}; }

    std::shared_ptr<memory_end> end_;
    std::string alpn_;
};

}  // namespace copse::sim::detail

namespace copse::sim {

memory_transport_options::memory_transport_options()
{
    dialler.id.bytes.fill(std::byte{1});
    acceptor.id.bytes.fill(std::byte{2});
}

memory_link::memory_link(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}

void memory_link::cut() noexcept
{
    for (detail::memory_end* end : {&state_->dialler, &state_->acceptor}) {
        close_reason why;
        why.error = transport_errc::idle_timeout;
        end->lose(std::move(why));
    }
}

std::uint64_t memory_link::deliveries() const noexcept
{
    return state_->deliveries;
}

connection_pair make_connection_pair(executor ex, memory_transport_options options)
{
    auto link = std::make_shared<memory_link::state>(std::move(ex), options);
    return {std::make_shared<detail::memory_connection>(link, link->dialler),
            std::make_shared<detail::memory_connection>(link, link->acceptor), memory_link(link)};
}

}  // namespace copse::sim
