#pragma once

#include <copse/quic/impl/tls.hpp>

#include <gnutls/abstract.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <sodium.h>

#include <cstring>

namespace copse::quic::detail {

// SubjectPublicKeyInfo of an Ed25519 key: this prefix, then the 32 bytes (RFC 8410 section 4).
inline constexpr std::array<unsigned char, 12> spki_prefix{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                           0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

// TLS 1.3 only, AES-128 first (hardware makes it as cheap as any), X25519, raw keys both ways.
// QUIC forbids the compatibility session id (RFC 9001 section 8.4).
inline constexpr const char* priorities =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:%DISABLE_TLS13_COMPAT_MODE:-CTYPE-ALL:+CTYPE-CLI-RAWPK:"
    "+CTYPE-SRV-RAWPK:-SIGN-ALL:+SIGN-EDDSA-ED25519";

extern "C" inline int copse_quic_check_peer(gnutls_session_t session)
{
    auto* const ref = static_cast<ngtcp2_crypto_conn_ref*>(::gnutls_session_get_ptr(session));
    auto* const peer = static_cast<tls_peer*>(ref->user_data);
    if (::gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_RAWPK) return -1;
    unsigned count = 0;
    const gnutls_datum_t* const keys = ::gnutls_certificate_get_peers(session, &count);
    if (!keys || count != 1 || keys->size != spki_prefix.size() + 32) return -1;
    if (std::memcmp(keys->data, spki_prefix.data(), spki_prefix.size()) != 0) return -1;
    endpoint_id id;
    std::memcpy(id.bytes.data(), keys->data + spki_prefix.size(), id.bytes.size());
    peer->found = id;
    peer->mismatch = peer->expected && *peer->expected != id;
    return peer->mismatch ? -1 : 0;
}

inline std::error_code tls_error() noexcept
{
    return make_error_code(std::errc::not_supported);
}

result<std::unique_ptr<tls_context>> tls_context::make(const secret_key& identity)
{
    if (::sodium_init() < 0) return tls_error();
    auto context = std::make_unique<tls_context>();
    std::array<unsigned char, 32> pub;
    std::array<unsigned char, 32> seed;
    std::memcpy(pub.data(), identity.id().bytes.data(), pub.size());
    std::memcpy(seed.data(), identity.seed().data(), seed.size());
    const gnutls_datum_t x{pub.data(), pub.size()};
    const gnutls_datum_t k{seed.data(), seed.size()};
    gnutls_privkey_t key = nullptr;
    gnutls_pubkey_t pubkey = nullptr;
    gnutls_pcert_st pcert;
    bool own_pcert = false;
    std::memset(&pcert, 0, sizeof pcert);

    const auto set_up = [&]() -> bool {
        if (::gnutls_privkey_init(&key) != 0 || ::gnutls_pubkey_init(&pubkey) != 0) return false;
        if (::gnutls_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &x, nullptr, &k) != 0) {
            return false;
        }
        if (::gnutls_pubkey_import_ecc_raw(pubkey, GNUTLS_ECC_CURVE_ED25519, &x, nullptr) != 0) {
            return false;
        }
        if (::gnutls_pcert_import_rawpk(&pcert, pubkey, 0) != 0) return false;
        pubkey = nullptr;  // owned by the pcert
        own_pcert = true;
        if (::gnutls_certificate_allocate_credentials(&context->credentials_) != 0) return false;
        if (::gnutls_certificate_set_key(context->credentials_, nullptr, 0, &pcert, 1, key) != 0) {
            return false;
        }
        key = nullptr;  // owned by the credentials, as is the pcert
        own_pcert = false;
        ::gnutls_certificate_set_verify_function(context->credentials_, copse_quic_check_peer);
        const std::string server = std::string(priorities) + ":%SERVER_PRECEDENCE";
        return ::gnutls_priority_init(&context->client_priority_, priorities, nullptr) == 0 &&
               ::gnutls_priority_init(&context->server_priority_, server.c_str(), nullptr) == 0;
    };
    const bool ok = set_up();
    if (key) ::gnutls_privkey_deinit(key);
    if (pubkey) ::gnutls_pubkey_deinit(pubkey);
    if (own_pcert) ::gnutls_pcert_deinit(&pcert);
    ::sodium_memzero(seed.data(), seed.size());
    if (!ok) return tls_error();
    return context;
}

tls_context::~tls_context()
{
    if (credentials_) ::gnutls_certificate_free_credentials(credentials_);
    if (client_priority_) ::gnutls_priority_deinit(client_priority_);
    if (server_priority_) ::gnutls_priority_deinit(server_priority_);
}

result<gnutls_session_t> tls_context::session(ngtcp2_crypto_conn_ref* ref, bool server,
                                              std::span<const std::string> alpns) const
{
    // Tickets would resume a session without the peer's key: none are sent.
    const unsigned flags = (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_ENABLE_RAWPK |
                           GNUTLS_NO_END_OF_EARLY_DATA | GNUTLS_NO_TICKETS;
    gnutls_session_t s = nullptr;
    if (::gnutls_init(&s, flags) != 0) return tls_error();
    std::vector<gnutls_datum_t> names;
    for (const std::string& alpn : alpns) {
        names.push_back({reinterpret_cast<unsigned char*>(const_cast<char*>(alpn.data())),
                         static_cast<unsigned>(alpn.size())});
    }
    const unsigned alpn_flags =
        GNUTLS_ALPN_MANDATORY | (server ? unsigned{GNUTLS_ALPN_SERVER_PRECEDENCE} : 0U);
    const bool ok = ::gnutls_priority_set(s, server ? server_priority_ : client_priority_) == 0 &&
                    (server ? ::ngtcp2_crypto_gnutls_configure_server_session(s)
                            : ::ngtcp2_crypto_gnutls_configure_client_session(s)) == 0 &&
                    ::gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, credentials_) == 0 &&
                    ::gnutls_alpn_set_protocols(
                        s, names.data(), static_cast<unsigned>(names.size()), alpn_flags) == 0;
    if (!ok) {
        ::gnutls_deinit(s);
        return tls_error();
    }
    ::gnutls_session_set_ptr(s, ref);
    if (server) ::gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
    return s;
}

result<gnutls_session_t> tls_context::client_session(ngtcp2_crypto_conn_ref* ref,
                                                     std::string_view alpn) const
{
    const std::string one(alpn);
    return session(ref, false, std::span(&one, 1));
}

result<gnutls_session_t> tls_context::server_session(ngtcp2_crypto_conn_ref* ref,
                                                     std::span<const std::string> alpns) const
{
    return session(ref, true, alpns);
}

std::string selected_alpn(gnutls_session_t session)
{
    gnutls_datum_t name{};
    if (::gnutls_alpn_get_selected_protocol(session, &name) != 0) return {};
    return {reinterpret_cast<const char*>(name.data), name.size};
}

}  // namespace copse::quic::detail
