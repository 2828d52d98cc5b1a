// Providers that lie in every way, beside honest ones: the receiver ends with the right bytes, never keeps a
// wrong one, and says who lied and how.
#include "tests/sim/worlds/peer.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/bao/geometry.hpp>
#include <copse/blob/download.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/error.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>
#include <array>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

enum class lie {
    wrong_leaf,    // one bit of the data
    wrong_parent,  // one bit of the first hash pair
    larger_size,   // in the header
    smaller_size,
    huge_size,
    truncated,    // a clean end too soon
    endless,      // goes on behind the end
    stalls,       // says nothing more
    drips,        // a byte at a time
    other_range,  // right data that nobody asked for
    other_blob,
    reset,     // with any code
    garbage,   // instead of an answer
    closes,    // the connection, with any code
    silent,    // no answer at all
    unwanted,  // streams and datagrams, before an honest answer
};
constexpr std::array<std::string_view, 16> lie_names{
    "wrong_leaf", "wrong_parent", "larger_size", "smaller_size", "huge_size",  "truncated",
    "endless",    "stalls",       "drips",       "other_range",  "other_blob", "reset",
    "garbage",    "closes",       "silent",      "unwanted"};

struct scene {
    explicit scene(sim::run& r) : run(r) {}

    sim::run& run;
    std::vector<std::unique_ptr<peer>> peers;  ///< the receiver, the liars, the honest
    std::size_t liars = 1;
    std::vector<lie> lies;  ///< of each liar
    std::vector<std::byte> content;
    hash::digest root;
    bool complete = false;
};

// ---- liars ----------------------------------------------------------------------------------------

// An answer as docs/specs/bao.md section 4 has it: the size, then pairs and leaves in pre-order.
void encode(std::vector<std::byte>& out, byte_view data, const bao::chunk_ranges& wanted,
            bao::subtree node)
{
    const auto bytes_of = [&](bao::subtree part) {
        return data.subspan(static_cast<std::size_t>(bao::byte_offset(part.first)),
                            static_cast<std::size_t>(bao::byte_length(part, data.size())));
    };
    if (!wanted.meets(node.first, node.end())) return;
    if (node.count == 1 || (node.count <= 16 && wanted.covers(node.first, node.end()))) {
        const byte_view leaf = bytes_of(node);
        out.insert(out.end(), leaf.begin(), leaf.end());
        return;
    }
    const auto left = bao::left_child(node);
    const auto right = bao::right_child(node);
    for (const auto& half : {left, right}) {
        const auto cv = hash::subtree_cv(bytes_of(half), half.first, false);
        out.insert(out.end(), cv.bytes.begin(), cv.bytes.end());
    }
    encode(out, data, wanted, left);
    encode(out, data, wanted, right);
}

std::vector<std::byte> encode(byte_view data, const bao::chunk_ranges& asked)
{
    std::vector<std::byte> out(8);
    const std::uint64_t chunks = bao::chunk_count(data.size());
    for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::byte>(data.size() >> (8 * i));
    encode(out, data, asked.effective(chunks), {0, chunks});
    return out;
}

struct forged {
    std::vector<std::byte> bytes;
    bool end = true;    // cleanly, behind the bytes
    bool drip = false;  // a byte at a time
    bool more = false;  // without end
    std::optional<std::uint64_t> reset;
};

void put_size(std::vector<std::byte>& answer, std::uint64_t size)
{
    for (std::size_t i = 0; i < 8; ++i) answer[i] = static_cast<std::byte>(size >> (8 * i));
}

void flip(std::vector<std::byte>& answer, std::size_t from, std::size_t end, sim::rng& dice)
{
    end = std::min(end, answer.size());
    if (from >= end) return;
    const std::size_t at = from + static_cast<std::size_t>(dice.below(end - from));
    answer[at] ^= static_cast<std::byte>(1U << dice.below(8));
}

forged forge(scene& s, lie how, const bao::chunk_ranges& asked, sim::rng& dice)
{
    forged out;
    const std::uint64_t chunks = s.content.size() / 1024 + 1;
    bao::chunk_ranges ranges = asked;
    if (how == lie::other_range) ranges = bao::chunk_ranges::from(dice.below(chunks));
    out.bytes = encode(s.content, ranges);
    const std::size_t size = out.bytes.size();
    const auto part = static_cast<std::size_t>(dice.below(size));
    switch (how) {
    case lie::wrong_leaf:
        flip(out.bytes, size - std::min<std::size_t>(size - 8, 1024), size, dice);
        break;
    case lie::wrong_parent: flip(out.bytes, 8, 72, dice); break;
    case lie::larger_size: put_size(out.bytes, s.content.size() + 1 + dice.below(1U << 20)); break;
    case lie::smaller_size: put_size(out.bytes, dice.below(s.content.size())); break;
    case lie::huge_size: put_size(out.bytes, ~std::uint64_t{0} >> dice.below(8)); break;
    case lie::truncated: out.bytes.resize(part); break;
    case lie::endless: out.more = true; break;
    case lie::stalls:
        out.bytes.resize(part);
        out.end = false;
        break;
    case lie::drips: out.drip = true; break;
    case lie::other_range: break;
    case lie::other_blob: {
        auto other = s.content;
        flip(other, 0, other.size(), dice);
        out.bytes = encode(other, asked);
        break;
    }
    case lie::reset:
        out.bytes.resize(part);
        out.reset = dice.below(6);
        break;
    case lie::garbage: out.bytes = draw_bytes(dice, 1 + part); break;
    case lie::closes: out.bytes.resize(part / 2); break;
    case lie::silent:
        out.bytes.clear();
        out.end = false;
        break;
    case lie::unwanted: break;
    }
    return out;
}

// Sends until nobody listens any more. The stream must outlive it.
awaitable<void> send_forged(send_stream& to, forged what)
{
    if (what.drip) {
        for (const std::byte b : what.bytes) {
            const auto sent = co_await to.write_copy(std::span(&b, 1));
            if (!sent) co_return;
            const std::error_code ec = co_await sleep_for(50ms);
            if (ec) co_return;
        }
    } else if (!what.bytes.empty()) {
        const auto sent = co_await to.write_copy(what.bytes);
        if (!sent) co_return;
    }
    const std::vector<std::byte> noise(4096, std::byte{0x5a});
    while (what.more) {
        const auto sent = co_await to.write_copy(noise);
        if (!sent) co_return;
        const std::error_code ec = co_await sleep_for(5ms);
        if (ec) co_return;
    }
    if (what.reset) {
        to.reset(*what.reset);
    } else if (what.end) {
        to.finish();
    } else {
        const auto nobody = co_await to.stopped();
        static_cast<void>(nobody);
        co_return;
    }
    const auto done = co_await to.acknowledged();
    static_cast<void>(done);
}

awaitable<std::vector<std::byte>> read_all(recv_stream& from)
{
    std::vector<std::byte> out;
    std::vector<std::byte> buffer(4096);
    while (out.size() < blob::max_request_bytes) {
        const auto n = co_await from.read(buffer);
        if (!n || n.value() == 0) break;
        out.insert(out.end(), buffer.begin(),
                   buffer.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
    co_return out;
}

// Streams that nobody asked for, from the provider's side, and datagrams.
awaitable<void> pester(connection& c, sim::rng& dice)
{
    std::vector<std::unique_ptr<send_stream>> open;
    for (int i = 0; i < 5; ++i) {
        auto opening = [](connection& on) -> awaitable<result<std::unique_ptr<send_stream>>> {
            auto one = co_await on.open_uni();
            co_return one;
        };
        auto s = co_await with_timeout(opening(c), 1s);
        if (!s) break;
        const auto noise = draw_bytes(dice, 1000);
        const auto sent = co_await s.value()->write_copy(noise);
        if (!sent) break;
        open.push_back(std::move(s).value());
        const auto told = c.send_datagram(shared_bytes::copy(noise));
        static_cast<void>(told);  // the peer may take none
    }
}

awaitable<void> lie_to(scene& s, std::size_t self, std::shared_ptr<connection> c)
{
    peer& me = *s.peers[self];
    const lie how = s.lies[self - 1];
    for (;;) {
        auto asked = co_await c->accept_bi();
        if (!asked) co_return;
        const bidi_stream stream = std::move(asked).value();
        const auto bytes = co_await read_all(*stream.recv);
        const auto request = blob::decode_request(bytes);
        if (!request) continue;
        const auto* const get = std::get_if<blob::get_request>(&request.value());
        if (!get) continue;
        s.run.reached(lie_names[static_cast<std::size_t>(how)]);
        if (how == lie::unwanted) co_await pester(*c, me.dice);
        forged answer = forge(s, how, get->ranges.at(0), me.dice);
        co_await send_forged(*stream.send, std::move(answer));
        if (how == lie::closes) c->close(me.dice.below(5), "as if something were wrong");
    }
}

awaitable<result<void>> liar(scene& s, std::size_t self)
{
    peer& me = *s.peers[self];
    auto made = endpoint_on(me.host, options_of(me), peer_port);
    if (!made) co_return made.error();
    auto listening = made.value().listen(blob::alpn);
    scope lying(co_await asio::this_coro::executor);
    for (;;) {
        auto c = co_await listening.accept();
        if (!c) break;
        lying.spawn(lie_to(s, self, std::move(c).value()));
    }
    lying.request_stop();
    const auto joined = co_await lying.join();
    co_await made.value().close();
    co_return joined;
}

// ---- the receiver ---------------------------------------------------------------------------------

// What may be said of a lie, besides what links do to any connection.
bool names(lie how, const std::error_code& e)
{
    using blob::blob_errc;
    const bool wrong_data = e == blob_errc::leaf_mismatch || e == blob_errc::parent_mismatch;
    const bool wrong_end = e == blob_errc::truncated_response || e == blob_errc::extra_data;
    // What a size that was proven by others, or is over the limit, makes of another one.
    const bool wrong_size = e == store::store_errc::size_changed || e == blob_errc::too_large;
    switch (how) {
    case lie::wrong_leaf:
    case lie::wrong_parent: return wrong_data;
    case lie::other_blob: return wrong_data;
    case lie::larger_size:
    case lie::smaller_size:
    case lie::huge_size:
    case lie::garbage:
        return wrong_data || wrong_end || wrong_size || e == blob_errc::stalled ||
               e == blob_errc::not_available;
    case lie::truncated: return e == blob_errc::truncated_response || e == blob_errc::not_available;
    case lie::endless: return e == blob_errc::extra_data;
    case lie::stalls:
    case lie::drips:
    case lie::silent: return e == blob_errc::stalled;
    case lie::other_range: return wrong_data || wrong_end;
    case lie::reset:
        return e == blob_errc::refused || e == blob_errc::rate_limited ||
               e == blob_errc::not_available || e == blob_errc::aborted_by_peer;
    case lie::closes:
        return e == transport_errc::closed_by_peer || wrong_end || e == blob_errc::not_available;
    case lie::unwanted: return false;
    }
    return false;
}

// Lies that cannot be answered with success, unless the answer was good up to them.
bool must_fail(lie how)
{
    return how == lie::wrong_leaf || how == lie::wrong_parent || how == lie::other_blob ||
           how == lie::huge_size || how == lie::silent;
}

bool is_transport(const std::error_code& e)
{
    return e == transport_errc::unreachable || e == transport_errc::idle_timeout ||
           e == transport_errc::handshake_timeout || e == transport_errc::closed_locally ||
           e == transport_errc::closed_by_peer || e == transport_errc::refused ||
           e == transport_errc::handshake_failed;
}

awaitable<void> ask(scene& s, std::size_t whom, quic::endpoint& endpoint,
                    blob::fetch_environment& env)
{
    // After a crash the old life goes on for a moment, and what it sees says nothing of anybody.
    const sim::incarnation life = s.peers[0]->machine.life();
    auto missing = co_await blob::find_missing(s.root, env);
    if (!life.alive()) co_return;
    if (!missing) {
        s.run.fail("the store fails: " + missing.error().message());
        co_return;
    }
    if (missing.value().request.empty()) {
        s.complete = true;
        co_return;
    }
    auto dialled = co_await endpoint.connect(s.peers[whom]->where(), std::string(blob::alpn));
    if (!life.alive()) co_return;
    if (!dialled) {
        s.run.check(is_transport(dialled.error()) ||
                        dialled.error() == std::errc::operation_canceled,
                    "dial: " + dialled.error().message());
        co_return;
    }
    blob::fetch_options options;
    options.progress_timeout = 2s;
    options.max_blob_size = 4U << 20;
    blob::fetch_diagnostics where;
    blob::get_request request;
    request.hash = s.root;
    request.ranges = std::move(missing).value().request;
    const auto got = co_await blob::fetch(std::move(dialled).value(), std::move(request), env,
                                          std::move(options), where);
    if (!life.alive()) co_return;
    report(s.run, wrong_in_store(env.store, s.root, s.content));
    const bool lies = whom <= s.liars;
    if (got) {
        if (lies) s.run.check(!must_fail(s.lies[whom - 1]), "a lie was believed");
        co_return;
    }
    const std::error_code& e = got.error();
    if (e == std::errc::operation_canceled || is_transport(e)) co_return;
    const std::string name =
        lies ? std::string(lie_names[static_cast<std::size_t>(s.lies[whom - 1])])
             : std::string("honest");
    // A slow link may look like a stall.
    const bool known = e == blob::blob_errc::stalled || (lies && names(s.lies[whom - 1], e));
    s.run.check(known, name + " is called: " + e.message());
    s.run.check(where.peer == s.peers[whom]->key.id(), "another peer is blamed");
    if (lies && known) s.run.reached("liar_named");
}

awaitable<result<void>> receiver(scene& s)
{
    peer& me = *s.peers[0];
    const auto fs = me.disk.mount();
    sim::pool pool(me.stage.world, me.machine, me.work);
    const auto blobs = co_await open_store(*fs, "/blobs");
    if (!blobs) co_return outcome::success();
    report(s.run, wrong_in_store(*blobs, s.root, s.content));
    disk::leaf_pool extents("liars fetch", 512U << 10, 256U << 10);
    blob::fetch_environment env{*blobs, pool, extents};
    auto made = endpoint_on(me.host, options_of(me));
    if (!made) co_return made.error();
    for (;;) {
        const bool stop = co_await cancellation_requested();
        if (stop || s.complete) break;
        const auto whom = 1 + static_cast<std::size_t>(me.dice.below(s.peers.size() - 1));
        co_await ask(s, whom, made.value(), env);
        const std::error_code ec = co_await sleep_for(100ms);
        if (ec) break;
    }
    co_await made.value().close();
    report(s.run, wrong_in_pool(extents));
    co_return outcome::success();
}

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    sim::rng& dice = r.dice();
    s.liars = 1 + static_cast<std::size_t>(dice.below(5));
    const auto good = 1 + static_cast<std::size_t>(dice.below(2));
    for (std::size_t i = 0; i < 1 + s.liars + good; ++i) {
        const std::string name = i == 0 ? "receiver" : i <= s.liars ? "liar" : "honest";
        s.peers.push_back(
            std::make_unique<peer>(st, name + std::to_string(i), sim::nat_kind::none));
        draw_links(dice, s.peers.back()->host);
        if (i > 0 && i <= s.liars) {
            s.lies.push_back(static_cast<lie>(dice.below(lie_names.size())));
        }
    }
    s.peers[0]->draw_pool();
    s.peers[0]->work.stall = 0;  // its own disk must not look like a liar
    s.content = draw_bytes(dice, draw_size(dice, 512U << 10));
    s.root = hash::blake3_hash(s.content);
    std::vector<sim::fault_target> targets;
    for (std::size_t i = 0; i < s.peers.size(); ++i) {
        peer& p = *s.peers[i];
        const auto start = [&s, &p, i] {
            if (i == 0) p.machine.start(receiver(s));
            else if (i <= s.liars) p.machine.start(liar(s, i));
            else p.machine.start(serve_from_memory(s.run, p, {s.content}));
        };
        start();
        targets.push_back({&p.machine, &p.host, &p.disk, start, {}, &p.work});
    }
    auto& faults = st.start_faults(std::move(targets));
    st.world.after(1min, [&] { faults.heal(); });
    const auto ran = st.world.run_until([&] { return s.complete || r.failed(); }, 15min);
    if (!ran) r.fail("not complete: " + ran.error().message());
    shut_down(r, st);
    for (const auto& p : s.peers) {
        r.check(!p->machine.failure(),
                p->machine.name() + " failed: " + p->machine.failure().message());
    }
    check_complete(r, s.peers[0]->disk, "/blobs", s.root, s.content);
}

}  // namespace

sim::scenario liars_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "liars";
    s.about = "providers that lie in every way, beside honest ones";
    for (const kind k : {kind::crash, kind::freeze, kind::partition, kind::drop_all, kind::loss,
                         kind::reorder, kind::delay}) {
        s.faults.choices.push_back({k});
    }
    s.faults.until = 1min;
    s.faults.gap = 3s;
    for (const std::string_view name : lie_names) s.states.emplace_back(name);
    s.states.emplace_back("liar_named");
    s.play = play;
    return s;
}

}  // namespace copse::test
