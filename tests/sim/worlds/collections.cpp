// A collection goes into a folder on a disk that fails in every way, and from there to a third machine:
// the folder always opens, keeps what it promised, resumes, and what rotted never leaves it.
#include "tests/sim/worlds/peer.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>
#include <set>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

struct part {
    std::vector<std::byte> content;
    hash::digest root;
    bool durable = false;  ///< the mirror has fetched it as such
};

struct scene {
    explicit scene(sim::run& r) : run(r) {}

    sim::run& run;
    std::vector<std::unique_ptr<peer>> peers;  ///< the origin, the mirror, the client
    std::vector<part> parts;                   ///< the sequence, the names, the files
    std::vector<std::string> names;
    bool mirrored = false;
    bool fetched = false;  ///< by the client

    [[nodiscard]] const hash::digest& root() const { return parts[0].root; }
    // A bit of the mirror's disk has flipped: what it holds may be wrong, and must not leave it.
    [[nodiscard]] bool rotten() const { return peers[1]->disk.statistics().rotten > 0; }
};

void draw_collection(scene& s, sim::rng& dice)
{
    const auto files = 1 + static_cast<std::size_t>(dice.below(6));
    std::vector<hash::digest> hashes(1);
    s.parts.resize(2);
    for (std::size_t i = 0; i < files; ++i) {
        part file;
        const auto kind = dice.below(10);
        if (kind == 0 && i > 0) file.content = s.parts.back().content;
        else if (kind > 1) file.content = draw_bytes(dice, draw_size(dice, 200U << 10));
        file.root = hash::blake3_hash(file.content);
        hashes.push_back(file.root);
        s.parts.push_back(std::move(file));
        s.names.push_back("folder/file" + std::to_string(i));
    }
    s.parts[1].content = blob::encode_collection_meta(s.names).value();
    s.parts[1].root = hash::blake3_hash(s.parts[1].content);
    hashes[0] = s.parts[1].root;
    s.parts[0].content = blob::encode_hash_sequence(hashes);
    s.parts[0].root = hash::blake3_hash(s.parts[0].content);
}

// \param may_rot the reading itself may flip a bit, for which nobody is to blame.
void look(scene& s, store::blob_store& in, bool may_rot)
{
    for (const part& p : s.parts) {
        const std::string wrong = wrong_in_store(in, p.root, p.content);
        if (!may_rot || !s.rotten()) report(s.run, wrong);
    }
}

// ---- getting it -----------------------------------------------------------------------------------

bool is_lie(const std::error_code& e)
{
    return e == blob::blob_errc::leaf_mismatch || e == blob::blob_errc::parent_mismatch ||
           e == blob::blob_errc::extra_data;
}

blob::fetch_options patient()
{
    blob::fetch_options o;
    o.progress_timeout = 5s;
    o.durable = true;
    return o;
}

blob::retry_options soon()
{
    blob::retry_options o;
    o.first_pause = 50ms;
    o.longest_pause = 500ms;
    return o;
}

// Some of the files by GetMany, whether they are there or not.
awaitable<result<void>> get_some(scene& s, std::shared_ptr<connection> c, const blob::manifest& m,
                                 blob::fetch_environment& env, sim::rng& dice)
{
    blob::get_many_request many;
    blob::ranges_seq::builder ranges;
    for (const hash::digest& h : m.hashes) {
        const bool twice = std::ranges::find(many.hashes, h) != many.hashes.end();
        if (dice.below(2) == 0 && !twice) many.hashes.push_back(h);
    }
    if (many.hashes.empty()) co_return outcome::success();
    ranges.from(0, bao::chunk_ranges::all());
    ranges.from(many.hashes.size(), bao::chunk_ranges::none());
    many.ranges = ranges.build();
    blob::fetch_diagnostics where;
    const auto got =
        co_await blob::fetch_many(std::move(c), std::move(many), env, patient(), where);
    if (!got) co_return got.error();
    s.run.reached("got_many");
    co_return outcome::success();
}

awaitable<result<void>> get_collection(scene& s, std::shared_ptr<connection> c,
                                       blob::fetch_environment& env, sim::rng& dice)
{
    blob::fetch_diagnostics where;
    const auto listed = co_await blob::fetch_manifest(c, s.root(), env, patient(), where);
    if (!listed) co_return listed.error();
    const blob::manifest& m = listed.value();
    s.run.check(m.names == s.names, "other names than those of the collection");
    for (std::size_t i = 0; i < m.sizes.size(); ++i) {
        s.run.check(m.sizes[i] == s.parts[i + 2].content.size(), "another size than the file's");
    }
    const auto way = dice.below(3);
    if (way == 0) {
        const auto some = co_await get_some(s, c, m, env, dice);
        if (!some) co_return some.error();
    } else if (way == 1) {
        const auto one = m.hashes[static_cast<std::size_t>(dice.below(m.hashes.size()))];
        const auto got = co_await blob::download(c, one, env, patient(), soon(), where);
        if (!got) co_return got.error();
    }
    const auto got = co_await blob::download(c, m, env, patient(), soon(), where);
    if (!got) co_return got.error();
    const auto missing = co_await blob::find_missing(m, env);
    s.run.check(!missing || missing.value().request.empty() || s.rotten(),
                "all was fetched, but not all is there");
    co_return outcome::success();
}

// ---- the mirror -----------------------------------------------------------------------------------

// Gives up what has rotted. What somebody writes stays.
void repair(store::folder_store& blobs, const hash::digest& root)
{
    const auto left = blobs.repair(root);
    static_cast<void>(left);  // absent, busy, or the disk fails: then again
}

awaitable<void> mirror_all(scene& s, quic::endpoint& endpoint, store::folder_store& blobs,
                           blob::fetch_environment& env)
{
    peer& me = *s.peers[1];
    for (;;) {
        if (!s.mirrored) {
            auto dialled = co_await endpoint.connect(s.peers[0]->where(), std::string(blob::alpn));
            if (dialled) {
                const auto done =
                    co_await get_collection(s, std::move(dialled).value(), env, me.dice);
                look(s, blobs, true);
                if (done) {
                    s.mirrored = true;
                    for (part& p : s.parts) p.durable = !s.rotten();
                } else {
                    s.run.reached("retried");
                    s.run.check(!is_lie(done.error()), "the origin is called a liar");
                    if (s.rotten()) {
                        for (const part& p : s.parts) repair(blobs, p.root);
                    }
                }
            }
        }
        const std::error_code ec =
            co_await sleep_for(std::chrono::milliseconds(50 + me.dice.below(300)));
        if (ec) co_return;
    }
}

awaitable<result<void>> mirror(scene& s)
{
    peer& me = *s.peers[1];
    const auto fs = me.disk.mount();
    sim::pool pool(me.stage.world, me.machine, me.work);
    const auto blobs = co_await open_store(*fs, "/blobs");
    if (!blobs) co_return outcome::success();
    for (const part& p : s.parts) {
        const auto status = blobs->status(p.root);
        if (!status) continue;
        if (!status.value().present.empty()) s.run.reached("resumed");
        s.run.check(!p.durable || s.rotten() || status.value().complete(),
                    "a durable blob is gone after a restart");
    }
    s.mirrored = false;
    look(s, *blobs, true);
    disk::leaf_pool extents("mirror fetch", 1U << 20, 256U << 10);
    disk::leaf_pool buffers("mirror provide", 1U << 20, blob::provide_buffer_bytes);
    blob::provide_share share;
    blob::fetch_environment fetching{*blobs, pool, extents};
    blob::provide_environment providing{*blobs, pool, buffers, &share};
    blob::provide_options options;
    // A blob that cannot be served once all was there has rotted.
    options.finished = [&s, &blobs](const blob::provide_report& r) {
        if (!r.failed_blob || !s.rotten() || !s.mirrored) return;
        s.run.reached("rot_found");
        repair(*blobs, *r.failed_blob);
        s.mirrored = false;
    };
    auto made = endpoint_on(me.host, options_of(me), peer_port);
    if (!made) co_return made.error();
    scope both(co_await asio::this_coro::executor);
    both.spawn(serve_all(made.value().listen(blob::alpn), providing, options));
    both.spawn(mirror_all(s, made.value(), *blobs, fetching));
    const auto joined = co_await both.join();
    co_await made.value().close();
    report(s.run, wrong_in_pool(extents));
    report(s.run, wrong_in_pool(buffers));
    report(s.run, wrong_in_share(share));
    co_return joined;
}

// ---- the client -----------------------------------------------------------------------------------

awaitable<result<void>> client(scene& s)
{
    peer& me = *s.peers[2];
    const auto pool = make_inline_pool();
    store::memory_store blobs(16U << 20);
    disk::leaf_pool extents("client fetch", 1U << 20, 256U << 10);
    blob::fetch_environment env{blobs, *pool, extents};
    auto made = endpoint_on(me.host, options_of(me));
    if (!made) co_return made.error();
    for (;;) {
        if (s.mirrored && !s.fetched) {
            auto dialled =
                co_await made.value().connect(s.peers[1]->where(), std::string(blob::alpn));
            if (dialled) {
                const auto done =
                    co_await get_collection(s, std::move(dialled).value(), env, me.dice);
                look(s, blobs, false);
                if (done) s.fetched = true;
                else s.run.check(!is_lie(done.error()), "rot has left the mirror");
            }
        }
        const std::error_code ec = co_await sleep_for(200ms);
        if (ec) break;
    }
    co_await made.value().close();
    report(s.run, wrong_in_pool(extents));
    co_return outcome::success();
}

// ---- the world ------------------------------------------------------------------------------------

// What a program does with what it has received: files take their places.
void export_all(scene& s, file_system& fs, store::folder_store& from)
{
    s.run.check(fs.make_directory("/out", 0755).has_value(), "a folder for the files");
    std::set<hash::digest> done;
    for (std::size_t i = 2; i < s.parts.size(); ++i) {
        const part& p = s.parts[i];
        if (!done.insert(p.root).second) continue;
        const std::string name = "/out/" + std::to_string(i);
        const auto moved = from.take(p.root, name, false);
        if (!moved) {
            s.run.fail("a file cannot be taken: " + moved.error().message());
            return;
        }
        const auto file = fs.open(name, {});
        std::vector<std::byte> bytes(p.content.size());
        s.run.check(file && file.value()->size().value() == bytes.size() &&
                        file.value()->read_at(byte_span(bytes), 0) && bytes == p.content,
                    "a file is not what it should be");
    }
}

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    sim::rng& dice = r.dice();
    for (const char* const name : {"origin", "mirror", "client"}) {
        s.peers.push_back(std::make_unique<peer>(st, name, sim::nat_kind::none));
        draw_links(dice, s.peers.back()->host);
    }
    s.peers[1]->draw_pool();
    draw_collection(s, dice);

    std::vector<std::function<void()>> start{
        [&] {
            std::vector<byte_view> all;
            for (const part& p : s.parts) all.emplace_back(p.content);
            s.peers[0]->machine.start(serve_from_memory(r, *s.peers[0], std::move(all)));
        },
        [&] { s.peers[1]->machine.start(mirror(s)); },
        [&] { s.peers[2]->machine.start(client(s)); }};
    std::vector<sim::fault_target> targets;
    for (std::size_t i = 0; i < s.peers.size(); ++i) {
        start[i]();
        targets.push_back({&s.peers[i]->machine,
                           &s.peers[i]->host,
                           &s.peers[i]->disk,
                           start[i],
                           {},
                           &s.peers[i]->work});
    }
    auto& faults = st.start_faults(std::move(targets));
    st.world.after(30s, [&] { faults.heal(); });
    // Power is lost at a given change of the disk, again and again.
    peer& m = *s.peers[1];
    auto crashes = dice.below(8);
    std::uint64_t next = dice.below(30);
    sim::rng gaps = st.world.fork("crashes at writes");
    m.disk.before_change = [&](std::uint64_t number) {
        if (crashes == 0 || number < next || faults.off(1) || st.world.now() > 30s) {
            return std::error_code{};
        }
        --crashes;
        next = number + 1 + gaps.below(60);
        st.world.after(0ns, [&] {
            if (faults.off(1)) return;
            r.reached("crash_at_write");
            m.machine.crash();
            m.disk.crash();
            start[1]();
        });
        return make_error_code(std::errc::io_error);
    };
    const auto ran = st.world.run_until(
        [&] { return (s.mirrored && s.fetched && !faults.off(1)) || r.failed(); }, 10min);
    if (!ran) r.fail("not everybody has the collection: " + ran.error().message());
    const bool whole = s.mirrored;
    m.disk.before_change = {};
    shut_down(r, st);
    for (const auto& p : s.peers) {
        r.check(!p->machine.failure(), p->machine.name() + ": " + p->machine.failure().message());
    }
    if (m.disk.statistics().sectors_lost > 0) r.reached("sectors_lost");
    if (m.disk.statistics().names_lost > 0) r.reached("names_lost");
    if (m.disk.statistics().shortened > 0) r.reached("shortened");
    const auto fs = m.disk.mount();
    const auto opened = store::folder_store::open(*fs, "/blobs");
    if (!r.check(opened.has_value(), "the store opens at the end") || s.rotten() || !whole) return;
    look(s, *opened.value(), true);
    for (const part& p : s.parts) {
        const auto left = opened.value()->repair(p.root);
        r.check(left && left.value().complete(), "something good is given up");
    }
    export_all(s, *fs, *opened.value());
}

}  // namespace

sim::scenario collections_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "collections";
    s.about = "collections into a folder on a disk that fails in every way, and on from there";
    s.faults.choices = {{kind::crash, 2}, {kind::partition, 1}, {kind::loss, 1}, {kind::delay, 1}};
    s.faults.choices.push_back({kind::disk_errors, 4, {1}});
    s.faults.choices.push_back({kind::slow_disk, 2, {1}});
    s.faults.choices.push_back({kind::disk_full, 3, {1}});
    s.faults.choices.push_back({kind::bit_rot, 1, {1}});
    s.faults.until = 30s;
    s.faults.gap = 1500ms;
    s.states = {"resumed",   "retried",      "got_many",   "crash_at_write",
                "rot_found", "sectors_lost", "names_lost", "shortened"};
    s.play = play;
    return s;
}

}  // namespace copse::test
