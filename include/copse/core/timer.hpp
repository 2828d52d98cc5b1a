// A timer on the monotonic clock seam.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/clock.hpp>

#include <asio/basic_waitable_timer.hpp>

#include <algorithm>

namespace copse {

/// Tells Asio's reactor how long it may sleep until a timer is due.
struct monotonic_wait_traits {
    /// How long Asio may sleep for a wait of `d`.
    static monotonic_clock::duration to_wait_duration(const monotonic_clock::duration& d)
    {
        clock_source* const simulated = installed_clock();
        return simulated ? simulated->real_wait(d) : d;
    }
    /// The same for a deadline.
    static monotonic_clock::duration to_wait_duration(const time_point& at)
    {
        // time_point::max() minus a small negative time would overflow: saturate.
        const time_point now = monotonic_clock::now();
        if (at <= now) return monotonic_clock::duration::zero();
        if (at == time_point::max()) return to_wait_duration(monotonic_clock::duration::max());
        return to_wait_duration(at - now);
    }
};

using timer = asio::basic_waitable_timer<monotonic_clock, monotonic_wait_traits, executor>;

}  // namespace copse
