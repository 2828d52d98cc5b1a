// A temporary closure with a capture that is not trivial, in the expression that awaits.
// g++ 12: wrong
#include "probe.hpp"

template <class F>
task<int> call(F f)
{
    co_await hop{};
    co_return f();
}

task<> probe()
{
#ifdef COPSE_SHUNNED
    tracked n(5);
    const int got = co_await call([n] { return n.get(); });
    expect(got == 5);
#else
    tracked n(5);
    auto f = [n] { return n.get(); };
    const int got = co_await call(std::move(f));
    expect(got == 5);
#endif
}
