// What the network of the world does to datagrams: each property by itself, exactly.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

#include <sstream>

using namespace copse;
using namespace std::chrono_literals;

namespace {

struct arrival {
    std::int64_t at_us = 0;
    std::size_t size = 0;
    bool operator==(const arrival&) const = default;
};

struct two {
    explicit two(sim::nat_kind nat_b = sim::nat_kind::none, std::uint64_t seed = 1)
        : w(seed), net(w)
    {
        w.keep_log([this](const std::string& line) {
            std::istringstream in(line);
            std::int64_t at = 0;
            std::string what;
            std::string whom;
            arrival one;
            in >> at >> what >> whom >> one.size;
            one.at_us = at / 1000;
            if (what == "deliver") (whom == "a" ? to_a : to_b).push_back(one);
        });
        a = &net.add_host(w.add_machine("a"));
        b = &net.add_host(w.add_machine("b"), nat_b);
        for (sim::host* h : {a, b}) {
            h->up.latency = 1ms;
            h->down.latency = 2ms;
        }
        from = a->bind(1000).value();
        into = b->bind(2000).value();
    }

    static void send(datagram_socket& s, socket_address to, std::size_t size, std::uint8_t ecn = 0)
    {
        const std::vector<std::byte> payload(size);
        outgoing_datagrams out;
        out.bytes = payload;
        out.segment_size = size;
        out.to = to;
        out.ecn = ecn;
        REQUIRE(s.try_send(out));
    }
    void send(std::size_t size) { send(*from, b->address(2000), size); }
    // What waits in a socket, whose sender and mark are of interest.
    static received_datagrams take(datagram_socket& s)
    {
        static std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
        return s.try_receive(buffer).value();
    }

    sim::world w;
    sim::network net;
    sim::host* a = nullptr;
    sim::host* b = nullptr;
    std::unique_ptr<datagram_socket> from;
    std::unique_ptr<datagram_socket> into;
    std::vector<arrival> to_a;
    std::vector<arrival> to_b;
};

}  // namespace

TEST_CASE("network: latency is that of both links, to the nanosecond")
{
    two t;
    t.send(10);
    REQUIRE(t.w.run_for(3ms - 1ns));
    CHECK(t.to_b.empty());
    REQUIRE(t.w.run_for(1ns));
    CHECK(t.to_b == std::vector{arrival{3000, 10}});
    CHECK(two::take(*t.into).from == t.a->address(1000));
}

TEST_CASE("network: a slow sender does not hold up others on the way to the same host")
{
    two t;
    auto& c = t.net.add_host(t.w.add_machine("c"));
    c.up.latency = 1s;
    const auto slow = c.bind().value();
    two::send(*slow, t.b->address(2000), 20);
    t.send(10);
    REQUIRE(t.w.run_for(2s));
    CHECK(t.to_b == std::vector<arrival>{{3000, 10}, {1'002'000, 20}});
}

TEST_CASE("network: jitter delays within its bound and keeps the order")
{
    two t;
    t.a->up.jitter = 5ms;
    for (std::size_t i = 1; i <= 200; ++i) t.send(i);
    REQUIRE(t.w.run_for(1s));
    REQUIRE(t.to_b.size() == 200);
    for (std::size_t i = 0; i < 200; ++i) CHECK(t.to_b[i].size == i + 1);
    CHECK(t.to_b.front().at_us >= 3000);
    CHECK(t.to_b.front().at_us < t.to_b.back().at_us);
    CHECK(t.to_b.back().at_us <= 8000);
}

TEST_CASE("network: a limited link takes time for each byte and drops what its queue cannot hold")
{
    two t;
    t.a->up.bytes_per_second = 100'000;  // 10 us a byte
    t.a->up.queue_bytes = 250;
    for (int i = 0; i < 5; ++i) t.send(72);  // 100 bytes on the link
    REQUIRE(t.w.run_for(1s));
    // The link is busy with one; the next enter while at most 250 bytes wait.
    const std::vector<arrival> expected{{4000, 72}, {5000, 72}, {6000, 72}};
    CHECK(t.to_b == expected);
    CHECK(t.net.statistics().queue_full == 2);
}

TEST_CASE("network: loss is counted, and what is not lost arrives")
{
    two t;
    t.a->up.loss = 300;
    for (int i = 0; i < 1000; ++i) t.send(10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.net.statistics().lost > 250);
    CHECK(t.net.statistics().lost < 350);
    CHECK(t.to_b.size() + t.net.statistics().lost == 1000);
    t.a->up.loss = 1000;
    t.send(10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b.size() + t.net.statistics().lost == 1001);
    t.a->up.loss = 0;
    const auto before = t.to_b.size();
    t.send(10);
    t.net.drop_all();
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b.size() == before);
}

TEST_CASE("network: a duplicate arrives twice")
{
    two t;
    t.a->up.duplicate = 1000;
    t.send(10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b == std::vector<arrival>{{3000, 10}, {3000, 10}});
    CHECK(t.net.statistics().duplicated == 1);
}

TEST_CASE("network: a reordered datagram is overtaken by what follows within the latency")
{
    two t;
    t.a->up.reorder = 1000;
    t.send(1);
    t.a->up.reorder = 0;
    t.send(2);
    REQUIRE(t.w.run_for(500us));
    t.send(3);
    REQUIRE(t.w.run_for(1ms));
    t.send(4);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b == std::vector<arrival>{{3000, 2}, {3500, 3}, {4000, 1}, {4500, 4}});
    CHECK(t.net.statistics().reordered == 1);
}

TEST_CASE("network: the smaller MTU of two links decides, without a word")
{
    two t;
    t.a->up.mtu = 1400;
    t.b->down.mtu = 1300;
    t.send(1300 - 28);
    t.send(1300 - 27);
    t.send(1400 - 27);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b == std::vector{arrival{3000, 1272}});
    CHECK(t.net.statistics().too_large == 2);
}

TEST_CASE("network: corruption flips one bit, congestion marks what can be marked")
{
    two t;
    t.a->up.corrupt = 1000;
    t.send(10);
    REQUIRE(t.w.run_for(1s));
    int bits = 0;
    for (const std::byte b : two::take(*t.into).bytes) {
        bits += std::popcount(std::to_integer<unsigned>(b));
    }
    CHECK(bits == 1);
    t.a->up.corrupt = 0;
    t.a->up.mark = 1000;
    two::send(*t.from, t.b->address(2000), 10, 2);
    two::send(*t.from, t.b->address(2000), 10, 0);
    REQUIRE(t.w.run_for(1s));
    CHECK(two::take(*t.into).ecn == 3);
    CHECK(two::take(*t.into).ecn == 0);
}

TEST_CASE("network: partitions cut both ways or one, and end")
{
    two t;
    const auto both = [&] {
        t.to_a.clear();
        t.to_b.clear();
        t.send(10);
        two::send(*t.into, t.a->address(1000), 10);
        REQUIRE(t.w.run_for(1s));
        return std::pair(t.to_b.size(), t.to_a.size());
    };
    CHECK(both() == std::pair<std::size_t, std::size_t>(1, 1));
    t.net.partition(*t.a, *t.b, true);
    CHECK(both() == std::pair<std::size_t, std::size_t>(0, 0));
    t.net.partition(*t.b, *t.a, false);
    CHECK(both() == std::pair<std::size_t, std::size_t>(1, 1));
    t.net.partition_one_way(*t.a, *t.b, true);
    CHECK(both() == std::pair<std::size_t, std::size_t>(0, 1));
    t.net.partition_one_way(*t.a, *t.b, false);
    CHECK(both() == std::pair<std::size_t, std::size_t>(1, 1));
    CHECK(t.net.statistics().partitioned == 3);
}

TEST_CASE("network: each kind of translator lets in whom it should")
{
    struct row {
        sim::nat_kind kind;
        bool same_ip;   // the address that was sent to, from another port
        bool stranger;  // an address that was never sent to
        bool one_port;  // one mapping for all destinations
    };
    const row rows[] = {{sim::nat_kind::full_cone, true, true, true},
                        {sim::nat_kind::restricted, true, false, true},
                        {sim::nat_kind::port_restricted, false, false, true},
                        {sim::nat_kind::symmetric, false, false, false}};
    for (const row& r : rows) {
        INFO("kind " << static_cast<int>(r.kind));
        two t(r.kind);
        auto& c = t.net.add_host(t.w.add_machine("c"));
        const auto other_port = t.a->bind(1001).value();
        const auto third = c.bind(3000).value();
        const auto reaches = [&](datagram_socket& s, socket_address to) {
            const auto before = t.to_b.size();
            two::send(s, to, 10);
            REQUIRE(t.w.run_for(1s));
            return t.to_b.size() > before;
        };
        // Nobody reaches a host behind a translator that has not sent anything.
        CHECK_FALSE(reaches(*t.from, t.b->address(2000)));
        two::send(*t.into, t.a->address(1000), 10);
        REQUIRE(t.w.run_for(1s));
        const socket_address seen = two::take(*t.from).from;
        CHECK(seen != t.b->address(2000));
        CHECK(reaches(*t.from, seen));
        CHECK(reaches(*other_port, seen) == r.same_ip);
        CHECK(reaches(*third, seen) == r.stranger);
        two::send(*t.into, t.a->address(1001), 10);
        two::send(*t.into, c.address(3000), 10);
        REQUIRE(t.w.run_for(1s));
        const socket_address second = two::take(*other_port).from;
        const socket_address at_c = two::take(*third).from;
        CHECK((second == seen) == r.one_port);
        CHECK((at_c == seen) == r.one_port);
        CHECK(reaches(*third, at_c));
        CHECK(reaches(*t.from, at_c) == r.one_port);
        t.b->forget_mappings();
        CHECK_FALSE(reaches(*t.from, seen));
        two::send(*t.into, t.a->address(1000), 10);
        REQUIRE(t.w.run_for(1s));
        CHECK(two::take(*t.from).from != seen);
    }
}

TEST_CASE("network: a host that moved is reached at the new address only, by new sockets only")
{
    two t;
    const auto old_address = t.b->address(2000);
    t.b->readdress({198, 18, 9, 9});
    two::send(*t.into, t.a->address(1000), 10);
    t.send(10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_a.empty());
    CHECK(t.to_b.empty());
    const auto fresh = t.b->bind(2000).value();
    CHECK(fresh->local_address() != old_address);
    two::send(*t.from, old_address, 10);
    t.send(10);
    two::send(*fresh, t.a->address(1000), 10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_a.size() == 1);
    CHECK(t.to_b.size() == 1);
}

TEST_CASE("network: a port has one holder, and a crash frees it")
{
    two t;
    CHECK(t.b->bind(2000).error() == std::errc::address_in_use);
    t.send(10);
    t.b->computer().crash();
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b.empty());
    CHECK(t.net.statistics().nobody == 1);
    two::send(*t.into, t.a->address(1000), 10);  // the dead have no effect
    const auto fresh = t.b->bind(2000);
    REQUIRE(fresh);
    t.send(10);
    REQUIRE(t.w.run_for(1s));
    CHECK(t.to_b.size() == 1);
    CHECK(t.to_a.empty());
}
