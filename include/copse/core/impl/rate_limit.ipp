#pragma once

#include <copse/core/race.hpp>
#include <copse/core/rate_limit.hpp>

namespace copse {

awaitable<std::error_code> rate_limiter::take(std::uint64_t bytes)
{
    const std::chrono::nanoseconds wait = core_.book(bytes, monotonic_clock::now());
    if (wait.count() == 0) co_return std::error_code{};
    const std::error_code ec = co_await sleep_for(wait);
    co_return ec;
}

}  // namespace copse
