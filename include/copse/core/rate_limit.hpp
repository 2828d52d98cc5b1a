// Limits of bytes a second: a bucket that fills with time, and the coroutine that waits for it.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/clock.hpp>

#include <cstdint>
#include <system_error>

namespace copse {

/// A bucket of bytes that fills at a constant rate up to `burst`. No I/O, no clock.
///
/// Bytes are booked in the order of the calls, each behind those before it: users of one bucket share
/// it fairly when their bookings are about equally large.
class rate_core {
public:
    /// \param bytes_per_s 0: no limit.
    /// \param burst       bytes that may go at once after a pause.
    explicit rate_core(std::uint64_t bytes_per_s, std::uint64_t burst = default_burst) noexcept
        : rate_(bytes_per_s), burst_(burst)
    {}

    /// Bytes that may go at once after a pause.
    static constexpr std::uint64_t default_burst = std::uint64_t{512} << 10;

    /// Bytes a second, 0 for no limit.
    [[nodiscard]] std::uint64_t rate() const noexcept { return rate_; }

    /// Books `bytes` and says how long to wait before they go; what is booked stays booked.
    [[nodiscard]] std::chrono::nanoseconds book(std::uint64_t bytes, time_point now) noexcept
    {
        if (rate_ == 0) return {};
        // Everything booked so far has flowed at `level_`; a full bucket is `burst_` behind now.
        const time_point full = now - time_for(burst_);
        if (level_ < full) level_ = full;
        level_ += time_for(bytes);
        if (level_ > now + max_wait) level_ = now + max_wait;
        return level_ > now ? level_ - now : std::chrono::nanoseconds{};
    }

private:
    static constexpr std::chrono::nanoseconds max_wait = std::chrono::hours(24);
    static constexpr std::uint64_t second = 1'000'000'000;

    [[nodiscard]] std::chrono::nanoseconds time_for(std::uint64_t bytes) const noexcept
    {
        const std::uint64_t whole = bytes / rate_;
        if (whole >= 86'400) return max_wait;
        const std::uint64_t rest = bytes % rate_;
        // Below 2^33 the product fits; above, a nanosecond is more than eight bytes.
        const std::uint64_t part =
            rest < (std::uint64_t{1} << 33) ? rest * second / rate_ : rest / (rate_ / second);
        return std::chrono::nanoseconds(static_cast<std::int64_t>(whole * second + part));
    }

    std::uint64_t rate_;
    std::uint64_t burst_;
    time_point level_{};
};

/// Lets bytes pass at a limited rate. Several users may share it.
/// \par Threads one executor.
/// \par Lifetime must outlive those who wait.
class rate_limiter {
public:
    /// The limit in bytes a second, 0 for none, and what may go at once after a pause.
    explicit rate_limiter(std::uint64_t bytes_per_s,
                          std::uint64_t burst = rate_core::default_burst) noexcept
        : core_(bytes_per_s, burst)
    {}
    rate_limiter(const rate_limiter&) = delete;
    rate_limiter& operator=(const rate_limiter&) = delete;

    /// Waits until `bytes` may go. \return operation_canceled when asked to stop; they count then too.
    /// \par Cancellation total.
    awaitable<std::error_code> take(std::uint64_t bytes);

    /// Waits until all that was booked has gone, for users that learn afterwards how much they moved.
    /// \par Cancellation total.
    awaitable<std::error_code> ready() { return take(0); }
    /// Books bytes that have gone.
    void charge(std::uint64_t bytes) noexcept
    {
        static_cast<void>(core_.book(bytes, monotonic_clock::now()));  // the next one waits for it
    }

    /// Bytes a second, 0 for no limit.
    [[nodiscard]] std::uint64_t rate() const noexcept { return core_.rate(); }

private:
    rate_core core_;
};

}  // namespace copse
