// Established peers that break QUIC's rules or stretch them, and onlookers who interfere.
#include "tests/hostile/forged_frames.hpp"
#include "tests/hostile/frame_storms.hpp"
#include "tests/hostile/key_update_storm.hpp"
#include "tests/hostile/migration_storm.hpp"
#include "tests/hostile/onlookers.hpp"

#include "tests/catch.hpp"

#include <copse/core/clock.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <vector>

using namespace copse;
using namespace copse::hostile;

namespace {

bool hostile_runs()
{
    return running_machine() && running_machine()->name() == "hostile";
}

// Connections of the hostile machine that are established.
std::vector<void*> established;

}  // namespace

frame_forger& copse::hostile::forged_frames()
{
    static frame_forger f;
    return f;
}

// ngtcp2's helper as the library calls it: the linker finds this one first. The frames of a packet
// pass through it in plain text.
extern "C" __attribute__((visibility("default"))) int ngtcp2_crypto_encrypt_cb(
    std::uint8_t* dest, const void* aead, const void* context, const std::uint8_t* plaintext,
    std::size_t size, const std::uint8_t* nonce, std::size_t nonce_size, const std::uint8_t* header,
    std::size_t header_size)
{
    static const auto real = reinterpret_cast<decltype(&ngtcp2_crypto_encrypt_cb)>(
        ::dlsym(RTLD_NEXT, "ngtcp2_crypto_encrypt_cb"));
    std::vector<std::uint8_t> instead;
    const bool short_header = header_size > 0 && (header[0] & 0x80U) == 0;
    if (short_header && hostile_runs() && forged_frames()) {
        instead.resize(size);
        forged_frames()(instead);
        plaintext = instead.data();
    }
    return real(dest, aead, context, plaintext, size, nonce, nonce_size, header, header_size);
}

extern "C" __attribute__((visibility("default"))) void ngtcp2_conn_set_tls_native_handle(
    void* conn, void* session)
{
    static const auto real = reinterpret_cast<decltype(&ngtcp2_conn_set_tls_native_handle)>(
        ::dlsym(RTLD_NEXT, "ngtcp2_conn_set_tls_native_handle"));
    real(conn, session);
    if (!session && hostile_runs()) established.push_back(conn);
}

extern "C" __attribute__((visibility("default"))) void ngtcp2_conn_del(void* conn)
{
    static const auto real =
        reinterpret_cast<decltype(&ngtcp2_conn_del)>(::dlsym(RTLD_NEXT, "ngtcp2_conn_del"));
    std::erase(established, conn);
    real(conn);
}

extern "C" int ngtcp2_conn_initiate_key_update(void* conn, std::uint64_t now);

std::size_t copse::hostile::update_keys()
{
    const auto now = monotonic_clock::now().time_since_epoch().count();
    return static_cast<std::size_t>(std::ranges::count_if(established, [now](void* conn) {
        return ngtcp2_conn_initiate_key_update(conn, static_cast<std::uint64_t>(now)) == 0;
    }));
}

TEST_CASE("hostile frames: storms of frames that QUIC allows", "[hostile]")
{
    check("PING storm", ping_storm);
    const auto challenged = check("PATH_CHALLENGE storm", challenge_storm);
    CHECK(challenged.bytes_out < challenged.bytes_in);
    check("sparse streams", sparse_streams);
    check("streams of single bytes", single_bytes);
    check("credit storm", credit_storm);
    check("reset storm", reset_storm);
    check("connection id storm", connection_id_storm);
    check("connection ids again", connection_ids_again);
    check("ragged acknowledgements", ragged_acknowledgements);
}

TEST_CASE("hostile frames: frames that QUIC forbids", "[hostile]")
{
    check("false acknowledgements", false_acknowledgements);
    check("TLS after the handshake", crypto_storm);
    check("frame noise", frame_noise);
}

TEST_CASE("hostile frames: key updates and moves", "[hostile]")
{
    check("key update storm", key_update_storm);
    const auto moved = check("migration storm", migration_storm);
    CHECK(moved.endpoint.refused_moves > 50);
    CHECK(moved.bytes_out < 3 * moved.bytes_in);
}

TEST_CASE("hostile frames: onlookers", "[hostile]")
{
    check("replays", replays);
    check("junk at connections", junk_at_connections);
    check("false resets", false_resets);
}
