// One connection with both of its ends in the test's hands, over paths that the test can spoil.
#pragma once

#include "tests/catch.hpp"
#include "tests/quic/lossy_socket.hpp"
#include "tests/support.hpp"

#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/udp/socket.hpp>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace copse::test {

inline quic::endpoint_options local_options()
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    return o;
}

/// A connection: `near` dialled it, `far` accepted it.
struct meeting {
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
    std::shared_ptr<link_faults> to_server;
    std::shared_ptr<link_faults> to_client;
};

using meeting_body = awaitable<void> (*)(meeting&);
/// Called with the fresh faults before anything is sent.
using meeting_setup = void (*)(link_faults& to_server, link_faults& to_client);

inline quic::endpoint spoilt_endpoint(const executor& ex, const quic::endpoint_options& options,
                                      const std::shared_ptr<link_faults>& faults)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    for (const auto& local : options.bind) {
        sockets.push_back(std::make_unique<lossy_socket>(udp::bind(ex, local).value(), faults));
    }
    return quic::endpoint::make(ex, options, std::move(sockets)).value();
}

inline awaitable<result<void>> with_meeting(meeting_body body, meeting_setup setup,
                                            quic::endpoint_options server_options,
                                            quic::endpoint_options client_options)
{
    const auto ex = co_await asio::this_coro::executor;
    meeting m;
    m.to_server = std::make_shared<link_faults>(seed_or(1));
    m.to_client = std::make_shared<link_faults>(seed_or(2));
    if (setup) setup(*m.to_server, *m.to_client);
    auto server = spoilt_endpoint(ex, server_options, m.to_client);
    auto client = spoilt_endpoint(ex, client_options, m.to_server);
    const std::string alpn = "copse-test/meeting";
    auto l = server.listen(alpn);
    std::exception_ptr failure;
    try {
        endpoint_address to;
        to.id = server.id();
        to.paths.emplace_back(server.bound_addresses().front());
        auto dialled = co_await client.connect(to, alpn);
        m.near = dialled.value();
        auto accepted = co_await l.accept();
        m.far = accepted.value();
        co_await body(m);
    } catch (...) {
        failure = std::current_exception();
    }
    m.near = nullptr;
    m.far = nullptr;
    co_await client.close();
    co_await server.close();
    if (failure) std::rethrow_exception(failure);
    co_return outcome::success();
}

inline void run_meeting(meeting_body body, quic::endpoint_options server = local_options(),
                        quic::endpoint_options client = local_options(),
                        meeting_setup setup = nullptr)
{
    const auto done =
        run_until_complete(with_meeting(body, setup, std::move(server), std::move(client)));
    REQUIRE(done);
}

/// Spawned: writes that many bytes and ends the stream, which must outlive it.
inline awaitable<void> write_and_finish(send_stream& to, std::size_t bytes)
{
    const auto sent = co_await to.write_copy(pattern(bytes));
    if (sent) to.finish();
}

/// Reads until the end or an error. \return the bytes that came.
inline awaitable<std::size_t> read_to_end(recv_stream& from)
{
    std::vector<std::byte> buffer(65536);
    for (;;) {
        const auto n = co_await from.read(buffer);
        if (!n || n.value() == 0) co_return static_cast<std::size_t>(from.received());
    }
}

/// Sends that many bytes over a stream of its own. \return the bytes that came.
inline awaitable<std::size_t> transfer(meeting& m, std::size_t bytes)
{
    auto s = co_await m.near->open_uni();
    scope work(m.near->get_executor());
    work.spawn(write_and_finish(*s.value(), bytes));
    auto theirs = co_await m.far->accept_uni();
    const std::size_t got = co_await read_to_end(*theirs.value());
    const auto joined = co_await work.join();
    static_cast<void>(joined);  // a failed write shows in what came
    co_return got;
}

}  // namespace copse::test
