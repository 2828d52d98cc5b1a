// TLS 1.3 with raw Ed25519 public keys (RFC 7250) by GnuTLS. Internal to quic/.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/result.hpp>
#include <copse/quic/identity.hpp>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace copse::quic::detail {

/// What the certificate check needs and leaves; owned by the connection.
struct tls_peer {
    std::optional<endpoint_id> expected;  ///< dialler: the id dialled
    std::optional<endpoint_id> found;     ///< the key the peer showed; proven after the handshake
    bool mismatch = false;
    ngtcp2_conn* conn = nullptr;  ///< for GnuTLS's hooks, which find it through the session
};

/// Credentials and priorities of one identity, shared by its connections.
class tls_context {
public:
    static result<std::unique_ptr<tls_context>> make(const secret_key& identity);
    tls_context() = default;
    tls_context(const tls_context&) = delete;
    tls_context& operator=(const tls_context&) = delete;
    ~tls_context();

    /// A session for one connection. `ref` and `peer` must outlive it and not move;
    /// ref->user_data must point to `peer`.
    result<gnutls_session_t> client_session(ngtcp2_crypto_conn_ref* ref,
                                            std::string_view alpn) const;
    result<gnutls_session_t> server_session(ngtcp2_crypto_conn_ref* ref,
                                            std::span<const std::string> alpns) const;

private:
    result<gnutls_session_t> session(ngtcp2_crypto_conn_ref* ref, bool server,
                                     std::span<const std::string> alpns) const;

    gnutls_certificate_credentials_t credentials_ = nullptr;
    gnutls_priority_t client_priority_ = nullptr;
    gnutls_priority_t server_priority_ = nullptr;
};

/// The ALPN agreed on, empty before the handshake.
std::string selected_alpn(gnutls_session_t session);

}  // namespace copse::quic::detail
