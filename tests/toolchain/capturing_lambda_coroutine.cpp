// A coroutine lambda with captures, called where it is written.
// g++ 12: wrong
#include "probe.hpp"

task<> probe()
{
#ifdef COPSE_SHUNNED
    tracked n(3);
    const int got = co_await [n]() -> task<int> {
        co_await hop{};
        co_return n.get();
    }();
    expect(got == 3);
#else
    tracked n(3);
    const int got = co_await [](tracked t) -> task<int> {
        co_await hop{};
        co_return t.get();
    }(n);
    expect(got == 3);
#endif
}
