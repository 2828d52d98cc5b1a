// One connection with both of its ends in the test's hands, over paths that the test can spoil.
#pragma once

#include "tests/quic/endpoints.hpp"

namespace copse::test {

/// A connection: `near` dialled it, `far` accepted it. And what datagrams meet on their way.
struct meeting {
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
    std::shared_ptr<link_faults> to_server;
    std::shared_ptr<link_faults> to_client;
};

using meeting_body = awaitable<void> (*)(meeting&);
/// Called with the fresh faults before anything is sent.
using meeting_setup = void (*)(link_faults& to_server, link_faults& to_client);

inline void run_meeting(meeting_body body, quic::endpoint_options server = loopback_options(),
                        quic::endpoint_options client = loopback_options(),
                        meeting_setup setup = nullptr)
{
    // The closure lives in the frame of with_pair().
    const auto in_pair = [body, setup](pair_of_endpoints& p) -> awaitable<void> {
        if (setup) setup(*p.to_server, *p.to_client);
        auto ends = co_await meet(p);
        meeting m{std::move(ends.near), std::move(ends.far), p.to_server, p.to_client};
        co_await body(m);
    };
    run_pair(in_pair, std::move(server), std::move(client));
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
