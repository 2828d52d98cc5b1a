// A world in one thread: machines with clocks of their own, seeded entropy, and time that passes only
// when nobody has anything left to do. The same seed gives the same run, byte for byte.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/entropy.hpp>
#include <copse/core/result.hpp>
#include <copse/sim/error.hpp>
#include <copse/sim/rng.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace copse::sim {

class world;

/// One life of a machine, from its start to a crash. What lives in it (sockets, files) asks it
/// whether it still has any effect.
class incarnation {
public:
    struct state;  ///< implementation

    /// Made by a machine.
    explicit incarnation(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}

    /// False after the crash: what the program still does has no effect on the world.
    [[nodiscard]] bool alive() const noexcept;
    /// Where its coroutines run.
    [[nodiscard]] executor get_executor() const;
    /// Tells the world that something was handed to this machine from outside, so that it runs.
    void wake() const noexcept;

private:
    std::shared_ptr<state> state_;
};

/// A computer of the world: programs that run until they end, are stopped, or the machine crashes.
/// \par Lifetime as long as its world.
class machine {
public:
    /// Made by world::add_machine().
    machine(world& w, std::string name, std::size_t index);
    machine(const machine&) = delete;
    machine& operator=(const machine&) = delete;
    ~machine();

    /// As it was given.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Place in the order of creation.
    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// The current life.
    [[nodiscard]] incarnation life() const noexcept;

    /// Starts a program. It begins when the world runs.
    void start(awaitable<result<void>> program);
    /// Programs of the current life that have not ended.
    [[nodiscard]] std::size_t running() const noexcept;
    /// The first failure among the programs of the current life.
    [[nodiscard]] std::error_code failure() const noexcept;

    /// Asks all programs to end, as SIGTERM does.
    void stop() noexcept;
    /// Power loss: from now on nothing that the programs do has any effect. They are then cancelled and
    /// joined outside of the world's time, so that nothing leaks. A new life begins at once, empty.
    void crash();
    /// A frozen machine does nothing; time passes for it all the same.
    void freeze() noexcept;
    /// Goes on, with everything that came meanwhile.
    void thaw() noexcept;
    /// Whether it is frozen.
    [[nodiscard]] bool frozen() const noexcept { return frozen_; }

    /// Sets the clocks wrong from now on. \param offset added to the wall clock.
    /// \param drift parts per million by which the monotonic clock is too fast; above -1,000,000.
    void set_clock(std::chrono::nanoseconds offset, std::int64_t drift);

private:
    friend class world;

    world& world_;
    std::string name_;
    std::size_t index_;
    std::shared_ptr<incarnation::state> state_;
    bool frozen_ = false;
    std::chrono::nanoseconds wall_offset_{0};
    std::int64_t drift_ = 0;
    std::chrono::nanoseconds local_base_{0};  ///< the local clock when the drift last changed
    std::chrono::nanoseconds world_base_{0};  ///< and the world's
};

/// The world. \par Threads the one that made it, whose clock and entropy it takes over; one at a time.
class world final : public clock_source, public entropy_source {
public:
    /// An empty world. \param seed decides everything that is left to chance.
    explicit world(std::uint64_t seed);
    world(const world&) = delete;
    world& operator=(const world&) = delete;
    /// Stops what still runs, without effect on anything, and gives clock and entropy back.
    ~world() override;

    /// As it was given.
    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
    /// Adds a machine; the reference stays valid.
    machine& add_machine(std::string name);
    /// All machines in the order in which they were added.
    [[nodiscard]] const std::vector<std::unique_ptr<machine>>& machines() const noexcept
    {
        return machines_;
    }

    /// A source of numbers of its own: draws from one do not change what others give.
    [[nodiscard]] rng fork(std::string_view purpose) const noexcept;

    /// Time since the start of the world, whatever the machines' clocks say.
    [[nodiscard]] std::chrono::nanoseconds now() const noexcept { return now_; }
    /// Does something at a time (at once when it has passed), after what was scheduled earlier for it.
    void at(std::chrono::nanoseconds when, std::function<void()> what);
    /// Does something when that much time has passed.
    void after(std::chrono::nanoseconds wait, std::function<void()> what)
    {
        at(now_ + wait, std::move(what));
    }

    /// Lets time pass until `done` is true. \param limit time of the world.
    /// \par Errors `sim_errc::*`.
    result<void> run_until(const std::function<bool()>& done, std::chrono::nanoseconds limit);
    /// Lets that much time pass, whether anything happens or not. \par Errors `sim_errc::livelock`.
    result<void> run_for(std::chrono::nanoseconds span);

    /// Adds to the log: what happened, to whom, and the bytes concerned. Lines are kept only when
    /// keep_log() was called; the hash always covers them.
    void record(std::string_view what, std::string_view whom, byte_view bytes = {});
    /// Gives each line of the log to `sink`.
    void keep_log(std::function<void(const std::string&)> sink) { sink_ = std::move(sink); }
    /// Hash of everything recorded. Equal for equal seeds, builds and compilers notwithstanding.
    [[nodiscard]] std::uint64_t log_hash() const noexcept { return log_hash_; }
    /// Calls `told` whenever other code begins to run: with the machine whose programs do, or null for
    /// the world itself. For accounts of what each machine uses.
    void watch(std::function<void(const machine*)> told) { watch_ = std::move(told); }
    /// Scheduled things that have happened.
    [[nodiscard]] std::uint64_t events() const noexcept { return happened_; }

    /// The clock of the machine that runs, else the world's.
    time_point monotonic() noexcept override;
    /// Its wall clock.
    std::chrono::nanoseconds wall() noexcept override;
    /// Nothing ever really waits.
    std::chrono::nanoseconds real_wait(std::chrono::nanoseconds wait) noexcept override;
    /// Bytes of the world's generator.
    void fill(byte_span out) noexcept override;

private:
    friend class machine;
    friend class incarnation;

    struct scheduled {
        std::chrono::nanoseconds when;
        std::uint64_t order;
        std::function<void()> what;
    };
    static bool later(const scheduled& a, const scheduled& b) noexcept;
    bool settle();
    bool run_life(incarnation::state& s);
    void bury_ghosts();
    void wake_all() noexcept;
    [[nodiscard]] std::chrono::nanoseconds next_happening() const noexcept;

    std::uint64_t seed_;
    rng entropy_;
    std::chrono::nanoseconds now_{0};
    std::vector<std::unique_ptr<machine>> machines_;
    std::vector<std::shared_ptr<incarnation::state>> ghosts_;
    std::vector<scheduled> heap_;
    std::uint64_t next_order_ = 0;
    std::uint64_t happened_ = 0;
    bool spins_ = false;  ///< a program had work without end at one instant
    std::uint64_t log_hash_ = 0xcbf29ce484222325U;
    std::function<void(const std::string&)> sink_;
    std::function<void(const machine*)> watch_;
    incarnation::state* current_ = nullptr;
    clock_source* outer_clock_ = nullptr;
    entropy_source* outer_entropy_ = nullptr;
};

}  // namespace copse::sim
