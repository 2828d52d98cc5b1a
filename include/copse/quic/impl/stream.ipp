// Handles of streams and connections: what users hold. Thin: the work is in connection_state.
#pragma once

#include <copse/quic/impl/state.hpp>

#include <algorithm>
#include <cstring>

namespace copse::quic::detail {

inline std::error_code closed_error(const connection_state& c)
{
    return c.why_ ? c.why_->error : make_error_code(transport_errc::closed_locally);
}

class send_handle final : public send_stream {
public:
    send_handle(std::shared_ptr<connection> keep, std::shared_ptr<connection_state> c,
                std::shared_ptr<stream_state> s, std::size_t limit)
        : keep_(std::move(keep)), c_(std::move(c)), s_(std::move(s)), limit_(limit)
    {}
    ~send_handle() override { c_->drop_handle(*s_, true); }

    awaitable<result<void>> write(shared_bytes data) override
    {
        for (;;) {
            const std::error_code failed = failure();
            if (failed) co_return failed;
            if (s_->fin_wanted) co_return make_error_code(std::errc::broken_pipe);
            if (data.bytes.empty()) co_return outcome::success();
            const std::uint64_t buffered = s_->queued_end - s_->acked;
            if (buffered < limit_) {
                const auto room = static_cast<std::size_t>(limit_ - buffered);
                const std::size_t n = c_->queue_data(s_, data, room);
                data.bytes = data.bytes.subspan(n);
                if (n > 0) continue;
            }
            const std::error_code ec = co_await s_->send_changed.wait();
            if (ec) co_return ec;
        }
    }

    void finish() override
    {
        if (s_->fin_wanted || failure()) return;
        s_->fin_wanted = true;
        c_->want_send(*s_);
    }

    void reset(std::uint64_t code) noexcept override { c_->reset_stream(*s_, code); }

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
        if (c_->why_ && !s_->fin_acked) return closed_error(*c_);
        if (s_->send_reset) return make_error_code(std::errc::operation_canceled);
        return {};
    }

    std::shared_ptr<connection> keep_;
    std::shared_ptr<connection_state> c_;
    std::shared_ptr<stream_state> s_;
    std::size_t limit_;
};

class recv_handle final : public recv_stream {
public:
    recv_handle(std::shared_ptr<connection> keep, std::shared_ptr<connection_state> c,
                std::shared_ptr<stream_state> s)
        : keep_(std::move(keep)), c_(std::move(c)), s_(std::move(s))
    {}
    ~recv_handle() override { c_->drop_handle(*s_, false); }

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
        c_->feed_sink(*s_);
    }
    void detach() noexcept override { s_->sink = nullptr; }
    void resume() override { c_->feed_sink(*s_); }
    void release(std::size_t bytes) noexcept override { c_->return_credit(*s_, bytes); }
    std::size_t request_window(std::size_t bytes) noexcept override
    {
        return c_->grow_window(*s_, bytes);
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

    void stop(std::uint64_t code) noexcept override { c_->stop_stream(*s_, code); }
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
        c_->return_credit(*s_, n);
    }

    [[nodiscard]] std::error_code failure() const
    {
        if (s_->sink_error) return s_->sink_error;
        if (s_->reset_code) return transport_errc::stream_reset;
        if (s_->fin_received) return {};
        if (c_->why_) return closed_error(*c_);
        if (s_->recv_stopped) return make_error_code(std::errc::operation_canceled);
        return {};
    }

    std::shared_ptr<connection> keep_;
    std::shared_ptr<connection_state> c_;
    std::shared_ptr<stream_state> s_;
};

class connection_handle final : public connection,
                                public std::enable_shared_from_this<connection_handle> {
public:
    connection_handle(std::shared_ptr<connection_state> c, std::size_t send_limit)
        : c_(std::move(c)), send_limit_(send_limit)
    {}
    ~connection_handle() override { c_->close(0, {}); }

    const endpoint_id& peer() const noexcept override { return c_->peer_id_; }
    path_address remote_address() const override { return c_->remote_; }
    std::string_view alpn() const noexcept override { return c_->alpn_; }
    executor get_executor() const override { return c_->ex_; }

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
        auto next = co_await take(c_->incoming_bi_);
        if (!next) co_return next.error();
        co_return bidi(std::move(next).assume_value());
    }

    awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() override
    {
        auto next = co_await take(c_->incoming_uni_);
        if (!next) co_return next.error();
        co_return make_recv(std::move(next).assume_value());
    }

    std::size_t max_datagram_payload() const noexcept override
    {
        return c_->max_datagram_payload();
    }
    result<void> send_datagram(shared_bytes data) override
    {
        return c_->send_datagram(std::move(data));
    }
    awaitable<result<shared_bytes>> receive_datagram() override
    {
        datagram_queues& queues = c_->datagrams();
        for (;;) {
            if (!queues.in.empty()) {
                shared_bytes next = std::move(queues.in.front());
                queues.in.pop_front();
                queues.in_bytes -= datagram_cost(next.bytes);
                co_return next;
            }
            if (c_->why_) co_return c_->why_->error;
            const std::error_code ec = co_await queues.changed.wait();
            if (ec) co_return ec;
        }
    }

    void close(std::uint64_t code, std::string_view reason) noexcept override
    {
        c_->close(code, reason);
    }

    awaitable<close_reason> closed() override
    {
        while (!c_->why_) {
            const std::error_code ec = co_await c_->closed_changed_.wait();
            if (ec) {
                close_reason cancelled;
                cancelled.error = ec;
                co_return cancelled;
            }
        }
        co_return *c_->why_;
    }

    std::optional<close_reason> why_closed() const override { return c_->why_; }
    connection_statistics statistics() const override { return c_->statistics(); }

private:
    using opened_stream = std::shared_ptr<stream_state>;

    awaitable<result<opened_stream>> open(bool bidirectional)
    {
        for (;;) {
            std::error_code why;
            opened_stream s = c_->open_stream(bidirectional, why);
            if (s) co_return s;
            if (why) co_return why;
            const std::error_code ec = co_await c_->open_changed_.wait();
            if (ec) co_return ec;
        }
    }

    awaitable<result<opened_stream>> take(std::deque<opened_stream>& from)
    {
        for (;;) {
            if (!from.empty()) {
                opened_stream s = std::move(from.front());
                from.pop_front();
                c_->accepted(*s);
                co_return s;
            }
            if (c_->why_) co_return c_->why_->error;
            const std::error_code ec = co_await c_->incoming_changed_.wait();
            if (ec) co_return ec;
        }
    }

    std::unique_ptr<send_stream> make_send(const opened_stream& s)
    {
        s->send_handle = true;
        return std::make_unique<send_handle>(shared_from_this(), c_, s, send_limit_);
    }
    std::unique_ptr<recv_stream> make_recv(const opened_stream& s)
    {
        s->recv_handle = true;
        return std::make_unique<recv_handle>(shared_from_this(), c_, s);
    }
    bidi_stream bidi(const opened_stream& s) { return {make_send(s), make_recv(s)}; }

    std::shared_ptr<connection_state> c_;
    std::size_t send_limit_;
};

}  // namespace copse::quic::detail
