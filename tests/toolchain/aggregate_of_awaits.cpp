// An aggregate built from several awaited values.
// g++ 12: wrong
#include "probe.hpp"

struct both {
    tracked first;
    tracked second;
};

task<> probe()
{
#ifdef COPSE_SHUNNED
    both b{co_await object(1), co_await object(2)};
    expect(b.first.get() + b.second.get() == 3);
#else
    auto first = co_await object(1);
    auto second = co_await object(2);
    both b{std::move(first), std::move(second)};
    expect(b.first.get() + b.second.get() == 3);
#endif
}
