// Transfers whose ends move: other addresses, other ports, translators that forget, paths that shrink.
#include "tests/sim/worlds/peer.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/blob/download.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

struct roaming {
    bool fetching = false;
    bool moved_meanwhile = false;  ///< since the fetch began
    bool complete = false;
};

struct scene {
    explicit scene(sim::run& r) : run(r) {}

    sim::run& run;
    std::vector<std::unique_ptr<peer>> peers;  ///< the first one provides
    std::vector<roaming> state;
    std::vector<std::byte> content;
    hash::digest root;
};

awaitable<result<void>> get_once(scene& s, std::size_t self, connection& c,
                                 std::shared_ptr<connection> shared, blob::fetch_environment& env)
{
    auto missing = co_await blob::find_missing(s.root, env);
    if (!missing) co_return missing.error();
    roaming& me = s.state[self];
    if (missing.value().request.empty()) {
        me.complete = true;
        co_return outcome::success();
    }
    blob::get_request request;
    request.hash = s.root;
    request.ranges = std::move(missing).value().request;
    blob::fetch_options options;
    options.progress_timeout = 15s;
    blob::fetch_diagnostics where;
    me.fetching = true;
    me.moved_meanwhile = false;
    const auto got =
        co_await blob::fetch(std::move(shared), std::move(request), env, std::move(options), where);
    me.fetching = false;
    if (!got) {
        s.run.check(got.error() != blob::blob_errc::leaf_mismatch &&
                        got.error() != blob::blob_errc::parent_mismatch,
                    "honest data is refused: " + got.error().message());
        co_return got.error();
    }
    if (me.moved_meanwhile) s.run.reached("fetched_on_the_move");
    s.run.check(!c.why_closed() || me.moved_meanwhile, "closed while it was used");
    co_return outcome::success();
}

awaitable<void> get_all(scene& s, std::size_t self, quic::endpoint& endpoint,
                        blob::fetch_environment& env)
{
    for (;;) {
        const bool stop = co_await cancellation_requested();
        if (stop || s.state[self].complete) co_return;
        auto dialled = co_await endpoint.connect(s.peers[0]->where(), std::string(blob::alpn));
        if (dialled) {
            const auto c = std::move(dialled).value();
            for (;;) {
                const auto done = co_await get_once(s, self, *c, c, env);
                report(s.run, wrong_in_store(env.store, s.root, s.content));
                if (!done || s.state[self].complete) break;
            }
        }
        if (!s.state[self].complete) s.run.reached("retried");
        const std::error_code ec = co_await sleep_for(200ms);
        if (ec) co_return;
    }
}

awaitable<result<void>> receiver(scene& s, std::size_t self)
{
    peer& me = *s.peers[self];
    s.state[self].fetching = false;
    const auto fs = me.disk.mount();
    sim::pool pool(me.stage.world, me.machine, me.work);
    const auto blobs = co_await open_store(*fs, "/blobs");
    if (!blobs) co_return outcome::success();
    disk::leaf_pool extents("moving fetch", 1U << 20, 256U << 10);
    blob::fetch_environment env{*blobs, pool, extents};
    auto made = endpoint_on(me.host, options_of(me));
    if (!made) co_return made.error();
    present_endpoint here(me, made.value());
    co_await get_all(s, self, made.value(), env);
    co_await made.value().close();
    report(s.run, wrong_in_pool(extents));
    co_return outcome::success();
}

// What a program does when its machine tells it of another network.
awaitable<result<void>> rebind_now(peer& p, std::uint16_t port, std::function<void()> reboot)
{
    // Too many sockets may be in use: then it gives up and is started again.
    if (!rebind(p, port)) p.stage.world.after(0ns, std::move(reboot));
    co_return outcome::success();
}

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    sim::rng& dice = r.dice();
    const std::size_t hosts = 2 + static_cast<std::size_t>(dice.below(3));
    for (std::size_t i = 0; i < hosts; ++i) {
        auto nat = sim::nat_kind::none;
        if (i > 0 && dice.below(2) == 0) nat = static_cast<sim::nat_kind>(1 + dice.below(4));
        if (nat != sim::nat_kind::none) r.reached("translated");
        const std::string name = i == 0 ? "provider" : "receiver" + std::to_string(i);
        s.peers.push_back(std::make_unique<peer>(st, name, nat));
        peer& p = *s.peers.back();
        draw_links(dice, p.host);
        p.host.down.bytes_per_second =
            60'000 + dice.below(400'000);  // long enough to move during it
        p.draw_pool();
    }
    s.state.resize(hosts);
    s.content = draw_bytes(dice, 50'000 + draw_size(dice, 700U << 10));
    s.root = hash::blake3_hash(s.content);

    std::vector<sim::fault_target> targets;
    std::vector<std::function<void()>> move;
    for (std::size_t i = 0; i < hosts; ++i) {
        peer& p = *s.peers[i];
        const auto start = [&s, &p, i] {
            if (i == 0) p.machine.start(serve_from_memory(s.run, p, {s.content}));
            else p.machine.start(receiver(s, i));
        };
        move.push_back([&s, &p, start, i] {
            for (std::size_t k = 0; k < s.state.size(); ++k) {
                if (i == 0 || i == k) s.state[k].moved_meanwhile = s.state[k].fetching;
            }
            p.machine.start(rebind_now(p, i == 0 ? peer_port : 0, [&p, start] {
                p.machine.crash();
                p.disk.crash();
                start();
            }));
        });
        start();
        targets.push_back({&p.machine, &p.host, &p.disk, start, move.back(), &p.work});
    }
    auto& faults = st.start_faults(std::move(targets));
    st.world.after(1min, [&] { faults.heal(); });
    // Other ports at the same address: drawn here, since it is no fault of the world's.
    sim::rng ports = st.world.fork("ports");
    std::function<void()> change_port = [&] {
        if (st.world.now() > 1min) return;
        const auto whom = 1 + static_cast<std::size_t>(ports.below(hosts - 1));
        r.reached("other_port");
        move[whom]();
        st.world.after(std::chrono::milliseconds(500 + ports.below(8000)), change_port);
    };
    if (dice.below(2) == 0) st.world.after(1s, change_port);
    const auto all_complete = [&] {
        return std::all_of(s.state.begin() + 1, s.state.end(),
                           [](const roaming& one) { return one.complete; });
    };
    const auto ran = st.world.run_until([&] { return all_complete() || r.failed(); }, 15min);
    if (!ran) r.fail("not everybody is complete: " + ran.error().message());
    shut_down(r, st);
    for (std::size_t i = 0; i < hosts; ++i) {
        peer& p = *s.peers[i];
        r.check(!p.machine.failure(), p.machine.name() + ": " + p.machine.failure().message());
        if (i == 0) continue;
        check_complete(r, p.disk, "/blobs", s.root, s.content);
    }
}

}  // namespace

sim::scenario moving_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "moving";
    s.about = "addresses, ports, translators and path sizes change in the middle of transfers";
    for (const kind k : {kind::readdress, kind::forget_mappings, kind::small_mtu, kind::freeze,
                         kind::isolate, kind::drop_all, kind::loss, kind::delay, kind::slow}) {
        s.faults.choices.push_back({k, k == kind::readdress ? 5U : 2U});
    }
    s.faults.until = 1min;
    s.faults.gap = 3s;
    s.states = {"translated", "fetched_on_the_move", "retried", "other_port"};
    s.play = play;
    return s;
}

}  // namespace copse::test
