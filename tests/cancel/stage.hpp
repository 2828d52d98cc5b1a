// One thread's worth of virtual time in which handlers run one by one, so that a test can stop between any
// two of them.
#pragma once

#include "tests/catch.hpp"

#include <copse/core/asio.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/entropy.hpp>
#include <copse/sim/rng.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace copse::test {

/// An event loop with a clock of its own that jumps to the next timer when nothing is ready.
class stage final : public clock_source, public entropy_source {
public:
    stage() : outer_clock_(install_clock(this)), outer_entropy_(install_entropy(this)) {}
    ~stage() override { leave(); }
    /// Gives clock and entropy back.
    void leave() noexcept
    {
        install_entropy(outer_entropy_);
        install_clock(outer_clock_);
    }
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;

    executor get_executor() { return io_.get_executor(); }

    /// Runs one handler; lets time pass when none is ready. False: nothing is left that could happen.
    bool step()
    {
        for (int tries = 0; tries < 1000; ++tries) {
            if (io_.stopped()) io_.restart();
            if (io_.poll_one() > 0) return true;
            next_timer_ = never;
            if (io_.stopped()) return false;
            if (io_.poll_one() > 0) return true;
            if (io_.stopped() || next_timer_ == never) return false;
            if (next_timer_ > now_) now_ = next_timer_;
        }
        return false;
    }
    /// Lets what is ready come to its end without time passing. \return whether nothing is pending then:
    /// no handler, no timer, no wait.
    bool ends_now()
    {
        for (std::size_t i = 0; i < 1000; ++i) {
            if (io_.stopped()) io_.restart();
            if (io_.poll_one() == 0) return io_.stopped();
        }
        return false;
    }

    /// Runs a coroutine to its end.
    void run(awaitable<void> body)
    {
        bool done = false;
        std::exception_ptr thrown;
        asio::co_spawn(io_, enter(std::move(body)), [&](std::exception_ptr e) {
            done = true;
            thrown = e;
        });
        const auto limit = now_ + long_time;
        while (!done) {
            const bool more = step();
            if (!more && !done) FAIL("a part of the scene never ends");
            if (now_ > limit) FAIL("a part of the scene runs on");
        }
        if (thrown) std::rethrow_exception(thrown);
    }

    /// Virtual time since the beginning.
    [[nodiscard]] std::chrono::nanoseconds now() const noexcept { return now_; }

    /// How far the clock moves each time somebody looks at it.
    void set_tick(std::chrono::nanoseconds d) noexcept { tick_ = d; }

    time_point monotonic() noexcept override
    {
        now_ += tick_;
        return time_point{std::chrono::hours(1) + now_};
    }
    std::chrono::nanoseconds wall() noexcept override
    {
        return std::chrono::seconds(1'767'225'600) + now_;
    }
    std::chrono::nanoseconds real_wait(std::chrono::nanoseconds wait) noexcept override
    {
        // Asio asks for its earliest timer whenever it looks for expired ones.
        if (wait != never) next_timer_ = now_ + wait;
        return std::chrono::nanoseconds::zero();
    }
    void fill(byte_span out) noexcept override
    {
        for (std::byte& b : out) b = static_cast<std::byte>(random_.next());
    }

    /// Longer than any part of a scene takes; keep-alive timers would let it wait for ever.
    static constexpr std::chrono::nanoseconds long_time = std::chrono::minutes(10);

private:
    static constexpr auto never = std::chrono::nanoseconds::max();

    static awaitable<void> enter(awaitable<void> body)
    {
        const bool go_on = co_await enter_coroutine();
        REQUIRE(go_on);
        co_await std::move(body);
    }

    asio::io_context io_{1};
    std::chrono::nanoseconds now_{0};
    std::chrono::nanoseconds next_timer_ = never;
    std::chrono::nanoseconds tick_{0};
    sim::rng random_{1};
    clock_source* outer_clock_;
    entropy_source* outer_entropy_;
};

}  // namespace copse::test
