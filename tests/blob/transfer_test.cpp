// Fetch against provide, and against providers that misbehave, over real QUIC on loopback.
#include "tests/blob/zero_store.hpp"
#include "tests/catch.hpp"
#include "tests/quic/endpoints.hpp"
#include "tests/support.hpp"

#include <copse/bao/encode_core.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/memory_store.hpp>

#include <limits>
#include <map>
#include <set>

using namespace copse;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t getter_extent = 256U << 10;

/// One provider and one getter, each with a store in memory.
struct world {
    explicit world(executor e)
        : ex(e),
          pool(make_thread_pool(1)),
          provided(512U << 20),
          received(512U << 20),
          provide_buffers("test provide", 32U << 20, blob::provide_buffer_bytes),
          fetch_buffers("test fetch", 4U << 20, getter_extent),
          provide_env{provided, *pool, provide_buffers},
          fetch_env{received, *pool, fetch_buffers}
    {}

    executor ex;
    std::unique_ptr<offload_pool> pool;
    store::memory_store provided;
    store::memory_store received;
    disk::leaf_pool provide_buffers;
    disk::leaf_pool fetch_buffers;
    blob::provide_environment provide_env;
    blob::fetch_environment fetch_env;
    blob::fetch_diagnostics where;
    std::vector<blob::provide_report> reports;
    std::shared_ptr<connection> getter;  ///< the getter's connection

    hash::digest add(std::span<const std::byte> bytes) { return provided.add(bytes).value(); }

    std::vector<std::byte> stored(const hash::digest& root)
    {
        const auto reader = received.open(root);
        if (!reader) return {};
        std::vector<std::byte> out(static_cast<std::size_t>(reader.value()->size()));
        const byte_span part(out);
        if (!reader.value()->read(std::span(&part, 1), 0)) return {};
        return out;
    }

    awaitable<result<blob::fetch_report>> get(hash::digest root, blob::ranges_seq ranges,
                                              blob::fetch_options options = {})
    {
        blob::get_request request{root, std::move(ranges)};
        auto report =
            co_await blob::fetch(getter, std::move(request), fetch_env, std::move(options), where);
        co_return report;
    }
};

awaitable<void> accept_and_provide(quic::listener l, world& w)
{
    scope connections(w.ex);
    for (;;) {
        auto c = co_await l.accept();
        if (!c) break;
        blob::provide_options options;
        options.finished = [&w](const blob::provide_report& r) { w.reports.push_back(r); };
        auto serve = [](std::shared_ptr<connection> on, world& in,
                        blob::provide_options o) -> awaitable<void> {
            const auto why = co_await blob::provide(std::move(on), in.provide_env, std::move(o));
            static_cast<void>(why);
        };
        connections.spawn(serve(std::move(c).value(), w, std::move(options)));
    }
    const auto joined = co_await connections.join();
    static_cast<void>(joined);
}

using test_body = awaitable<void> (*)(world&);
using server_function = awaitable<void> (*)(quic::listener, world&);

awaitable<result<void>> in_world(test_body body, server_function serve,
                                 quic::endpoint_options getter_options)
{
    const auto ex = co_await asio::this_coro::executor;
    world w(ex);
    auto server = quic::endpoint::make(ex, copse::test::loopback_options()).value();
    auto client = quic::endpoint::make(ex, std::move(getter_options)).value();
    scope serving(ex);
    serving.spawn(serve(server.listen(blob::alpn), w));
    std::exception_ptr failure;
    auto dialled =
        co_await client.connect(copse::test::address_of(server), std::string(blob::alpn));
    if (dialled) {
        w.getter = std::move(dialled).value();
        try {
            co_await body(w);
        } catch (...) {
            failure = std::current_exception();
        }
        w.getter.reset();
    }
    co_await client.close();
    co_await server.close();
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    if (failure) std::rethrow_exception(failure);
    if (!dialled) co_return dialled.error();
    CHECK(w.fetch_buffers.limits().used() == 0);
    CHECK(w.provide_buffers.limits().used() == 0);
    co_return outcome::success();
}

void run_world(test_body body, server_function serve = accept_and_provide,
               quic::endpoint_options getter_options = copse::test::loopback_options())
{
    const auto done = run_until_complete(in_world(body, serve, std::move(getter_options)));
    REQUIRE(done);
}

}  // namespace

TEST_CASE("transfer: whole blobs of every interesting size arrive verified", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        for (const std::size_t size : {0U, 1U, 1023U, 1024U, 1025U, 16383U, 16384U, 16385U, 262143U,
                                       262144U, 262145U, 1048576U, 5000001U}) {
            INFO("size " << size);
            const auto data = copse::test::pattern(size);
            const auto root = w.add(data);
            const auto report =
                co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
            REQUIRE(report);
            CHECK(report.value().payload_bytes == size);
            CHECK(report.value().blobs == 1);
            CHECK(w.stored(root) == data);
        }
    });
}

TEST_CASE("transfer: chunk ranges bring exactly the selected chunks", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto data = copse::test::pattern(1005003);  // its last group has six chunks
        const auto root = w.add(data);
        const std::uint64_t chunks = bao::chunk_count(data.size());
        const auto ranges = bao::chunk_ranges::range(3, 5) | bao::chunk_ranges::range(300, 420) |
                            bao::chunk_ranges::last_chunk();
        std::map<std::uint64_t, std::vector<std::byte>> got;
        blob::fetch_options options;
        options.data = [&got](std::uint64_t, std::uint64_t offset, byte_view bytes) {
            got[offset].assign(bytes.begin(), bytes.end());
        };
        const auto report = co_await w.get(root, blob::ranges_seq::root(ranges), options);
        REQUIRE(report);
        std::uint64_t total = 0;
        for (const auto& [offset, bytes] : got) {
            total += bytes.size();
            CHECK(std::equal(bytes.begin(), bytes.end(), data.begin() + static_cast<long>(offset)));
        }
        CHECK(total == 2048 + 120 * 1024 + data.size() - (chunks - 1) * 1024);
        // Whole groups were kept: 20 to 26 of the second range, and the last one is not complete.
        const auto status = w.received.status(root).value();
        CHECK(status.present == bao::chunk_ranges::range(304, 416));
        // The rest, and nothing else, completes it.
        const auto missing = co_await blob::find_missing(root, w.fetch_env);
        REQUIRE(missing);
        const auto rest = co_await w.get(root, missing.value().request);
        REQUIRE(rest);
        CHECK(rest.value().payload_bytes == data.size() - 112 * 1024);
        CHECK(w.stored(root) == data);
    });
}

namespace {

struct small_collection {
    std::vector<std::string> names;
    std::vector<std::vector<std::byte>> files;
    hash::digest root;
};

small_collection add_collection(world& w)
{
    small_collection c;
    std::vector<hash::digest> hashes;
    for (int i = 0; i < 120; ++i) {
        const auto n = static_cast<std::size_t>(i);
        c.names.push_back("folder/file " + std::to_string(i));
        c.files.push_back(copse::test::seeded_rng(n).bytes(n % 7 == 0 ? 0 : n * n * 20));
    }
    c.files[5] = c.files[4];  // small and large files that occur twice
    c.files[50] = c.files[40];
    hashes.push_back(w.add(blob::encode_collection_meta(c.names).value()));
    for (const auto& f : c.files) hashes.push_back(w.add(f));
    c.root = w.add(blob::encode_hash_sequence(hashes));
    return c;
}

}  // namespace

TEST_CASE("transfer: sizes of a collection that are too large for a sum do not wrap",
          "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        // A decoder takes 2^63 - 1 for proven: a tree needs its last path only.
        blob::manifest m;
        for (std::size_t i = 0; i < 4; ++i) {
            m.hashes.push_back(hash::blake3_hash(as_bytes("blob " + std::to_string(i))));
        }
        const auto huge = std::uint64_t{std::numeric_limits<std::int64_t>::max()};
        m.sizes = {huge, huge, 3};
        constexpr auto most = std::numeric_limits<std::uint64_t>::max();
        CHECK(m.total_bytes() == most);
        const auto missing = co_await blob::find_missing(m, w.fetch_env);
        REQUIRE(missing);
        CHECK(missing.value().total_bytes == most);
    });
}

TEST_CASE("transfer: a collection arrives in two requests and is then complete", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto c = add_collection(w);
        const auto m = co_await blob::fetch_manifest(w.getter, c.root, w.fetch_env, {}, w.where);
        REQUIRE(m);
        CHECK(m.value().names == c.names);
        const auto missing = co_await blob::find_missing(m.value(), w.fetch_env);
        REQUIRE(missing);
        CHECK(missing.value().total_bytes > missing.value().present_bytes);
        const auto report = co_await w.get(c.root, missing.value().request);
        REQUIRE(report);
        for (std::size_t i = 0; i < c.files.size(); ++i) {
            INFO("file " << i);
            CHECK(m.value().sizes[i] == c.files[i].size());
            CHECK(w.stored(m.value().hashes[i + 1]) == c.files[i]);
        }
        const auto again = co_await blob::find_missing(m.value(), w.fetch_env);
        REQUIRE(again);
        CHECK(again.value().request.empty());
        CHECK(again.value().present_bytes == again.value().total_bytes);
        // What the store knows is not asked for.
        const auto requests = w.reports.size();
        const auto known =
            co_await blob::fetch_manifest(w.getter, c.root, w.fetch_env, {}, w.where);
        REQUIRE(known);
        CHECK(known.value().names == c.names);
        CHECK(known.value().sizes == m.value().sizes);
        CHECK(w.reports.size() == requests);
    });
}

namespace {

awaitable<void> start_and_stall(world& w, hash::digest root, int& stalled)
{
    // Asks for everything and takes nothing.
    auto s = co_await w.getter->open_bi();
    if (!s) co_return;
    blob::get_request request{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
    const auto bytes = blob::encode_request(request);
    const auto sent = co_await s.value().send->write_copy(bytes);
    if (!sent) co_return;
    s.value().send->finish();
    ++stalled;
    const auto forever = co_await sleep_for(1h);
    static_cast<void>(forever);
}

}  // namespace

TEST_CASE("transfer: getters that take nothing hold no more than their share", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto root = w.add(copse::test::pattern(6U << 20));
        scope stallers(w.ex);
        int stalled = 0;
        for (int i = 0; i < 20; ++i) stallers.spawn(start_and_stall(w, root, stalled));
        while (stalled < 20) {
            const auto pause = co_await sleep_for(1ms);
            static_cast<void>(pause);
        }
        // 20 requests of 6 MiB that nobody reads fill the connection's share, to its last buffer.
        const std::size_t share = blob::provide_options().connection_bytes;
        while (w.provide_buffers.limits().peak() + blob::provide_buffer_bytes <= share) {
            const auto pause = co_await sleep_for(1ms);
            static_cast<void>(pause);
        }
        CHECK(w.provide_buffers.limits().peak() <= share);
        stallers.request_stop();
        const auto joined = co_await stallers.join();
        CHECK(joined);
    });
}

TEST_CASE("transfer: a hash sequence with all its children comes in one request",
          "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto c = add_collection(w);
        const auto report = co_await w.get(c.root, blob::ranges_seq::all());
        REQUIRE(report);
        for (const auto& f : c.files) CHECK(w.stored(hash::blake3_hash(f)) == f);
    });
}

TEST_CASE("transfer: what the provider lacks is not available", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto all = blob::ranges_seq::root(bao::chunk_ranges::all());
        const auto unknown = co_await w.get(hash::blake3_hash(as_bytes("nobody has this")), all);
        REQUIRE(!unknown);
        CHECK(unknown.error() == blob::blob_errc::not_available);
        CHECK(w.where.peer_code == 3U);
        // A sequence of which one child is missing: what came before it stays.
        const auto first = copse::test::pattern(700000);
        std::vector<hash::digest> hashes{w.add(first), hash::blake3_hash(as_bytes("gone")),
                                         w.add(copse::test::pattern(10))};
        const auto root = w.add(blob::encode_hash_sequence(hashes));
        const auto partly = co_await w.get(root, blob::ranges_seq::all());
        REQUIRE(!partly);
        CHECK(partly.error() == blob::blob_errc::not_available);
        // Children that are not next to the root, while the sequence is still on its way.
        const auto last = co_await w.get(root, blob::ranges_seq::builder()
                                                   .from(0, bao::chunk_ranges::all())
                                                   .from(1, bao::chunk_ranges::none())
                                                   .from(3, bao::chunk_ranges::all())
                                                   .build());
        CHECK(last);
        CHECK(w.received.status(hashes[2]).value().complete());
        // Without the missing one everything comes.
        const auto rest = co_await w.get(root, blob::ranges_seq::builder()
                                                   .from(0, bao::chunk_ranges::all())
                                                   .from(2, bao::chunk_ranges::none())
                                                   .from(3, bao::chunk_ranges::all())
                                                   .build());
        REQUIRE(rest);
        CHECK(w.stored(hashes[0]) == first);
    });
}

TEST_CASE("transfer: a request that makes no sense is refused by a code", "[blob][transfer]")
{
    run_world([](world& w) -> awaitable<void> {
        for (const auto& bytes : {copse::test::from_hex("c8"), copse::test::from_hex("000102"),
                                  copse::test::from_hex(""), copse::test::from_hex("02")}) {
            auto s = co_await w.getter->open_bi();
            REQUIRE(s);
            const auto sent = co_await s.value().send->write_copy(bytes);
            REQUIRE(sent);
            s.value().send->finish();
            std::vector<std::byte> buffer(100);
            const auto n = co_await s.value().recv->read(buffer);
            REQUIRE(!n);
            CHECK(n.error() == transport_errc::stream_reset);
            CHECK(s.value().recv->reset_code() == 1U);
        }
        // The connection is none the worse.
        const auto root = w.add(copse::test::pattern(100));
        const auto fine = co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
        CHECK(fine);
    });
}

namespace {

awaitable<void> provide_until_stopped(quic::listener l, world& w)
{
    // One connection, cancelled in the middle of an answer that nobody reads.
    auto c = co_await l.accept();
    if (!c) co_return;
    scope providing(w.ex);
    auto serve = [](std::shared_ptr<connection> on, world& in) -> awaitable<void> {
        const auto why = co_await blob::provide(std::move(on), in.provide_env, {});
        CHECK(why.error == std::errc::operation_canceled);
    };
    providing.spawn(serve(c.value(), w));
    while (w.provide_buffers.limits().peak() < 1000000) {
        const auto pause = co_await sleep_for(1ms);
        if (pause) break;
    }
    providing.request_stop();
    const auto joined = co_await providing.join();
    CHECK(joined);
    CHECK(w.provide_buffers.limits().used() == 0);
}

}  // namespace

TEST_CASE("transfer: a cancelled provider leaves nothing under way", "[blob][transfer]")
{
    run_world(
        [](world& w) -> awaitable<void> {
            scope getting(w.ex);
            int asked = 0;
            getting.spawn(start_and_stall(w, w.add(copse::test::pattern(6U << 20)), asked));
            const auto why = co_await w.getter->closed();
            CHECK(why.by_peer);
            getting.request_stop();
            const auto joined = co_await getting.join();
            CHECK(joined);
        },
        provide_until_stopped);
}

// ---- credit ---------------------------------------------------------------------------------------

namespace {

awaitable<void> get_one(world& w, hash::digest root, blob::fetch_environment& env, int& done)
{
    blob::fetch_diagnostics where;
    blob::get_request request{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
    const auto report = co_await blob::fetch(w.getter, std::move(request), env, {}, where);
    CHECK(report);
    if (report) ++done;
}

}  // namespace

TEST_CASE("credit: a hundred streams share one slot", "[blob][credit]")
{
    run_world([](world& w) -> awaitable<void> {
        disk::leaf_pool one("one slot", getter_extent, getter_extent);
        blob::fetch_environment env{w.received, *w.pool, one};
        std::vector<hash::digest> roots;
        for (std::uint64_t i = 0; i < 100; ++i) {
            roots.push_back(w.add(copse::test::seeded_rng(i).bytes(600000 + i)));
        }
        int done = 0;
        scope fetches(w.ex);
        for (const auto& root : roots) fetches.spawn(get_one(w, root, env, done));
        const auto joined = co_await fetches.join();
        CHECK(joined);
        CHECK(done == 100);
        CHECK(one.limits().peak() == getter_extent);
        CHECK(one.limits().used() == 0);
        for (const auto& root : roots) CHECK(w.received.status(root).value().complete());
    });
}

TEST_CASE("credit: large blobs pass through small windows", "[blob][credit]")
{
    for (const std::size_t window : {std::size_t{64} << 10, std::size_t{1} << 20}) {
        auto options = copse::test::loopback_options();
        options.local_windows_total = window;
        options.local_stream_window = std::min<std::size_t>(window, 256U << 10);
        options.connection_window = 128U << 10;
        run_world(
            [](world& w) -> awaitable<void> {
                const auto data = copse::test::pattern(24U << 20);
                const auto root = w.add(data);
                const auto report =
                    co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
                REQUIRE(report);
                CHECK(w.stored(root) == data);
            },
            accept_and_provide, options);
    }
}

TEST_CASE("credit: cancelled fetches leave a connection as good as new", "[blob][credit]")
{
    run_world([](world& w) -> awaitable<void> {
        const auto data = copse::test::pattern(8U << 20);
        const auto root = w.add(data);
        copse::test::seeded_rng rng(copse::test::seed_or(7));
        for (int i = 0; i < 300; ++i) {
            auto fetching = w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
            const auto cut = co_await with_timeout(std::move(fetching),
                                                   std::chrono::microseconds(rng.between(1, 2000)));
            if (cut) break;  // a fast machine: all of it arrived
        }
        const auto report = co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
        INFO((report ? std::string() : report.error().message()));
        REQUIRE(report);
        CHECK(w.stored(root) == data);
    });
}

namespace {

/// Fetches a blob that no store holds in memory from `w`'s provider, into the same.
awaitable<result<blob::fetch_report>> get_zeros(world& w, copse::test::zero_store& zeros,
                                                std::shared_ptr<connection> from)
{
    blob::fetch_environment env{zeros, *w.pool, w.fetch_buffers};
    blob::get_request request{zeros.root(), blob::ranges_seq::root(bao::chunk_ranges::all())};
    auto report = co_await blob::fetch(std::move(from), std::move(request), env, {}, w.where);
    co_return report;
}

std::uint64_t zero_bytes = 0;  ///< size of the blob that zero_server() offers

awaitable<void> zero_server(quic::listener l, world& w)
{
    copse::test::zero_store zeros(zero_bytes);
    blob::provide_environment env{zeros, *w.pool, w.provide_buffers};
    scope connections(w.ex);
    for (;;) {
        auto c = co_await l.accept();
        if (!c) break;
        auto serve = [](std::shared_ptr<connection> on,
                        blob::provide_environment& e) -> awaitable<void> {
            const auto why = co_await blob::provide(std::move(on), e, {});
            static_cast<void>(why);
        };
        connections.spawn(serve(std::move(c).value(), env));
    }
    const auto joined = co_await connections.join();
    static_cast<void>(joined);
}

void pass_small_window(std::uint64_t bytes)
{
    zero_bytes = bytes;
    auto options = copse::test::loopback_options();
    options.local_windows_total = 1U << 20;
    options.connection_window = 256U << 10;
    run_world(
        [](world& w) -> awaitable<void> {
            copse::test::zero_store zeros(zero_bytes);
            const auto report = co_await get_zeros(w, zeros, w.getter);
            REQUIRE(report);
            CHECK(report.value().payload_bytes == zero_bytes);
            CHECK(zeros.written() == zero_bytes);
        },
        zero_server, options);
}

void cancel_fetches(int count)
{
    static int cancellations = 0;
    cancellations = count;
    zero_bytes = 256U << 20;
    run_world(
        [](world& w) -> awaitable<void> {
            copse::test::zero_store zeros(zero_bytes);
            const auto rate = [&zeros](time_point since) {
                const auto spent = std::chrono::duration<double>(monotonic_clock::now() - since);
                return static_cast<double>(zeros.written()) / spent.count() / 1e6;
            };
            const auto before = monotonic_clock::now();
            const auto fresh = co_await get_zeros(w, zeros, w.getter);
            REQUIRE(fresh);
            const double first_rate = rate(before);
            copse::test::seeded_rng rng(copse::test::seed_or(5));
            for (int i = 0; i < cancellations; ++i) {
                zeros.forget();
                auto fetching = get_zeros(w, zeros, w.getter);
                const auto cut = co_await with_timeout(
                    std::move(fetching), std::chrono::microseconds(rng.between(1, 1500)));
                REQUIRE(!cut);
            }
            zeros.forget();
            const auto after = monotonic_clock::now();
            const auto last = co_await get_zeros(w, zeros, w.getter);
            REQUIRE(last);
            CHECK(last.value().payload_bytes == zero_bytes);
            std::printf(
                "copse credit: %.0f MB/s on a fresh connection, %.0f after %d cancelled fetches\n",
                first_rate, rate(after), cancellations);
        },
        zero_server);
}

}  // namespace

TEST_CASE("credit: 64 MiB pass a window of 1 MiB", "[blob][credit]")
{
    pass_small_window(64U << 20);
}

TEST_CASE("credit: 8 GiB pass a window of 1 MiB", "[.long]")
{
    pass_small_window(std::uint64_t{8} << 30);
}

TEST_CASE("credit: 10,000 cancelled fetches, then one at full rate", "[.long]")
{
    cancel_fetches(10000);
}

// ---- providers that misbehave ---------------------------------------------------------------------

namespace {

/// What the hostile provider sends for any request, and how it ends.
struct script {
    std::vector<std::byte> bytes;
    enum class end_type { fin, reset, hang, endless } end = end_type::fin;
    std::uint64_t code = 0;
};
script current_script;

awaitable<void> hostile_stream(bidi_stream s)
{
    const script act = current_script;
    std::vector<std::byte> buffer(4096);
    for (;;) {
        const auto n = co_await s.recv->read(buffer);
        if (!n || n.value() == 0) break;
    }
    const auto sent = co_await s.send->write_copy(act.bytes);
    if (!sent) co_return;
    switch (act.end) {
    case script::end_type::fin: {
        s.send->finish();
        const auto acked = co_await s.send->acknowledged();
        static_cast<void>(acked);
        break;
    }
    case script::end_type::reset: {
        // Let the bytes arrive first: a reset overtakes them.
        const auto pause = co_await sleep_for(20ms);
        static_cast<void>(pause);
        s.send->reset(act.code);
        break;
    }
    case script::end_type::hang: {
        const auto never = co_await sleep_for(1h);
        static_cast<void>(never);
        break;
    }
    case script::end_type::endless:
        for (;;) {
            const auto more = co_await s.send->write_copy(copse::test::pattern(65536));
            if (!more) break;
        }
    }
}

awaitable<void> hostile_connection(std::shared_ptr<connection> c)
{
    scope streams(c->get_executor());
    for (;;) {
        auto s = co_await c->accept_bi();
        if (!s) break;
        streams.spawn(hostile_stream(std::move(s).value()));
    }
    streams.request_stop();
    const auto joined = co_await streams.join();
    static_cast<void>(joined);
}

awaitable<void> hostile_server(quic::listener l, world& w)
{
    scope connections(w.ex);
    for (;;) {
        auto c = co_await l.accept();
        if (!c) break;
        connections.spawn(hostile_connection(std::move(c).value()));
    }
    connections.request_stop();
    const auto joined = co_await connections.join();
    static_cast<void>(joined);
}

std::vector<std::byte> encoding_of(std::span<const std::byte> data)
{
    return bao::encode_all(data, bao::outboard::build(data), bao::chunk_ranges::all()).value();
}

/// Everything the getter stored is right, whatever the provider did.
void check_stored_prefix(world& w, const hash::digest& root, std::span<const std::byte> data)
{
    const auto reader = w.received.open(root);
    if (!reader) return;
    const auto present = reader.value()->present();
    for (std::size_t i = 0; i < present.interval_count(); ++i) {
        const auto part = present.interval(i);
        const auto first = static_cast<std::size_t>(bao::byte_offset(part.first));
        const auto end = static_cast<std::size_t>(bao::byte_end(part.end, data.size()));
        std::vector<std::byte> bytes(end - first);
        const byte_span span(bytes);
        REQUIRE(reader.value()->read(std::span(&span, 1), first));
        CHECK(std::equal(bytes.begin(), bytes.end(), data.begin() + static_cast<long>(first)));
    }
}

constexpr std::size_t hostile_size = 900000;

}  // namespace

TEST_CASE("hostile: a flipped bit anywhere ends the fetch with its place", "[blob][hostile]")
{
    run_world(
        [](world& w) -> awaitable<void> {
            const auto data = copse::test::pattern(hostile_size);
            const auto root = hash::blake3_hash(data);
            const auto good = encoding_of(data);
            copse::test::seeded_rng rng(copse::test::seed_or(1));
            for (int i = 0; i < 60; ++i) {
                const auto at = i < 8 ? static_cast<std::size_t>(i)
                                      : rng.between<std::size_t>(8, good.size() - 1);
                INFO("byte " << at);
                current_script = {good, script::end_type::fin, 0};
                current_script.bytes[at] ^= std::byte{0x10};
                const auto report =
                    co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
                REQUIRE(!report);
                const auto e = report.error();
                const bool expected = e == blob::blob_errc::leaf_mismatch ||
                                      e == blob::blob_errc::parent_mismatch ||
                                      e == blob::blob_errc::too_large || (at < 8);
                CHECK(expected);
                CHECK(w.where.hash == root);
                if (at >= 8) CHECK(w.where.offset <= at);
                check_stored_prefix(w, root, data);
                const auto removed = w.received.remove(root);
                static_cast<void>(removed);
            }
        },
        hostile_server);
}

TEST_CASE("hostile: truncated, overlong, reset and silent answers have their own errors",
          "[blob][hostile]")
{
    run_world(
        [](world& w) -> awaitable<void> {
            const auto data = copse::test::pattern(hostile_size);
            const auto root = hash::blake3_hash(data);
            const auto good = encoding_of(data);
            const auto all = blob::ranges_seq::root(bao::chunk_ranges::all());

            current_script = {{}, script::end_type::fin, 0};
            const auto nothing = co_await w.get(root, all);
            REQUIRE(!nothing);
            CHECK(nothing.error() == blob::blob_errc::not_available);

            current_script = {good, script::end_type::fin, 0};
            current_script.bytes.resize(good.size() / 2);
            const auto half = co_await w.get(root, all);
            REQUIRE(!half);
            CHECK(half.error() == blob::blob_errc::truncated_response);
            check_stored_prefix(w, root, data);
            CHECK(w.received.status(root).value().present.chunk_total() > 300);

            current_script.end = script::end_type::reset;
            for (const auto& [code, error] : {std::pair(1U, blob::blob_errc::refused),
                                              std::pair(2U, blob::blob_errc::rate_limited),
                                              std::pair(3U, blob::blob_errc::not_available)}) {
                current_script.code = code;
                const auto cut = co_await w.get(root, all);
                REQUIRE(!cut);
                CHECK(cut.error() == error);
            }

            current_script.end = script::end_type::hang;
            blob::fetch_options impatient;
            impatient.progress_timeout = 80ms;
            const auto silent = co_await w.get(root, all, impatient);
            REQUIRE(!silent);
            CHECK(silent.error() == blob::blob_errc::stalled);

            current_script = {good, script::end_type::endless, 0};
            const auto endless = co_await w.get(root, all);
            REQUIRE(!endless);
            CHECK(endless.error() == blob::blob_errc::extra_data);
            CHECK(w.stored(root) == data);
        },
        hostile_server);
}

TEST_CASE("hostile: groups in the wrong order are noticed", "[blob][hostile]")
{
    run_world(
        [](world& w) -> awaitable<void> {
            const auto data = copse::test::seeded_rng(3).bytes(hostile_size);
            const auto root = hash::blake3_hash(data);
            current_script = {encoding_of(data), script::end_type::fin, 0};
            // Two neighbouring groups of the second extent change places.
            const auto at = std::search(current_script.bytes.begin(), current_script.bytes.end(),
                                        data.begin() + 327680, data.begin() + 327680 + 64);
            const auto next = std::search(at, current_script.bytes.end(), data.begin() + 344064,
                                          data.begin() + 344064 + 64);
            REQUIRE(next != current_script.bytes.end());
            std::swap_ranges(at, at + 16384, next);
            const auto report =
                co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
            REQUIRE(!report);
            CHECK(report.error() == blob::blob_errc::leaf_mismatch);
            CHECK(w.where.offset == 327680);
            check_stored_prefix(w, root, data);
        },
        hostile_server);
}

TEST_CASE("hostile: absurd sizes cost neither memory nor time", "[blob][hostile]")
{
    run_world(
        [](world& w) -> awaitable<void> {
            const auto root = hash::blake3_hash(as_bytes("x"));
            for (const std::uint64_t size :
                 {~std::uint64_t{0}, std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 1,
                  std::uint64_t{1} << 40}) {
                current_script = {{}, script::end_type::endless, 0};
                for (int i = 0; i < 8; ++i) {
                    current_script.bytes.push_back(static_cast<std::byte>(size >> (8 * i)));
                }
                const auto report =
                    co_await w.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
                REQUIRE(!report);
                CHECK(w.received.used() == 0);
            }
        },
        hostile_server);
}
