// A provider whose answers are all true, and whose collections are enormous or contradict themselves.
#pragma once

#include "tests/hostile/liars.hpp"

#include <copse/hash/blake3.hpp>

namespace copse::hostile {

namespace detail {

/// The lists that the hostile provider has, with their metadata.
struct endless_lists {
    std::vector<std::vector<std::byte>> blobs;
    std::vector<hash::digest> roots;

    static const endless_lists& get()
    {
        static const endless_lists made = [] {
            endless_lists out;
            constexpr std::size_t many = 10'000;
            std::vector<std::string> names;
            for (std::size_t i = 0; i < many; ++i) names.push_back("n" + std::to_string(i));
            auto meta = blob::encode_collection_meta(names).value();
            out.add(meta, many + 1);  // all as it should be, but the files
            out.add(meta, many / 2);  // more names than hashes
            meta.resize(meta.size() / 2);
            out.add(meta, many + 1);  // cut off
            auto claims = blob::encode_collection_meta({}).value();
            claims.resize(claims.size() - 1);
            codec::append_varint(claims, ~std::uint64_t{0});
            out.add(claims, 100'000);
            out.add(contents::get().large, 2);  // metadata that is none
            return out;
        }();
        return made;
    }
    void add(std::vector<std::byte> meta, std::size_t hashes)
    {
        const auto root = hash::blake3_hash(meta);
        std::vector<std::byte> list;
        for (std::size_t i = 0; i < hashes; ++i) append(list, root.bytes);
        roots.push_back(hash::blake3_hash(list));
        blobs.push_back(std::move(meta));
        blobs.push_back(std::move(list));
    }
};

inline awaitable<void> provide_endlessly(stage& s, std::shared_ptr<connection> c,
                                         blob::provide_environment& env)
{
    s.acted();
    const auto why = co_await blob::provide(std::move(c), env, {});
    static_cast<void>(why);
}

inline awaitable<void> fetch_manifests(stage& s, quic::endpoint& from, blob::fetch_environment& env)
{
    for (bool more = true; more;) {
        more = co_await s.pause(std::chrono::milliseconds(10));
        if (!more || s.hostile_at.paths.empty()) continue;
        endpoint_address to = s.hostile_at;
        auto c = co_await from.connect(std::move(to), std::string(blob::alpn));
        if (!c) continue;
        const auto& roots = endless_lists::get().roots;
        const hash::digest root = roots[s.dice.below(roots.size())];
        blob::fetch_options options;
        options.progress_timeout = std::chrono::milliseconds(500);
        options.max_blob_size = 4'000'000;
        blob::fetch_diagnostics where;
        const auto got =
            co_await blob::fetch_manifest(c.assume_value(), root, env, std::move(options), where);
        static_cast<void>(got);
        c.assume_value()->close(0, {});
    }
}

}  // namespace detail

/// The hostile provider.
inline awaitable<void> endless_collections(stage& s)
{
    const auto pool = make_inline_pool();
    store::memory_store blobs(64U << 20);
    for (const auto& b : detail::endless_lists::get().blobs) {
        const auto added = blobs.add(b);
        static_cast<void>(added);  // two of them are equal
    }
    disk::leaf_pool buffers("hostile endless", 8U << 20, blob::provide_buffer_bytes);
    blob::provide_environment env{blobs, *pool, buffers};
    auto endpoint = s.dialler({}, s.ground.bind(4433).value());
    auto listening = endpoint.listen(blob::alpn);
    s.hostile_at = {endpoint.id(), {s.ground.address(4433)}};
    scope serving(endpoint.get_executor());
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        serving.spawn(detail::provide_endlessly(s, std::move(c).assume_value(), env));
    }
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    co_await endpoint.close();
}

/// The victim's getter.
inline awaitable<void> fetch_endless_collections(stage& s, quic::endpoint& from,
                                                 blob::fetch_environment& env)
{
    return detail::fetch_manifests(s, from, env);
}

}  // namespace copse::hostile
