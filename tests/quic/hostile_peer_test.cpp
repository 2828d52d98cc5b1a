// What peers may do within the protocol: update keys, and try to make us work or grow without end.
#include "tests/quic/memory_net.hpp"

#include <copse/core/clock.hpp>
#include <copse/core/race.hpp>

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <optional>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

using connection_id = std::array<std::uint8_t, 8>;

/// Whose packets carry challenges instead of what they should: those that go to this id.
struct forgery {
    std::optional<connection_id> to;
    std::size_t challenges = 0;
};
forgery forged;

constexpr std::uint8_t path_challenge = 0x1a;  // RFC 9000 section 19.17
constexpr std::size_t challenge_size = 9;

/// As many PATH_CHALLENGE frames as fit, each with other data; what is left stays PADDING.
std::vector<std::uint8_t> challenges(std::size_t size)
{
    std::vector<std::uint8_t> out(size);
    for (std::size_t at = 0; at + challenge_size <= size; at += challenge_size) {
        out[at] = path_challenge;
        std::memcpy(&out[at + 1], &++forged.challenges, sizeof forged.challenges);
    }
    return out;
}

}  // namespace

// ngtcp2's helper as the library calls it: the linker finds this one first. The frames of a packet
// pass through it in plain text, and its header, where the destination id follows the first byte.
extern "C" __attribute__((visibility("default"))) int ngtcp2_crypto_encrypt_cb(
    std::uint8_t* dest, const void* aead, const void* context, const std::uint8_t* plaintext,
    std::size_t size, const std::uint8_t* nonce, std::size_t nonce_size, const std::uint8_t* header,
    std::size_t header_size)
{
    static const auto real = reinterpret_cast<decltype(&ngtcp2_crypto_encrypt_cb)>(
        ::dlsym(RTLD_NEXT, "ngtcp2_crypto_encrypt_cb"));
    std::vector<std::uint8_t> instead;
    const bool short_header = header_size > 8 && (header[0] & 0x80U) == 0;
    if (forged.to && short_header && std::memcmp(header + 1, forged.to->data(), 8) == 0) {
        instead = challenges(size);
        plaintext = instead.data();
    }
    return real(dest, aead, context, plaintext, size, nonce, nonce_size, header, header_size);
}

namespace {

/// Connections of ngtcp2 whose TLS session was given up, in that order: the dialler's first.
std::vector<void*> without_session;

}  // namespace

extern "C" __attribute__((visibility("default"))) void ngtcp2_conn_set_tls_native_handle(
    void* conn, void* session)
{
    static const auto real = reinterpret_cast<decltype(&ngtcp2_conn_set_tls_native_handle)>(
        ::dlsym(RTLD_NEXT, "ngtcp2_conn_set_tls_native_handle"));
    real(conn, session);
    if (!session) without_session.push_back(conn);
}
extern "C" int ngtcp2_conn_initiate_key_update(void* conn, std::uint64_t now);

TEST_CASE("quic: keys are updated from either side, though the TLS session is gone", "[quic]")
{
    without_session.clear();
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        auto near = co_await p.client.connect(address_of(p.server), std::string(echo_alpn));
        REQUIRE(near);
        auto first = co_await echo_once(near.value(), 100'000);
        CHECK(first);
        REQUIRE(without_session.size() == 2);
        for (const std::size_t side : {0U, 1U}) {
            INFO("by side " << side);
            // A further update waits for three probe timeouts (RFC 9001 section 6.5).
            const auto update = [side] {
                const auto now = monotonic_clock::now().time_since_epoch().count();
                return ngtcp2_conn_initiate_key_update(without_session[side],
                                                       static_cast<std::uint64_t>(now));
            };
            int rv = update();
            for (int i = 0; i < 1000 && rv != 0; ++i) {
                co_await pause(5ms);
                rv = update();
            }
            CHECK(rv == 0);
            auto again = co_await echo_once(near.value(), 100'000);
            CHECK(again);
        }
        CHECK(!near.value()->why_closed());
    });
}

TEST_CASE("quic: a flood of PATH_CHALLENGE is not answered with one", "[quic][flood]")
{
    run_memory_pair([](memory_pair& p) -> awaitable<void> {
        std::optional<connection_id> server_id;
        std::size_t in = 0;
        std::size_t out = 0;
        p.net.pass = [&](memory_net::datagram& d) {
            const bool short_header = (std::to_integer<unsigned>(d.bytes[0]) & 0x80U) == 0;
            if (d.from == client_at && short_header && !server_id) {
                server_id.emplace();
                std::memcpy(server_id->data(), d.bytes.data() + 1, server_id->size());
            }
            if (forged.to) (d.from == client_at ? in : out) += d.bytes.size();
            return true;
        };
        auto near = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
        REQUIRE(near);
        auto far = co_await p.plain.accept();
        REQUIRE(far);
        while (!server_id) co_await settle(1);
        co_await settle();

        forged.challenges = 0;
        forged.to = server_id;
        for (int i = 0; i < 400; ++i) {
            const auto sent = near.value()->send_datagram(shared_bytes::copy(pattern(1000)));
            CHECK((sent || sent.error() == transport_errc::limit_reached));
            co_await settle(2);
        }
        co_await pause(50ms);
        forged.to.reset();
        INFO(forged.challenges << " challenges in " << in << " bytes, " << out << " bytes back");
        CHECK(forged.challenges > 10'000);
        CHECK(out < in);
        CHECK(!far.value()->why_closed());
        // Nor is anything of it left to send.
        const auto before = far.value()->statistics().packets_sent;
        co_await settle(100);
        CHECK(far.value()->statistics().packets_sent <= before + 10);
        p.net.pass = {};
    });
}

TEST_CASE("quic: streams opened and reset at a high rate leave nothing behind", "[quic][limits]")
{
    quic::endpoint_options few;
    few.max_remote_streams = 20;
    bool with_data = false;
    SECTION("empty") {}
    SECTION("with data")
    {
        with_data = true;
    }
    run_memory_pair(
        [with_data](memory_pair& p) -> awaitable<void> {
            auto near = co_await p.client.connect(address_of(p.server), std::string(plain_alpn));
            REQUIRE(near);
            auto far = co_await p.plain.accept();
            REQUIRE(far);
            constexpr std::size_t streams = 5000;
            std::size_t accepted = 0;
            std::size_t most = 0;
            std::size_t alive = 0;
            struct place {
                std::size_t& of;
                explicit place(std::size_t& all) : of(all) { ++of; }
                place(const place&) = delete;
                place& operator=(const place&) = delete;
                ~place() { --of; }
            };
            // Reads until the reset: what every server does.
            const auto serve = [](bidi_stream s, std::size_t& living) -> awaitable<void> {
                const place here(living);
                const auto got = co_await read_all(*s.recv);
                CHECK(!got);
            };
            const auto take = [&](std::shared_ptr<connection> c) -> awaitable<void> {
                scope serving(c->get_executor());
                for (;;) {
                    auto s = co_await c->accept_bi();
                    if (!s) break;
                    ++accepted;
                    serving.spawn(serve(std::move(s).value(), alive));
                    most = std::max(most, alive);
                }
                const auto joined = co_await serving.join();
                static_cast<void>(joined);
            };
            scope accepting(p.net.ex);
            accepting.spawn(take(far.value()));
            for (std::size_t i = 0; i < streams; ++i) {
                auto opening = near.value()->open_bi();
                auto s = co_await with_timeout(std::move(opening), 20s);
                REQUIRE(s);
                if (with_data) {
                    const auto sent = co_await s.value().send->write_copy(pattern(500));
                    CHECK(sent);
                    if (i % 2 == 0) co_await settle(1);
                }
                s.value().send->reset(7);
                s.value().recv->stop(7);
            }
            CHECK(most <= 40);  // those whose end is not noticed yet included
            auto opening = near.value()->open_bi();
            const auto more = co_await with_timeout(std::move(opening), 20s);
            CHECK(more);
            CHECK(accepted + 20 >= streams);
            near.value()->close(0, {});
            const auto joined = co_await accepting.join();
            CHECK(joined);
            CHECK(alive == 0);
        },
        few);
}
