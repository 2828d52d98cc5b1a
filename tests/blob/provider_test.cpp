// What a provider decides and tells: hooks, events, limits, rates, and many readers at once.
#include "tests/blob/pair.hpp"

#include <copse/blob/collection.hpp>
#include <copse/core/race.hpp>
#include <copse/store/error.hpp>

#include <algorithm>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pair;
using copse::test::run_pair;

namespace {

blob::ranges_seq whole()
{
    return blob::ranges_seq::root(bao::chunk_ranges::all());
}

}  // namespace

TEST_CASE("provider: events tell of connection, request, blobs, progress and what arrived",
          "[blob][provider]")
{
    struct log {
        int opened = 0;
        int closed = 0;
        std::vector<blob::request_info> requests;
        std::vector<blob::provided_blob> blobs;
        std::vector<blob::blob_position> positions;
        std::vector<std::uint64_t> confirmed;
    };
    static log seen;
    seen = {};
    run_pair([](pair& p) -> awaitable<void> {
        auto& hooks = p.options.hooks;
        hooks.opened = [](const connection&) { ++seen.opened; };
        hooks.closed = [](const connection&, const close_reason&) { ++seen.closed; };
        hooks.received = [](const blob::request_info& r, const blob::request&) {
            seen.requests.push_back(r);
        };
        hooks.blob_started = [](const blob::request_info&, const blob::provided_blob& b) {
            seen.blobs.push_back(b);
        };
        hooks.progressed = [](const blob::request_info&, const blob::blob_position& at) {
            seen.positions.push_back(at);
        };
        hooks.confirmed = [](const blob::request_info&, std::uint64_t bytes) {
            seen.confirmed.push_back(bytes);
        };
        p.provide();
        const auto large = copse::test::pattern(3'000'000);
        const auto a = p.add(large);
        const auto b = p.add(copse::test::pattern(10));
        const auto root = p.add(blob::encode_hash_sequence(std::vector<hash::digest>{a, b}));
        const auto report = co_await p.get(root, blob::ranges_seq::all());
        REQUIRE(report);
        while (p.reports.empty()) co_await copse::test::breathe();
        CHECK(seen.opened == 1);
        REQUIRE(seen.requests.size() == 1);
        CHECK(seen.requests[0].type == blob::request_type::get);
        CHECK(seen.requests[0].peer == p.far->peer());
        REQUIRE(seen.blobs.size() == 3);
        CHECK(seen.blobs[0].hash == root);
        CHECK(seen.blobs[1].size == large.size());
        CHECK(seen.blobs[2].index == 2);
        REQUIRE(!seen.positions.empty());
        CHECK(seen.positions.back().index == 2);
        CHECK(seen.positions.back().end == 10);
        const std::uint64_t payload = 64 + large.size() + 10;
        REQUIRE(!seen.confirmed.empty());
        CHECK(std::ranges::is_sorted(seen.confirmed));
        CHECK(seen.confirmed.back() == payload);
        CHECK(p.reports[0].payload_bytes == payload);
        CHECK(p.reports[0].acknowledged);
        CHECK(p.reports[0].duration > 0ns);
        p.near->close(0, {});
        while (seen.closed == 0) co_await copse::test::breathe();
    });
}

TEST_CASE("provider: a hook refuses connections by its code", "[blob][provider]")
{
    static blob::verdict answer = blob::verdict::refuse;
    for (const auto& [verdict, code, reason] :
         {std::tuple(blob::verdict::refuse, 1U, "permission"),
          std::tuple(blob::verdict::limit, 2U, "limit"),
          std::tuple(blob::verdict::unavailable, 3U, "internal")}) {
        answer = verdict;
        static std::uint64_t expected = 0;
        static std::string text;
        expected = code;
        text = reason;
        run_pair([](pair& p) -> awaitable<void> {
            p.options.hooks.admit = [](const connection&) { return answer; };
            p.provide();
            const close_reason why = co_await p.near->closed();
            CHECK(why.by_peer);
            CHECK(why.application);
            CHECK(why.code == expected);
            CHECK(why.reason == text);
            CHECK(p.share.counters.connections_refused == 1);
        });
    }
}

TEST_CASE("provider: a hook refuses requests, kinds can be turned off", "[blob][provider]")
{
    run_pair([](pair& p) -> awaitable<void> {
        static hash::digest secret;
        secret = p.add(copse::test::pattern(100));
        p.options.hooks.authorise = [](const blob::request_info&, const blob::request& what) {
            const auto* const get = std::get_if<blob::get_request>(&what);
            return get && get->hash == secret ? blob::verdict::refuse : blob::verdict::allow;
        };
        p.options.serve_get_many = false;
        p.provide();
        const auto refused = co_await p.get(secret, whole());
        REQUIRE(!refused);
        CHECK(refused.error() == blob::blob_errc::refused);
        const auto open = p.add(copse::test::pattern(200));
        const auto fine = co_await p.get(open, whole());
        CHECK(fine);
        blob::get_many_request many{{open}, blob::ranges_seq::all()};
        const auto off =
            co_await blob::fetch_many(p.near, std::move(many), p.fetch_env, {}, p.where);
        REQUIRE(!off);
        CHECK(off.error() == blob::blob_errc::refused);
        CHECK(p.share.counters.refused == 2);
    });
}

TEST_CASE("provider: requests are answered while others wait", "[blob][provider]")
{
    // A request that nobody reads does not delay those behind it.
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto large = p.add(copse::test::pattern(30U << 20));
        auto first = co_await p.near->open_bi();
        REQUIRE(first);
        const auto bytes = blob::encode_request(blob::get_request{large, whole()});
        const auto sent = co_await first.value().send->write_copy(bytes);
        REQUIRE(sent);
        first.value().send->finish();
        for (std::uint64_t i = 0; i < 20; ++i) {
            const auto data = copse::test::seeded_rng(i).bytes(50000);
            const auto root = p.add(data);
            const auto report = co_await p.get(root, whole());
            REQUIRE(report);
        }
        CHECK(p.reports.size() >= 19);
    });
}

TEST_CASE("provider: streams without a request keep nobody waiting", "[blob][provider]")
{
    // A pusher asks at once for no answer, which opens all its streams, the last ones first; their
    // requests come when the window lets them, behind those of the first ones.
    run_pair([](pair& p) -> awaitable<void> {
        p.options.max_requests = 2;
        p.options.request_timeout = 1h;
        p.provide();
        const auto root = p.add(copse::test::pattern(50000));
        std::vector<bidi_stream> silent;
        for (int i = 0; i < 5; ++i) {
            auto opened = co_await p.near->open_bi();
            REQUIRE(opened);
            silent.push_back(std::move(opened).value());
            silent.back().recv->stop(0);
        }
        auto asking = p.get(root, whole());
        const auto report = co_await with_timeout(std::move(asking), 30s);
        REQUIRE(report);
        CHECK(report.value().payload_bytes == 50000);
    });
}

TEST_CASE("provider: rates of upload and download do not change what arrives", "[blob][provider]")
{
    run_pair([](pair& p) -> awaitable<void> {
        // Enough to pass in no time, small enough to make both sides wait.
        p.options.upload_bytes_per_s = 100U << 20;
        p.provide();
        const auto data = copse::test::pattern(4U << 20);
        const auto root = p.add(data);
        rate_limiter slow(100U << 20);
        blob::fetch_options options;
        options.rate = &slow;
        blob::get_request wanted{root, whole()};
        const auto report = co_await blob::fetch(p.near, std::move(wanted), p.fetch_env,
                                                 std::move(options), p.where);
        REQUIRE(report);
        CHECK(pair::stored(p.received, root) == data);
    });
}

TEST_CASE("provider: a fetch that waits for its rate can be cancelled", "[blob][provider]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto data = copse::test::pattern(12U << 20);
        const auto root = p.add(data);
        rate_limiter slow(1, 1U << 20);  // the first MiB at once, then a byte a second
        blob::fetch_options options;
        options.rate = &slow;
        blob::get_request wanted{root, whole()};
        auto fetching =
            blob::fetch(p.near, std::move(wanted), p.fetch_env, std::move(options), p.where);
        const auto cut = co_await with_timeout(std::move(fetching), 200ms);
        REQUIRE(!cut);
        CHECK(cut.error() == std::errc::timed_out);
        // What had come is kept; the rest arrives without a limit.
        CHECK(!p.received.status(root).value().present.empty());
        const auto rest = co_await p.get(root, whole());
        REQUIRE(rest);
        CHECK(pair::stored(p.received, root) == data);
    });
}

// ---- many readers -----------------------------------------------------------------------------------

namespace {

struct crowd {
    std::size_t readers = 0;
    std::size_t bytes = 0;
    std::size_t over_limit = 0;
};

struct reader_state {
    std::uint64_t verified = 0;
    bool done = false;
    std::error_code error;
};

awaitable<void> read_all(std::shared_ptr<connection> c, hash::digest root, offload_pool& pool,
                         disk::leaf_pool& buffers, store::blob_store& into, reader_state& state)
{
    blob::fetch_environment env{into, pool, buffers};
    blob::fetch_options options;
    options.window = 256U << 10;
    options.progress = [&state](std::uint64_t n) { state.verified += n; };
    blob::fetch_diagnostics where;
    blob::get_request wanted{root, whole()};
    const auto report =
        co_await blob::fetch(std::move(c), std::move(wanted), env, std::move(options), where);
    state.done = report.has_value();
    if (!report) state.error = report.error();
}

/// Swallows what it is given: a hundred readers need no memory for what they verified.
class forgetful_store final : public store::blob_store {
public:
    result<store::availability> status(const hash::digest&) override
    {
        return store::availability{};
    }
    result<std::shared_ptr<store::blob_reader>> open(const hash::digest&) override
    {
        return store::store_errc::missing;
    }
    result<std::shared_ptr<store::blob_writer>> open_partial(const hash::digest& root,
                                                             std::uint64_t size) override
    {
        return std::shared_ptr<store::blob_writer>(std::make_shared<writer>(root, size));
    }

private:
    class writer final : public store::blob_writer {
    public:
        writer(const hash::digest& r, std::uint64_t s) : root_(r), size_(s) {}
        const hash::digest& root() const noexcept override { return root_; }
        std::uint64_t size() const noexcept override { return size_; }
        bao::chunk_ranges present() const override { return present_; }
        bool direct() const noexcept override { return false; }
        result<void> write(byte_view, std::uint64_t) override { return outcome::success(); }
        void commit(const bao::chunk_ranges& chunks, std::span<const store::pair_run>) override
        {
            present_ |= chunks;
        }
        bool checkpoint_due() const noexcept override { return false; }
        std::function<result<void>()> checkpoint() override { return done; }
        std::function<result<void>()> finish(bool) override { return done; }

    private:
        static result<void> done() { return outcome::success(); }
        hash::digest root_;
        std::uint64_t size_;
        bao::chunk_ranges present_;
    };
};

awaitable<void> serve_crowd(quic::listener& from, blob::provide_environment& env, scope& serving)
{
    for (;;) {
        auto c = co_await from.accept();
        if (!c) co_return;
        auto serve = [](std::shared_ptr<connection> on,
                        blob::provide_environment& e) -> awaitable<void> {
            const auto why = co_await blob::provide(std::move(on), e, {});
            static_cast<void>(why);
        };
        serving.spawn(serve(std::move(c).value(), env));
    }
}

/// A crowd reads one blob at the same time; when the first has it all the others must be half way.
awaitable<result<void>> read_together(crowd size)
{
    const auto ex = co_await asio::this_coro::executor;
    const auto server_pool = make_thread_pool(1);
    const auto client_pool = make_thread_pool(1);
    store::memory_store provided(64U << 20);
    forgetful_store into;
    disk::leaf_pool buffers("crowd provide", 8U << 20, blob::provide_buffer_bytes);
    disk::leaf_pool extents("crowd fetch", std::size_t{512} << 20, 64U << 10);
    blob::provide_limits limits;
    limits.connections = size.readers - size.over_limit;
    blob::provide_share share(limits);
    blob::provide_environment env{provided, *server_pool, buffers, &share};
    const auto root = provided.add(copse::test::pattern(size.bytes)).value();

    auto wide = copse::test::loopback_options();
    wide.max_connections = wide.max_connections_per_source = size.readers + 8;
    wide.accept_backlog = size.readers + 8;
    wide.max_handshakes = size.readers + 8;
    wide.idle_timeout = 120s;
    wide.receive_budget = std::size_t{4} << 30;
    auto server = quic::endpoint::make(ex, wide).value();
    wide.identity = quic::secret_key::generate();
    auto client = quic::endpoint::make(ex, wide).value();
    auto listening = server.listen(blob::alpn);
    scope serving(ex);
    serving.spawn(serve_crowd(listening, env, serving));

    std::vector<std::shared_ptr<connection>> connections;
    for (std::size_t i = 0; i < size.readers; ++i) {
        auto c = co_await client.connect(copse::test::address_of(server), std::string(blob::alpn));
        REQUIRE(c);
        connections.push_back(std::move(c).value());
    }
    std::vector<reader_state> states(size.readers);
    scope reading(ex);
    for (std::size_t i = 0; i < size.readers; ++i)
        reading.spawn(read_all(connections[i], root, *client_pool, extents, into, states[i]));
    const auto first_done = [&states] {
        return std::ranges::any_of(states, [](const reader_state& s) { return s.done; });
    };
    while (!first_done() && reading.running() > 0) co_await copse::test::breathe();
    std::uint64_t least = size.bytes;
    for (const reader_state& s : states) {
        if (!s.error) least = std::min(least, s.verified);
    }
    CHECK(first_done());
    CHECK(least >= size.bytes / 2);
    INFO("slowest reader: " << least << " of " << size.bytes);
    CHECK(buffers.limits().peak() <= buffers.limits().capacity());
    const auto joined = co_await reading.join();
    CHECK(joined);
    const auto done = std::ranges::count(states, true, &reader_state::done);
    CHECK(static_cast<std::size_t>(done) == size.readers - size.over_limit);
    std::size_t refused = 0;
    for (std::size_t i = 0; i < size.readers; ++i) {
        if (states[i].done) continue;
        const auto why = connections[i]->why_closed();
        REQUIRE(why);
        CHECK(why->code == 2);
        CHECK(why->reason == "limit");
        ++refused;
    }
    CHECK(refused == size.over_limit);
    CHECK(share.counters.connections_refused == size.over_limit);
    std::printf("copse crowd: %zu readers, the slowest had %.0f %% when the first had all\n",
                size.readers - size.over_limit,
                100.0 * static_cast<double>(least) / static_cast<double>(size.bytes));
    connections.clear();
    co_await client.close();
    co_await server.close();
    serving.request_stop();
    const auto served = co_await serving.join();
    static_cast<void>(served);
    CHECK(buffers.limits().used() == 0);
    co_return outcome::success();
}

}  // namespace

TEST_CASE("provider: 64 readers share a small pool fairly, more are refused", "[blob][provider]")
{
    const auto done = run_until_complete(read_together({66, 4U << 20, 2}));
    REQUIRE(done);
}

TEST_CASE("provider: 1,000 readers share a small pool fairly", "[.long]")
{
    const auto done = run_until_complete(read_together({1004, 2U << 20, 4}));
    REQUIRE(done);
}

namespace {

/// Asks for everything and takes nothing.
awaitable<bidi_stream> ask_and_stall(std::shared_ptr<connection> c, hash::digest root)
{
    auto s = co_await c->open_bi();
    REQUIRE(s);
    const auto bytes = blob::encode_request(blob::get_request{root, whole()});
    const auto sent = co_await s.value().send->write_copy(bytes);
    REQUIRE(sent);
    s.value().send->finish();
    co_return std::move(s).value();
}

}  // namespace

TEST_CASE("provider: a getter that takes nothing gives its buffers to those who wait",
          "[blob][provider]")
{
    run_pair([](pair& p) -> awaitable<void> {
        // Two buffers in all, both held by somebody who does not read.
        disk::leaf_pool two("two", 2 * 272U * 1024, blob::provide_buffer_bytes);
        blob::provide_environment env{p.provided, *p.pool, two, &p.share};
        p.options.reclaim_timeout = 1s;  // an honest getter must do 16 KiB in it, sanitized too
        auto serve = [](std::shared_ptr<connection> on, blob::provide_environment& e,
                        blob::provide_options o) -> awaitable<void> {
            const auto why = co_await blob::provide(std::move(on), e, std::move(o));
            static_cast<void>(why);
        };
        scope serving(p.ex);
        serving.spawn(serve(p.far, env, p.options));
        const auto large = p.add(copse::test::pattern(8U << 20));
        std::vector<bidi_stream> stalled;
        for (int i = 0; i < 3; ++i) {
            auto s = co_await ask_and_stall(p.near, large);
            stalled.push_back(std::move(s));
        }
        while (two.limits().available() >= blob::provide_buffer_bytes)
            co_await copse::test::breathe();
        // An honest getter on a connection of its own.
        const auto data = copse::test::pattern(3U << 20);
        const auto root = p.add(data);
        auto endpoint = quic::endpoint::make(p.ex, copse::test::loopback_options()).value();
        auto listening = endpoint.listen(blob::alpn);
        auto client = quic::endpoint::make(p.ex, copse::test::loopback_options()).value();
        auto near =
            co_await client.connect(copse::test::address_of(endpoint), std::string(blob::alpn));
        REQUIRE(near);
        auto far = co_await listening.accept();
        REQUIRE(far);
        serving.spawn(serve(std::move(far).value(), env, p.options));
        blob::get_request wanted{root, whole()};
        const auto report =
            co_await blob::fetch(near.value(), std::move(wanted), p.fetch_env, {}, p.where);
        REQUIRE(report);
        CHECK(pair::stored(p.received, root) == data);
        CHECK(p.share.counters.reclaimed > 0);
        near.value().reset();
        stalled.clear();
        p.near->close(0, {});
        co_await client.close();
        co_await endpoint.close();
        serving.request_stop();
        const auto joined = co_await serving.join();
        CHECK(joined);
        CHECK(two.limits().used() == 0);
    });
}
