// Datagrams of a hostile dialler against a listening endpoint, in a world's time: the input changes what a
// real dialler sends (its Initials, its TLS messages, the ALPN among them, and what follows), or replaces
// it. Whatever came, an honest dialler is served afterwards and everything ends.
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

// libFuzzer's timeouts are about real time.
#define COPSE_SIM_REAL_CLOCK
#include <copse/sim/interpose.ipp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace {

using namespace copse;
using namespace std::chrono_literals;

void require(bool good)
{
    if (!good) std::abort();
}

/// Spoils what is sent through it, as the input says: a byte for each datagram, behind its end nothing.
class spoiled_socket final : public datagram_socket {
public:
    spoiled_socket(std::unique_ptr<datagram_socket> inner, byte_view input)
        : inner_(std::move(inner)), input_(input)
    {}

    socket_address local_address() const noexcept override { return inner_->local_address(); }
    result<received_datagrams> try_receive(byte_span buffer) override
    {
        return inner_->try_receive(buffer);
    }
    result<void> try_send(const outgoing_datagrams& out) override
    {
        std::vector<std::byte> bytes(out.bytes.begin(), out.bytes.end());
        const unsigned action = number();
        switch (action & 7U) {
        case 1: return outcome::success();  // lost
        case 2:                             // a few bytes changed
            for (unsigned n = 1 + (action >> 3); n > 0 && !bytes.empty(); --n) {
                const std::size_t at = (number() << 8U | number()) % bytes.size();
                bytes[at] ^= static_cast<std::byte>(number());
            }
            break;
        case 3: bytes.resize(bytes.size() - std::min<std::size_t>(bytes.size(), number())); break;
        case 4: bytes.resize(bytes.size() + number(), std::byte{0x40}); break;
        case 5: bytes = take(4 * (1U + number())); break;  // something else
        case 6: send(out, bytes); break;                   // twice
        default: break;
        }
        send(out, bytes);
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
    unsigned number()
    {
        if (input_.empty()) return 0;
        const auto b = std::to_integer<unsigned>(input_.front());
        input_ = input_.subspan(1);
        return b;
    }
    std::vector<std::byte> take(std::size_t n)
    {
        const byte_view part = input_.first(std::min(n, input_.size()));
        input_ = input_.subspan(part.size());
        return {part.begin(), part.end()};
    }
    void send(outgoing_datagrams out, const std::vector<std::byte>& bytes)
    {
        out.bytes = bytes;
        out.segment_size = bytes.size();
        const auto sent = inner_->try_send(out);
        require(sent.has_value());
    }

    std::unique_ptr<datagram_socket> inner_;
    byte_view input_;
};

quic::endpoint endpoint_on(const sim::host& h, std::unique_ptr<datagram_socket> socket)
{
    quic::endpoint_options o;
    o.handshake_timeout = 2s;
    o.idle_timeout = 3s;
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(std::move(socket));
    return quic::endpoint::make(h.computer().life().get_executor(), std::move(o),
                                std::move(sockets))
        .value();
}

awaitable<void> serve_connection(std::shared_ptr<connection> c)
{
    for (;;) {
        auto s = co_await c->accept_bi();
        if (!s) co_return;
        std::vector<std::byte> bytes(1000);
        const auto n = co_await s.value().recv->read(bytes);
        if (!n) continue;
        bytes.resize(n.value());
        const auto sent = co_await s.value().send->write_copy(bytes);
        if (sent) s.value().send->finish();
    }
}

awaitable<result<void>> serve(sim::host& h, endpoint_address& where)
{
    auto endpoint = endpoint_on(h, h.bind(443).value());
    where = {endpoint.id(), {h.address(443)}};
    auto listening = endpoint.listen("fuzz");
    scope serving(co_await asio::this_coro::executor);
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        serving.spawn(serve_connection(std::move(c).value()));
    }
    co_await endpoint.close();
    serving.request_stop();
    const auto joined = co_await serving.join();
    co_return joined;
}

awaitable<result<void>> dial(sim::host& h, const endpoint_address& where, byte_view input)
{
    auto endpoint = endpoint_on(h, std::make_unique<spoiled_socket>(h.bind().value(), input));
    std::error_code error;
    auto c = co_await endpoint.connect(where, "fuzz");
    if (!c) {
        error = c.error();
    } else {
        auto s = co_await c.value()->open_bi();
        if (s) {
            const auto sent = co_await s.value().send->write_copy(as_bytes("hello"));
            s.value().send->finish();
            std::vector<std::byte> answer(10);
            const auto n = co_await s.value().recv->read(answer);
            if (!sent || !n) error = std::make_error_code(std::errc::connection_reset);
        } else {
            error = s.error();
        }
        c.value().reset();
    }
    co_await endpoint.close();
    if (error) co_return error;
    co_return outcome::success();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    sim::world w(1);
    sim::network net(w);
    auto& server = net.add_host(w.add_machine("server"));
    auto& hostile = net.add_host(w.add_machine("hostile"));
    auto& honest = net.add_host(w.add_machine("honest"));
    endpoint_address where;
    server.computer().start(serve(server, where));
    require(w.run_for(1ms).has_value());
    const byte_view input{reinterpret_cast<const std::byte*>(data), size};
    hostile.computer().start(dial(hostile, where, input));
    require(w.run_until([&] { return hostile.computer().running() == 0; }, 10min).has_value());
    honest.computer().start(dial(honest, where, {}));
    require(w.run_until([&] { return honest.computer().running() == 0; }, 20min).has_value());
    require(!honest.computer().failure());
    server.computer().stop();
    require(w.run_until([&] { return server.computer().running() == 0; }, 30min).has_value());
    require(!server.computer().failure());
    return 0;
}
