#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/identity.hpp>

#include <sodium.h>

#include <cstring>

namespace copse::quic {

namespace detail {

inline unsigned char* raw(std::byte* p) noexcept
{
    return reinterpret_cast<unsigned char*>(p);
}
inline const unsigned char* raw(const std::byte* p) noexcept
{
    return reinterpret_cast<const unsigned char*>(p);
}

}  // namespace detail

secret_key secret_key::generate()
{
    std::array<std::byte, 32> seed = random_bytes<32>();
    secret_key key = from_seed(seed);
    ::sodium_memzero(seed.data(), seed.size());
    return key;
}

secret_key secret_key::from_seed(std::span<const std::byte, 32> seed)
{
    secret_key key;
    std::memcpy(key.seed_.data(), seed.data(), seed.size());
    unsigned char expanded[crypto_sign_SECRETKEYBYTES];
    ::crypto_sign_seed_keypair(detail::raw(key.id_.bytes.data()), expanded,
                               detail::raw(key.seed_.data()));
    ::sodium_memzero(expanded, sizeof expanded);
    return key;
}

secret_key::~secret_key()
{
    ::sodium_memzero(seed_.data(), seed_.size());
}

signature secret_key::sign(byte_view message) const
{
    unsigned char expanded[crypto_sign_SECRETKEYBYTES];
    std::memcpy(expanded, seed_.data(), 32);
    std::memcpy(expanded + 32, id_.bytes.data(), 32);
    signature out;
    ::crypto_sign_detached(detail::raw(out.data()), nullptr, detail::raw(message.data()),
                           message.size(), expanded);
    ::sodium_memzero(expanded, sizeof expanded);
    return out;
}

bool verify(const endpoint_id& signer, byte_view message, const signature& s) noexcept
{
    return ::crypto_sign_verify_detached(detail::raw(s.data()), detail::raw(message.data()),
                                         message.size(), detail::raw(signer.bytes.data())) == 0;
}

bool is_valid(const endpoint_id& id) noexcept
{
    return ::crypto_core_ed25519_is_valid_point(detail::raw(id.bytes.data())) == 1;
}

}  // namespace copse::quic
