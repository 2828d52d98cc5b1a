// A getter and a provider on loopback, each with a store in memory, for tests of requests.
#pragma once

#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/memory_store.hpp>

#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace copse::test {

/// What a test of requests works with. `near` is the getter's connection, `far` the provider's.
struct pair {
    explicit pair(executor e)
        : ex(e),
          pool(make_thread_pool(1)),
          provided(256U << 20),
          received(256U << 20),
          buffers("pair provide", 8U << 20, blob::provide_buffer_bytes),
          extents("pair fetch", 4U << 20, 256U << 10),
          provide_env{provided, *pool, buffers, &share},
          fetch_env{received, *pool, extents},
          serving(ex)
    {
        options.finished = [this](const blob::provide_report& r) { reports.push_back(r); };
    }

    /// Starts to answer on `far` with `options` as they are now.
    void provide()
    {
        auto serve = [](std::shared_ptr<connection> on, blob::provide_environment& env,
                        blob::provide_options o, close_reason& why) -> awaitable<void> {
            why = co_await blob::provide(std::move(on), env, std::move(o));
        };
        serving.spawn(serve(far, provide_env, options, ended));
    }

    hash::digest add(std::span<const std::byte> bytes) { return provided.add(bytes).value(); }

    /// Of either store.
    static std::vector<std::byte> stored(store::memory_store& in, const hash::digest& root)
    {
        const auto reader = in.open(root);
        if (!reader) return {};
        std::vector<std::byte> out(static_cast<std::size_t>(reader.value()->size()));
        const byte_span part(out);
        if (!reader.value()->read(std::span(&part, 1), 0)) return {};
        return out;
    }

    awaitable<result<blob::fetch_report>> get(hash::digest root, blob::ranges_seq ranges)
    {
        blob::get_request request{root, std::move(ranges)};
        auto report = co_await blob::fetch(near, std::move(request), fetch_env, {}, where);
        co_return report;
    }

    executor ex;
    std::unique_ptr<offload_pool> pool;
    store::memory_store provided;
    store::memory_store received;
    disk::leaf_pool buffers;
    disk::leaf_pool extents;
    blob::provide_share share;
    blob::provide_environment provide_env;
    blob::fetch_environment fetch_env;
    blob::fetch_diagnostics where;
    blob::provide_options options;
    std::vector<blob::provide_report> reports;
    close_reason ended;  ///< what provide() returned
    scope serving;
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
};

inline quic::endpoint_options loopback_options()
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    return o;
}

inline endpoint_address address_of(const quic::endpoint& e)
{
    endpoint_address out;
    out.id = e.id();
    out.paths.emplace_back(e.bound_addresses()[0]);
    return out;
}

using pair_body = awaitable<void> (*)(pair&);

inline awaitable<result<void>> with_pair(pair_body body)
{
    const auto ex = co_await asio::this_coro::executor;
    pair p(ex);
    auto server = quic::endpoint::make(ex, loopback_options()).value();
    auto client = quic::endpoint::make(ex, loopback_options()).value();
    auto listening = server.listen(blob::alpn);
    std::exception_ptr failure;
    try {
        auto dialled = co_await client.connect(address_of(server), std::string(blob::alpn));
        REQUIRE(dialled);
        p.near = std::move(dialled).value();
        auto accepted = co_await listening.accept();
        REQUIRE(accepted);
        p.far = std::move(accepted).value();
        co_await body(p);
    } catch (...) {
        failure = std::current_exception();
    }
    p.near.reset();
    p.far.reset();
    co_await client.close();
    p.serving.request_stop();
    const auto joined = co_await p.serving.join();
    static_cast<void>(joined);
    co_await server.close();
    if (failure) std::rethrow_exception(failure);
    CHECK(p.buffers.limits().used() == 0);
    CHECK(p.extents.limits().used() == 0);
    CHECK(p.share.connections.used() == 0);
    CHECK(p.share.requests.used() == 0);
    CHECK(p.share.observers.used() == 0);
    co_return outcome::success();
}

/// Runs a test body between two endpoints; nothing may be left over.
inline void run_pair(pair_body body)
{
    const auto done = run_until_complete(with_pair(body));
    REQUIRE(done);
}

/// Gives other coroutines the time they need; loops around it must end by a condition.
inline awaitable<void> breathe()
{
    const std::error_code ec = co_await sleep_for(std::chrono::milliseconds(1));
    static_cast<void>(ec);
}

}  // namespace copse::test
