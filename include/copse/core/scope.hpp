// Structured concurrency: running work has an owner that joins it.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <memory>
#include <system_error>

namespace copse {

/// Owns running coroutines: the first failing child stops its siblings, join() waits for all.
/// \par Threads one executor.
/// \par Lifetime join() must complete before it is destroyed.
class scope {
public:
    /// A scope whose children run on `ex`.
    explicit scope(executor ex);
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
    ~scope();

    /// Starts a child. An error it returns stops the others and is returned by join().
    /// \param child coroutine whose parameters are values or outlive join().
    void spawn(awaitable<result<void>> child);
    /// Starts a child that handles its own failures.
    void spawn(awaitable<void> child);

    /// Asks every child to stop (cancellation at its suspension point); does not wait.
    void request_stop() noexcept;

    /// Whether the children were asked to stop.
    [[nodiscard]] bool stopping() const noexcept;
    /// Children that have not ended.
    [[nodiscard]] std::size_t running() const noexcept;

    /// Waits for all children. \return the first failure that was not caused by a request to stop:
    /// none, too, when join() was asked to stop and the children left off; see stopping().
    /// \throws what a child threw.
    /// \par Cancellation asks the children to stop and still waits for them.
    awaitable<result<void>> join();

    /// Waits until fewer than `limit` children run. \par Cancellation total.
    awaitable<std::error_code> wait_below(std::size_t limit);

    /// Where the children run.
    [[nodiscard]] executor get_executor() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace copse
