// A socket that hands what an endpoint sends to a function, which does with it what it likes.
#pragma once

#include <copse/core/datagram.hpp>

#include <functional>
#include <memory>
#include <utility>

namespace copse::hostile {

class wrapped_socket final : public datagram_socket {
public:
    /// \param inner  what is received comes from there.
    /// \param send   gets each datagram, and the inner socket to send with.
    using sender = std::function<void(datagram_socket& inner, const outgoing_datagrams&)>;
    wrapped_socket(std::unique_ptr<datagram_socket> inner, sender send)
        : inner_(std::move(inner)), send_(std::move(send))
    {}

    socket_address local_address() const noexcept override { return inner_->local_address(); }
    result<received_datagrams> try_receive(byte_span b) override { return inner_->try_receive(b); }
    result<void> try_send(const outgoing_datagrams& out) override
    {
        send_(*inner_, out);
        return outcome::success();
    }
    awaitable<std::error_code> wait_readable() override { return inner_->wait_readable(); }
    awaitable<std::error_code> wait_writable() override { return inner_->wait_writable(); }
    std::size_t max_send_segments() const noexcept override { return 1; }
    std::size_t send_buffer_size() const noexcept override { return inner_->send_buffer_size(); }
    std::size_t receive_buffer_size() const noexcept override
    {
        return inner_->receive_buffer_size();
    }
    void close() noexcept override { inner_->close(); }

private:
    std::unique_ptr<datagram_socket> inner_;
    sender send_;
};

}  // namespace copse::hostile
