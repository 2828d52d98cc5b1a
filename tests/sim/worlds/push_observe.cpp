// Blobs are pushed to a machine with a disk and confirmed by it, while others observe what it has; all of
// them restart at any time.
#include "tests/sim/worlds/peer.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/blob/observe.hpp>
#include <copse/blob/push.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

struct item {
    std::vector<std::byte> content;
    hash::digest root;
    unsigned confirmed = 0;          ///< the receiver's life in which it was
    std::vector<unsigned> observed;  ///< complete, by each observer: in which life
};

struct scene {
    explicit scene(sim::run& r) : run(r) {}

    sim::run& run;
    std::vector<std::unique_ptr<peer>> peers;  ///< the receiver, the pushers, the observers
    std::size_t pushers = 1;
    std::vector<item> items;                      ///< pushed by number i modulo pushers
    store::folder_store* receiver = nullptr;      ///< of its current life
    unsigned life = 0;                            ///< of the receiver, from 1
    std::optional<sim::incarnation> incarnation;  ///< the same life

    // Whether the receiver is on.
    [[nodiscard]] bool on() const { return incarnation && incarnation->alive(); }
    // What the receiver's store says of a blob now; nothing when that cannot be told.
    [[nodiscard]] std::optional<bool> has(const item& i) const
    {
        if (!on() || !receiver || peers[0]->machine.frozen()) return std::nullopt;
        const auto status = receiver->status(i.root);
        if (!status) return std::nullopt;
        return status.value().complete();
    }
};

// ---- the receiver ---------------------------------------------------------------------------------

void look(scene& s, store::blob_store& blobs)
{
    for (const item& i : s.items) report(s.run, wrong_in_store(blobs, i.root, i.content));
}

awaitable<result<void>> receiver(scene& s)
{
    const unsigned life = ++s.life;
    peer& me = *s.peers[0];
    s.incarnation = me.machine.life();
    const auto fs = me.disk.mount();
    sim::pool pool(me.stage.world, me.machine, me.work);
    const auto blobs = co_await open_store(*fs, "/blobs");
    if (!blobs) co_return outcome::success();
    s.receiver = blobs.get();
    look(s, *blobs);
    disk::leaf_pool buffers("pushed", 2U << 20, blob::provide_buffer_bytes);
    blob::provide_share share;
    blob::provide_environment env{*blobs, pool, buffers, &share};
    blob::provide_options options;
    options.progress_timeout = 10s;
    options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
        return blob::verdict::allow;
    };
    options.finished = [&s, &blobs](const blob::provide_report& r) {
        if (r.request.type != blob::request_type::push) return;
        look(s, *blobs);
        if (!r.error) s.run.reached("push_taken");
        else s.run.reached("push_broken");
    };
    auto made = endpoint_on(me.host, options_of(me), peer_port);
    if (made) {
        co_await serve_all(made.value().listen(blob::alpn), env, options);
        co_await made.value().close();
    }
    if (s.life == life) s.receiver = nullptr;
    report(s.run, wrong_in_pool(buffers));
    report(s.run, wrong_in_share(share));
    if (!made) co_return made.error();
    co_return outcome::success();
}

// ---- pushers --------------------------------------------------------------------------------------

awaitable<result<void>> push_all(scene& s, std::size_t self, std::shared_ptr<connection> c,
                                 blob::provide_environment& env)
{
    for (std::size_t i = self - 1; i < s.items.size(); i += s.pushers) {
        item& one = s.items[i];
        blob::get_request what;
        what.hash = one.root;
        what.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
        blob::push_options options;
        options.progress_timeout = 10s;
        options.confirm = true;
        options.confirm_timeout = 5s;
        const unsigned life = s.life;
        const auto pushed = co_await blob::push(c, std::move(what), env, std::move(options));
        if (!pushed) {
            s.run.check(pushed.error() != blob::blob_errc::refused, "a push was refused");
            if (pushed.error() == blob::blob_errc::not_confirmed) s.run.reached("not_confirmed");
            co_return pushed.error();
        }
        s.run.check(pushed.value().confirmed, "a confirmed push says that it is not");
        if (s.life != life) co_return make_error_code(std::errc::connection_reset);
        const auto there = s.has(one);
        s.run.check(there.value_or(true), "a blob was confirmed that is not there");
        one.confirmed = life;
        s.run.reached("confirmed");
    }
    co_return outcome::success();
}

awaitable<void> keep_pushing(scene& s, std::size_t self, quic::endpoint& endpoint,
                             blob::provide_environment& env)
{
    for (;;) {
        auto dialled = co_await endpoint.connect(s.peers[0]->where(), std::string(blob::alpn));
        if (dialled) {
            const auto c = std::move(dialled).value();
            const auto done = co_await push_all(s, self, c, env);
            if (done) {
                const auto why = co_await c->closed();  // it may have forgotten: push again
                static_cast<void>(why);
            }
        }
        const std::error_code ec = co_await sleep_for(200ms);
        if (ec) co_return;
    }
}

awaitable<result<void>> pusher(scene& s, std::size_t self)
{
    peer& me = *s.peers[self];
    const auto pool = make_inline_pool();
    store::memory_store blobs(16U << 20);
    for (const item& i : s.items) {
        const auto added = blobs.add(i.content);
        if (!added) co_return added.error();
    }
    disk::leaf_pool buffers("push", 1U << 20, blob::provide_buffer_bytes);
    blob::provide_environment env{blobs, *pool, buffers};
    auto made = endpoint_on(me.host, options_of(me));
    if (!made) co_return made.error();
    co_await keep_pushing(s, self, made.value(), env);
    co_await made.value().close();
    report(s.run, wrong_in_pool(buffers));
    co_return outcome::success();
}

// ---- observers ------------------------------------------------------------------------------------

awaitable<result<void>> follow(scene& s, std::size_t observer_index, item& one,
                               std::shared_ptr<connection> c)
{
    const unsigned life = s.life;
    auto opened = co_await blob::observer::open(std::move(c), one.root);
    if (!opened) co_return opened.error();
    blob::observer watching = std::move(opened).value();
    std::uint64_t before = 0;
    for (;;) {
        const auto told = co_await watching.next();
        if (!told) {
            s.run.check(told.error() != blob::blob_errc::bad_observation,
                        "an honest provider makes no sense");
            co_return told.error();
        }
        const auto& now = told.value();
        const std::uint64_t chunks = (one.content.size() + 1023) / 1024;
        s.run.check(!now.size_proven || now.size == one.content.size(), "a wrong size is shown");
        s.run.check(now.present.chunk_total() <= chunks, "more chunks are shown than there are");
        s.run.check(now.present.chunk_total() >= before, "what is shown becomes less");
        before = now.present.chunk_total();
        if (before > 0 && before < chunks) s.run.reached("saw_a_part");
        if (now.complete() && s.life == life) {
            s.run.check(s.has(one).value_or(true), "a blob is shown that is not there");
            one.observed[observer_index] = life;
        }
    }
}

awaitable<void> follow_for_ever(scene& s, std::size_t self, std::size_t observer_index,
                                std::size_t index, quic::endpoint& endpoint)
{
    for (;;) {
        auto dialled = co_await endpoint.connect(s.peers[0]->where(), std::string(blob::alpn));
        if (dialled) {
            const auto ended =
                co_await follow(s, observer_index, s.items[index], std::move(dialled).value());
            static_cast<void>(ended);  // the receiver restarts
            s.run.reached("observed_again");
        }
        const auto pause = 50 + s.peers[self]->dice.below(400);
        const std::error_code ec = co_await sleep_for(std::chrono::milliseconds(pause));
        if (ec) co_return;
    }
}

awaitable<result<void>> observes(scene& s, std::size_t self)
{
    peer& me = *s.peers[self];
    auto made = endpoint_on(me.host, options_of(me));
    if (!made) co_return made.error();
    scope following(co_await asio::this_coro::executor);
    const std::size_t number = self - 1 - s.pushers;
    for (std::size_t i = 0; i < s.items.size(); ++i) {
        following.spawn(follow_for_ever(s, self, number, i, made.value()));
    }
    const auto joined = co_await following.join();
    co_await made.value().close();
    co_return joined;
}

// ---- the world ------------------------------------------------------------------------------------

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    sim::rng& dice = r.dice();
    s.pushers = 1 + static_cast<std::size_t>(dice.below(2));
    const auto observers = 1 + static_cast<std::size_t>(dice.below(2));
    for (std::size_t i = 0; i < 1 + s.pushers + observers; ++i) {
        auto nat = sim::nat_kind::none;
        if (i > 0) nat = static_cast<sim::nat_kind>(dice.below(5));
        const std::string name = i == 0 ? "receiver" : i <= s.pushers ? "pusher" : "observer";
        s.peers.push_back(std::make_unique<peer>(st, name + std::to_string(i), nat));
        draw_links(dice, s.peers.back()->host);
    }
    s.peers[0]->draw_pool();
    const auto many = s.pushers + dice.below(2);
    for (std::size_t i = 0; i < many; ++i) {
        item one;
        // Several extents of 256 KiB in some, so that observers see a part.
        const auto largest = dice.below(6) == 0 ? 4U << 20 : 400U << 10;
        one.content = draw_bytes(dice, draw_size(dice, largest));
        one.root = hash::blake3_hash(one.content);
        one.observed.resize(observers);
        s.items.push_back(std::move(one));
    }
    std::vector<sim::fault_target> targets;
    for (std::size_t i = 0; i < s.peers.size(); ++i) {
        peer& p = *s.peers[i];
        const auto start = [&s, &p, i] {
            if (i == 0) s.receiver = nullptr;
            if (i == 0) p.machine.start(receiver(s));
            else if (i <= s.pushers) p.machine.start(pusher(s, i));
            else p.machine.start(observes(s, i));
        };
        start();
        targets.push_back({&p.machine, &p.host, &p.disk, start, {}, &p.work});
    }
    auto& faults = st.start_faults(std::move(targets));
    st.world.after(30s, [&] { faults.heal(); });
    const auto least = std::chrono::milliseconds(dice.below(20'000));
    const auto all_seen = [&] {
        if (!s.on() || st.world.now() < least) return false;
        return std::ranges::all_of(s.items, [&](const item& i) {
            return i.confirmed == s.life &&
                   std::ranges::all_of(i.observed, [&](unsigned life) { return life == s.life; });
        });
    };
    const auto ran = st.world.run_until([&] { return all_seen() || r.failed(); }, 5min);
    if (!ran) r.fail("not everything is pushed and seen: " + ran.error().message());
    if (s.life > 1) r.reached("receiver_restarted");
    shut_down(r, st);
    for (const auto& p : s.peers) {
        r.check(!p->machine.failure(), p->machine.name() + ": " + p->machine.failure().message());
    }
    for (const item& i : s.items) {
        check_complete(r, s.peers[0]->disk, "/blobs", i.root, i.content);
    }
}

}  // namespace

sim::scenario push_observe_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "push_observe";
    s.about = "confirmed pushes and observers, all of which restart";
    for (const kind k : {kind::crash, kind::freeze, kind::partition, kind::forget_mappings,
                         kind::drop_all, kind::loss, kind::delay}) {
        s.faults.choices.push_back({k, k == kind::crash ? 4U : 1U});
    }
    s.faults.choices.push_back({kind::disk_errors, 2, {0}});
    s.faults.choices.push_back({kind::slow_disk, 1, {0}});
    s.faults.choices.push_back({kind::disk_full, 1, {0}});
    s.faults.until = 30s;
    s.faults.gap = 2s;
    s.states = {"push_taken", "push_broken",    "not_confirmed",     "confirmed",
                "saw_a_part", "observed_again", "receiver_restarted"};
    s.play = play;
    return s;
}

}  // namespace copse::test
