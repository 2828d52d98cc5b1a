// Which changes of its peer's address a server's connection follows. Internal to quic/.
#pragma once

#include <copse/core/address.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace copse::quic::detail {

/// Follows a peer as often as networks change, and with ngtcp2 0.12 from one connection id to
/// another only when that is safe. There two paths share an id when a NAT gives a peer another address
/// (RFC 9000 section 9.3): the new one and the one that it goes back to, until both are settled. If the
/// peer changed its id on a third path meanwhile, the shared one would be retired twice.
/// Times are nanoseconds of one clock.
class peer_moves {
public:
    /// More changes a minute are no network, but an attack.
    static constexpr unsigned max_a_minute = 32;

    /// The destination id of a short header.
    using id = std::array<std::byte, 8>;

    /// Whether a packet from another address than the present one may be followed.
    /// \param probe_timeout the present one.
    bool allows(const socket_address& from, const id& to, std::uint64_t now,
                std::uint64_t probe_timeout)
    {
        if (now - since_ >= minute) {
            since_ = now;
            count_ = 0;
        }
        if (count_ >= max_a_minute) return false;
        if (state_ != state::apart && to != id_ &&
            !(state_ == state::validating && from == before_))
            return false;
        last_ = to;
        probe_timeout_ = std::max(state_ == state::apart ? 0 : probe_timeout_, probe_timeout);
        return true;
    }
    /// It was followed. \param own_id whether the new path certainly has an id of its own.
    void followed(const socket_address& before, const socket_address& now, bool own_id)
    {
        ++count_;
        const bool back = state_ == state::validating && now == before_;
        if (own_id || back) {
            state_ = state::apart;
            return;
        }
        if (state_ != state::validating) before_ = before;
        state_ = state::validating;
        settled_at_ = 0;
        id_ = last_;
    }
    /// The new path was validated, or was not and is given up.
    void validated(bool works) noexcept
    {
        if (state_ == state::apart) return;
        state_ = works ? state::settling : state::apart;
        settled_at_ = 0;
    }
    /// Everything that could be sent was sent: ngtcp2 has looked at its timers.
    void wrote(std::uint64_t now, std::uint64_t probe_timeout) noexcept
    {
        if (state_ == state::apart) return;
        if (settled_at_ == 0) {
            // A path is probed for three probe timeouts (section 9.3.3), whichever is longer; of
            // a probe that another one replaces nothing is told.
            settled_at_ = now + 6 * std::max(probe_timeout, probe_timeout_);
        } else if (now >= settled_at_) {
            state_ = state::apart;
        }
    }

private:
    static constexpr std::uint64_t minute = 60'000'000'000;
    enum class state : std::uint8_t {
        apart,       ///< each path has an id of its own
        validating,  ///< the new path shares its id with the one before it
        settling,    ///< it is validated; the one before may still be probed
    };

    std::uint64_t since_ = 0;
    unsigned count_ = 0;
    state state_ = state::apart;
    socket_address before_;  ///< where the peer was before
    id id_{};                ///< the peer's packets have this since
    id last_{};
    std::uint64_t probe_timeout_ = 0;  ///< longest since then
    std::uint64_t settled_at_ = 0;     ///< when its probes have ended; 0 before a write
};

}  // namespace copse::quic::detail
