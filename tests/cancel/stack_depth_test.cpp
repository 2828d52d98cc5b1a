// An operation that is ready at once, millions of times in a row, must not deepen the stack: each resumption
// has to go through the trampoline of the coroutine thread.
//
// The threads of these tests have a stack of 256 KiB. A frame of even 16 bytes a completion would overflow it
// within 20,000 completions, and how deep each completion runs is measured besides: what holds for the short
// run holds for any number. The long run does the 10 million.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/blob/download.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/event.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/scope.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/memory_transport.hpp>
#include <copse/store/import.hpp>
#include <copse/store/memory_store.hpp>
#include <copse/udp/socket.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

using namespace copse;
using namespace copse::test;

namespace {

constexpr std::size_t stack_bytes = 256U << 10;

/// How deep the stack is at each completion.
class stack_watch {
public:
    /// Called behind each completion.
    [[gnu::noinline]] void look() noexcept
    {
        const auto at = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
        ++completions_;
        if (completions_ <= warm_up) highest_ = std::min(highest_, at);
        lowest_ = std::min(lowest_, at);
    }
    [[nodiscard]] std::uint64_t completions() const noexcept { return completions_; }
    /// Bytes that the deepest completion was below the deepest of the first.
    [[nodiscard]] std::size_t growth() const noexcept { return highest_ - lowest_; }

private:
    static constexpr std::uint64_t warm_up = 64;
    std::uint64_t completions_ = 0;
    std::uintptr_t highest_ = UINTPTR_MAX;
    std::uintptr_t lowest_ = UINTPTR_MAX;
};

using many_times = awaitable<void> (*)(std::uint64_t n, stack_watch& watch);

struct job {
    many_times body;
    std::uint64_t n;
    stack_watch watch;
    std::exception_ptr thrown;
};

awaitable<void> enter(job& j)
{
    const bool go_on = co_await enter_coroutine();
    REQUIRE(go_on);
    co_await j.body(j.n, j.watch);
}

void* run_job(void* given)
{
    job& j = *static_cast<job*>(given);
    asio::io_context io{1};
    asio::co_spawn(io, enter(j), [&j](std::exception_ptr e) { j.thrown = e; });
    io.run();
    return nullptr;
}

void on_small_stack(const char* name, many_times body, std::uint64_t n)
{
    INFO(name);
    job j{body, n, {}, {}};
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
    pthread_t thread{};
    const int started = pthread_create(&thread, &attributes, run_job, &j);
    const int joined = started == 0 ? pthread_join(thread, nullptr) : started;
    REQUIRE(joined == 0);  // not earlier: the thread checks, too
    pthread_attr_destroy(&attributes);
    if (j.thrown) std::rethrow_exception(j.thrown);
    CHECK(j.watch.completions() >= n);
    CHECK(j.watch.growth() < 8U << 10);
    std::printf("copse stack: %s: %llu completions, %zu bytes deeper than the first\n", name,
                static_cast<unsigned long long>(j.watch.completions()), j.watch.growth());
}

// ---- core -----------------------------------------------------------------------------------------

awaitable<void> ask_for_cancellation(std::uint64_t n, stack_watch& watch)
{
    for (std::uint64_t i = 0; i < n; ++i) {
        const bool stop = co_await cancellation_requested();
        REQUIRE(!stop);
        watch.look();
    }
}

awaitable<std::error_code> until_set(event& e, const bool& set)
{
    while (!set) {
        const std::error_code ec = co_await e.wait();
        if (ec) co_return ec;
    }
    co_return std::error_code{};
}

awaitable<void> wait_for_set_event(std::uint64_t n, stack_watch& watch)
{
    event e(co_await asio::this_coro::executor);
    const bool set = true;
    for (std::uint64_t i = 0; i < n; ++i) {
        const std::error_code ec = co_await until_set(e, set);
        REQUIRE(!ec);
        watch.look();
    }
}

awaitable<void> pass_limiter(std::uint64_t n, stack_watch& watch)
{
    rate_limiter open(0);
    rate_limiter wide(UINT64_MAX / 2, UINT64_MAX / 2);
    for (std::uint64_t i = 0; i < n; ++i) {
        rate_limiter& limiter = i % 2 == 0 ? open : wide;
        const std::error_code taken = co_await limiter.take(1);
        const std::error_code ready = co_await limiter.ready();
        REQUIRE(!taken);
        REQUIRE(!ready);
        watch.look();
    }
}

awaitable<void> nothing()
{
    co_return;
}

awaitable<void> spawn_and_join(std::uint64_t n, stack_watch& watch)
{
    scope children(co_await asio::this_coro::executor);
    for (std::uint64_t i = 0; i < n; ++i) {
        children.spawn(nothing());
        const std::error_code room = co_await children.wait_below(16);
        REQUIRE(!room);
        if (i % 64 == 0) {
            const auto joined = co_await children.join();
            REQUIRE(joined);
        }
        watch.look();
    }
    const auto joined = co_await children.join();
    REQUIRE(joined);
}

awaitable<void> join_nobody(std::uint64_t n, stack_watch& watch)
{
    scope children(co_await asio::this_coro::executor);
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto joined = co_await children.join();
        const std::error_code room = co_await children.wait_below(1);
        REQUIRE(joined);
        REQUIRE(!room);
        watch.look();
    }
}

awaitable<result<int>> ready_value(int value)
{
    co_return value;
}

awaitable<void> race_ready(std::uint64_t n, stack_watch& watch)
{
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto won = co_await race(ready_value(1), ready_value(2));
        REQUIRE(won);
        watch.look();
    }
}

awaitable<void> time_ready(std::uint64_t n, stack_watch& watch)
{
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto value = co_await with_timeout(ready_value(1), std::chrono::hours(1));
        REQUIRE(value);
        watch.look();
    }
}

awaitable<void> offload_inline(std::uint64_t n, stack_watch& watch)
{
    const auto pool = make_inline_pool();
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto same = [i] { return i; };
        const std::uint64_t got = co_await offload(*pool, same);
        REQUIRE(got == i);
        watch.look();
    }
}

awaitable<void> sleep_not(std::uint64_t n, stack_watch& watch)
{
    for (std::uint64_t i = 0; i < n; ++i) {
        const std::error_code ec = co_await sleep_for(std::chrono::nanoseconds(0));
        REQUIRE(!ec);
        watch.look();
    }
}

// ---- transports -----------------------------------------------------------------------------------

struct joined {
    explicit joined(executor ex) : pair(sim::make_connection_pair(std::move(ex))) {}
    sim::connection_pair pair;
    bidi_stream near;
    bidi_stream far;
};

awaitable<void> join_stream(joined& j)
{
    auto opened = co_await j.pair.dialler->open_bi();
    REQUIRE(opened);
    j.near = std::move(opened).value();
    const auto sent = co_await j.near.send->write_copy(as_bytes("!"));
    REQUIRE(sent);
    auto accepted = co_await j.pair.acceptor->accept_bi();
    REQUIRE(accepted);
    j.far = std::move(accepted).value();
    std::byte first;
    const auto n = co_await j.far.recv->read(byte_span(&first, 1));
    REQUIRE(n);
}

awaitable<void> write_and_read(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    co_await join_stream(j);
    static constexpr std::array<std::byte, 4096> block{};
    std::byte one{};
    std::uint64_t left = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        if (left == 0) {
            left = block.size();
            // Writes that fit, of a byte each, then reads of what has come, of a byte each.
            for (std::size_t k = 0; k < block.size(); ++k) {
                const byte_view piece = byte_view(block).subspan(k, 1);
                shared_bytes bytes{nullptr, piece};
                const auto sent = co_await j.near.send->write(std::move(bytes));
                REQUIRE(sent);
                watch.look();
            }
        }
        const auto got = co_await j.far.recv->read(byte_span(&one, 1));
        REQUIRE(got);
        --left;
        watch.look();
    }
}

struct taking_sink final : stream_sink {
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        return sink_verdict{data.size(), data.size()};
    }
};

awaitable<void> ended_stream(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    co_await join_stream(j);
    taking_sink sink;
    j.far.recv->attach(sink);
    j.near.send->finish();
    j.near.recv->stop(3);
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto acknowledged = co_await j.near.send->acknowledged();
        const auto drained = co_await j.far.recv->drained();
        const std::error_code stopped = co_await j.far.send->stopped();
        REQUIRE(acknowledged);
        REQUIRE(drained);
        REQUIRE(stopped == transport_errc::stream_stopped);
        watch.look();
    }
    j.far.recv->detach();
}

awaitable<void> messages_and_end(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    std::uint64_t waiting = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        for (; waiting < 64; ++waiting) {
            const auto sent = j.pair.dialler->send_datagram(shared_bytes{nullptr, as_bytes("m")});
            REQUIRE(sent);
        }
        const auto got = co_await j.pair.acceptor->receive_datagram();
        REQUIRE(got);
        --waiting;
        watch.look();
    }
    j.pair.dialler->close(0, {});
    for (std::uint64_t i = 0; i < n; ++i) {
        const close_reason why = co_await j.pair.dialler->closed();
        const auto bi = co_await j.pair.dialler->accept_bi();
        const auto uni = co_await j.pair.dialler->accept_uni();
        const auto open = co_await j.pair.dialler->open_bi();
        const auto open_uni = co_await j.pair.dialler->open_uni();
        REQUIRE(why.error == transport_errc::closed_locally);
        REQUIRE(!(bi || uni || open || open_uni));
        watch.look();
    }
}

awaitable<void> streams_one_by_one(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    for (std::uint64_t i = 0; i < n; ++i) {
        auto opened = co_await j.pair.dialler->open_uni();
        REQUIRE(opened);
        watch.look();
        opened.value()->finish();
        auto accepted = co_await j.pair.acceptor->accept_uni();
        REQUIRE(accepted);
        watch.look();
        std::byte none;
        const auto end = co_await accepted.value()->read(byte_span(&none, 1));
        REQUIRE(end.value() == 0);
    }
}

awaitable<void> writable_socket(std::uint64_t n, stack_watch& watch)
{
    const auto socket =
        udp::bind(co_await asio::this_coro::executor, socket_address::loopback_v4(0)).value();
    for (std::uint64_t i = 0; i < n; ++i) {
        const std::error_code ec = co_await socket->wait_writable();
        REQUIRE(!ec);
        watch.look();
    }
}

awaitable<void> closed_endpoint(std::uint64_t n, stack_watch& watch)
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    auto e = quic::endpoint::make(co_await asio::this_coro::executor, o).value();
    auto listening = e.listen("copse-test/stack");
    co_await e.close();
    const endpoint_address nowhere{e.id(), {}};
    for (std::uint64_t i = 0; i < n; ++i) {
        co_await e.close();
        const auto accepted = co_await listening.accept();
        REQUIRE(!accepted);
        const auto dialled = co_await e.connect(nowhere, "copse-test/stack");
        REQUIRE(!dialled);
        watch.look();
    }
}

// ---- blob and store -------------------------------------------------------------------------------

struct kept {
    kept() : pool(make_inline_pool()), store(16U << 20), buffers("stack", 1U << 20, 256U << 10) {}
    std::unique_ptr<offload_pool> pool;
    store::memory_store store;
    disk::leaf_pool buffers;
    blob::fetch_environment env{store, *pool, buffers};
    blob::fetch_diagnostics where;
};

awaitable<void> nothing_missing(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    kept k;
    const hash::digest blob = k.store.add(pattern(100)).value();
    std::vector<std::string> names{"a"};
    const auto meta = blob::encode_collection_meta(names).value();
    const std::array<hash::digest, 2> hashes{k.store.add(meta).value(), blob};
    const hash::digest root = k.store.add(blob::encode_hash_sequence(hashes)).value();
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto missing = co_await blob::find_missing(blob, k.env);
        REQUIRE(missing.value().request.empty());
        const auto got = co_await blob::download(j.pair.dialler, blob, k.env, {}, {}, k.where);
        REQUIRE(got);
        const auto known = co_await blob::fetch_manifest(j.pair.dialler, root, k.env, {}, k.where);
        REQUIRE(known);
        watch.look();
    }
}

awaitable<void> observe_empty(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    const hash::digest empty = hash::blake3_hash({});
    for (std::uint64_t i = 0; i < n; ++i) {
        auto opened = co_await blob::observer::open(j.pair.dialler, empty);
        REQUIRE(opened);
        const auto there = co_await opened.value().next();
        REQUIRE(there.value().complete());
        watch.look();
    }
}

awaitable<void> provide_closed(std::uint64_t n, stack_watch& watch)
{
    joined j(co_await asio::this_coro::executor);
    kept k;
    disk::leaf_pool buffers("stack provide", 1U << 20, blob::provide_buffer_bytes);
    blob::provide_environment env{k.store, *k.pool, buffers};
    j.pair.acceptor->close(0, {});
    blob::get_request wanted;
    for (std::uint64_t i = 0; i < n; ++i) {
        const close_reason why = co_await blob::provide(j.pair.acceptor, env, {});
        REQUIRE(why.error == transport_errc::closed_locally);
        const auto got = co_await blob::fetch(j.pair.acceptor, wanted, k.env, {}, k.where);
        REQUIRE(!got);
        watch.look();
    }
}

awaitable<void> import_small(std::uint64_t n, stack_watch& watch)
{
    const temporary_directory dir;
    const std::string path = dir / "file";
    std::ofstream(path) << "small";
    const auto pool = make_inline_pool();
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto imported = co_await store::import_file(real_file_system(), *pool, path, {});
        REQUIRE(imported);
        watch.look();
    }
}

struct kind {
    const char* name;
    many_times body;
    std::uint64_t slower;  ///< that many fewer completions: each does a lot besides
};

constexpr std::array kinds{
    kind{"cancellation_requested", ask_for_cancellation, 1},
    kind{"event::wait, set", wait_for_set_event, 1},
    kind{"rate_limiter, with credit", pass_limiter, 1},
    kind{"scope::join, nobody", join_nobody, 1},
    kind{"scope::spawn, wait_below, join", spawn_and_join, 1},
    kind{"race, ready", race_ready, 1},
    kind{"with_timeout, ready", time_ready, 1},
    kind{"offload, inline", offload_inline, 1},
    kind{"sleep_for, no time", sleep_not, 1},
    kind{"write that fits, read of what came", write_and_read, 1},
    kind{"acknowledged, drained, stopped", ended_stream, 1},
    kind{"receive_datagram; operations of a closed connection", messages_and_end, 1},
    kind{"open_uni, accept_uni", streams_one_by_one, 1},
    kind{"wait_writable", writable_socket, 1},
    kind{"operations of a closed endpoint", closed_endpoint, 1},
    kind{"find_missing, download, fetch_manifest: nothing missing", nothing_missing, 10},
    kind{"observer of the empty blob", observe_empty, 10},
    kind{"provide, fetch: closed connection", provide_closed, 10},
    kind{"import_file", import_small, 100},
};

}  // namespace

TEST_CASE("stack: operations that are ready at once do not deepen it")
{
    for (const kind& k : kinds)
        on_small_stack(k.name, k.body, 20'000 / std::min(k.slower, std::uint64_t{10}));
}

TEST_CASE("stack: 10 million completions", "[.long]")
{
    for (const kind& k : kinds) on_small_stack(k.name, k.body, 10'000'000 / k.slower);
}
