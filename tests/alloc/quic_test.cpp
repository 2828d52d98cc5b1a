// Allocations of the C libraries below quic fail, one in each run: connections end with an error, and the
// endpoints go on.
#include "failing.hpp"

#include "tests/quic/endpoints.hpp"

#include <copse/sim/interpose.ipp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>

#include <cstdlib>
#include <cstring>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

/// Counts the allocations of a library while it is armed; number `nth` fails.
struct library_memory {
    bool armed = false;
    bool failed = false;
    std::size_t count = 0;
    std::size_t nth = 0;
    bool paused = false;

    void arm(std::size_t n) { *this = {true, false, 0, n, paused}; }
    [[nodiscard]] bool must_fail() noexcept
    {
        if (!armed || paused || count++ != nth) return false;
        failed = true;
        return true;
    }
};

constinit library_memory of_ngtcp2;
constinit library_memory of_gnutls;

const ngtcp2_mem failing_memory = {
    nullptr,
    [](std::size_t n, void*) { return of_ngtcp2.must_fail() ? nullptr : std::malloc(n); },
    [](void* p, void*) { std::free(p); },
    [](std::size_t n, std::size_t size, void*) {
        return of_ngtcp2.must_fail() ? nullptr : std::calloc(n, size);
    },
    [](void* p, std::size_t n, void*) {
        return of_ngtcp2.must_fail() ? nullptr : std::realloc(p, n);
    },
};

template <class Function>
Function* real(const char* name)
{
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// The library passes no allocator: the executable's definitions come before ngtcp2's and do.
extern "C" int ngtcp2_conn_client_new_versioned(
    ngtcp2_conn** conn, const ngtcp2_cid* dcid, const ngtcp2_cid* scid, const ngtcp2_path* path,
    std::uint32_t version, int callbacks_version, const ngtcp2_callbacks* callbacks,
    int settings_version, const ngtcp2_settings* settings, int params_version,
    const ngtcp2_transport_params* params, const ngtcp2_mem*, void* user)
{
    static auto* const next =
        real<decltype(ngtcp2_conn_client_new_versioned)>("ngtcp2_conn_client_new_versioned");
    return next(conn, dcid, scid, path, version, callbacks_version, callbacks, settings_version,
                settings, params_version, params, &failing_memory, user);
}

extern "C" int ngtcp2_conn_server_new_versioned(
    ngtcp2_conn** conn, const ngtcp2_cid* dcid, const ngtcp2_cid* scid, const ngtcp2_path* path,
    std::uint32_t version, int callbacks_version, const ngtcp2_callbacks* callbacks,
    int settings_version, const ngtcp2_settings* settings, int params_version,
    const ngtcp2_transport_params* params, const ngtcp2_mem*, void* user)
{
    static auto* const next =
        real<decltype(ngtcp2_conn_server_new_versioned)>("ngtcp2_conn_server_new_versioned");
    return next(conn, dcid, scid, path, version, callbacks_version, callbacks, settings_version,
                settings, params_version, params, &failing_memory, user);
}

// What quic itself allocates in ngtcp2's callbacks while a packet is read.
extern "C" int ngtcp2_conn_read_pkt_versioned(ngtcp2_conn* conn, const ngtcp2_path* path,
                                              int version, const ngtcp2_pkt_info* info,
                                              const std::uint8_t* data, size_t n, ngtcp2_tstamp now)
{
    static auto* const next =
        real<decltype(ngtcp2_conn_read_pkt_versioned)>("ngtcp2_conn_read_pkt_versioned");
    const marked_again callbacks;
    return next(conn, path, version, info, data, n, now);
}

// Of GnuTLS only what it allocates between these two, while a session is made, is told to fail: how it gets
// on in the middle of a handshake is its own affair.
extern "C" int gnutls_init(gnutls_session_t* session, unsigned flags)
{
    static auto* const next = real<decltype(gnutls_init)>("gnutls_init");
    of_gnutls.paused = false;
    return next(session, flags);
}

extern "C" void gnutls_session_set_ptr(gnutls_session_t session, void* ptr)
{
    static auto* const next = real<decltype(gnutls_session_set_ptr)>("gnutls_session_set_ptr");
    of_gnutls.paused = true;
    next(session, ptr);
}

extern "C" void gnutls_deinit(gnutls_session_t session)
{
    static auto* const next = real<decltype(gnutls_deinit)>("gnutls_deinit");
    of_gnutls.paused = true;
    next(session);
}

namespace {

/// GnuTLS's allocators for the time of a test.
class failing_gnutls {
public:
    failing_gnutls() : malloc_(gnutls_malloc), calloc_(gnutls_calloc), realloc_(gnutls_realloc)
    {
        gnutls_malloc = [](std::size_t n) {
            return of_gnutls.must_fail() ? nullptr : std::malloc(n);
        };
        gnutls_calloc = [](std::size_t n, std::size_t size) {
            return of_gnutls.must_fail() ? nullptr : std::calloc(n, size);
        };
        gnutls_realloc = [](void* p, std::size_t n) {
            return of_gnutls.must_fail() ? nullptr : std::realloc(p, n);
        };
    }
    failing_gnutls(const failing_gnutls&) = delete;
    failing_gnutls& operator=(const failing_gnutls&) = delete;
    ~failing_gnutls()
    {
        gnutls_malloc = malloc_;
        gnutls_calloc = calloc_;
        gnutls_realloc = realloc_;
    }

private:
    gnutls_alloc_function malloc_;
    gnutls_calloc_function calloc_;
    gnutls_realloc_function realloc_;
};

quic::endpoint endpoint_on(sim::host& h)
{
    quic::endpoint_options o;
    o.handshake_timeout = 3s;
    o.idle_timeout = 5s;
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(h.bind().value());
    return quic::endpoint::make(h.computer().life().get_executor(), o, std::move(sockets)).value();
}

awaitable<result<void>> serve(sim::host& h, endpoint_address& where)
{
    auto server = endpoint_on(h);
    where = server.address();
    where.paths = {server.bound_addresses().front()};
    scope serving(co_await asio::this_coro::executor);
    serving.spawn(echo_server(server.listen(echo_alpn)));
    const auto ended = co_await serving.join();
    co_await server.close();
    co_return ended;
}

/// Echoes some bytes; an error of either side is the result.
awaitable<std::error_code> echo(quic::endpoint& from, endpoint_address to)
{
    auto dialled = co_await from.connect(std::move(to), std::string(echo_alpn));
    if (!dialled) co_return dialled.error();
    const auto c = std::move(dialled).value();
    auto opened = co_await c->open_bi();
    if (!opened) co_return opened.error();
    bidi_stream s = std::move(opened).value();
    const auto sent = co_await s.send->write(shared_bytes::copy(pattern(20'000)));
    if (!sent) co_return sent.error();
    s.send->finish();
    std::vector<std::byte> buffer(16384);
    std::size_t got = 0;
    for (;;) {
        const auto n = co_await s.recv->read(buffer);
        if (!n) co_return n.error();
        if (n.value() == 0) break;
        got += n.value();
    }
    if (got != 20'000) co_return make_error_code(std::errc::io_error);
    co_return std::error_code{};
}

struct two_dials {
    std::error_code disturbed;
    std::error_code after;
    bool done = false;
};

awaitable<result<void>> dial_twice(sim::host& h, const endpoint_address& where,
                                   library_memory& memory, std::size_t nth, two_dials& out)
{
    auto client = endpoint_on(h);
    memory.arm(nth);
    out.disturbed = co_await echo(client, where);
    memory.armed = false;
    out.after = co_await echo(client, where);
    out.done = true;
    co_await client.close();
    co_return outcome::success();
}

/// Dials twice in a world. \return how it went.
two_dials dials_in_world(library_memory& memory, std::size_t nth)
{
    sim::world w(5);
    sim::network net(w);
    auto& a = w.add_machine("server");
    auto& b = w.add_machine("client");
    auto& ha = net.add_host(a);
    auto& hb = net.add_host(b);
    endpoint_address where;
    two_dials out;
    a.start(serve(ha, where));
    const auto served = w.run_for(1ms);
    b.start(dial_twice(hb, where, memory, nth, out));
    const auto ran = w.run_until([&] { return b.running() == 0; }, 10min);
    out.done = served && ran && out.done && a.running() == 1;
    return out;
}

/// One world for each allocation that fails. \return how many ended the first connection.
std::size_t fail_in_worlds(library_memory& memory)
{
    std::size_t failures = 0;
    for (std::size_t nth = 0;; ++nth) {
        REQUIRE(nth < most_allocations);
        INFO("allocation " << nth);
        const two_dials out = dials_in_world(memory, nth);
        const bool failed = std::exchange(memory.failed, false);
        memory.armed = false;
        REQUIRE(out.done);
        REQUIRE_FALSE(out.after);
        if (!failed) {
            REQUIRE_FALSE(out.disturbed);
            return failures;
        }
        if (out.disturbed) ++failures;
    }
}

awaitable<result<void>> make_until_it_works(sim::host& h, std::size_t& refused)
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options o;
    for (;; ++refused) {
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(h.bind().value());
        of_gnutls.paused = false;
        of_gnutls.arm(refused);
        auto made = quic::endpoint::make(ex, o, std::move(sockets));
        of_gnutls.armed = false;
        REQUIRE(made.has_value() != of_gnutls.failed);
        if (!made) continue;
        co_await made.value().close();
        co_return outcome::success();
    }
}

}  // namespace

TEST_CASE("alloc: copse::quic::endpoint::connect (memory of ngtcp2)", "[alloc][quic]")
{
    CHECK(fail_in_worlds(of_ngtcp2) > 20);
}

TEST_CASE("alloc: copse::quic::endpoint::connect (in the callbacks of ngtcp2)", "[alloc][quic]")
{
    library_memory none;
    std::size_t failures = 0;
    std::size_t told = 0;
    for (std::size_t nth = 0;; ++nth) {
        REQUIRE(nth < most_allocations);
        INFO("allocation " << nth);
        two_dials out;
        bool failed = false;
        {
            const failing_allocation marked(nth);
            const unmarked everything_else;
            out = dials_in_world(none, most_allocations);
            failed = marked.failed();
        }
        REQUIRE(out.done);
        // The second dial has callbacks too, so either of both may be the one.
        REQUIRE_FALSE((out.disturbed && out.after));
        if (!failed) break;
        failures += out.disturbed || out.after;
        told += out.disturbed == std::errc::not_enough_memory;
    }
    CHECK(failures > 2);
    CHECK(told > 0);
}

TEST_CASE("alloc: copse::quic::endpoint::connect (sessions of GnuTLS)", "[alloc][quic]")
{
    const failing_gnutls hooks;
    of_gnutls.paused = true;
    CHECK(fail_in_worlds(of_gnutls) > 5);
}

TEST_CASE("alloc: copse::quic::endpoint::make (memory of GnuTLS)", "[alloc][quic]")
{
    const failing_gnutls hooks;
    sim::world w(5);
    sim::network net(w);
    auto& h = net.add_host(w.add_machine("alone"));
    std::size_t refused = 0;
    h.computer().start(make_until_it_works(h, refused));
    REQUIRE(w.run_until([&] { return h.computer().running() == 0; }, 1min));
    CHECK(refused > 5);
}
