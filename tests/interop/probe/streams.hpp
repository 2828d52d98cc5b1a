// Streams that are watched, and streams that are spoilt.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/transport.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace probe {

using namespace copse;

/// What the halves of a stream had seen when they were dropped.
struct receipt {
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> reset;
    std::vector<std::byte> consumed;       ///< what the sink took
    std::optional<std::uint64_t> stopped;  ///< the peer wanted no more of what we sent
};

class watched_recv final : public recv_stream, private stream_sink {
public:
    watched_recv(std::unique_ptr<recv_stream> inner, std::shared_ptr<receipt> out)
        : inner_(std::move(inner)), out_(std::move(out))
    {}
    ~watched_recv() override
    {
        out_->bytes = inner_->received();
        out_->reset = inner_->reset_code();
    }

    awaitable<result<std::size_t>> read(byte_span into) override { return inner_->read(into); }
    void attach(stream_sink& sink) override
    {
        sink_ = &sink;
        inner_->attach(*this);
    }
    void detach() noexcept override { inner_->detach(); }
    void resume() override { inner_->resume(); }
    void release(std::size_t bytes) noexcept override { inner_->release(bytes); }
    std::size_t request_window(std::size_t bytes) noexcept override
    {
        return inner_->request_window(bytes);
    }
    awaitable<result<void>> drained() override { return inner_->drained(); }
    void stop(std::uint64_t code) noexcept override { inner_->stop(code); }
    std::optional<std::uint64_t> reset_code() const noexcept override
    {
        return inner_->reset_code();
    }
    std::uint64_t received() const noexcept override { return inner_->received(); }

private:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        auto verdict = sink_->consume(data);
        if (verdict) {
            const byte_view taken = data.first(verdict.assume_value().accepted);
            out_->consumed.insert(out_->consumed.end(), taken.begin(), taken.end());
        }
        return verdict;
    }
    std::uint64_t stop_code() const noexcept override { return sink_->stop_code(); }

    std::unique_ptr<recv_stream> inner_;
    std::shared_ptr<receipt> out_;
    stream_sink* sink_ = nullptr;
};

/// What is done to what we send.
struct mischief {
    std::optional<std::uint64_t> corrupt;
    std::optional<std::uint64_t> truncate;
    std::optional<std::uint64_t> stall;
};

class spoilt_send final : public send_stream {
public:
    spoilt_send(std::unique_ptr<send_stream> inner, const mischief& how,
                std::shared_ptr<receipt> out = nullptr)
        : inner_(std::move(inner)), how_(how), out_(std::move(out))
    {}
    ~spoilt_send() override
    {
        if (out_) out_->stopped = inner_->stop_code();
    }

    awaitable<result<void>> write(shared_bytes data) override
    {
        const std::uint64_t first = position_;
        position_ += data.bytes.size();
        if (const auto limit = how_.truncate ? how_.truncate : how_.stall) {
            const std::uint64_t room = *limit - std::min(*limit, first);
            data.bytes = data.bytes.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(room, data.bytes.size())));
        }
        if (how_.corrupt && *how_.corrupt >= first && *how_.corrupt < first + data.bytes.size()) {
            auto copy =
                std::make_shared<std::vector<std::byte>>(data.bytes.begin(), data.bytes.end());
            (*copy)[static_cast<std::size_t>(*how_.corrupt - first)] ^= std::byte{1};
            data = shared_bytes{copy, *copy};
        }
        return inner_->write(std::move(data));
    }
    void finish() override
    {
        const bool hold = how_.stall && position_ > *how_.stall;
        if (!hold) inner_->finish();
    }
    void reset(std::uint64_t code) noexcept override { inner_->reset(code); }
    awaitable<result<void>> acknowledged() override { return inner_->acknowledged(); }
    std::uint64_t acknowledged_bytes() const noexcept override
    {
        return inner_->acknowledged_bytes();
    }
    awaitable<std::error_code> stopped() override { return inner_->stopped(); }
    std::optional<std::uint64_t> stop_code() const noexcept override { return inner_->stop_code(); }

private:
    std::unique_ptr<send_stream> inner_;
    mischief how_;
    std::shared_ptr<receipt> out_;
    std::uint64_t position_ = 0;
};

/// A connection that hands out such streams.
class wrapped_connection final : public connection {
public:
    /// \param of_accepted for the answers on streams that the peer opens.
    explicit wrapped_connection(std::shared_ptr<connection> inner, mischief of_accepted = {})
        : inner_(std::move(inner)), of_accepted_(of_accepted)
    {}

    const endpoint_id& peer() const noexcept override { return inner_->peer(); }
    path_address remote_address() const override { return inner_->remote_address(); }
    std::string_view alpn() const noexcept override { return inner_->alpn(); }
    executor get_executor() const override { return inner_->get_executor(); }
    awaitable<result<bidi_stream>> open_bi() override
    {
        auto stream = co_await inner_->open_bi();
        if (!stream) co_return stream.error();
        bidi_stream out = std::move(stream).assume_value();
        last = std::make_shared<receipt>();
        out.recv = std::make_unique<watched_recv>(std::move(out.recv), last);
        out.send = std::make_unique<spoilt_send>(std::move(out.send), of_opened, last);
        co_return out;
    }
    awaitable<result<std::unique_ptr<send_stream>>> open_uni() override
    {
        return inner_->open_uni();
    }
    awaitable<result<bidi_stream>> accept_bi() override
    {
        auto stream = co_await inner_->accept_bi();
        if (!stream) co_return stream.error();
        bidi_stream out = std::move(stream).assume_value();
        out.send = std::make_unique<spoilt_send>(std::move(out.send), of_accepted_);
        co_return out;
    }
    awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() override
    {
        return inner_->accept_uni();
    }
    std::size_t max_datagram_payload() const noexcept override
    {
        return inner_->max_datagram_payload();
    }
    result<void> send_datagram(shared_bytes data) override
    {
        return inner_->send_datagram(std::move(data));
    }
    awaitable<result<shared_bytes>> receive_datagram() override
    {
        return inner_->receive_datagram();
    }
    void close(std::uint64_t code, std::string_view reason) noexcept override
    {
        inner_->close(code, reason);
    }
    awaitable<close_reason> closed() override { return inner_->closed(); }
    std::optional<close_reason> why_closed() const override { return inner_->why_closed(); }
    connection_statistics statistics() const override { return inner_->statistics(); }

    std::shared_ptr<receipt> last;  ///< of the stream that was opened last
    mischief of_opened;             ///< for streams that we open

private:
    std::shared_ptr<connection> inner_;
    mischief of_accepted_;
};

}  // namespace probe
