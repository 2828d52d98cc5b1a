// As many connections as one host gets, held or given up at once.
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

namespace detail {

inline awaitable<void> hold(stage& s, std::shared_ptr<connection> c)
{
    s.acted();
    co_await linger(s, *c);
}
inline awaitable<void> leave_at_once(stage& s, std::shared_ptr<connection> c)
{
    s.acted();
    c->close(1, "bye");
    co_return;
}

}  // namespace detail

/// Idle connections, more than there are places.
inline awaitable<void> connection_exhaustion(stage& s, unsigned members)
{
    return crew(s, members, detail::hold);
}
/// Whole handshakes, and a close behind each.
inline awaitable<void> connection_churn(stage& s)
{
    return crew(s, 20, detail::leave_at_once);
}

}  // namespace copse::hostile
