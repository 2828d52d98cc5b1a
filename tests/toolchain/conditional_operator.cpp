// The conditional operator on class types around co_await.
// g++ 12: wrong
#include "probe.hpp"

task<> probe()
{
#ifdef COPSE_SHUNNED
    const bool first = co_await number(1) == 1;
    const int got = co_await value_of(first ? tracked(1) : tracked(2));
    tracked t = first ? co_await object(3) : tracked(4);
    expect(got == 1 && t.get() == 3);
#else
    const bool first = co_await number(1) == 1;
    tracked argument(2);
    if (first) argument = tracked(1);
    const int got = co_await value_of(argument);
    tracked t(4);
    if (first) t = co_await object(3);
    expect(got == 1 && t.get() == 3);
#endif
}
