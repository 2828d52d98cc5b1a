// A blob goes from one machine to another while both crash, the network fails and the disk forgets.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/disk.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>

#include <thread>

using namespace copse;
using namespace std::chrono_literals;

namespace {

struct scene {
    explicit scene(std::uint64_t seed) : w(seed), net(w), dice(w.fork("scene")) {}

    sim::world w;
    sim::network net;
    sim::rng dice;
    quic::secret_key key = quic::secret_key::generate();
    endpoint_address where;
    std::vector<std::byte> content;
    hash::digest root;
    bool complete = false;
    bool wrong = false;
    unsigned tries = 0;
    unsigned crashes = 0;
};

quic::endpoint endpoint_on(sim::host& h, quic::endpoint_options o, std::uint16_t port)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(h.bind(port).value());
    return quic::endpoint::make(h.computer().life().get_executor(), std::move(o),
                                std::move(sockets))
        .value();
}

awaitable<void> provide_to(std::shared_ptr<connection> c, blob::provide_environment& env)
{
    const auto why = co_await blob::provide(std::move(c), env, {});
    static_cast<void>(why);
}

awaitable<result<void>> provider(scene& s, sim::host& h)
{
    const auto ex = co_await asio::this_coro::executor;
    const auto pool = make_inline_pool();
    store::memory_store blobs(64U << 20);
    const auto added = blobs.add(s.content);
    if (!added) co_return added.error();
    disk::leaf_pool buffers("world provide", 4U << 20, blob::provide_buffer_bytes);
    blob::provide_environment env{blobs, *pool, buffers};
    quic::endpoint_options o;
    o.identity = s.key;
    auto endpoint = endpoint_on(h, std::move(o), 4433);
    s.where.id = endpoint.id();
    s.where.paths = {h.address(4433)};
    auto listening = endpoint.listen(blob::alpn);
    scope serving(ex);
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        serving.spawn(provide_to(std::move(c).value(), env));
    }
    serving.request_stop();
    const auto joined = co_await serving.join();
    static_cast<void>(joined);
    co_await endpoint.close();
    co_return outcome::success();
}

awaitable<result<void>> fetch_once(scene& s, quic::endpoint& from, blob::fetch_environment& env)
{
    auto missing = co_await blob::find_missing(s.root, env);
    if (!missing) co_return missing.error();
    if (missing.value().request.empty()) {
        s.complete = true;
        co_return outcome::success();
    }
    auto dialled = co_await from.connect(s.where, std::string(blob::alpn));
    if (!dialled) co_return dialled.error();
    blob::fetch_diagnostics diagnostics;
    blob::get_request request;
    request.hash = s.root;
    request.ranges = std::move(missing).value().request;
    auto got =
        co_await blob::fetch(std::move(dialled).value(), std::move(request), env, {}, diagnostics);
    if (!got) co_return got.error();
    co_return outcome::success();
}

awaitable<result<void>> receiver(scene& s, sim::host& h, sim::disk& d)
{
    const auto fs = d.mount();
    const auto pool = make_inline_pool();
    auto opened = store::folder_store::open(*fs, "/received");
    if (!opened) co_return opened.error();
    disk::leaf_pool buffers("world fetch", 2U << 20, 256U << 10);
    blob::fetch_environment env{*opened.value(), *pool, buffers};
    auto endpoint = endpoint_on(h, {}, 0);
    for (;;) {
        const bool stop = co_await cancellation_requested();
        if (stop || s.complete) break;
        ++s.tries;
        const auto done = co_await fetch_once(s, endpoint, env);
        if (done) continue;
        const std::error_code ec = co_await sleep_for(500ms);
        if (ec) break;
    }
    co_await endpoint.close();
    if (s.complete) {
        const auto reader = opened.value()->open(s.root);
        std::vector<std::byte> out(s.content.size());
        const byte_span part(out);
        s.wrong = !reader || !reader.value()->read(std::span(&part, 1), 0) || out != s.content;
    }
    co_return outcome::success();
}

struct ending {
    std::uint64_t hash = 0;
    std::error_code error;
    bool wrong = true;
    unsigned tries = 0;
    unsigned crashes = 0;
    sim::network_statistics network;
    sim::disk_statistics disk;
};

ending play(std::uint64_t seed)
{
    scene s(seed);
    auto& a = s.w.add_machine("provider");
    auto& b = s.w.add_machine("receiver");
    auto& ha = s.net.add_host(a);
    const auto nat = s.dice.below(5);
    auto& hb = s.net.add_host(b, static_cast<sim::nat_kind>(nat));
    sim::disk d(s.w, b);
    for (sim::host* h : {&ha, &hb}) {
        h->up.loss = static_cast<unsigned>(s.dice.below(30));
        h->up.reorder = static_cast<unsigned>(s.dice.below(30));
        h->up.duplicate = static_cast<unsigned>(s.dice.below(20));
        h->up.corrupt = static_cast<unsigned>(s.dice.below(5));
        h->down = h->up;
        h->down.bytes_per_second = 1'000'000 + s.dice.below(20'000'000);
    }
    s.content = test::pattern(1 + static_cast<std::size_t>(s.dice.below(6U << 20)));
    s.root = hash::blake3_hash(s.content);
    a.start(provider(s, ha));
    REQUIRE(s.w.run_for(1ms));
    b.start(receiver(s, hb, d));
    // The fault schedule: something every now and then, until it has to succeed.
    std::function<void()> trouble = [&] {
        if (s.complete || s.w.now() > 60s) return;
        const auto kind = s.dice.below(5);
        if (kind == 0) {
            ++s.crashes;
            b.crash();
            d.crash();
            b.start(receiver(s, hb, d));
        } else if (kind == 1) {
            ++s.crashes;
            a.crash();
            a.start(provider(s, ha));
        } else if (kind == 2) {
            s.net.partition(ha, hb, true);
            s.w.after(std::chrono::milliseconds(s.dice.below(3000)),
                      [&] { s.net.partition(ha, hb, false); });
        } else if (kind == 3) {
            b.freeze();
            s.w.after(std::chrono::milliseconds(s.dice.below(2000)), [&] { b.thaw(); });
        } else {
            hb.forget_mappings();
        }
        s.w.after(std::chrono::milliseconds(10 + s.dice.below(1500)), trouble);
    };
    s.w.after(std::chrono::milliseconds(s.dice.below(500)), trouble);
    const auto ran = s.w.run_until([&] { return s.complete && b.running() == 0; }, 10min);
    ending out;
    out.hash = s.w.log_hash();
    if (!ran) out.error = ran.error();
    else out.error = b.failure();
    out.wrong = s.wrong;
    out.tries = s.tries;
    out.crashes = s.crashes;
    out.network = s.net.statistics();
    out.disk = d.statistics();
    return out;
}

ending play_apart(std::uint64_t seed)
{
    ending out;
    std::thread run([&] { out = play(seed); });
    run.join();
    return out;
}

}  // namespace

TEST_CASE("world: a transfer survives crashes, partitions and a forgetful disk")
{
    std::uint64_t crashes = 0;
    std::uint64_t lost = 0;
    for (std::uint64_t seed = test::seed_or(1); seed < test::seed_or(1) + 20; ++seed) {
        INFO("seed " << seed);
        const ending e = play_apart(seed);
        CHECK(e.error.message() == std::error_code{}.message());
        CHECK_FALSE(e.wrong);
        crashes += e.crashes;
        lost += e.disk.sectors_lost;
    }
    CHECK(crashes > 0);
    CHECK(lost > 0);
    CHECK(play_apart(3).hash == play_apart(3).hash);
}
