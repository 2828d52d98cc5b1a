// Ed25519 identities: who an endpoint is.
// Spec: docs/specs/endpoint.md section 1.
#pragma once

#include <copse/core/address.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <array>
#include <cstddef>

namespace copse::quic {

using signature = std::array<std::byte, 64>;

/// An Ed25519 private key (RFC 8032 seed of 32 bytes) with its public key. Wiped when destroyed.
class secret_key {
public:
    /// A new random key from the entropy seam.
    [[nodiscard]] static secret_key generate();
    /// The key of a seed, as a key file keeps it.
    [[nodiscard]] static secret_key from_seed(std::span<const std::byte, 32> seed);

    /// A copy of the key, as secret as the first.
    secret_key(const secret_key&) = default;
    /// The same.
    secret_key& operator=(const secret_key&) = default;
    ~secret_key();

    /// The public key.
    [[nodiscard]] const endpoint_id& id() const noexcept { return id_; }
    /// The seed, to be stored or shown nowhere but in a key file.
    [[nodiscard]] std::span<const std::byte, 32> seed() const noexcept { return seed_; }
    /// An Ed25519 signature (RFC 8032) of a message.
    [[nodiscard]] signature sign(byte_view message) const;

private:
    secret_key() = default;

    std::array<std::byte, 32> seed_{};
    endpoint_id id_;
};

/// Strict verification: rejects small-order keys, non-canonical S and non-canonical points.
[[nodiscard]] bool verify(const endpoint_id& signer, byte_view message,
                          const signature& s) noexcept;

/// True when the 32 bytes are a canonical point of the prime-order group, as a usable id must be.
[[nodiscard]] bool is_valid(const endpoint_id& id) noexcept;

}  // namespace copse::quic
