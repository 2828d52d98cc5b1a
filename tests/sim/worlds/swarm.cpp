// Many hosts want one blob of which few have it: whoever has a part serves it to the others, while
// machines crash, links fail and the first providers leave for ever.
#include "tests/sim/worlds/peer.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/blob/download.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>
#include <set>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

struct scene {
    explicit scene(sim::run& r) : run(r) {}

    sim::run& run;
    std::vector<std::unique_ptr<peer>> peers;  ///< the first `origins` have the blob
    std::size_t origins = 1;
    bool origins_leave = false;
    bool gone = false;
    std::vector<std::byte> content;
    hash::digest root;
    std::vector<bool> complete;
    std::vector<std::set<std::size_t>> sources;  ///< who gave something to whom
};

// Somebody who may be reachable, most of the time.
std::size_t pick(scene& s, std::size_t self)
{
    sim::rng& dice = s.peers[self]->dice;
    if (!s.gone && dice.below(4) == 0) return static_cast<std::size_t>(dice.below(s.origins));
    std::size_t other = 0;
    for (int tries = 0; tries < 4; ++tries) {
        other = static_cast<std::size_t>(dice.below(s.peers.size() - 1));
        if (other >= self) ++other;
        if (s.peers[other]->nat == sim::nat_kind::none) break;
    }
    return other;
}

awaitable<result<void>> get_from(scene& s, std::size_t self, std::size_t from,
                                 blob::get_request request, quic::endpoint& endpoint,
                                 blob::fetch_environment& env)
{
    auto dialled = co_await endpoint.connect(s.peers[from]->where(), std::string(blob::alpn));
    if (!dialled) co_return dialled.error();
    std::uint64_t stored = 0;
    blob::fetch_options options;
    options.progress_timeout = 5s;
    options.durable = true;
    options.max_blob_size = s.content.size();
    options.progress = [&stored](std::uint64_t bytes) { stored += bytes; };
    blob::fetch_diagnostics where;
    const auto got = co_await blob::fetch(std::move(dialled).value(), std::move(request), env,
                                          std::move(options), where);
    if (stored > 0) {
        s.sources[self].insert(from);
        if (from >= s.origins) s.run.reached("from_receiver");
        if (from >= s.origins && !s.complete[from]) s.run.reached("partial_provider");
        if (s.sources[self].size() > 1) s.run.reached("several_providers");
    }
    if (got) co_return outcome::success();
    if (got.error() == blob::blob_errc::leaf_mismatch ||
        got.error() == blob::blob_errc::parent_mismatch ||
        got.error() == blob::blob_errc::extra_data) {
        s.run.fail("an honest provider sent wrong data: " + got.error().message());
    }
    co_return got.error();
}

awaitable<void> get_all(scene& s, std::size_t self, quic::endpoint& endpoint,
                        blob::fetch_environment& env)
{
    peer& me = *s.peers[self];
    for (;;) {
        const bool stop = co_await cancellation_requested();
        if (stop) co_return;
        auto missing = co_await blob::find_missing(s.root, env);
        if (missing && missing.value().request.empty()) {
            s.complete[self] = true;
            co_return;
        }
        if (missing) {
            const bao::chunk_ranges all = missing.value().request.at(0);
            bao::chunk_ranges wanted = all;
            if (me.dice.below(3) == 0) {
                const auto first = me.dice.below(s.content.size() / 1024 + 1) / 16 * 16;
                wanted = all.clipped(first, first + 64);
                if (wanted.empty()) wanted = all;
            }
            blob::get_request request;
            request.hash = s.root;
            request.ranges = blob::ranges_seq::root(wanted);
            const std::size_t from = pick(s, self);
            const auto done = co_await get_from(s, self, from, std::move(request), endpoint, env);
            report(s.run, wrong_in_store(env.store, s.root, s.content));
            if (!done) {
                s.run.reached("retried");
            } else if (wanted == all) {
                const auto status = env.store.status(s.root);
                s.run.check(!status || status.value().complete(),
                            "all was fetched, but not all is there");
            }
        }
        const std::error_code ec =
            co_await sleep_for(std::chrono::milliseconds(20 + me.dice.below(400)));
        if (ec) co_return;
    }
}

awaitable<result<void>> receiver(scene& s, std::size_t self)
{
    peer& me = *s.peers[self];
    const auto fs = me.disk.mount();
    sim::pool pool(me.stage.world, me.machine, me.work);
    const auto blobs = co_await open_store(*fs, "/blobs");
    if (!blobs) co_return outcome::success();
    const auto before = blobs->status(s.root);
    if (before && !before.value().present.empty()) s.run.reached("resumed");
    report(s.run, wrong_in_store(*blobs, s.root, s.content));
    if (before && s.complete[self]) {
        s.run.check(before.value().complete(), "a durable blob is gone after a restart");
    }
    disk::leaf_pool extents("swarm fetch", 1U << 20, 256U << 10);
    disk::leaf_pool buffers("swarm provide", 1U << 20, blob::provide_buffer_bytes);
    blob::provide_share share;
    blob::fetch_environment fetching{*blobs, pool, extents};
    blob::provide_environment providing{*blobs, pool, buffers, &share};
    const blob::provide_options options;
    auto made = endpoint_on(me.host, options_of(me), peer_port);
    if (!made) co_return made.error();
    scope both(co_await asio::this_coro::executor);
    both.spawn(serve_all(made.value().listen(blob::alpn), providing, options));
    both.spawn(get_all(s, self, made.value(), fetching));
    const auto joined = co_await both.join();
    co_await made.value().close();
    report(s.run, wrong_in_pool(extents));
    report(s.run, wrong_in_pool(buffers));
    report(s.run, wrong_in_share(share));
    co_return joined;
}

// Once a receiver that others can reach has all of it, the first providers may leave.
void maybe_leave(scene& s)
{
    if (!s.origins_leave || s.gone) return;
    for (std::size_t i = s.origins; i < s.peers.size(); ++i) {
        if (!s.complete[i] || s.peers[i]->nat != sim::nat_kind::none) continue;
        s.gone = true;
        for (std::size_t o = 0; o < s.origins; ++o) s.peers[o]->machine.crash();
        return;
    }
}

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    sim::rng& dice = r.dice();
    const std::size_t many = dice.below(10) == 0 ? 12 : 4;
    const std::size_t hosts = 3 + static_cast<std::size_t>(dice.below(many + 6 * (many / 12)));
    s.origins = 1 + static_cast<std::size_t>(dice.below(2));
    s.origins_leave = dice.below(3) == 0;
    if (hosts > 10) r.reached("more_than_ten");
    for (std::size_t i = 0; i < hosts; ++i) {
        auto nat = sim::nat_kind::none;
        if (i >= s.origins && dice.below(3) == 0) {
            nat = static_cast<sim::nat_kind>(1 + dice.below(4));
            r.reached("translated");
        }
        const std::string name = (i < s.origins ? "origin" : "receiver") + std::to_string(i);
        s.peers.push_back(std::make_unique<peer>(st, name, nat));
        draw_links(dice, s.peers.back()->host);
        s.peers.back()->draw_pool();
    }
    s.content = draw_bytes(dice, draw_size(dice, hosts > 10 ? 256U << 10 : 1U << 20));
    s.root = hash::blake3_hash(s.content);
    s.complete.resize(hosts);
    s.sources.resize(hosts);

    std::vector<sim::fault_target> targets;
    for (std::size_t i = 0; i < hosts; ++i) {
        peer& p = *s.peers[i];
        const auto start = [&s, &p, i] {
            if (i >= s.origins) p.machine.start(receiver(s, i));
            else if (!s.gone) p.machine.start(serve_from_memory(s.run, p, {s.content}));
        };
        start();
        targets.push_back({&p.machine, &p.host, &p.disk, start, {}, &p.work});
    }
    auto& faults = st.start_faults(std::move(targets));
    st.world.after(40s, [&] { faults.heal(); });
    const auto all_complete = [&] {
        maybe_leave(s);
        return std::all_of(s.complete.begin() + static_cast<std::ptrdiff_t>(s.origins),
                           s.complete.end(), [](bool c) { return c; });
    };
    const auto ran = st.world.run_until([&] { return all_complete() || r.failed(); }, 15min);
    if (!ran) r.fail("not everybody is complete: " + ran.error().message());
    if (s.gone) r.reached("origins_gone");
    shut_down(r, st);
    for (std::size_t i = s.origins; i < hosts; ++i) {
        peer& p = *s.peers[i];
        if (p.disk.statistics().sectors_lost > 0) r.reached("sectors_lost");
        r.check(!p.machine.failure(), "a program failed: " + p.machine.failure().message());
        check_complete(r, p.disk, "/blobs", s.root, s.content);
    }
}

}  // namespace

sim::scenario swarm_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "swarm";
    s.about = "3 to 20 hosts pass a blob on to each other while machines and links fail";
    for (const kind k : {kind::crash, kind::freeze, kind::partition, kind::isolate, kind::one_way,
                         kind::forget_mappings, kind::drop_all, kind::clock_drift, kind::loss,
                         kind::duplicate, kind::corrupt, kind::slow_disk, kind::delay, kind::slow,
                         kind::disk_errors, kind::disk_full}) {
        s.faults.choices.push_back({k, k == kind::crash ? 6U : 1U});
    }
    s.faults.until = 40s;
    s.faults.gap = 800ms;
    s.states = {"translated",       "more_than_ten", "retried",
                "resumed",          "from_receiver", "several_providers",
                "partial_provider", "origins_gone",  "sectors_lost"};
    s.play = play;
    return s;
}

}  // namespace copse::test
