// Getters that ask for as much as they may and never read: what was sent to them waits at the provider.
#pragma once

#include "tests/hostile/crew.hpp"

namespace copse::hostile {

namespace detail {

inline awaitable<void> ask_and_sleep(stage& s, std::shared_ptr<connection> c)
{
    std::vector<std::unique_ptr<bidi_stream>> kept;
    while (!s.over) {
        auto stream = co_await ask(*c, get_all(contents::get().large_root));
        if (!stream) co_return;
        s.acted();
        kept.push_back(std::move(stream));
        if (kept.size() >= 32) {
            // Those that were reset make room for new ones.
            std::erase_if(kept, [](const auto& k) { return k->recv->reset_code().has_value(); });
            const bool more = co_await s.pause(std::chrono::milliseconds(100));
            if (!more) co_return;
            kept.erase(kept.begin());
        }
    }
}

}  // namespace detail

/// \param window credit of each of their streams, which is never renewed.
inline awaitable<void> slow_readers(stage& s, unsigned members, std::size_t window)
{
    quic::endpoint_options o;
    o.local_stream_window = window;
    return crew(s, members, detail::ask_and_sleep, std::move(o));
}

}  // namespace copse::hostile
