// What the fuzzers of whole peers share: a script out of the input, a world to play it in, and blobs with
// their true encodings.
#pragma once

#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/core/timer.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/sim/memory_transport.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/memory_store.hpp>

// libFuzzer's timeouts are about real time.
#define COPSE_SIM_REAL_CLOCK
#include <copse/sim/interpose.ipp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

namespace copse::fuzz {

inline void require(bool good)
{
    if (!good) std::abort();
}

/// Reads the input as decisions; behind its end everything is 0.
class script {
public:
    explicit script(byte_view input) noexcept : rest_(input) {}

    [[nodiscard]] bool over() const noexcept { return rest_.empty(); }
    unsigned number() noexcept
    {
        if (rest_.empty()) return 0;
        const auto b = std::to_integer<unsigned>(rest_.front());
        rest_ = rest_.subspan(1);
        return b;
    }
    byte_view bytes(std::size_t n) noexcept
    {
        const byte_view out = rest_.first(std::min(n, rest_.size()));
        rest_ = rest_.subspan(out.size());
        return out;
    }

private:
    byte_view rest_;
};

/// One run: both peers in one machine, in time that passes only when nobody has anything left to do.
class play {
public:
    [[nodiscard]] executor get_executor() const { return both_.life().get_executor(); }
    void start(awaitable<void> peer) { both_.start(program(std::move(peer))); }
    /// Until every peer has ended; a deadlock, a livelock and a wait of days are findings.
    void run()
    {
        require(world_.run_until([this] { return both_.running() == 0; }, std::chrono::hours(48))
                    .has_value());
        require(!both_.failure());
    }

private:
    static awaitable<result<void>> program(awaitable<void> peer)
    {
        co_await std::move(peer);
        co_return outcome::success();
    }

    sim::world world_{1};
    sim::machine& both_ = world_.add_machine("both");
};

/// Lets time pass.
inline awaitable<void> wait(std::chrono::nanoseconds time)
{
    const std::error_code ec = co_await sleep_for(time);
    static_cast<void>(ec);
}

/// Lets everything else run for some turns.
inline awaitable<void> turns(unsigned n)
{
    const executor ex = co_await asio::this_coro::executor;
    for (; n > 0; --n) co_await asio::post(ex, asio::use_awaitable);
}

/// Blobs that both peers know: a small one, one of three groups, and the list of both.
struct contents {
    contents() : small(pattern(1500, 3)), large(pattern(20'000, 7))
    {
        for (const auto& blob : {small, large}) {
            const auto root = hash::blake3_hash(blob);
            list.insert(list.end(), root.bytes.begin(), root.bytes.end());
        }
        small_root = hash::blake3_hash(small);
        large_root = hash::blake3_hash(large);
        list_root = hash::blake3_hash(list);
    }

    static std::vector<std::byte> pattern(std::size_t size, unsigned step)
    {
        std::vector<std::byte> out(size);
        for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * step % 251);
        return out;
    }

    /// Nothing is in a store that was not verified.
    void check(store::blob_store& in) const
    {
        one(in, small_root, small);
        one(in, large_root, large);
        one(in, list_root, list);
    }

    std::vector<std::byte> small;
    std::vector<std::byte> large;
    std::vector<std::byte> list;
    hash::digest small_root;
    hash::digest large_root;
    hash::digest list_root;

private:
    static void one(store::blob_store& in, const hash::digest& root, byte_view content)
    {
        const auto there = in.status(root);
        require(there.has_value());
        if (there.value().present.empty()) return;
        if (there.value().size_proven) require(there.value().size == content.size());
        const auto reader = in.open(root);
        require(reader.has_value());
        for (std::size_t at = 0; at < content.size(); at += 1024) {
            if (!there.value().present.contains(at / 1024)) continue;
            std::vector<std::byte> chunk(std::min<std::size_t>(1024, content.size() - at));
            const byte_span part(chunk);
            require(reader.value()->read(std::span(&part, 1), at).has_value());
            require(std::equal(chunk.begin(), chunk.end(),
                               content.begin() + static_cast<std::ptrdiff_t>(at)));
        }
    }
};

/// The shared state of all runs: content, a pool of buffers, and answers a true provider gave.
struct fixture {
    fixture()
        : offload(make_inline_pool()),
          buffers("fuzz", 4 * blob::provide_buffer_bytes, blob::provide_buffer_bytes)
    {}

    contents known;
    std::unique_ptr<offload_pool> offload;
    disk::leaf_pool buffers;
};

inline blob::get_request get_list(const hash::digest& root)
{
    return {root, blob::ranges_seq::all()};
}

inline blob::get_request get_one(const hash::digest& root)
{
    return {root, blob::ranges_seq::root(bao::chunk_ranges::all())};
}

inline sim::memory_transport_options small_windows(unsigned seed)
{
    sim::memory_transport_options o;
    o.seed = seed;
    o.alpn = blob::alpn;
    return o;
}

/// The whole answer of a true provider to a request.
inline std::vector<std::byte> true_answer(fixture& f, std::vector<std::byte> request)
{
    asio::io_context io{1};
    store::memory_store provided(1U << 20);
    for (const auto* blob : {&f.known.small, &f.known.large, &f.known.list}) {
        require(provided.add(*blob).has_value());
    }
    blob::provide_environment env{provided, *f.offload, f.buffers};
    std::vector<std::byte> out;
    auto pair = sim::make_connection_pair(io.get_executor(), small_windows(1));
    auto serve = [](std::shared_ptr<connection> c,
                    blob::provide_environment& in) -> awaitable<void> {
        const auto why = co_await blob::provide(std::move(c), in, {});
        static_cast<void>(why);
    };
    auto ask = [](std::shared_ptr<connection> c, std::vector<std::byte> bytes,
                  std::vector<std::byte>& to) -> awaitable<void> {
        auto s = co_await c->open_bi();
        require(s.has_value());
        const auto sent = co_await s.value().send->write_copy(bytes);
        require(sent.has_value());
        s.value().send->finish();
        std::vector<std::byte> part(4096);
        std::size_t got = 1;
        while (got > 0) {
            const auto n = co_await s.value().recv->read(part);
            require(n.has_value());
            got = n.value();
            to.insert(to.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(got));
        }
        c->close(0, {});
    };
    scope running(io.get_executor());
    running.spawn(serve(std::move(pair.acceptor), env));
    running.spawn(ask(std::move(pair.dialler), std::move(request), out));
    io.run();
    require(running.running() == 0);
    return out;
}

}  // namespace copse::fuzz
