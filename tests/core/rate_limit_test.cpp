#include "tests/catch.hpp"

#include <copse/core/race.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>

using namespace copse;
using namespace std::chrono_literals;

TEST_CASE("rate_core: a full bucket lets its burst pass, then the rate holds", "[core][rate]")
{
    rate_core bucket(1000, 500);
    const time_point start(1h);
    CHECK(bucket.book(500, start) == 0ns);
    CHECK(bucket.book(100, start) == 100ms);
    CHECK(bucket.book(900, start) == 1s);
    // What was booked has flowed; an idle second later half of a second's bytes have gathered.
    CHECK(bucket.book(0, start + 1s) == 0ns);
    CHECK(bucket.book(501, start + 2s) == 1ms);
}

TEST_CASE("rate_core: users who book in turn get equal parts", "[core][rate]")
{
    rate_core bucket(1'000'000, 1000);
    time_point now(1h);
    std::uint64_t sent[3] = {};
    time_point free[3] = {now, now, now};
    for (int i = 0; i < 3000; ++i) {
        int next = 0;
        for (int k = 1; k < 3; ++k) {
            if (free[k] < free[next]) next = k;
        }
        now = std::max(now, free[next]);
        free[next] = now + bucket.book(1000, now);
        sent[next] += 1000;
    }
    for (const std::uint64_t s : sent) {  // to one booking
        CHECK(s >= 999'000);
        CHECK(s <= 1'001'000);
    }
    const auto took = now - time_point(1h);
    CHECK(took > 2990ms);
    CHECK(took < 3010ms);
}

TEST_CASE("rate_core: no rate is no limit, absurd numbers do not overflow", "[core][rate]")
{
    rate_core none(0);
    CHECK(none.book(~std::uint64_t{0}, time_point(1s)) == 0ns);
    CHECK(none.rate() == 0);
    for (const std::uint64_t rate :
         {std::uint64_t{1}, std::uint64_t{1} << 33, std::uint64_t{1} << 50, ~std::uint64_t{0}}) {
        rate_core bucket(rate, ~std::uint64_t{0});
        for (int i = 0; i < 5; ++i) {
            const auto wait = bucket.book(~std::uint64_t{0}, time_point(48h));
            CHECK(wait >= 0ns);
            CHECK(wait <= 24h);
        }
    }
    // Above 8 GB/s too the parts of a second are right to a nanosecond.
    rate_core fast(std::uint64_t{20'000'000'000}, 0);
    CHECK(fast.book(std::uint64_t{10'000'000'000}, time_point(1h)) == 500ms);
}

TEST_CASE("rate_limiter: a booking waits for those before it, cancelling is total", "[core][rate]")
{
    const auto body = []() -> awaitable<result<void>> {
        rate_limiter slow(1000, 1000);
        CHECK(slow.rate() == 1000);
        const std::error_code burst = co_await slow.take(1000);
        CHECK(!burst);
        slow.charge(3600 * 1000);
        auto waiting = [](rate_limiter& on) -> awaitable<result<void>> {
            const std::error_code ec = co_await on.ready();
            if (ec) co_return ec;
            co_return outcome::success();
        };
        auto ready = waiting(slow);
        const auto late = co_await with_timeout(std::move(ready), 1ms);
        CHECK(!late);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}
