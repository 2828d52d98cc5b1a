// Throwing an object built from an awaited value.
// g++ 12: wrong
#include "probe.hpp"

task<> probe()
{
#ifdef COPSE_SHUNNED
    try {
        throw tracked(co_await number(3));
    } catch (const tracked& t) {
        expect(t.get() == 3);
    }
#else
    try {
        const int n = co_await number(3);
        throw tracked(n);
    } catch (const tracked& t) {
        expect(t.get() == 3);
    }
#endif
}
