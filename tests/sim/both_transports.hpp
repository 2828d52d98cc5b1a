// Runs one test body over each transport: pairs in memory by several seeds, and QUIC on loopback.
#pragma once

#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/memory_transport.hpp>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace copse::test {

/// What both transports can be told, with their common defaults. `near` dials, `far` accepts.
struct end_limits {
    std::size_t connection_window = 512U << 10;
    std::size_t remote_stream_window = 64U << 10;
    std::size_t local_stream_window = 256U << 10;
    std::size_t local_windows_total = 8U << 20;
    std::size_t send_buffer = 2U << 20;
    std::uint64_t max_remote_streams = 100;
    bool datagrams = true;
    std::size_t datagram_send_buffer = 256U << 10;
    std::size_t datagram_receive_buffer = 256U << 10;
};

struct pair_limits {
    end_limits near;
    end_limits far;
};

struct ends {
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
    endpoint_id near_id;
    endpoint_id far_id;
};

using pair_body = awaitable<void> (*)(ends&);

inline constexpr std::string_view conformance_alpn = "copse-test/conformance";

namespace detail {

inline sim::memory_end_options memory_options(sim::memory_end_options o, const end_limits& l)
{
    o.connection_window = l.connection_window;
    o.remote_stream_window = l.remote_stream_window;
    o.local_stream_window = l.local_stream_window;
    o.local_windows_total = l.local_windows_total;
    o.send_buffer = l.send_buffer;
    o.max_remote_streams = l.max_remote_streams;
    if (!l.datagrams) o.max_datagram_payload = 0;
    o.datagram_send_buffer = l.datagram_send_buffer;
    o.datagram_receive_buffer = l.datagram_receive_buffer;
    return o;
}

inline quic::endpoint_options quic_options(const end_limits& l)
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    o.connection_window = l.connection_window;
    o.remote_stream_window = l.remote_stream_window;
    o.local_stream_window = l.local_stream_window;
    o.local_windows_total = l.local_windows_total;
    o.send_buffer = l.send_buffer;
    o.max_remote_streams = l.max_remote_streams;
    if (!l.datagrams) o.max_datagram_frame_size = 0;
    o.datagram_send_buffer = l.datagram_send_buffer;
    o.datagram_receive_buffer = l.datagram_receive_buffer;
    return o;
}

inline awaitable<std::exception_ptr> guarded(pair_body body, ends& e)
{
    try {
        co_await body(e);
    } catch (...) {
        co_return std::current_exception();
    }
    co_return std::exception_ptr{};
}

inline awaitable<result<void>> over_memory(pair_body body, pair_limits limits, std::uint64_t seed)
{
    sim::memory_transport_options o;
    o.seed = seed;
    o.alpn = conformance_alpn;
    o.dialler = memory_options(o.dialler, limits.near);
    o.acceptor = memory_options(o.acceptor, limits.far);
    auto pair = sim::make_connection_pair(co_await asio::this_coro::executor, o);
    ends e{std::move(pair.dialler), std::move(pair.acceptor), o.dialler.id, o.acceptor.id};
    const auto failure = co_await guarded(body, e);
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

inline awaitable<result<void>> over_quic(pair_body body, pair_limits limits)
{
    const auto ex = co_await asio::this_coro::executor;
    auto server = quic::endpoint::make(ex, quic_options(limits.far)).value();
    auto client = quic::endpoint::make(ex, quic_options(limits.near)).value();
    auto listener = server.listen(conformance_alpn);
    const auto address = server.address();
    auto near = co_await client.connect(address, std::string(conformance_alpn));
    auto far = co_await listener.accept();
    std::exception_ptr failure;
    {
        ends e{near.value(), far.value(), client.id(), server.id()};
        near = far = make_error_code(std::errc::owner_dead);
        failure = co_await guarded(body, e);
    }
    co_await client.close();
    co_await server.close();
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

}  // namespace detail

inline constexpr std::uint64_t conformance_seeds = 12;

inline void on_both(pair_body body, const pair_limits& limits = {})
{
    const std::uint64_t first = seed_or(1);
    for (std::uint64_t seed = first; seed < first + conformance_seeds; ++seed) {
        INFO("in memory, COPSE_SEED=" << seed);
        REQUIRE(run_until_complete(detail::over_memory(body, limits, seed)));
    }
    INFO("over QUIC");
    REQUIRE(run_until_complete(detail::over_quic(body, limits)));
}

/// Lets the other side work until `done`: for effects that no operation waits for.
template <class Done>
awaitable<void> until(Done done)
{
    for (;;) {
        const bool now = done();
        if (now) co_return;
        const auto pause = co_await sleep_for(std::chrono::microseconds(50));
        static_cast<void>(pause);
    }
}

struct joined_streams {
    bidi_stream near;
    bidi_stream far;
};

/// A stream with its first byte sent and read, so that both sides have it.
inline awaitable<joined_streams> join_streams(ends& e)
{
    joined_streams out;
    auto near = co_await e.near->open_bi();
    REQUIRE(near);
    out.near = std::move(near).value();
    const auto sent = co_await out.near.send->write_copy(as_bytes("!"));
    REQUIRE(sent);
    auto far = co_await e.far->accept_bi();
    REQUIRE(far);
    out.far = std::move(far).value();
    std::vector<std::byte> first(1);
    const auto n = co_await out.far.recv->read(first);
    REQUIRE(n);
    co_return out;
}

inline awaitable<result<std::vector<std::byte>>> read_all(recv_stream& from)
{
    std::vector<std::byte> out;
    std::vector<std::byte> buffer(4096);
    for (;;) {
        const auto n = co_await from.read(buffer);
        if (!n) co_return n.error();
        if (n.value() == 0) co_return out;
        out.insert(out.end(), buffer.begin(),
                   buffer.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
}

inline awaitable<void> write_all(send_stream& to, std::vector<std::byte> data)
{
    const auto sent = co_await to.write_copy(data);
    if (sent) to.finish();
}

/// Reads at least `size` bytes and throws them away.
inline awaitable<void> skip(recv_stream& from, std::size_t size)
{
    std::vector<std::byte> buffer(4096);
    while (size > 0) {
        const auto n = co_await from.read(byte_span(buffer).first(std::min(size, buffer.size())));
        REQUIRE(n);
        REQUIRE(n.value() > 0);
        size -= n.value();
    }
}

}  // namespace copse::test
