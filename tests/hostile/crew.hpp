// Several connections of the hostile host that do the same, each dialled again when it ends.
#pragma once

#include "tests/hostile/stage.hpp"

#include <copse/core/scope.hpp>

#include <memory>
#include <utility>

namespace copse::hostile {

/// What one connection does; it should end when `stage::over`.
using act = awaitable<void> (*)(stage&, std::shared_ptr<connection>);

namespace detail {

inline awaitable<void> crew_member(stage& s, quic::endpoint& from, act does)
{
    for (bool more = true; more;) {
        auto c = co_await s.dial(from);
        if (c) {
            co_await does(s, c);
            c->close(0, {});
        }
        more = co_await s.pause(std::chrono::milliseconds(20));
    }
}

}  // namespace detail

/// Runs `does` on `members` connections.
inline awaitable<void> crew(stage& s, unsigned members, act does, quic::endpoint_options o = {})
{
    auto from = s.dialler(std::move(o));
    scope all(from.get_executor());
    for (unsigned i = 0; i < members; ++i) all.spawn(detail::crew_member(s, from, does));
    const auto joined = co_await all.join();
    static_cast<void>(joined);
    co_await from.close();
}

/// Sends a whole request and ends it. \return the stream, null when the connection ended.
inline awaitable<std::unique_ptr<bidi_stream>> ask(connection& c, std::vector<std::byte> request)
{
    auto s = co_await c.open_bi();
    if (!s) co_return nullptr;
    auto stream = std::make_unique<bidi_stream>(std::move(s).assume_value());
    const auto sent = co_await stream->send->write_copy(request);
    if (!sent) co_return nullptr;
    stream->send->finish();
    co_return stream;
}

/// The request for all of a blob.
inline std::vector<std::byte> get_all(const hash::digest& root)
{
    return blob::encode_request(
        blob::get_request{root, blob::ranges_seq::root(bao::chunk_ranges::all())});
}

/// Until the play is over or the connection has ended.
inline awaitable<void> linger(stage& s, connection& c)
{
    for (bool more = true; more && !c.why_closed();)
        more = co_await s.pause(std::chrono::milliseconds(50));
}

}  // namespace copse::hostile
