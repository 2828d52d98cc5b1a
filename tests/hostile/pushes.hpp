// Pushes that claim enormous sizes, carry noise, drip, or never begin.
#pragma once

#include "tests/hostile/requests.hpp"

namespace copse::hostile {

namespace detail {

inline std::vector<std::byte> size_header(std::uint64_t size)
{
    std::vector<std::byte> out(8);
    for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::byte>(size >> (8 * i));
    return out;
}

inline awaitable<void> push_lies(stage& s, std::shared_ptr<connection> c, unsigned kind)
{
    auto opened = co_await c->open_bi();
    if (!opened) co_return;
    bidi_stream stream = std::move(opened).assume_value();
    blob::push_request request;
    const auto bytes = s.noise(32);
    std::copy(bytes.begin(), bytes.end(), request.content.hash.bytes.begin());
    request.content.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
    std::vector<std::byte> head = blob::encode_request(request);
    const std::uint64_t sizes[] = {1U << 20, std::uint64_t{60} << 30, std::uint64_t{1} << 63, 16384,
                                   0};
    append(head, size_header(sizes[kind % 5]));
    const auto sent = co_await stream.send->write_copy(head);
    if (!sent) co_return;
    s.acted();
    if (kind % 3 == 0) {
        const auto noise = s.noise(50'000);
        const auto more = co_await stream.send->write_copy(noise);
        static_cast<void>(more);
        if (kind % 2 == 0) stream.send->finish();
    }
    if (kind % 7 == 0) co_return;
    // The rest of them drip.
    std::vector<std::byte> drop = s.noise(1);
    for (bool more = true; more;) {
        const auto dripped = co_await stream.send->write_copy(drop);
        if (!dripped) co_return;
        more = co_await s.pause(std::chrono::milliseconds(500));
    }
}

inline awaitable<void> push_many_lies(stage& s, std::shared_ptr<connection> c)
{
    scope pushing(c->get_executor());
    for (bool more = true; more && !c->why_closed();) {
        if (pushing.running() < 50) {
            const auto kind = static_cast<unsigned>(s.dice.below(105));
            pushing.spawn(push_lies(s, c, kind));
        }
        more = co_await s.pause(std::chrono::milliseconds(2));
    }
    pushing.request_stop();
    const auto joined = co_await pushing.join();
    static_cast<void>(joined);
}

}  // namespace detail

inline awaitable<void> lying_pushes(stage& s)
{
    return crew(s, 4, detail::push_many_lies);
}

}  // namespace copse::hostile
