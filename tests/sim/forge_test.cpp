// Datagrams under names that are not their senders', and what a world tells of its machines.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

#include <map>
#include <string>
#include <vector>

using namespace copse;
using namespace std::chrono_literals;

namespace {

struct arrival {
    socket_address from;
    std::size_t size = 0;
    std::chrono::nanoseconds when{};
};

awaitable<result<void>> receive(sim::world& w, sim::host& h, std::size_t count,
                                std::vector<arrival>& got)
{
    const auto socket = h.bind(9).value();
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    while (got.size() < count) {
        const auto in = socket->try_receive(buffer);
        if (in) {
            got.push_back({in.assume_value().from, in.assume_value().bytes.size(), w.now()});
            continue;
        }
        const std::error_code ec = co_await socket->wait_readable();
        if (ec) co_return ec;
    }
    co_return outcome::success();
}

awaitable<result<void>> send(sim::host& h, socket_address to, std::size_t size, unsigned count)
{
    const auto socket = h.bind(7).value();
    const auto bytes = test::pattern(size);
    for (unsigned i = 0; i < count; ++i) {
        outgoing_datagrams out;
        out.bytes = bytes;
        out.segment_size = size;
        out.to = to;
        const auto sent = socket->try_send(out);
        if (!sent) co_return sent.error();
    }
    const std::error_code ec = co_await sleep_for(1ms);
    if (ec) co_return ec;
    co_return outcome::success();
}

}  // namespace

TEST_CASE("network: a forged datagram has the sender it was given, and the link of who sent it")
{
    sim::world w(1);
    sim::network net(w);
    auto& forger = net.add_host(w.add_machine("forger"));
    auto& far = net.add_host(w.add_machine("far"));
    forger.up.latency = 20ms;
    std::vector<arrival> got;
    far.computer().start(receive(w, far, 1, got));
    REQUIRE(w.run_for(1ms));
    const auto nobody = socket_address::v4({203, 0, 113, 9}, 99);
    forger.forge(nobody, far.address(9), test::pattern(50));
    REQUIRE(w.run_until([&] { return far.computer().running() == 0; }, 1min));
    REQUIRE(got.size() == 1);
    CHECK(got[0].from == nobody);
    CHECK(got[0].size == 50);
    CHECK(got[0].when == 26ms);
}

TEST_CASE("world: it tells whose code runs")
{
    sim::world w(1);
    sim::network net(w);
    auto& a = net.add_host(w.add_machine("a"));
    auto& b = net.add_host(w.add_machine("b"));
    std::map<std::string, unsigned> turns;
    const sim::machine* now = nullptr;
    w.watch([&](const sim::machine* m) {
        CHECK((now == nullptr) != (m == nullptr));
        now = m;
        if (m) ++turns[m->name()];
    });
    std::vector<arrival> got;
    b.computer().start(receive(w, b, 3, got));
    a.computer().start(send(a, b.address(9), 10, 3));
    REQUIRE(w.run_until([&] { return b.computer().running() == 0; }, 1min));
    w.watch({});
    CHECK(now == nullptr);
    CHECK(turns["a"] >= 2);
    CHECK(turns["b"] >= 2);
}
