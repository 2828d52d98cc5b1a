// Requests that come a byte a second, on every stream that may be open.
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

namespace detail {

inline awaitable<void> drip(stage& s, bidi_stream to)
{
    const auto request = get_all(contents::get().large_root);
    for (const std::byte b : request) {
        const auto sent = co_await to.send->write_copy(byte_view(&b, 1));
        if (!sent) co_return;
        s.acted();
        const bool more = co_await s.pause(std::chrono::seconds(1));
        if (!more) co_return;
    }
}

inline awaitable<void> drip_everywhere(stage& s, std::shared_ptr<connection> c)
{
    scope dripping(c->get_executor());
    while (!s.over) {
        auto opened = co_await c->open_bi();
        if (!opened) break;
        dripping.spawn(drip(s, std::move(opened).assume_value()));
    }
    dripping.request_stop();
    const auto joined = co_await dripping.join();
    static_cast<void>(joined);
}

}  // namespace detail

inline awaitable<void> slow_writers(stage& s, unsigned members)
{
    return crew(s, members, detail::drip_everywhere);
}

}  // namespace copse::hostile
