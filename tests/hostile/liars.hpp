// A provider that lies: wrong data, enormous sizes, answers that drip, end too soon or never, items of
// nothing. And the getter that falls for it again and again.
#pragma once

#include "tests/hostile/pushes.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/blob/observe.hpp>
#include <copse/core/race.hpp>

namespace copse::hostile {

namespace detail {

inline awaitable<void> repeat(stage& s, send_stream& to, std::vector<std::byte> what,
                              std::chrono::nanoseconds apart)
{
    for (bool more = true; more;) {
        const auto sent = co_await to.write_copy(what);
        if (!sent) co_return;
        more = co_await s.pause(apart);
    }
}

/// What the answer is made of: repeated until the getter has had enough.
inline std::vector<std::byte> lie_of(stage& s, std::uint64_t kind)
{
    switch (kind) {
    case 0: return s.noise(20'000);
    case 1: return contents::get().large;            // leaves where hash pairs are due
    case 2: return std::vector<std::byte>(100'000);  // also an Observe's empty items
    case 3: {                                        // items of an Observe, of noise
        std::vector<std::byte> item = s.noise(64);
        item.insert(item.begin(), std::byte{64});
        return item;
    }
    case 4: {  // one item of an Observe: endless ranges of a chunk each
        std::vector<std::byte> item;
        codec::append_varint(item, 200'000);
        codec::append_varint(item, 199'990);
        item.resize(200'000, std::byte{1});
        return item;
    }
    default: return s.noise(1);  // drips
    }
}

inline awaitable<void> lie(stage& s, bidi_stream stream)
{
    s.acted();
    std::vector<std::byte> request(4096);
    const auto asked = co_await stream.recv->read(request);
    if (!asked) co_return;
    const auto size = s.dice.below(5);
    const std::uint64_t sizes[] = {1U << 20, std::uint64_t{1} << 50, ~std::uint64_t{0}, 20'000};
    if (size < 4) {
        const auto head = size_header(sizes[size]);
        const auto begun = co_await stream.send->write_copy(head);
        if (!begun) co_return;
    }
    const auto kind = s.dice.below(9);
    if (kind == 6) co_return;  // reset by going
    if (kind == 7) {
        const auto some = s.noise(s.dice.below(5000));
        const auto sent = co_await stream.send->write_copy(some);
        if (sent) stream.send->finish();
        co_return;
    }
    const auto apart = kind == 5 ? std::chrono::milliseconds(5) : std::chrono::milliseconds(1);
    if (kind == 8) {
        for (bool more = true; more;) more = co_await s.pause(std::chrono::milliseconds(50));
        co_return;
    }
    co_await repeat(s, *stream.send, lie_of(s, kind), apart);
}

inline awaitable<void> serve_lies(stage& s, std::shared_ptr<connection> c)
{
    scope answering(c->get_executor());
    for (;;) {
        auto stream = co_await c->accept_bi();
        if (!stream) break;
        answering.spawn(lie(s, std::move(stream).assume_value()));
    }
    answering.request_stop();
    const auto joined = co_await answering.join();
    static_cast<void>(joined);
}

inline awaitable<void> fall_for(stage& s, std::shared_ptr<connection> c, std::uint64_t mode,
                                blob::fetch_environment& env)
{
    blob::fetch_options options;
    options.progress_timeout = std::chrono::milliseconds(300);
    blob::fetch_diagnostics where;
    hash::digest root;
    const auto name = s.noise(32);
    std::copy(name.begin(), name.end(), root.bytes.begin());
    if (mode == 0) {
        const auto got = co_await blob::fetch_manifest(c, root, env, std::move(options), where);
        static_cast<void>(got);
    } else if (mode == 1) {
        blob::observe_options patience;
        patience.first_item_timeout = std::chrono::milliseconds(300);
        auto seen = co_await blob::observer::open(c, root, patience);
        while (seen && !s.over) {
            auto waiting = seen.assume_value().next();
            const auto item =
                co_await with_timeout(std::move(waiting), std::chrono::milliseconds(300));
            if (!item) break;
        }
    } else if (mode == 2) {
        blob::get_many_request many;
        for (int i = 0; i < 100; ++i) many.hashes.push_back(root);
        many.ranges = blob::ranges_seq::all();
        const auto got =
            co_await blob::fetch_many(c, std::move(many), env, std::move(options), where);
        static_cast<void>(got);
    } else {
        // A hash that the liar's kind 1 answers truthfully, up to a point.
        if (mode == 3) root = contents::get().large_root;
        blob::get_request request{root, blob::ranges_seq::all()};
        const auto got =
            co_await blob::fetch(c, std::move(request), env, std::move(options), where);
        static_cast<void>(got);
    }
}

inline awaitable<void> fall_again(stage& s, quic::endpoint& from, blob::fetch_environment& env,
                                  std::uint64_t mode)
{
    for (bool more = true; more;) {
        more = co_await s.pause(std::chrono::milliseconds(10));
        if (!more || s.hostile_at.paths.empty()) continue;
        endpoint_address to = s.hostile_at;
        auto c = co_await from.connect(std::move(to), std::string(blob::alpn));
        if (!c) continue;
        co_await fall_for(s, c.assume_value(), mode, env);
        c.assume_value()->close(0, {});
    }
}

}  // namespace detail

/// The hostile provider.
inline awaitable<void> liar(stage& s)
{
    auto endpoint = s.dialler({}, s.ground.bind(4433).value());
    auto listening = endpoint.listen(blob::alpn);
    s.hostile_at = {endpoint.id(), {s.ground.address(4433)}};
    scope serving(endpoint.get_executor());
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        serving.spawn(detail::serve_lies(s, std::move(c).assume_value()));
    }
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    co_await endpoint.close();
}

/// The victim's getters, one of each kind.
inline awaitable<void> fall_for_liars(stage& s, quic::endpoint& from, blob::fetch_environment& env)
{
    scope all(from.get_executor());
    for (std::uint64_t mode = 0; mode < 5; ++mode)
        all.spawn(detail::fall_again(s, from, env, mode));
    const auto joined = co_await all.join();
    static_cast<void>(joined);
}

}  // namespace copse::hostile
