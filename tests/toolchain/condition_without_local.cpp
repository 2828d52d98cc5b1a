// Co_await in a control condition of a coroutine that declares no local variable.
// g++ 12: wrong
#include "probe.hpp"

task<> probe()
{
#ifdef COPSE_SHUNNED
    if (co_await number(1) != 1) ++faults;
#else
    const int n = co_await number(1);
    if (n != 1) ++faults;
#endif
}
