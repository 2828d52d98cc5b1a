// Requests that are wrong, half, enormous, or for everything at once.
#pragma once

#include "tests/hostile/crew.hpp"

#include <copse/codec/varint.hpp>

namespace copse::hostile {

namespace detail {

/// Reads what comes, for as long as something does, and forgets it.
inline awaitable<void> swallow(stage& s, std::unique_ptr<bidi_stream> stream)
{
    std::vector<std::byte> part(16384);
    while (!s.over) {
        const auto n = co_await stream->recv->read(part);
        if (!n || n.assume_value() == 0) co_return;
    }
}

/// Asks again and again, some at the same time, and reads the answers.
template <class Make>
awaitable<void> keep_asking(stage& s, std::shared_ptr<connection> c, std::size_t at_once, Make make)
{
    scope reading(c->get_executor());
    while (!s.over) {
        const std::error_code ec = co_await reading.wait_below(at_once);
        if (ec) break;
        std::vector<std::byte> request = make(s);
        auto stream = co_await ask(*c, std::move(request));
        if (!stream) break;
        s.acted();
        reading.spawn(swallow(s, std::move(stream)));
    }
    reading.request_stop();
    const auto joined = co_await reading.join();
    static_cast<void>(joined);
}

inline std::vector<std::byte> ask_for(const hash::digest& root, blob::ranges_seq ranges)
{
    return blob::encode_request(blob::get_request{root, std::move(ranges)});
}

inline void append(std::vector<std::byte>& to, byte_view bytes)
{
    to.insert(to.end(), bytes.begin(), bytes.end());
}

/// A Get of every second of the first 2^20 chunks: one byte for each.
inline std::vector<std::byte> full_of_ranges(const hash::digest& root, std::size_t boundaries)
{
    std::vector<std::byte> out{std::byte{0}};
    append(out, root.bytes);
    append(out, as_bytes(std::string_view("\x02\0", 2)));  // two entries, the first at index 0
    codec::append_varint(out, std::uint64_t{boundaries});
    out.push_back(std::byte{0});
    out.resize(out.size() + boundaries - 1, std::byte{1});
    append(out, as_bytes(std::string_view("\x01\0", 2)));  // from index 1 on: nothing
    return out;
}

inline awaitable<void> nonsense(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 20, [](stage& of) {
        std::vector<std::byte> out = get_all(contents::get().large_root);
        const auto kind = of.dice.below(5);
        const auto at = of.dice.below(out.size());
        if (kind == 3) out.resize(33);
        if (kind == 0) out = of.noise(1 + of.dice.below(200));
        else if (kind == 1) out.resize(at);
        else if (kind == 2) out[0] = static_cast<std::byte>(2 + of.dice.below(254));
        else if (kind == 3) codec::append_varint(out, ~std::uint64_t{0} >> of.dice.below(64));
        else out[33] ^= static_cast<std::byte>(1U << of.dice.below(8));
        return out;
    });
}

inline awaitable<void> unknown_hashes(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 30, [](stage& of) {
        hash::digest root;
        const auto bytes = of.noise(32);
        std::copy(bytes.begin(), bytes.end(), root.bytes.begin());
        return get_all(root);
    });
}

inline awaitable<void> everything(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 100, [](stage&) {
        return ask_for(contents::get().list_root, blob::ranges_seq::all());
    });
}

inline awaitable<void> all_sizes(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 10, [](stage&) {
        return ask_for(contents::get().list_root, blob::ranges_seq::root_and_child_sizes());
    });
}

inline awaitable<void> most_hashes(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 4, [](stage&) {
        const contents& known = contents::get();
        blob::get_many_request many;
        for (std::size_t i = 0; i < blob::max_get_many_hashes; ++i)
            many.hashes.push_back(known.small_roots[i % 4]);
        many.ranges = blob::ranges_seq::builder().from(0, bao::chunk_ranges::last_chunk()).build();
        return blob::encode_request(many);
    });
}

inline awaitable<void> every_second_chunk(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 4,
                       [](stage&) { return full_of_ranges(contents::get().large_root, 2048); });
}

inline awaitable<void> a_million_ranges(stage& s, std::shared_ptr<connection> c)
{
    return keep_asking(s, std::move(c), 4, [](stage&) {
        return full_of_ranges(contents::get().large_root, blob::max_request_bytes - 100);
    });
}

inline awaitable<void> observe_and_sleep(stage& s, std::shared_ptr<connection> c)
{
    std::vector<std::unique_ptr<bidi_stream>> kept;
    while (!s.over) {
        auto stream = co_await ask(
            *c, blob::encode_request(blob::observe_request{contents::get().large_root, {}}));
        if (!stream) co_return;
        s.acted();
        kept.push_back(std::move(stream));
        const bool more = co_await s.pause(std::chrono::milliseconds(2));
        if (!more) co_return;
        std::erase_if(kept, [](const auto& k) { return k->recv->reset_code().has_value(); });
        if (kept.size() > 90) kept.erase(kept.begin());
    }
}

}  // namespace detail

/// Not decodable, in many ways.
inline awaitable<void> malformed_requests(stage& s)
{
    return crew(s, 4, detail::nonsense);
}
/// For blobs that are not there.
inline awaitable<void> useless_requests(stage& s)
{
    return crew(s, 4, detail::unknown_hashes);
}
/// For a list of a GiB with all its children, on every stream.
inline awaitable<void> requests_for_everything(stage& s)
{
    return crew(s, 2, detail::everything);
}
/// 40 bytes that ask for the last chunk of 4096 blobs.
inline awaitable<void> requests_for_all_sizes(stage& s)
{
    return crew(s, 4, detail::all_sizes);
}
/// GetMany with as many hashes as one may have.
inline awaitable<void> largest_get_many(stage& s)
{
    return crew(s, 2, detail::most_hashes);
}
/// For every second chunk: each needs hash pairs of its own.
inline awaitable<void> requests_with_gaps(stage& s)
{
    return crew(s, 4, detail::every_second_chunk);
}
/// Requests of the largest size, full of ranges far behind the end of the blob.
inline awaitable<void> a_million_ranges(stage& s)
{
    return crew(s, 2, detail::a_million_ranges);
}
/// More observers than one may have, who do not read.
inline awaitable<void> silent_observers(stage& s)
{
    return crew(s, 8, detail::observe_and_sleep);
}

}  // namespace copse::hostile
