// The stage of hostile peers, and a play without any.
#include "tests/hostile/stage.hpp"

#include "tests/catch.hpp"
#include "tests/sanitizers.hpp"
#include "tests/support.hpp"

#include <copse/core/limits.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/core/timer.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/sim/interpose.ipp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include <time.h>

using namespace std::chrono_literals;

namespace copse::hostile {

namespace {

constexpr std::size_t victims_account = 1;
const sim::machine* machine_now = nullptr;

// Who runs, and how much CPU the victim has taken.
struct cpu_meter {
    std::chrono::nanoseconds used{0};
    std::chrono::nanoseconds since{0};
    bool on = false;

    static std::chrono::nanoseconds now()
    {
        timespec t{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
    }
    void turn(const sim::machine* m)
    {
        machine_now = m;
        const std::size_t account = m ? m->index() + 1 : 0;
        heap::charge(account);
        if (on == (account == victims_account)) return;
        on = account == victims_account;
        const auto t = now();
        if (on) since = t;
        else used += t - since;
    }
};

quic::endpoint endpoint_on(const sim::host& h, quic::endpoint_options o,
                           std::unique_ptr<datagram_socket> socket)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(std::move(socket));
    return quic::endpoint::make(h.computer().life().get_executor(), std::move(o),
                                std::move(sockets))
        .value();
}

// Tells of what is sent through it.
class overheard_socket final : public datagram_socket {
public:
    overheard_socket(std::unique_ptr<datagram_socket> inner, stage& s)
        : inner_(std::move(inner)), stage_(s)
    {}
    socket_address local_address() const noexcept override { return inner_->local_address(); }
    result<received_datagrams> try_receive(byte_span b) override { return inner_->try_receive(b); }
    result<void> try_send(const outgoing_datagrams& out) override
    {
        if (stage_.overhear) {
            outgoing_datagrams known = out;
            known.from = inner_->local_address();
            stage_.overhear(known);
        }
        return inner_->try_send(out);
    }
    awaitable<std::error_code> wait_readable() override { return inner_->wait_readable(); }
    awaitable<std::error_code> wait_writable() override { return inner_->wait_writable(); }
    std::size_t max_send_segments() const noexcept override { return 1; }
    std::size_t send_buffer_size() const noexcept override { return inner_->send_buffer_size(); }
    std::size_t receive_buffer_size() const noexcept override
    {
        return inner_->receive_buffer_size();
    }
    void close() noexcept override { inner_->close(); }

private:
    std::unique_ptr<datagram_socket> inner_;
    stage& stage_;
};

}  // namespace

const sim::machine* running_machine() noexcept
{
    return machine_now;
}

const contents& contents::get()
{
    static const contents made = [] {
        contents c;
        c.large = test::pattern(2U << 20);
        c.large_root = hash::blake3_hash(c.large);
        for (unsigned i = 0; i < 4; ++i) {
            auto blob = test::pattern(256U << 10);
            blob[0] = static_cast<std::byte>(100 + i);
            c.small_roots.push_back(hash::blake3_hash(blob));
            c.small.push_back(std::move(blob));
        }
        for (std::size_t i = 0; i < 4096; ++i) {
            const auto& root = c.small_roots[i % 4].bytes;
            c.list.insert(c.list.end(), root.begin(), root.end());
        }
        c.list_root = hash::blake3_hash(c.list);
        return c;
    }();
    return made;
}

stage::stage(const stage_options& o)
    : options(o),
      world(o.seed),
      net(world),
      victim(net.add_host(world.add_machine("victim"))),
      honest(net.add_host(world.add_machine("honest"))),
      ground(net.add_host(world.add_machine("hostile"))),
      dice(world.fork("hostile"))
{
    honest.down.bytes_per_second = honest.up.bytes_per_second = 1'000'000;
    ground.up.bytes_per_second = ground.down.bytes_per_second = o.hostile_bytes_per_s;
}

quic::endpoint stage::dialler(quic::endpoint_options o, std::unique_ptr<datagram_socket> through)
{
    if (!through) through = ground.bind().value();
    return endpoint_on(ground, std::move(o), std::move(through));
}

awaitable<std::shared_ptr<connection>> stage::dial(quic::endpoint& from)
{
    endpoint_address to = where;
    auto c = co_await from.connect(std::move(to), std::string(blob::alpn));
    if (!c) co_return nullptr;
    co_return std::move(c).assume_value();
}

awaitable<bool> stage::pause(std::chrono::nanoseconds time)
{
    const std::error_code ec = co_await sleep_for(time);
    co_return !ec && !over;
}

socket_address stage::nobody()
{
    const std::uint64_t n = dice.next();
    return socket_address::v4({10, static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8),
                               static_cast<std::uint8_t>(n >> 16)},
                              static_cast<std::uint16_t>(1024 + (n >> 32) % 60000));
}

std::vector<std::byte> stage::noise(std::size_t size)
{
    std::vector<std::byte> out(size);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < size; ++i) {
        if (i % 8 == 0) bits = dice.next();
        out[i] = static_cast<std::byte>(bits);
        bits >>= 8;
    }
    return out;
}

/// The programs of the play.
struct player {
    static awaitable<void> provide_to(std::shared_ptr<connection> c, blob::provide_environment& env,
                                      const blob::provide_options& options)
    {
        const auto why = co_await blob::provide(std::move(c), env, options);
        static_cast<void>(why);
    }

    static awaitable<result<void>> victim(stage& s)
    {
        const auto ex = co_await asio::this_coro::executor;
        const auto pool = make_inline_pool();
        store::memory_store blobs(64U << 20);
        store::memory_store received(8U << 20);
        const contents& known = contents::get();
        std::vector<const std::vector<std::byte>*> all{&known.large, &known.list};
        for (const auto& b : known.small) all.push_back(&b);
        for (const auto* b : all) {
            const auto added = blobs.add(*b);
            if (!added) co_return added.error();
        }
        disk::leaf_pool buffers("hostile provide", s.options.buffers, blob::provide_buffer_bytes);
        disk::leaf_pool extents("hostile fetch", 2U << 20, 256U << 10);
        blob::provide_share share(s.options.limits);
        blob::provide_environment env{blobs, *pool, buffers, &share};
        blob::fetch_environment fetching{received, *pool, extents};
        auto endpoint = endpoint_on(s.victim, s.options.victim, s.victim.bind(443).value());
        s.where = {endpoint.id(), {s.target()}};
        s.endpoint = &endpoint;
        s.share = &share;
        auto listening = endpoint.listen(blob::alpn);
        scope serving(ex);
        if (s.options.victims_errand)
            serving.spawn(s.options.victims_errand(s, endpoint, fetching));
        for (;;) {
            auto c = co_await listening.accept();
            if (!c) break;
            serving.spawn(provide_to(std::move(c).assume_value(), env, s.options.provide));
        }
        serving.request_stop();
        const auto joined = co_await serving.join();
        static_cast<void>(joined);
        co_await endpoint.close();
        s.endpoint = nullptr;
        s.share = nullptr;
        co_return outcome::success();
    }

    static awaitable<result<void>> hostile(stage& s, const actor& act)
    {
        co_await act(s);
        co_return outcome::success();
    }

    // Fetches the large blob, then each of the others over a connection of its own.
    static awaitable<result<void>> honest(stage& s)
    {
        const auto pool = make_inline_pool();
        store::memory_store received(16U << 20);
        disk::leaf_pool buffers("honest fetch", 4U << 20, 256U << 10);
        blob::fetch_environment env{received, *pool, buffers};
        auto endpoint = endpoint_on(s.honest, {},
                                    std::make_unique<overheard_socket>(s.honest.bind().value(), s));
        std::vector<hash::digest> wanted = contents::get().small_roots;
        wanted.push_back(contents::get().large_root);
        for (const hash::digest& root : wanted) {
            for (;;) {
                const auto got = co_await fetch(s, endpoint, root, env);
                if (got) break;
                const std::error_code ec = co_await sleep_for(20ms);
                if (ec) break;
            }
        }
        co_await endpoint.close();
        co_return outcome::success();
    }

    static awaitable<result<void>> fetch(stage& s, quic::endpoint& from, hash::digest root,
                                         blob::fetch_environment& env)
    {
        endpoint_address to = s.where;
        auto c = co_await from.connect(std::move(to), std::string(blob::alpn));
        if (!c) co_return c.error();
        blob::fetch_diagnostics where;
        blob::get_request request{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
        const auto got =
            co_await blob::fetch(std::move(c).assume_value(), std::move(request), env, {}, where);
        if (!got) co_return got.error();
        co_return outcome::success();
    }
};

namespace {

figures play_here(const actor& hostile, const stage_options& options)
{
    figures out;
    cpu_meter cpu;
    stage s(options);
    s.world.watch([&cpu](const sim::machine* m) { cpu.turn(m); });
    sim::machine& victim = s.victim.computer();
    sim::machine& attacker = s.ground.computer();
    sim::machine& peer = s.honest.computer();
    const auto go = [&](const char* what, const std::function<bool()>& done, auto limit) {
        if (!out.error.empty()) return;
        const auto ran = s.world.run_until(done, s.world.now() + limit);
        if (!ran) out.error = std::string(what) + ": " + ran.error().message();
    };
    quic::endpoint_statistics before;
    std::chrono::nanoseconds cpu_before{0};
    std::uint64_t made_before = 0;
    const auto begin = [&] {
        before = s.endpoint->statistics();
        cpu_before = cpu.used;
        made_before = heap::allocations(victims_account);
    };
    const auto measure = [&] {
        const auto now = s.endpoint->statistics();
        out.bytes_in = now.bytes_received - before.bytes_received;
        out.datagrams_in = now.datagrams_received - before.datagrams_received;
        out.bytes_out = now.bytes_sent - before.bytes_sent;
        out.cpu = cpu.used - cpu_before;
        out.allocations = heap::allocations(victims_account) - made_before;
    };

    victim.start(player::victim(s));
    go(
        "start", [&] { return s.endpoint != nullptr; }, 1s);
    if (!out.error.empty()) return out;
    out.heap_before = heap::held(victims_account);
    heap::forget_peak(victims_account);
    if (hostile) {
        begin();
        attacker.start(player::hostile(s, hostile));
        if (!s.world.run_for(options.alone)) out.error = "livelock";
        measure();
    }
    const auto began = s.world.now();
    if (!hostile) begin();
    peer.start(player::honest(s));
    go(
        "honest", [&] { return peer.running() == 0; }, 5min);
    out.honest = s.world.now() - began;
    if (!hostile) measure();
    out.heap_peak = heap::peak(victims_account);
    s.over = true;
    attacker.stop();
    go(
        "the attack's end", [&] { return attacker.running() == 0; }, 5min);
    if (!s.world.run_for(3min)) out.error = "livelock";
    out.acts = s.acts;
    out.heap_after = heap::held(victims_account);
    out.endpoint = s.endpoint->statistics();
    out.provider = s.share->counters;
    out.connections_after = s.endpoint->connection_count();
    if (s.share->connections.used() + s.share->requests.used() + s.share->observers.used() > 0)
        out.error = "places were not given back";
    victim.stop();
    go(
        "the end", [&] { return victim.running() == 0; }, 5min);
    for (sim::machine* m : {&victim, &attacker, &peer}) {
        if (out.error.empty() && m->failure())
            out.error = m->name() + ": " + m->failure().message();
    }
    return out;
}

}  // namespace

figures play(const actor& hostile, const stage_options& options)
{
    const auto& known = contents::get();  // made outside of the account
    static_cast<void>(known);
    // GnuTLS keeps the state of its generator for each thread: a fresh one for each play.
    figures out;
    std::thread run([&] { out = play_here(hostile, options); });
    run.join();
    return out;
}

namespace {

// The same play without an attack, for each kind of victim once.
const figures& peaceful(const stage_options& options)
{
    static std::map<std::pair<std::size_t, std::size_t>, figures> known;
    const std::pair kind(options.buffers, options.victim.max_connections);
    const auto found = known.find(kind);
    if (found != known.end()) return found->second;
    stage_options same = options;
    same.victims_errand = nullptr;
    return known[kind] = play({}, same);
}

}  // namespace

figures check(const std::string& name, const actor& hostile, const bounds& allowed,
              const stage_options& options)
{
    INFO(name);
    const figures& peace = peaceful(options);
    REQUIRE(peace.error.empty());
    const figures f = play(hostile, options);
    const double growth = double(f.heap_peak) - double(peace.heap_peak);
    const double left = double(f.heap_after) - double(peace.heap_after);
    const double cost = f.cpu_per_byte() / peace.cpu_per_byte();
    const double share = double(peace.honest.count()) / double(f.honest.count());
    std::printf(
        "copse hostile: %-28s heap %+7.0f KiB, left %+6.1f KiB, %6.0f KB in %5llu "
        "datagrams, CPU a byte %5.2f, sent %6.3f for each, honest rate %3.0f %%, acts %llu\n",
        name.c_str(), growth / 1024, left / 1024, double(f.bytes_in) / 1000,
        static_cast<unsigned long long>(f.datagrams_in), cost,
        double(f.bytes_out) / double(std::max<std::uint64_t>(1, f.bytes_in)), share * 100,
        static_cast<unsigned long long>(f.acts));
    std::fflush(stdout);
    CHECK(f.error == "");
    CHECK(growth <= double(allowed.heap));
    CHECK(left <= double(allowed.left));
    // Sanitizers slow an endpoint's own code several times, and hardly what an honest getter mostly
    // costs: encryption and copies.
    CHECK(cost <= allowed.cpu * (test::sanitized ? 2 : 1));
    CHECK(share >= allowed.share);
    CHECK(f.connections_after == 0);
    CHECK(f.acts > 0);
    // Everybody of the play is gone: nothing of any limit is in use.
    for (const limit_row& row : limits()) {
        INFO(row.name);
        CHECK(row.used == 0);
    }
    return f;
}

}  // namespace copse::hostile

using namespace copse::hostile;

TEST_CASE("stage: honest peers fetch everything at the rate of their link", "[hostile]")
{
    const figures f = play({});
    CHECK(f.error == "");
    CHECK(f.honest > 3s);
    CHECK(f.honest < 4s);
    CHECK(f.endpoint.accepted == 5);
    CHECK(f.connections_after == 0);
    CHECK(f.heap_peak > f.heap_before);
    CHECK(f.bytes_in > 10'000);
    std::printf(
        "copse hostile: an honest getter: %.0f KB in, %.0f KB out, %.1f ns of CPU for each byte "
        "in, heap %+.0f KiB\n",
        double(f.bytes_in) / 1000, double(f.bytes_out) / 1000, f.cpu_per_byte(),
        double(f.heap_peak - f.heap_before) / 1024);
}
