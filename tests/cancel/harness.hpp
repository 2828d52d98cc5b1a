// Runs an operation again and again and cancels it at its first, second, ... n-th suspension until it ends by
// itself: it must end at once, with the documented error or its value, leave nothing behind, and leave what
// it worked on as its docstring says.
//
// A point is the gap between two handlers of the event loop: every suspension of the operation, and of what
// works for it, lies in one of them; point 0 is before the call, point 1 the first suspension. All points up
// to `every_point` are tried, behind that every `later_step`-th.
#pragma once

#include "tests/cancel/stage.hpp"

#include <copse/core/offload.hpp>
#include <copse/core/scope.hpp>
#include <copse/core/timer.hpp>

#include <asio/post.hpp>

#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

namespace copse::test {

/// What an operation is tried on; made anew for each attempt.
class scene {
public:
    explicit scene(stage& s) : on(s), background(s.get_executor()) {}
    virtual ~scene() = default;
    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;

    /// What must be there before the operation begins.
    virtual awaitable<void> prepare() { co_return; }
    /// The operation, and nothing that suspends besides.
    virtual awaitable<std::error_code> operate() = 0;
    /// Whether what it worked on is as documented. \param ec what operate() returned.
    virtual awaitable<void> afterwards(std::error_code ec)
    {
        static_cast<void>(ec);
        co_return;
    }
    /// Takes everything down.
    virtual awaitable<void> finish() { co_return; }

    stage& on;
    scope background;  ///< what others do meanwhile; stopped and joined before finish()
};

/// Runs each job some time after it was submitted, so that its submitter may be cancelled before.
class later_pool final : public offload_pool {
public:
    explicit later_pool(stage& s) : on_(s) {}
    void submit(offload_job& job) override
    {
        const auto wait = std::make_shared<timer>(on_.get_executor());
        wait->expires_after(delay);
        wait->async_wait([this, wait, &job](std::error_code) {
            on_.set_tick(tick);
            job.run();
            on_.set_tick({});
        });
    }
    unsigned concurrency() const noexcept override { return 1; }

    static constexpr std::chrono::nanoseconds delay = std::chrono::milliseconds(1);
    std::chrono::nanoseconds tick{0};  ///< how long jobs take between two looks at the clock

private:
    stage& on_;
};

/// What is expected of an operation when it is cancelled.
struct cancel_rules {
    bool has_effect = true;  ///< false: it goes on to its value
    /// Time that may pass until it has ended: none, unless it waits for jobs.
    std::chrono::nanoseconds within{0};
    std::error_code error = make_error_code(std::errc::operation_canceled);
    std::size_t every_point = 400;
    std::size_t later_step = 7;
    std::size_t every_kind = 40;      ///< up to here with each kind of cancellation, then with all
    std::size_t most_points = 2'000;  ///< an operation of more is a mistake
};

namespace detail {

struct trial {
    asio::cancellation_signal cancel;
    bool ended = false;
    std::exception_ptr thrown;
    std::error_code ec;
};

/// `before`: the coroutine is asked to stop before the operation is called.
inline awaitable<void> try_operation(scene& s, trial& t,
                                     std::optional<asio::cancellation_type> before)
{
    co_await asio::this_coro::throw_if_cancelled(false);
    const bool go_on = co_await enter_coroutine();
    REQUIRE(go_on);
    if (before) t.cancel.emit(*before);
    t.ec = co_await s.operate();
}

/// What became of one attempt.
struct attempt {
    bool by_itself = false;  ///< it ended before it was cancelled
    bool cancelled = false;  ///< it says that it was cancelled
};

inline awaitable<void> join_background(scene& s)
{
    const auto joined = co_await s.background.join();
    static_cast<void>(joined);  // their failures are the scene's business
}

inline attempt try_scene(stage& on, scene& s, std::size_t point, asio::cancellation_type type,
                         const cancel_rules& rules)
{
    attempt out;
    on.run(s.prepare());
    trial t;
    const auto before = point == 0 ? std::optional(type) : std::nullopt;
    // From inside the loop, where it begins at once: what is cancelled before it begins is Asio's affair.
    bool begun = false;
    asio::post(on.get_executor(), [&] {
        asio::co_spawn(on.get_executor(), try_operation(s, t, before),
                       asio::bind_cancellation_slot(t.cancel.slot(), [&t](std::exception_ptr e) {
                           t.ended = true;
                           t.thrown = e;
                       }));
        begun = true;
    });
    while (!begun) on.step();
    for (std::size_t i = 1; i < point && !t.ended; ++i) {
        const bool more = on.step();
        if (!more && !t.ended) FAIL("it never ends: nothing happens any more");
        if (on.now() > stage::long_time) FAIL("it runs on");
    }
    out.by_itself = t.ended;
    if (point > 0 && !t.ended) t.cancel.emit(type);
    const auto since = on.now();
    while (!t.ended) {
        const bool more = on.step();
        if (!more && !t.ended) FAIL("cancelled, it never ends");
        if (on.now() > since + stage::long_time) FAIL("cancelled, it runs on");
    }
    if (t.thrown) std::rethrow_exception(t.thrown);
    if (!out.by_itself) CHECK(on.now() - since <= rules.within);
    out.cancelled = t.ec == rules.error && !out.by_itself;
    INFO("error: " << t.ec.message());
    CHECK((!t.ec || out.cancelled));
    CHECK((!t.ec || rules.has_effect));
    on.run(s.afterwards(t.ec));
    s.background.request_stop();
    on.run(join_background(s));
    on.run(s.finish());
    return out;
}

template <class Scene, class... Arguments>
attempt cancel_at(std::size_t point, asio::cancellation_type type, const cancel_rules& rules,
                  const Arguments&... arguments)
{
    auto on = std::make_unique<stage>();
    auto s = std::make_unique<Scene>(*on, arguments...);
    attempt out;
    try {
        out = try_scene(*on, *s, point, type, rules);
    } catch (...) {
        // What still runs is in any state: left alone, so that the failure is what is seen.
        static_cast<void>(s.release());
        on.release()->leave();
        throw;
    }
    s.reset();
    INFO("something is pending when all is over");
    CHECK(on->ends_now());
    return out;
}

}  // namespace detail

/// Cancels the operation of `Scene` everywhere.
template <class Scene, class... Arguments>
void cancel_everywhere(const std::string& name, const cancel_rules& rules,
                       const Arguments&... arguments)
{
    static constexpr std::array<std::pair<asio::cancellation_type, const char*>, 4> types{{
        {cancel_everything, "every kind"},
        {asio::cancellation_type::total, "total"},
        {asio::cancellation_type::partial, "partial"},
        {asio::cancellation_type::terminal, "terminal"},
    }};
    std::size_t tried = 0;
    std::size_t point = 0;
    std::size_t cancelled = 0;
    for (bool by_itself = false; !by_itself;) {
        for (const auto& [type, kind] : types) {
            INFO(name << " cancelled (" << kind << ") at point " << point);
            const auto a = detail::cancel_at<Scene>(point, type, rules, arguments...);
            ++tried;
            cancelled += a.cancelled;
            by_itself = by_itself || a.by_itself;
            if (point > rules.every_kind) break;
        }
        if (by_itself) break;
        point += point < rules.every_point ? 1 : rules.later_step;
        REQUIRE(point < rules.most_points);
    }
    INFO(name);
    CHECK((cancelled > 0) == rules.has_effect);
    std::printf("copse cancel: %s: %zu points, %zu attempts, %zu cancelled\n", name.c_str(), point,
                tried, cancelled);
}

template <class Scene, class... Arguments>
void cancel_everywhere(const std::string& name, const Arguments&... arguments)
{
    cancel_everywhere<Scene>(name, cancel_rules{}, arguments...);
}

}  // namespace copse::test
