// Transfers that end at a bad moment: a provider cancelled with data on its way, bytes behind the end.
#include "tests/catch.hpp"
#include "tests/quic/endpoints.hpp"
#include "tests/support.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/memory_store.hpp>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pause;

namespace {

/// Two ends of a connection, and what fetch and provide need.
struct bench {
    explicit bench(executor e)
        : ex(e),
          pool(make_thread_pool(2)),
          provided(64U << 20),
          received(64U << 20),
          buffers("edge provide", 8U << 20, blob::provide_buffer_bytes),
          extents("edge fetch", 4U << 20, 256U << 10),
          provide_env{provided, *pool, buffers},
          fetch_env{received, *pool, extents}
    {}

    executor ex;
    std::unique_ptr<offload_pool> pool;
    store::memory_store provided;
    store::memory_store received;
    disk::leaf_pool buffers;
    disk::leaf_pool extents;
    blob::provide_environment provide_env;
    blob::fetch_environment fetch_env;
    blob::fetch_diagnostics where;
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
};

using body_function = awaitable<void> (*)(bench&);

awaitable<result<void>> on_bench(body_function body)
{
    const auto ex = co_await asio::this_coro::executor;
    bench b(ex);
    auto server = quic::endpoint::make(ex, copse::test::loopback_options()).value();
    auto client = quic::endpoint::make(ex, copse::test::loopback_options()).value();
    auto listening = server.listen(blob::alpn);
    auto address = copse::test::address_of(server);
    std::exception_ptr failure;
    try {
        auto dialled = co_await client.connect(std::move(address), std::string(blob::alpn));
        REQUIRE(dialled);
        b.near = std::move(dialled).value();
        auto accepted = co_await listening.accept();
        REQUIRE(accepted);
        b.far = std::move(accepted).value();
        co_await body(b);
    } catch (...) {
        failure = std::current_exception();
    }
    b.near.reset();
    b.far.reset();
    co_await client.close();
    co_await server.close();
    if (failure) std::rethrow_exception(failure);
    CHECK(b.buffers.limits().used() == 0);
    CHECK(b.extents.limits().used() == 0);
    co_return outcome::success();
}

void run_bench(body_function body)
{
    const auto done = run_until_complete(on_bench(body));
    REQUIRE(done);
}

awaitable<void> provide_on(bench& b)
{
    const auto why = co_await blob::provide(b.far, b.provide_env, {});
    static_cast<void>(why);
}

/// Answers the next request with `bytes` and the end.
awaitable<void> answer_with(bench& b, std::vector<std::byte> bytes)
{
    auto s = co_await b.far->accept_bi();
    if (!s) co_return;
    std::vector<std::byte> request(4096);
    for (;;) {
        const auto n = co_await s.value().recv->read(request);
        if (!n || n.value() == 0) break;
    }
    const auto sent = co_await s.value().send->write_copy(bytes);
    if (!sent) co_return;
    s.value().send->finish();
    const auto acknowledged = co_await s.value().send->acknowledged();
    static_cast<void>(acknowledged);
}

/// Cancels a provider in the middle of an answer, at once or when the stream's window is used up.
awaitable<void> cancel_provider(bench& b, std::chrono::nanoseconds after)
{
    blob::get_request wanted;
    wanted.hash = b.provided.add(copse::test::pattern(3U << 20)).value();
    wanted.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
    scope serving(b.ex);
    serving.spawn(provide_on(b));
    auto s = co_await b.near->open_bi();
    REQUIRE(s);
    const auto asked = co_await s.value().send->write_copy(blob::encode_request(wanted));
    REQUIRE(asked);
    s.value().send->finish();
    std::vector<std::byte> some(10);
    const auto n = co_await s.value().recv->read(some);
    REQUIRE(n);
    co_await pause(after);
    serving.request_stop();
    const auto joined = co_await serving.join();
    CHECK(joined);
    CHECK(b.buffers.limits().used() == 0);
    // Acknowledgements that arrive now find nothing of the provider.
    co_await pause(5ms);
}

}  // namespace

TEST_CASE("edge: a provider cancelled with data on its way leaves nothing", "[blob][edge]")
{
    run_bench([](bench& b) -> awaitable<void> { co_await cancel_provider(b, 0ns); });
    run_bench([](bench& b) -> awaitable<void> { co_await cancel_provider(b, 10ms); });
}

TEST_CASE("edge: bytes behind the last wanted child are too much", "[blob][edge]")
{
    run_bench([](bench& b) -> awaitable<void> {
        // A sequence of one child, asked for together with the third: nothing follows the sequence,
        // which the getter learns when it has stored it.
        const std::vector<hash::digest> one{hash::blake3_hash(as_bytes("child"))};
        const auto sequence = blob::encode_hash_sequence(one);
        std::vector<std::byte> answer(8);
        answer[0] = std::byte{32};  // the size
        answer.insert(answer.end(), sequence.begin(), sequence.end());
        answer.resize(500);
        scope serving(b.ex);
        serving.spawn(answer_with(b, std::move(answer)));
        blob::get_request wanted;
        wanted.hash = hash::blake3_hash(sequence);
        wanted.ranges = blob::ranges_seq::builder()
                            .from(0, bao::chunk_ranges::all())
                            .from(1, bao::chunk_ranges::none())
                            .from(3, bao::chunk_ranges::all())
                            .build();
        auto fetching = blob::fetch(b.near, std::move(wanted), b.fetch_env, {}, b.where);
        const auto report = co_await with_timeout(std::move(fetching), 1s);
        REQUIRE(!report);
        CHECK(report.error() == blob::blob_errc::extra_data);
        const auto joined = co_await serving.join();
        CHECK(joined);
    });
}

TEST_CASE("edge: many fetches share two workers and few buffers", "[blob][edge]")
{
    run_bench([](bench& b) -> awaitable<void> {
        std::vector<hash::digest> roots;
        for (std::uint64_t i = 0; i < 24; ++i) {
            const auto data = copse::test::seeded_rng(i).bytes(100000 + 30000 * i);
            roots.push_back(b.provided.add(data).value());
        }
        scope serving(b.ex);
        serving.spawn(provide_on(b));
        std::size_t good = 0;
        scope work(b.ex);
        auto get = [](bench& on, hash::digest root, std::size_t& successes) -> awaitable<void> {
            blob::fetch_diagnostics where;
            blob::get_request wanted;
            wanted.hash = root;
            wanted.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
            const auto report =
                co_await blob::fetch(on.near, std::move(wanted), on.fetch_env, {}, where);
            if (report && report.value().blobs == 1) ++successes;
        };
        for (const auto& root : roots) work.spawn(get(b, root, good));
        const auto joined = co_await work.join();
        CHECK(joined);
        CHECK(good == roots.size());
        serving.request_stop();
        const auto stopped = co_await serving.join();
        CHECK(stopped);
    });
}
