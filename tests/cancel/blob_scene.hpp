// A getter and a provider with stores in memory, for scenes of requests.
#pragma once

#include "tests/cancel/connected.hpp"

#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/provide.hpp>
#include <copse/blob/push.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/memory_store.hpp>

namespace copse::test {

/// `near` asks, `far` provides from `provided`.
class blob_scene : public connected_scene {
public:
    blob_scene(stage& s, carrier by, std::uint64_t streams = 100)
        : connected_scene(s, by,
                          small_limits{streams, 256U << 10, std::string(blob::alpn), 12'000}),
          pool(s),
          provided(16U << 20),
          received(16U << 20),
          buffers("cancel provide", 1U << 20, blob::provide_buffer_bytes),
          extents("cancel fetch", 256U << 10, 64U << 10),
          provide_env{provided, pool, buffers, &share},
          fetch_env{received, pool, extents}
    {}

    /// What provide() says at its end.
    static awaitable<void> serve(blob_scene& s)
    {
        s.ended = co_await blob::provide(s.far, s.provide_env, s.options);
    }

    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        background.spawn(serve(*this));
    }

    awaitable<void> finish() override
    {
        co_await connected_scene::finish();
        co_await pause(std::chrono::milliseconds(1));
        CHECK(buffers.limits().used() == 0);
        CHECK(extents.limits().used() == 0);
        CHECK(share.connections.used() == 0);
        CHECK(share.requests.used() == 0);
        CHECK(share.observers.used() == 0);
    }

    /// What a fetch that was asked to stop leaves: what is shown can be read, and is right.
    void check_received(const hash::digest& root, const std::vector<std::byte>& content)
    {
        CHECK(extents.limits().used() == 0);
        const auto there = received.status(root);
        REQUIRE(there);
        if (there.value().present.empty()) return;
        const auto reader = received.open(root);
        REQUIRE(reader);
        for (std::size_t i = 0; i < there.value().present.interval_count(); ++i) {
            const auto part = there.value().present.interval(i);
            const auto first = static_cast<std::size_t>(part.first * 1024);
            const std::size_t end =
                std::min<std::size_t>(content.size(), static_cast<std::size_t>(part.end) * 1024);
            std::vector<std::byte> got(end - first);
            const byte_span into(got);
            REQUIRE(reader.value()->read(std::span(&into, 1), first));
            CHECK(std::equal(got.begin(), got.end(),
                             content.begin() + static_cast<std::ptrdiff_t>(first)));
        }
    }

    /// The rest can be had over the same connection.
    awaitable<void> check_download(hash::digest root, const std::vector<std::byte>& content)
    {
        const auto rest = co_await blob::download(near, root, fetch_env, {}, {}, where);
        REQUIRE(rest);
        const auto there = received.status(root);
        REQUIRE(there);
        CHECK(there.value().complete());
        check_received(root, content);
    }

    later_pool pool;
    store::memory_store provided;
    store::memory_store received;
    disk::leaf_pool buffers;
    disk::leaf_pool extents;
    blob::provide_share share;
    blob::provide_environment provide_env;
    blob::fetch_environment fetch_env;
    blob::provide_options options;
    blob::fetch_diagnostics where;
    close_reason ended;
};

/// Requests wait for the jobs that hold their buffers.
inline cancel_rules request_rules()
{
    cancel_rules rules;
    rules.within = std::chrono::milliseconds(20);
    return rules;
}

}  // namespace copse::test
