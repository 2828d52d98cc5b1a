// A statement expression with co_await and co_return: the reason for COPSE_CO_TRY.
// g++ 12: rejected
#include "probe.hpp"

task<> probe()
{
#ifdef COPSE_SHUNNED
    const int got = __extension__({
        auto&& t = co_await object(3);
        if (t.get() != 3) co_return;
        t.get();
    });
    expect(got == 3);
#else
    auto&& t = co_await object(3);
    if (t.get() != 3) co_return;
    const int got = t.get();
    expect(got == 3);
#endif
}
