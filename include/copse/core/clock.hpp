// The clock seams: monotonic time and wall time, replaceable for one thread by a simulated world.
#pragma once

#include <copse/core/duration.hpp>

namespace copse {

/// Monotonic time with the meaning of CLOCK_MONOTONIC, in nanoseconds. Models the standard Clock.
struct monotonic_clock {
    using duration = std::chrono::nanoseconds;  ///< what std::chrono asks of a clock
    using rep = duration::rep;                  ///< the same
    using period = duration::period;            ///< the same
    using time_point = std::chrono::time_point<monotonic_clock>;  ///< since an arbitrary start
    static constexpr bool is_steady = true;                       ///< never set back

    /// The time of the installed clock.
    static time_point now() noexcept;
};

using time_point = monotonic_clock::time_point;

/// Time since the Unix epoch, for records that people read. Never for timeouts.
std::chrono::nanoseconds wall_time() noexcept;

/// Where a thread takes its time from.
class clock_source {
public:
    virtual ~clock_source() = default;
    /// Time that never goes back.
    virtual time_point monotonic() noexcept = 0;
    /// Time since the Unix epoch.
    virtual std::chrono::nanoseconds wall() noexcept = 0;
    /// How long the reactor may really sleep when a timer is due in `wait` of this clock.
    virtual std::chrono::nanoseconds real_wait(std::chrono::nanoseconds wait) noexcept = 0;
};

/// Installs a clock for the calling thread; null restores the system's. Returns the previous one.
/// \param source must outlive its installation.
clock_source* install_clock(clock_source* source) noexcept;
/// The clock installed for the calling thread, null for the system's.
clock_source* installed_clock() noexcept;

}  // namespace copse
