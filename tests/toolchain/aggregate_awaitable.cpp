// Awaiting a temporary aggregate.
// g++ 12: wrong
#include "probe.hpp"

struct awaiter {
    tracked value;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const { waiting.push_back(h); }
    int await_resume() const { return value.get(); }
};

#ifndef COPSE_SHUNNED
awaiter make(int n)
{
    return awaiter{tracked(n)};
}
#endif

task<> probe()
{
#ifdef COPSE_SHUNNED
    const int got = co_await awaiter{tracked(4)};
    expect(got == 4);
#else
    const int got = co_await make(4);
    expect(got == 4);
#endif
}
