// Notices when a path stops to carry large packets. Internal to quic/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace copse::quic::detail {

/// ngtcp2 discovers larger packets and keeps to them for ever: if the path shrinks later, all that
/// carries data is lost and nothing tells. So, when data stays unacknowledged through three probe
/// timeouts, or large datagrams are lost in a row, packets are kept at the size that every path must carry,
/// for a while that doubles each time. An outage looks the same and costs a moment of smaller packets.
/// Times are nanoseconds of one clock.
/// \par Spec RFC 8899 section 4.3, RFC 9000 section 14.3.
class black_hole {
public:
    /// What every path carries (RFC 9000 section 14).
    static constexpr std::size_t base_size = 1200;

    /// Bytes of streams or datagrams went out for the first time.
    void sent(std::uint64_t bytes, std::uint64_t now) noexcept
    {
        if (unacknowledged_ == 0) progress_ = now;
        unacknowledged_ += bytes;
    }
    /// Some of them arrived.
    void acknowledged(std::uint64_t bytes, std::uint64_t now) noexcept
    {
        unacknowledged_ -= std::min(bytes, unacknowledged_);
        progress_ = now;
    }
    /// Nobody will acknowledge them any more.
    void forgotten(std::uint64_t bytes) noexcept
    {
        unacknowledged_ -= std::min(bytes, unacknowledged_);
    }
    /// A datagram that needs more than the base size arrived.
    void datagram_arrived() noexcept { lost_in_a_row_ = 0; }
    /// Or did not.
    void datagram_lost(std::uint64_t now) noexcept
    {
        if (++lost_in_a_row_ >= lost_datagrams) suspect(now);
    }
    /// A timer of the connection fired. `timeout`: its probe timeout without backoff.
    void expired(std::uint64_t now, std::uint64_t timeout) noexcept
    {
        // Probes are due 1, 3 and 7 timeouts after the last progress (RFC 9002 section 6.2.1).
        if (unacknowledged_ > 0 && now - progress_ >= 7 * timeout) suspect(now);
    }

    /// True while packets must be of the base size.
    [[nodiscard]] bool narrow(std::uint64_t now) const noexcept { return now < until_; }

private:
    static constexpr std::uint64_t second = 1'000'000'000;
    static constexpr std::uint64_t first_time = 10 * second;
    // PMTU_RAISE_TIMER, RFC 8899 section 5.1.1.
    static constexpr std::uint64_t longest = 600 * second;
    static constexpr unsigned lost_datagrams = 10;

    void suspect(std::uint64_t now) noexcept
    {
        if (narrow(now)) return;
        until_ = now + for_;
        for_ = std::min(2 * for_, longest);
        lost_in_a_row_ = 0;
    }

    std::uint64_t unacknowledged_ = 0;
    std::uint64_t progress_ = 0;  // when some of it arrived last, or its first byte was sent
    std::uint64_t until_ = 0;
    std::uint64_t for_ = first_time;
    unsigned lost_in_a_row_ = 0;
};

}  // namespace copse::quic::detail
