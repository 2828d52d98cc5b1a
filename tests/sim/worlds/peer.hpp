// What machines of several worlds are and run: peers that serve blobs, and move.
#pragma once

#include "tests/sim/worlds/parts.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/core/race.hpp>
#include <copse/sim/disk.hpp>
#include <copse/sim/pool.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace copse::test {

inline constexpr std::uint16_t peer_port = 4433;

/// A machine with what survives its crashes.
struct peer {
    peer(sim::stage& st, std::string name, sim::nat_kind translator)
        : stage(st),
          machine(st.world.add_machine(std::move(name))),
          host(st.network.add_host(machine, translator)),
          disk(st.world, machine),
          dice(st.world.fork("peer " + machine.name())),
          nat(translator),
          key(quic::secret_key::generate())
    {}

    [[nodiscard]] endpoint_address where() const
    {
        endpoint_address out;
        out.id = key.id();
        out.paths = {host.address(peer_port)};
        return out;
    }

    /// A disk that is slow, but not always.
    void draw_pool()
    {
        if (dice.happens(500)) work.delay = std::chrono::nanoseconds(0);
        else work.delay = std::chrono::microseconds(1 + dice.below(20'000));
        if (dice.happens(300)) work.stall = 5;
    }

    sim::stage& stage;
    sim::machine& machine;
    sim::host& host;
    sim::disk disk;
    sim::rng dice;
    sim::nat_kind nat;
    quic::secret_key key;
    sim::pool_options work;
    quic::endpoint* endpoint = nullptr;  ///< of the current life
};

/// Tells where the endpoint of a peer's current life is, as long as it is there.
class present_endpoint {
public:
    present_endpoint(peer& p, quic::endpoint& e) : peer_(p), endpoint_(&e) { p.endpoint = &e; }
    present_endpoint(const present_endpoint&) = delete;
    present_endpoint& operator=(const present_endpoint&) = delete;
    ~present_endpoint()
    {
        if (peer_.endpoint == endpoint_) peer_.endpoint = nullptr;
    }

private:
    peer& peer_;
    quic::endpoint* endpoint_;
};

/// Options that make hopeless attempts short.
inline quic::endpoint_options options_of(const peer& p)
{
    quic::endpoint_options o;
    o.identity = p.key;
    o.handshake_timeout = std::chrono::seconds(4);
    o.idle_timeout = std::chrono::seconds(10);
    o.keep_alive = std::chrono::seconds(3);
    return o;
}

/// Binds the endpoint of the present life anew. False when that cannot be: then it must start again.
inline bool rebind(peer& p, std::uint16_t port)
{
    if (!p.endpoint) return true;
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    auto socket = p.host.bind(port);
    if (!socket) return false;
    sockets.push_back(std::move(socket).value());
    return p.endpoint->rebind(std::move(sockets)).has_value();
}

inline awaitable<void> serve_one(std::shared_ptr<connection> c, blob::provide_environment& env,
                                 const blob::provide_options& options)
{
    const auto why = co_await blob::provide(std::move(c), env, options);
    static_cast<void>(why);  // peers crash
}

/// Answers whoever comes. \param env, options must outlive it.
inline awaitable<void> serve_all(quic::listener listening, blob::provide_environment& env,
                                 const blob::provide_options& options)
{
    scope serving(co_await asio::this_coro::executor);
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        serving.spawn(serve_one(std::move(c).value(), env, options));
    }
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);  // these children return nothing
}

/// Memory, places and whatever else was lent: all of it was given back.
inline std::string wrong_in_share(const blob::provide_share& share)
{
    for (const budget* b : {&share.connections, &share.requests, &share.observers}) {
        if (b->used() != 0) return std::string(b->name()) + ": not everything was given back";
        if (b->peak() > b->capacity()) return std::string(b->name()) + ": more than the limit";
    }
    return {};
}

/// A program that offers blobs out of memory to whoever comes, until it is stopped; nothing of it is left
/// then. \param r, me must outlive it, and so must the contents.
inline awaitable<result<void>> serve_from_memory(sim::run& r, peer& me,
                                                 std::vector<byte_view> contents)
{
    const auto pool = make_inline_pool();
    store::memory_store blobs(16U << 20);
    for (const byte_view content : contents) {
        const auto added = blobs.add(content);
        if (!added) co_return added.error();
    }
    disk::leaf_pool buffers("provide from memory", 1U << 20, blob::provide_buffer_bytes);
    blob::provide_share share;
    blob::provide_environment env{blobs, *pool, buffers, &share};
    const blob::provide_options options;
    auto made = endpoint_on(me.host, options_of(me), peer_port);
    if (!made) co_return made.error();
    present_endpoint here(me, made.value());
    co_await serve_all(made.value().listen(blob::alpn), env, options);
    co_await made.value().close();
    r.check(made.value().connection_count() == 0, "connections are left behind close()");
    report(r, wrong_in_pool(buffers));
    report(r, wrong_in_share(share));
    co_return outcome::success();
}

/// Opens a store, again and again while the disk fails. Null when asked to stop.
inline awaitable<std::shared_ptr<store::folder_store>> open_store(file_system& fs, std::string path)
{
    for (;;) {
        auto opened = store::folder_store::open(fs, path);
        if (opened) co_return std::move(opened).value();
        const std::error_code ec = co_await sleep_for(std::chrono::milliseconds(100));
        if (ec) co_return nullptr;
    }
}

/// A size: most are small, few are large, many near a boundary of groups.
inline std::size_t draw_size(sim::rng& random, std::size_t largest)
{
    const auto kind = random.below(8);
    if (kind == 0) return 1 + static_cast<std::size_t>(random.below(16U << 10));
    if (kind == 1) {
        const auto groups = 1 + static_cast<std::size_t>(random.below(largest >> 14));
        return (groups << 14) + static_cast<std::size_t>(random.below(3)) - 1;
    }
    if (kind == 2) return 1 + static_cast<std::size_t>(random.below(largest));
    return 1 + static_cast<std::size_t>(random.below(largest / 4));
}

}  // namespace copse::test
