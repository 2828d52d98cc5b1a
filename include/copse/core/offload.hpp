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

/// One piece of work, which lives until run() has handed its result over.
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
    /// Queues a job; its queue is as long as the number of suspended coroutines that wait for it, which
    /// is what their owners limit. When it throws, the job is not queued.
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

// Lives in the frame of the coroutine that waits for it: whoever starts work must not need memory once
// Asio has begun to suspend.
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
        complete(std::move(error));
    }

    /// Resumes the coroutine, soon or on another thread at once: nothing of this may be used behind it.
    void complete(std::exception_ptr error) noexcept
    {
        const executor ex = std::move(work_);
        Handler handler = std::move(handler_);
        asio::post(ex, [h = std::move(handler), error]() mutable { std::move(h)(error); });
    }

private:
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
    using signature = void(std::exception_ptr);
    using handler_type = asio::async_result<asio::use_awaitable_t<>, signature>::handler_type;
    std::optional<value_type> out;
    std::optional<detail::offload_operation<handler_type, Fn, value_type>> job;
    auto start = [&](handler_type handler) {
        job.emplace(std::move(handler), fn, out, ex);
        try {
            pool.submit(*job);
        } catch (...) {
            job->complete(std::current_exception());
        }
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, signature>(start,
                                                                            asio::use_awaitable);
    co_return std::move(*out);
}

}  // namespace copse
