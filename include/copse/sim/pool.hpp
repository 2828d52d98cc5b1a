// An offload pool of a machine of the world: jobs take time of the world and overtake each other.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/offload.hpp>
#include <copse/sim/rng.hpp>
#include <copse/sim/world.hpp>

#include <cstdint>
#include <memory>

namespace copse::sim {

/// How long jobs take: a slow disk is a pool whose jobs take long.
struct pool_options {
    unsigned threads = 4;  ///< jobs at the same time, at least 1; more wait in order
    /// A job takes a random part of it, so that jobs end in any order.
    std::chrono::nanoseconds delay = std::chrono::microseconds(200);
    unsigned stall = 0;  ///< thousandths of all jobs that take `stall_time` longer
    std::chrono::nanoseconds stall_time = std::chrono::seconds(2);  ///< what a stalled job takes
};

/// Runs each job on the executor of the machine's current life, once it has taken its time; a job has its
/// effect at its end. After a crash the jobs end too, without effect on the world.
/// \par Threads the world's.
/// \par Lifetime shorter than that life. Its destruction runs what is left at once.
class pool final : public offload_pool {
public:
    /// \param options read for each job, so that they may change at any time; must outlive the pool.
    pool(world& w, machine& m, const pool_options& options);
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;
    ~pool() override;

    void submit(offload_job& job) override;
    unsigned concurrency() const noexcept override { return options_.threads; }

private:
    struct state;

    const pool_options& options_;
    std::shared_ptr<state> state_;
};

}  // namespace copse::sim
