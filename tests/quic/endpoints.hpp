// Two endpoints on loopback and what most tests do with them: echo, meet, read all, dial and echo.
#pragma once

#include "tests/catch.hpp"
#include "tests/quic/lossy_socket.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/udp/socket.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace copse::test {

inline constexpr std::string_view echo_alpn = "copse-test/echo";
inline constexpr std::string_view plain_alpn = "copse-test/plain";

inline quic::endpoint_options loopback_options()
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    return o;
}

/// The addresses to dial: where `e` is bound, a wildcard as 127.0.0.`last`.
inline endpoint_address address_of(const quic::endpoint& e, std::uint8_t last = 1)
{
    endpoint_address out;
    out.id = e.id();
    for (const auto& a : e.bound_addresses()) {
        out.paths.emplace_back(a.is_unspecified() ? socket_address::v4({127, 0, 0, last}, a.port)
                                                  : a);
    }
    return out;
}

inline awaitable<void> echo_stream(bidi_stream s)
{
    std::vector<std::byte> buffer(16384);
    for (;;) {
        const auto n = co_await s.recv->read(buffer);
        if (!n) co_return;
        if (n.value() == 0) break;
        const auto sent = co_await s.send->write_copy(byte_view(buffer).first(n.value()));
        if (!sent) co_return;
    }
    s.send->finish();
    const auto done = co_await s.send->acknowledged();
    static_cast<void>(done);
}

inline awaitable<void> echo_connection(std::shared_ptr<connection> c)
{
    scope streams(c->get_executor());
    for (;;) {
        auto s = co_await c->accept_bi();
        if (!s) break;
        streams.spawn(echo_stream(std::move(s).value()));
    }
    const auto joined = co_await streams.join();
    static_cast<void>(joined);
}

inline awaitable<void> echo_server(quic::listener l)
{
    scope connections(co_await asio::this_coro::executor);
    for (;;) {
        auto c = co_await l.accept();
        if (!c) break;
        connections.spawn(echo_connection(std::move(c).value()));
    }
    const auto joined = co_await connections.join();
    static_cast<void>(joined);
}

/// Two endpoints behind lossy sockets; the server echoes one protocol and leaves the other to the test.
struct pair_of_endpoints {
    quic::endpoint server;
    quic::endpoint client;
    std::shared_ptr<link_faults> to_server;
    std::shared_ptr<link_faults> to_client;
    quic::listener plain;
};

inline quic::endpoint lossy_endpoint(const executor& ex, const quic::endpoint_options& options,
                                     const std::shared_ptr<link_faults>& faults)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    for (const auto& local : options.bind) {
        sockets.push_back(std::make_unique<lossy_socket>(udp::bind(ex, local).value(), faults));
    }
    return quic::endpoint::make(ex, options, std::move(sockets)).value();
}

/// The same without faults: the sockets as they are, with batches.
inline quic::endpoint ordinary_endpoint(const executor& ex, const quic::endpoint_options& options,
                                        const std::shared_ptr<link_faults>&)
{
    return quic::endpoint::make(ex, options).value();
}

using endpoint_maker = decltype(&ordinary_endpoint);
using pair_body = std::function<awaitable<void>(pair_of_endpoints&)>;

inline awaitable<result<void>> with_pair(pair_body body, quic::endpoint_options server_options,
                                         quic::endpoint_options client_options, endpoint_maker make)
{
    const auto ex = co_await asio::this_coro::executor;
    const auto to_server = std::make_shared<link_faults>(seed_or(1));
    const auto to_client = std::make_shared<link_faults>(seed_or(2));
    auto server = make(ex, server_options, to_client);
    auto client = make(ex, client_options, to_server);
    scope serving(ex);
    serving.spawn(echo_server(server.listen(echo_alpn)));
    auto plain = server.listen(plain_alpn);
    pair_of_endpoints both{std::move(server), std::move(client), to_server, to_client, plain};
    std::exception_ptr failure;
    try {
        co_await body(both);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await both.client.close();
    co_await both.server.close();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

/// Runs `body` on such a pair and closes both.
inline void run_pair(pair_body body, quic::endpoint_options server = loopback_options(),
                     quic::endpoint_options client = loopback_options(),
                     endpoint_maker make = lossy_endpoint)
{
    const auto done =
        run_until_complete(with_pair(std::move(body), std::move(server), std::move(client), make));
    REQUIRE(done);
}

/// Both ends of a connection that the test holds itself.
struct both_ends {
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
};

inline awaitable<both_ends> meet(pair_of_endpoints& p)
{
    both_ends out;
    auto dialled = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
    REQUIRE(dialled);
    auto accepted = co_await p.plain.accept();
    REQUIRE(accepted);
    out.near = std::move(dialled).value();
    out.far = std::move(accepted).value();
    co_return out;
}

inline awaitable<result<std::vector<std::byte>>> read_all(recv_stream& from)
{
    std::vector<std::byte> out;
    std::vector<std::byte> buffer(65536);
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

/// One echoed stream of `size` bytes; its error when it does not come back whole.
inline awaitable<result<void>> echo_once(std::shared_ptr<connection> c, std::size_t size)
{
    auto s = co_await c->open_bi();
    if (!s) co_return s.error();
    const auto data = pattern(size);
    scope writing(c->get_executor());
    writing.spawn(write_all(*s.value().send, data));
    const auto got = co_await read_all(*s.value().recv);
    const auto joined = co_await writing.join();
    if (!joined) co_return joined.error();
    if (!got) co_return got.error();
    if (got.value() != data) co_return std::make_error_code(std::errc::bad_message);
    co_return outcome::success();
}

inline awaitable<result<void>> dial_and_echo(quic::endpoint& from, endpoint_address to,
                                             std::size_t size)
{
    auto dialled = co_await from.connect(std::move(to), std::string(echo_alpn));
    if (!dialled) co_return dialled.error();
    const auto echoed = co_await echo_once(std::move(dialled).value(), size);
    co_return echoed;
}

inline awaitable<void> count_success(awaitable<result<void>> op, std::size_t& successes)
{
    const auto done = co_await std::move(op);
    if (done) ++successes;
}

inline awaitable<void> pause(std::chrono::nanoseconds d)
{
    const std::error_code ec = co_await sleep_for(d);
    static_cast<void>(ec);
}

}  // namespace copse::test
