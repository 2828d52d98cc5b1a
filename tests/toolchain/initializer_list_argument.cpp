// An initializer list as argument.
// g++ 12: rejected
#include "probe.hpp"

#include <vector>

task<int> sum(std::vector<tracked> values)
{
    co_await hop{};
    int total = 0;
    for (const auto& v : values) total += v.get();
    co_return total;
}

task<> probe()
{
#ifdef COPSE_SHUNNED
    const int got = co_await sum({1, 2});
    expect(got == 3);
#else
    std::vector<tracked> values;
    values.emplace_back(1);
    values.emplace_back(2);
    const int got = co_await sum(std::move(values));
    expect(got == 3);
#endif
}
