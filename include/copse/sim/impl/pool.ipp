// Jobs behind timers of the machine: its frozen pool does nothing, and that of a crashed machine still
// ends, in the ghost's own time.
#pragma once

#include <copse/core/timer.hpp>
#include <copse/sim/pool.hpp>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

namespace copse::sim {

struct pool::state : std::enable_shared_from_this<pool::state> {
    state(executor e, rng r) : ex(std::move(e)), random(r) {}

    void start(offload_job& job)
    {
        ++running;
        std::chrono::nanoseconds takes{0};
        if (options->delay.count() > 0) {
            takes += std::chrono::nanoseconds(
                random.below(static_cast<std::uint64_t>(options->delay.count())));
        }
        if (random.happens(options->stall)) takes += options->stall_time;
        auto t = std::make_unique<timer>(ex);
        t->expires_after(takes);
        const std::uint64_t number = next++;
        t->async_wait([self = shared_from_this(), number](std::error_code) { self->end(number); });
        under_way.push_back({number, &job, std::move(t)});
    }

    void end(std::uint64_t number)
    {
        const auto at = std::ranges::find(under_way, number, &entry::number);
        if (at == under_way.end()) return;  // the pool is gone, the job was run then
        offload_job* const job = at->job;
        under_way.erase(at);
        --running;
        job->run();
        if (!options || waiting.empty()) return;
        offload_job* const first = waiting.front();
        waiting.pop_front();
        start(*first);
    }

    struct entry {
        std::uint64_t number;
        offload_job* job;
        std::unique_ptr<timer> due;
    };

    executor ex;
    rng random;
    const pool_options* options = nullptr;  ///< null: the pool is gone
    unsigned running = 0;
    std::uint64_t next = 0;
    std::deque<entry> under_way;
    std::deque<offload_job*> waiting;
};

pool::pool(world& w, machine& m, const pool_options& options)
    : options_(options),
      state_(std::make_shared<state>(
          m.life().get_executor(),
          w.fork("pool " + m.name() + " " + std::to_string(w.now().count()))))
{
    state_->options = &options;
}

pool::~pool()
{
    state_->options = nullptr;
    const auto under_way = std::exchange(state_->under_way, {});
    for (const auto& e : under_way) e.job->run();
    const auto waiting = std::exchange(state_->waiting, {});
    for (offload_job* const job : waiting) job->run();
}

void pool::submit(offload_job& job)
{
    if (state_->running < std::max(options_.threads, 1U)) state_->start(job);
    else state_->waiting.push_back(&job);
}

}  // namespace copse::sim
