// A temporary aggregate with members that are not trivial, as argument.
// g++ 12: wrong
#include "probe.hpp"

struct options {
    tracked first;
    int second = 1;
};

task<int> use(options o)
{
    co_await hop{};
    co_return o.first.get() + o.second;
}

task<> probe()
{
#ifdef COPSE_SHUNNED
    const int got = co_await use({.first = tracked(2)});
    expect(got == 3);
#else
    options o{.first = tracked(2)};
    const int got = co_await use(std::move(o));
    expect(got == 3);
#endif
}
