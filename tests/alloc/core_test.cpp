// What core and disk lend and count.
#include "failing.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/limits.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/transport.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/quic/dial_report.hpp>

using namespace copse;
using namespace copse::test;

TEST_CASE("alloc: copse::budget, copse::credit, copse::rate_core (never allocate)", "[alloc]")
{
    const auto lend = [] {
        budget all("test", 100);
        credit one = all.try_take(40);
        credit two = all.take_up_to(80);
        const bool refused = !all.try_take(1);
        one.absorb(std::move(two));
        one.give_back(30);
        rate_core rate(1000, 10);
        return refused && all.used() == 70 && rate.book(500, time_point()).count() > 0;
    };
    REQUIRE(lend());
    CHECK(fail_each_allocation_of(lend) == 0);
}

TEST_CASE("alloc: copse::disk::leaf_pool::try_take, copse::disk::leaf_pool::wait", "[alloc]")
{
    struct patient final : disk::leaf_pool::waiter {
        void buffer_available() noexcept override { ++called; }
        int called = 0;
    };
    const auto make = [] {
        return std::make_unique<disk::leaf_pool>("test", 4 * 65536, std::size_t{65536});
    };
    using pool_type = std::unique_ptr<disk::leaf_pool>;
    // Buffers come back, and are kept or freed, whatever failed: giving back never allocates.
    const auto intact = [](pool_type& pool) { REQUIRE(pool->limits().used() == 0); };
    const auto borrow = [](pool_type& pool) {
        std::array<std::optional<disk::leaf_pool::buffer>, 4> held;
        std::size_t bytes = 0;
        for (auto& one : held) {
            one = pool->try_take(65536);
            bytes += one->bytes().size();
        }
        const bool full = !pool->try_take(1);
        held = {};
        const auto small = pool->try_take(100);
        const auto again = pool->try_take(65536);
        return std::make_tuple(bytes, full, small->bytes().size(), again->bytes().size());
    };
    CHECK(fail_each_allocation(make, borrow, intact) > 4);
    // Who could not queue does not wait; who does is called.
    const auto queue = [](pool_type& pool) {
        patient first;
        patient second;
        std::array<std::optional<disk::leaf_pool::buffer>, 4> held;
        for (auto& one : held) one = pool->try_take(65536);
        const auto leave = [&] {
            pool->leave(first);
            pool->leave(second);
        };
        try {
            pool->wait(first);
            pool->wait(second);
        } catch (...) {
            leave();
            throw;
        }
        held[0].reset();
        const bool called = first.called > 0;
        leave();
        return std::make_pair(called, pool->contended());
    };
    CHECK(fail_each_allocation(make, queue, intact) > 4);
}

TEST_CASE("alloc: copse::to_text, copse::quic::dial_report::to_string, "
          "copse::blob::fetch_diagnostics::to_string",
          "[alloc]")
{
    std::vector<limit_row> rows(3);
    for (auto& row : rows) row.name = "a limit whose name is longer than what the object holds";
    CHECK(fail_each_allocation_of([&] { return to_text(rows, std::chrono::seconds(1)); }) > 0);
    quic::dial_report report;
    for (std::uint16_t port = 1; port < 4; ++port) {
        quic::dial_attempt attempt;
        attempt.address = socket_address::loopback_v4(port);
        attempt.error = transport_errc::refused;
        attempt.outcome = quic::dial_attempt::outcome_type::failed;
        report.attempts.push_back(std::move(attempt));
    }
    CHECK(fail_each_allocation_of([&] { return report.to_string(); }) > 0);
    const blob::fetch_diagnostics where;
    CHECK(fail_each_allocation_of([&] { return where.to_string(); }) > 0);
}
