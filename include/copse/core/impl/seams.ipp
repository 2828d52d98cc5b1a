// The system's clock, entropy and thread pool behind the seams. Compiled once per program.
#pragma once

#include <copse/core/clock.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/entropy.hpp>
#include <copse/core/offload.hpp>

#include <sched.h>
#include <sys/random.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace copse {

namespace detail {
// One installed source a thread: a simulated world and the real one can live in one process.
inline thread_local clock_source* current_clock = nullptr;
inline thread_local entropy_source* current_entropy = nullptr;
}  // namespace detail

time_point monotonic_clock::now() noexcept
{
    if (detail::current_clock) return detail::current_clock->monotonic();
    return time_point{std::chrono::steady_clock::now().time_since_epoch()};
}

std::chrono::nanoseconds wall_time() noexcept
{
    if (detail::current_clock) return detail::current_clock->wall();
    return std::chrono::system_clock::now().time_since_epoch();
}

clock_source* install_clock(clock_source* source) noexcept
{
    return std::exchange(detail::current_clock, source);
}

clock_source* installed_clock() noexcept
{
    return detail::current_clock;
}

void fill_random(byte_span out) noexcept
{
    if (detail::current_entropy) return detail::current_entropy->fill(out);
    while (!out.empty()) {
        const auto n = ::getrandom(out.data(), out.size(), 0);
        if (n > 0) out = out.subspan(static_cast<std::size_t>(n));
        else if (errno != EINTR) std::abort();  // a kernel without entropy: keys would be guessable
    }
}

entropy_source* install_entropy(entropy_source* source) noexcept
{
    return std::exchange(detail::current_entropy, source);
}

entropy_source* installed_entropy() noexcept
{
    return detail::current_entropy;
}

unsigned usable_processors() noexcept
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n > 0 ? static_cast<unsigned>(n) : 1U;
}

namespace detail {

class thread_pool final : public offload_pool {
public:
    explicit thread_pool(unsigned threads)
    {
        for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
    }

    ~thread_pool() override
    {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (auto& t : threads_) t.join();
    }

    void submit(offload_job& job) override
    {
        {
            const std::lock_guard lock(mutex_);
            jobs_.push_back(&job);
            waiting_.set_used(jobs_.size());
        }
        wake_.notify_one();
    }

    unsigned concurrency() const noexcept override
    {
        return static_cast<unsigned>(threads_.size());
    }

private:
    void work()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            offload_job* const job = jobs_.front();
            jobs_.pop_front();
            waiting_.set_used(jobs_.size());
            lock.unlock();
            job->run();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<offload_job*> jobs_;
    // Each belongs to a coroutine that waits for it: it is these that are limited.
    limit_entry waiting_{"offload: jobs that wait", limit_unit::count, SIZE_MAX};
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

class inline_pool final : public offload_pool {
public:
    void submit(offload_job& job) override { job.run(); }
    unsigned concurrency() const noexcept override { return 1; }
};

}  // namespace detail

std::unique_ptr<offload_pool> make_thread_pool(unsigned threads)
{
    return std::make_unique<detail::thread_pool>(threads ? threads : 1U);
}

std::unique_ptr<offload_pool> make_inline_pool()
{
    return std::make_unique<detail::inline_pool>();
}

}  // namespace copse
