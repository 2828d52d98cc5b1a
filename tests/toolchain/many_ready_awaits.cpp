// A million awaits that never suspend, by symmetric transfer without optimisation.
// g++ 12: wrong
#include "probe.hpp"

task<int> ready(int n)
{
    co_return n;
}

task<> probe()
{
#ifdef COPSE_SHUNNED
    long total = 0;
    for (int i = 0; i < 2'000'000; ++i) total += co_await ready(1);
    expect(total == 2'000'000);
#else
    long total = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        // A real suspension unwinds the stack; asio::awaitable has a trampoline that always does.
        if (i % 1000 == 0) co_await hop{};
        total += co_await ready(1);
    }
    expect(total == 2'000'000);
#endif
}
