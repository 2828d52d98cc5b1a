// Cancellation of datagram sockets: the system's, and those of a simulated network.
#include "tests/cancel/harness.hpp"

#include <copse/core/datagram.hpp>
#include <copse/core/race.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>
#include <copse/udp/socket.hpp>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

const socket_address loopback = socket_address::loopback_v4(0);

result<void> send_one(datagram_socket& from, const socket_address& to)
{
    static constexpr std::array<std::byte, 3> bytes{std::byte{1}, std::byte{2}, std::byte{3}};
    outgoing_datagrams out;
    out.bytes = bytes;
    out.segment_size = bytes.size();
    out.to = to;
    return from.try_send(out);
}

struct socket_scene : scene {
    socket_scene(stage& s, bool w)
        : scene(s),
          writable(w),
          here(udp::bind(s.get_executor(), loopback).value()),
          there(udp::bind(s.get_executor(), loopback).value())
    {}
    awaitable<void> prepare() override
    {
        background.spawn(send_later(*this));
        co_return;
    }
    static awaitable<result<void>> send_later(socket_scene& s)
    {
        const std::error_code ec = co_await sleep_for(5ms);
        if (ec) co_return ec;
        co_return send_one(*s.there, s.here->local_address());
    }
    awaitable<std::error_code> operate() override
    {
        std::error_code ec;
        if (writable) ec = co_await here->wait_writable();
        else ec = co_await here->wait_readable();
        co_return ec;
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) ec = co_await operate();
        CHECK(!ec);
        const auto joined = co_await background.join();
        CHECK(joined);
        // Nothing was taken, whoever waited.
        std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
        const auto got = here->try_receive(buffer);
        REQUIRE(got);
        CHECK(got.value().bytes.size() == 3);
        CHECK(send_one(*here, there->local_address()));
    }
    bool writable;
    std::unique_ptr<datagram_socket> here;
    std::unique_ptr<datagram_socket> there;
};

struct waited {
    int ended = 0;
    int cancelled = 0;
};

awaitable<result<void>> wait_once(datagram_socket& s, bool writable, waited& count)
{
    std::error_code ec;
    if (writable) ec = co_await s.wait_writable();
    else ec = co_await s.wait_readable();
    ++count.ended;
    if (ec == std::errc::operation_canceled) ++count.cancelled;
    else if (ec) co_return ec;
    co_return outcome::success();
}

/// In a world a cancellation comes between two of its instants.
void cancel_in_world(bool writable, std::chrono::nanoseconds when, std::chrono::nanoseconds arrival)
{
    sim::world w(1);
    sim::network net(w);
    sim::host& a = net.add_host(w.add_machine("a"));
    sim::host& b = net.add_host(w.add_machine("b"));
    const auto here = a.bind(7).value();
    const auto there = b.bind(7).value();
    waited count;
    a.computer().start(wait_once(*here, writable, count));
    w.at(0ns, [&] { REQUIRE(send_one(*there, a.address(7))); });
    w.at(when, [&] { a.computer().stop(); });
    REQUIRE(w.run_for(1s));
    CHECK(count.ended == 1);
    CHECK(a.computer().running() == 0);
    CHECK(!a.computer().failure());
    CHECK(count.cancelled == (!writable && when < arrival ? 1 : 0));
    // Nothing was taken.
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    CHECK(here->try_receive(buffer));
}

}  // namespace

TEST_CASE("cancel: copse::datagram_socket::wait_readable")
{
    cancel_everywhere<socket_scene>("copse::datagram_socket::wait_readable (system)", false);
    for (const auto when : {1ms, 5ms, 9ms, 11ms, 20ms}) cancel_in_world(false, when, 10ms);
}

TEST_CASE("cancel: copse::datagram_socket::wait_writable")
{
    cancel_everywhere<socket_scene>("copse::datagram_socket::wait_writable (system)", true);
    for (const auto when : {1ms, 20ms}) cancel_in_world(true, when, 10ms);
}
