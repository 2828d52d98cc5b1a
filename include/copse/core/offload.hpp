// The offload seam: work that would block the reactor (hashing, file calls) runs on a pool.
#pragma once

#include <copse/core/asio.hpp>

#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>
#include <asio/this_coro.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace copse {

/// One piece of work, owned by its submitter until run() was called, then by itself.
class offload_job {
public:
    /// The work, in a thread of the pool. It may block.
    virtual void run() noexcept = 0;

protected:
    ~offload_job() = default;
};

/// Runs jobs elsewhere. Destroy it (which finishes all jobs) before the executors they report to.
class offload_pool {
public:
    virtual ~offload_pool() = default;
    /// Queues a job; its queue is as long as the number of suspended coroutines that wait for it.
    /// \par Threads any.
    virtual void submit(offload_job& job) = 0;
    /// How many jobs run at the same time.
    virtual unsigned concurrency() const noexcept = 0;
};

/// A pool of `threads` threads. \throws std::system_error when a thread cannot be made.
std::unique_ptr<offload_pool> make_thread_pool(unsigned threads);
/// A pool that runs each job inside submit(), in order: for simulation and small tools.
std::unique_ptr<offload_pool> make_inline_pool();
/// Number of processors this process may use, at least 1.
unsigned usable_processors() noexcept;

namespace detail {

template <class Handler, class Fn, class Value>
class offload_operation final : public offload_job {
public:
    offload_operation(Handler handler, Fn& fn, std::optional<Value>& out, const executor& ex)
        : handler_(std::move(handler)),
          fn_(fn),
          out_(out),
          work_(asio::prefer(ex, asio::execution::outstanding_work.tracked))
    {}

    void run() noexcept override
    {
        std::exception_ptr error;
        try {
            out_.emplace(fn_());
        } catch (...) {
            error = std::current_exception();
        }
        const executor ex = work_;
        Handler handler = std::move(handler_);
        delete this;
        asio::post(ex, [h = std::move(handler), error]() mutable { std::move(h)(error); });
    }

private:
    ~offload_operation() = default;

    Handler handler_;
    Fn& fn_;
    std::optional<Value>& out_;
    executor work_;
};

}  // namespace detail

/// Runs `fn()` on the pool and resumes with its value. An exception of `fn` is thrown here.
/// \param pool must outlive the awaitable.
/// \par Cancellation none: it completes when the job is done, so that buffers stay owned. Check
///      cancellation_requested() afterwards.
template <class Fn>
awaitable<std::invoke_result_t<Fn&>> offload(offload_pool& pool, Fn fn)
{
    using value_type = std::invoke_result_t<Fn&>;
    static_assert(!std::is_void_v<value_type>, "return a result or a count");
    const executor ex = co_await asio::this_coro::executor;
    std::optional<value_type> out;
    auto start = [&](auto handler) {
        using operation = detail::offload_operation<decltype(handler), Fn, value_type>;
        auto* const job = new operation(std::move(handler), fn, out, ex);
        pool.submit(*job);
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(
        start, asio::use_awaitable);
    co_return std::move(*out);
}

}  // namespace copse
