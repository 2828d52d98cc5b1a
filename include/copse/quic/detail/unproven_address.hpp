// How much may be sent to an address that a peer has only claimed. Internal to quic/.
#pragma once

#include <cstddef>
#include <cstdint>

namespace copse::quic::detail {

/// Keeps what goes to an address below three times what came from there, until it is proven. ngtcp2
/// allows three times exactly, and its close packets are not counted at all.
/// \par Spec RFC 9000 sections 8.1 and 10.2.1.
class unproven_address {
public:
    /// The address is the peer's: from now on everything may go.
    void prove() noexcept { proven_ = true; }
    /// A datagram came from the address.
    void received(std::size_t bytes) noexcept
    {
        if (!proven_) allowed_ += 3 * std::uint64_t{bytes};
    }
    /// Books a datagram to the address; false when it must not be sent.
    [[nodiscard]] bool take(std::size_t bytes) noexcept
    {
        if (proven_) return true;
        if (bytes >= allowed_) return false;
        allowed_ -= bytes;
        return true;
    }

private:
    bool proven_ = false;
    std::uint64_t allowed_ = 0;  // what would be three times
};

}  // namespace copse::quic::detail
