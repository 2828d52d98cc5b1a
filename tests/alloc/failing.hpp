// Allocations that fail on demand: this executable's operator new (failing_test.cpp) throws at the n-th
// allocation of a marked scope.
#pragma once

#include "catch.hpp"
#include "support.hpp"

#include <cstddef>
#include <new>
#include <optional>
#include <utility>

namespace copse::test {

/// While it lives, allocations of this thread count, and number `nth` (from 0) fails, that one only.
class failing_allocation {
public:
    explicit failing_allocation(std::size_t nth) noexcept;
    failing_allocation(const failing_allocation&) = delete;
    failing_allocation& operator=(const failing_allocation&) = delete;
    ~failing_allocation();

    /// Whether it was reached.
    [[nodiscard]] bool failed() const noexcept;
    /// Allocations so far.
    [[nodiscard]] std::size_t count() const noexcept;
};

/// While it lives, allocations neither count nor fail: for what stands for the system below the code
/// under test.
class unmarked {
public:
    unmarked() noexcept;
    unmarked(const unmarked&) = delete;
    unmarked& operator=(const unmarked&) = delete;
    ~unmarked();

private:
    bool before_;
};

/// Undoes an `unmarked` around it, for calls from the system back into the code under test.
class marked_again {
public:
    marked_again() noexcept;
    marked_again(const marked_again&) = delete;
    marked_again& operator=(const marked_again&) = delete;
    ~marked_again();

private:
    bool before_;
};

/// More allocations than this in one case are an endless loop.
inline constexpr std::size_t most_allocations = 20'000;

/// Fails allocation 0, 1, 2, ... of `run(state)` until it succeeds without one.
/// \param make    `State()`: what the operation needs, fresh for each attempt; not marked.
/// \param run     `Value(State&)`, marked. It reports a failure by std::bad_alloc and nothing else.
///                What it returns from a state that it changed must not allocate any more.
/// \param intact  `void(State&)`: what must hold after a failure; not marked.
/// After each failure `run` is repeated on the same state, without one: it must give what the first
/// undisturbed run gives. \return how many allocations there were.
template <class Make, class Run, class Intact>
std::size_t fail_each_allocation(Make make, Run run, Intact intact)
{
    using value_type = decltype(run(std::declval<decltype(make())&>()));
    auto undisturbed = make();
    const value_type expected = run(undisturbed);
    for (std::size_t nth = 0; nth < most_allocations; ++nth) {
        auto state = make();
        bool threw = false;
        bool failed = false;
        std::optional<value_type> value;
        {
            const failing_allocation marked(nth);
            try {
                value.emplace(run(state));
            } catch (const std::bad_alloc&) {
                threw = true;
            }
            failed = marked.failed();
        }
        INFO("allocation " << nth << (failed ? " failed" : " was not reached"));
        if (!failed) {
            REQUIRE_FALSE(threw);
            REQUIRE(*value == expected);
            return nth;
        }
        // What asked without throwing may have gone on without.
        if (!threw) REQUIRE(*value == expected);
        intact(state);
        if (threw) REQUIRE(run(state) == expected);
    }
    FAIL("no end of allocations");
    return 0;
}

template <class Make, class Run>
std::size_t fail_each_allocation(Make make, Run run)
{
    return fail_each_allocation(std::move(make), std::move(run), [](auto&) {});
}

/// The same for a function of constant arguments.
template <class Run>
std::size_t fail_each_allocation_of(Run run)
{
    return fail_each_allocation([] { return 0; }, [&run](int) { return run(); });
}

}  // namespace copse::test
