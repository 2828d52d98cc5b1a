// Streams opened as quickly as the limits let them, and given up in every way there is.
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

namespace detail {

inline awaitable<void> open_and_reset(stage& s, std::shared_ptr<connection> c)
{
    while (!s.over) {
        auto opened = co_await c->open_bi();
        if (!opened) co_return;
        s.acted();
        bidi_stream& stream = opened.assume_value();
        if (s.acts % 2 == 0) {
            const auto sent = co_await stream.send->write_copy(as_bytes("\0"));
            if (!sent) co_return;
        }
        stream.send->reset(s.acts);
        stream.recv->stop(s.acts);
    }
}

inline awaitable<void> ask_and_stop(stage& s, std::shared_ptr<connection> c)
{
    std::vector<std::byte> first(1);
    while (!s.over) {
        auto stream = co_await ask(*c, get_all(contents::get().large_root));
        if (!stream) co_return;
        s.acted();
        const auto n = co_await stream->recv->read(first);
        if (!n) co_return;
        stream->recv->stop(7);
    }
}

inline awaitable<void> hold_all_streams(stage& s, std::shared_ptr<connection> c)
{
    std::vector<bidi_stream> kept;
    while (!s.over) {
        auto opened = co_await c->open_bi();
        if (!opened) co_return;
        s.acted();
        kept.push_back(std::move(opened).assume_value());
        const auto sent = co_await kept.back().send->write_copy(as_bytes("\x09 half a request"));
        if (!sent) co_return;
    }
}

inline awaitable<void> fill_uni_streams(stage& s, std::shared_ptr<connection> c)
{
    std::vector<std::unique_ptr<send_stream>> kept;
    scope filling(c->get_executor());
    const auto fill = [](send_stream& to, std::vector<std::byte> with) -> awaitable<void> {
        const auto sent = co_await to.write_copy(with);
        static_cast<void>(sent);
    };
    while (!s.over) {
        auto opened = co_await c->open_uni();
        if (!opened) break;
        s.acted();
        kept.push_back(std::move(opened).assume_value());
        filling.spawn(fill(*kept.back(), s.noise(100'000)));
    }
    filling.request_stop();
    const auto joined = co_await filling.join();
    static_cast<void>(joined);
}

inline awaitable<void> end_uni_streams(stage& s, std::shared_ptr<connection> c)
{
    while (!s.over) {
        auto opened = co_await c->open_uni();
        if (!opened) co_return;
        s.acted();
        if (s.acts % 3 == 0) opened.assume_value()->reset(1);
        else opened.assume_value()->finish();
    }
}

}  // namespace detail

/// Opened, given a byte or none, reset and stopped.
inline awaitable<void> stream_churn(stage& s)
{
    return crew(s, 4, detail::open_and_reset);
}
/// Requests whose answers are stopped as soon as they begin.
inline awaitable<void> stop_storm(stage& s)
{
    return crew(s, 4, detail::ask_and_stop);
}
/// Every stream that may be open, with half a request each.
inline awaitable<void> stream_exhaustion(stage& s)
{
    return crew(s, 8, detail::hold_all_streams);
}
/// One-way streams, which nobody accepts, filled as far as their windows go.
inline awaitable<void> uni_flood(stage& s)
{
    return crew(s, 4, detail::fill_uni_streams);
}
/// One-way streams that end at once.
inline awaitable<void> uni_churn(stage& s)
{
    return crew(s, 4, detail::end_uni_streams);
}

}  // namespace copse::hostile
