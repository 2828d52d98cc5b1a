// A blob goes from one machine to another while both crash and move, the network fails and the disk forgets.
#include "tests/sim/worlds/parts.hpp"
#include "tests/sim/worlds/worlds.hpp"

#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/race.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>

#include <functional>
#include <optional>

using namespace std::chrono_literals;

namespace copse::test {
namespace {

struct scene {
    explicit scene(sim::run& r) : report(r) {}

    sim::run& report;
    std::optional<quic::secret_key> key;  // made in the world, whose entropy it takes
    endpoint_address where;
    std::vector<std::byte> content;
    hash::digest root;
    quic::endpoint* provider = nullptr;  // of the current lives, for changes of address
    quic::endpoint* receiver = nullptr;
    bool complete = false;
};

// Takes the pointer back when the program ends, unless its successor has set it anew.
class announced {
public:
    announced(quic::endpoint*& at, quic::endpoint& e) : at_(at), e_(&e) { at = &e; }
    announced(const announced&) = delete;
    announced& operator=(const announced&) = delete;
    ~announced()
    {
        if (at_ == e_) at_ = nullptr;
    }

private:
    quic::endpoint*& at_;
    quic::endpoint* e_;
};

awaitable<void> provide_to(std::shared_ptr<connection> c, blob::provide_environment& env)
{
    const auto why = co_await blob::provide(std::move(c), env, {});
    static_cast<void>(why);  // peers crash
}

awaitable<result<void>> provider(scene& s, sim::host& h)
{
    const auto ex = co_await asio::this_coro::executor;
    const auto pool = make_inline_pool();
    store::memory_store blobs(64U << 20);
    const auto added = blobs.add(s.content);
    if (!added) co_return added.error();
    disk::leaf_pool buffers("provide", 4U << 20, blob::provide_buffer_bytes);
    blob::provide_environment env{blobs, *pool, buffers};
    quic::endpoint_options o;
    o.identity = *s.key;
    auto made = endpoint_on(h, std::move(o), 4433);
    if (!made) co_return made.error();
    quic::endpoint& endpoint = made.value();
    announced here(s.provider, endpoint);
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
    co_await endpoint.close();
    const std::string wrong = wrong_in_pool(buffers);
    if (!wrong.empty()) s.report.fail(wrong);
    co_return joined;
}

awaitable<result<void>> fetch_once(scene& s, quic::endpoint& from, blob::fetch_environment& env)
{
    auto missing = co_await blob::find_missing(s.root, env);
    if (!missing) co_return missing.error();
    if (missing.value().request.empty()) co_return outcome::success();
    auto dialled = co_await from.connect(s.where, std::string(blob::alpn));
    if (!dialled) co_return dialled.error();
    blob::fetch_diagnostics diagnostics;
    blob::get_request request;
    request.hash = s.root;
    request.ranges = std::move(missing).value().request;
    blob::fetch_options options;
    options.progress_timeout = 10s;
    auto got = co_await blob::fetch(std::move(dialled).value(), std::move(request), env,
                                    std::move(options), diagnostics);
    if (!got) co_return got.error();
    co_return outcome::success();
}

// What the store shows now, and whether it is all.
bool look(scene& s, store::blob_store& blobs)
{
    const std::string wrong = wrong_in_store(blobs, s.root, s.content);
    if (!wrong.empty()) s.report.fail(wrong);
    const auto status = blobs.status(s.root);
    return status && status.value().complete();
}

awaitable<result<void>> receive(scene& s, quic::endpoint& endpoint, store::blob_store& blobs,
                                blob::fetch_environment& env)
{
    for (;;) {
        const bool stop = co_await cancellation_requested();
        if (stop) break;
        const auto done = co_await fetch_once(s, endpoint, env);
        if (look(s, blobs)) {
            s.complete = true;
            break;
        }
        if (done) continue;
        s.report.reached("retried");
        const std::error_code ec = co_await sleep_for(500ms);
        if (ec) break;
    }
    co_return outcome::success();
}

awaitable<result<void>> receiver(scene& s, sim::host& h, sim::disk& d)
{
    const auto fs = d.mount();
    const auto pool = make_inline_pool();
    store::folder_options how;
    how.checkpoint_bytes = 256U << 10;  // so that there is something to go on from
    how.checkpoint_interval = 100ms;
    std::shared_ptr<store::folder_store> blobs;
    while (!blobs) {
        auto opened = store::folder_store::open(*fs, "/received", how);
        if (opened) {
            blobs = std::move(opened).value();
            break;
        }
        const std::error_code ec = co_await sleep_for(100ms);  // its disk fails for a while
        if (ec) co_return outcome::success();
    }
    const auto before = blobs->status(s.root);
    if (before && !before.value().present.empty()) s.report.reached("resumed");
    look(s, *blobs);
    disk::leaf_pool buffers("fetch", 2U << 20, 256U << 10);
    blob::fetch_environment env{*blobs, *pool, buffers};
    auto made = endpoint_on(h);
    if (!made) co_return made.error();
    announced here(s.receiver, made.value());
    const auto received = co_await receive(s, made.value(), *blobs, env);
    co_await made.value().close();
    const std::string wrong = wrong_in_pool(buffers);
    if (!wrong.empty()) s.report.fail(wrong);
    co_return received;
}

// Binds anew after a change of address. A machine that cannot any more starts again.
void move(quic::endpoint* e, sim::host& h, std::uint16_t port, const std::function<void()>& reboot)
{
    if (!e) return;
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    auto socket = h.bind(port);
    if (socket) sockets.push_back(std::move(socket).value());
    if (sockets.empty() || !e->rebind(std::move(sockets))) reboot();
}

void play(sim::run& r)
{
    scene s(r);
    sim::stage st(r);
    s.key = quic::secret_key::generate();
    sim::rng& dice = r.dice();
    auto& a = st.world.add_machine("provider");
    auto& b = st.world.add_machine("receiver");
    auto& ha = st.network.add_host(a);
    const auto nat = dice.below(5);
    auto& hb = st.network.add_host(b, static_cast<sim::nat_kind>(nat));
    if (nat != 0) r.reached("translated");
    sim::disk d(st.world, b);
    draw_links(dice, ha);
    draw_links(dice, hb);
    s.content = draw_bytes(dice, 1 + static_cast<std::size_t>(dice.below(4U << 20)));
    s.root = hash::blake3_hash(s.content);

    const auto start_provider = [&] { a.start(provider(s, ha)); };
    const auto start_receiver = [&] { b.start(receiver(s, hb, d)); };
    start_provider();
    if (!r.check(st.world.run_for(1ms).has_value(), "the provider begins")) return;
    start_receiver();
    sim::fault_target on_a{&a, &ha, nullptr, start_provider, [&] {
                               move(s.provider, ha, 4433, [&] {
                                   a.crash();
                                   start_provider();
                               });
                               s.where.paths = {ha.address(4433)};
                           }};
    sim::fault_target on_b{&b, &hb, &d, start_receiver, [&] {
                               r.reached("moved");
                               move(s.receiver, hb, 0, [&] {
                                   b.crash();
                                   d.crash();
                                   start_receiver();
                               });
                           }};
    auto& faults = st.start_faults({on_a, on_b});
    st.world.after(1min, [&] { faults.heal(); });
    const auto ran = st.world.run_until([&] { return s.complete || r.failed(); }, 10min);
    if (!ran) r.fail("not complete: " + ran.error().message());
    if (d.statistics().sectors_lost > 0) r.reached("sectors_lost");
    shut_down(r, st);
    r.check(!a.failure() && !b.failure(), "a program failed");
    check_complete(r, d, "/received", s.root, s.content);
}

}  // namespace

sim::scenario transfer_world()
{
    using kind = sim::fault_kind;
    sim::scenario s;
    s.name = "transfer";
    s.about = "one blob, both machines crash and move, the network fails, the disk forgets";
    for (const kind k : {kind::crash, kind::kill, kind::freeze, kind::partition,
                         kind::forget_mappings, kind::readdress, kind::drop_all, kind::clock_step,
                         kind::clock_drift, kind::loss, kind::reorder, kind::delay, kind::slow,
                         kind::small_mtu, kind::disk_errors, kind::disk_full}) {
        s.faults.choices.push_back({k, k == kind::crash || k == kind::kill ? 4U : 1U});
    }
    s.states = {"translated", "retried", "resumed", "moved", "sectors_lost"};
    s.play = play;
    return s;
}

}  // namespace copse::test
