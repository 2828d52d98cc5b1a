// Datagram sockets in memory: any addresses, no system calls, and a look at all that passes.
#pragma once

#include "tests/quic/endpoints.hpp"

#include <copse/core/datagram.hpp>
#include <copse/core/event.hpp>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace copse::test {

/// What connects memory sockets. Lives longer than they do.
class memory_net {
public:
    struct datagram {
        socket_address from;
        socket_address to;
        std::vector<std::byte> bytes;
    };
    /// One end: bound to an address until it is closed or destroyed.
    class socket;

    explicit memory_net(executor e) : ex(std::move(e)) {}

    std::unique_ptr<datagram_socket> bind(socket_address at);
    /// Puts a datagram on its way as if `from` had sent it.
    void send(socket_address from, socket_address to, byte_view bytes);

    executor ex;
    /// Sees every datagram first, may change its addresses; false drops it.
    std::function<bool(datagram&)> pass;
    std::size_t lost = 0;  ///< to addresses where nobody is, or whose queue is full
    std::map<socket_address, socket*> bound;
};

class memory_net::socket final : public datagram_socket {
public:
    socket(memory_net& net, socket_address at) : net_(net), at_(at), arrived_(net.ex)
    {
        net_.bound.emplace(at, this);
    }
    ~socket() override { close(); }

    socket_address local_address() const noexcept override { return at_; }
    result<received_datagrams> try_receive(byte_span buffer) override
    {
        if (queue_.empty()) return make_error_code(std::errc::operation_would_block);
        const datagram next = std::move(queue_.front());
        queue_.pop_front();
        received_datagrams in;
        in.bytes = buffer.first(next.bytes.size());
        std::copy(next.bytes.begin(), next.bytes.end(), in.bytes.begin());
        in.segment_size = in.bytes.size();
        in.from = next.from;
        in.to = next.to;
        return in;
    }
    result<void> try_send(const outgoing_datagrams& out) override
    {
        if (closed_) return make_error_code(std::errc::bad_file_descriptor);
        for (byte_view rest = out.bytes; !rest.empty();) {
            const byte_view one = rest.first(std::min(rest.size(), out.segment_size));
            rest = rest.subspan(one.size());
            net_.send(at_, out.to, one);
        }
        return outcome::success();
    }
    awaitable<std::error_code> wait_readable() override
    {
        while (queue_.empty()) {
            if (closed_) co_return make_error_code(std::errc::bad_file_descriptor);
            const std::error_code ec = co_await arrived_.wait();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }
    awaitable<std::error_code> wait_writable() override { co_return std::error_code{}; }
    std::size_t max_send_segments() const noexcept override { return 10; }
    std::size_t send_buffer_size() const noexcept override { return 65536; }
    std::size_t receive_buffer_size() const noexcept override { return 65536; }
    void close() noexcept override
    {
        if (std::exchange(closed_, true)) return;
        net_.bound.erase(at_);
        arrived_.notify_all();
    }

    void take(datagram d)
    {
        queue_.push_back(std::move(d));
        arrived_.notify_all();
    }
    [[nodiscard]] bool full() const { return queue_.size() >= 4096; }

private:
    memory_net& net_;
    socket_address at_;
    event arrived_;
    std::deque<datagram> queue_;
    bool closed_ = false;
};

inline std::unique_ptr<datagram_socket> memory_net::bind(socket_address at)
{
    return std::make_unique<socket>(*this, at);
}

inline void memory_net::send(socket_address from, socket_address to, byte_view bytes)
{
    datagram d{from, to, {bytes.begin(), bytes.end()}};
    if (pass && !pass(d)) return;
    const auto found = bound.find(d.to);
    if (found == bound.end() || found->second->full()) {
        ++lost;
        return;
    }
    found->second->take(std::move(d));
}

/// An endpoint with one socket at `at`.
inline quic::endpoint memory_endpoint(memory_net& net, socket_address at,
                                      quic::endpoint_options options = {})
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(net.bind(at));
    return quic::endpoint::make(net.ex, std::move(options), std::move(sockets)).value();
}

/// Lets everything go on that needs no time.
inline awaitable<void> settle(int rounds = 20)
{
    for (int i = 0; i < rounds; ++i) {
        co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    }
}

/// A server that echoes and a client, at addresses of a memory network.
struct memory_pair {
    memory_net& net;
    quic::endpoint& server;
    quic::endpoint& client;
    quic::listener plain;
};

inline const socket_address server_at = socket_address::v4({192, 0, 2, 1}, 1000);
inline const socket_address client_at = socket_address::v4({192, 0, 2, 2}, 2000);

using memory_body = std::function<awaitable<void>(memory_pair&)>;

inline awaitable<result<void>> with_memory_pair(memory_body body, quic::endpoint_options server,
                                                quic::endpoint_options client)
{
    const auto ex = co_await asio::this_coro::executor;
    memory_net net(ex);
    auto s = memory_endpoint(net, server_at, std::move(server));
    auto c = memory_endpoint(net, client_at, std::move(client));
    scope serving(ex);
    serving.spawn(echo_server(s.listen(echo_alpn)));
    auto plain = s.listen(plain_alpn);
    memory_pair both{net, s, c, plain};
    std::exception_ptr failure;
    try {
        co_await body(both);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await c.close();
    co_await s.close();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

inline void run_memory_pair(memory_body body, quic::endpoint_options server = {},
                            quic::endpoint_options client = {})
{
    const auto done =
        run_until_complete(with_memory_pair(std::move(body), std::move(server), std::move(client)));
    REQUIRE(done);
}

}  // namespace copse::test
