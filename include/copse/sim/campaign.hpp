// Many seeds of many worlds: each run is isolated, counted, replayable by one command, and its plan of
// faults can be shortened. campaign_main() is the whole of a test program.
#pragma once

#include <copse/sim/faults.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace copse::sim {

class run;

/// A kind of world and what must hold in it.
struct scenario {
    std::string name;           ///< one word
    std::string about;          ///< one line for --list
    fault_options faults = {};  ///< what stage::start_faults() draws
    /// What runs are expected to get to, besides the kinds of faults: each is counted, and one that
    /// less than 1 % of the seeds reach fails a campaign.
    std::vector<std::string> states = {};
    /// Builds a world of its own (see `stage`), runs it, and tells `run` what was wrong. What it throws
    /// is a failure too. Everything in it follows from the run's seed and plan.
    std::function<void(run&)> play;
};

/// What became of one run.
struct run_report {
    std::string failure;            ///< what was wrong first; empty: nothing
    std::uint64_t log_hash = 0;     ///< of everything that happened
    std::size_t hosts = 0;          ///< machines of the world
    std::uint64_t bytes = 0;        ///< sent by programs
    std::size_t faults = 0;         ///< that took effect
    std::set<std::string> reached;  ///< kinds of faults and states
    fault_plan plan;                ///< drawn or given
};

/// How one run is made.
struct run_options {
    std::optional<fault_plan> plan;                  ///< instead of one that is drawn
    std::function<void(const std::string&)> log;     ///< gets each line of the log
    std::function<void(const fault_plan&)> planned;  ///< called as soon as the plan is known
};

/// One run, as its scenario sees it. \par Threads the one that runs it.
class run {
public:
    /// Made by play(). \param s, options must outlive it.
    run(const scenario& s, std::uint64_t seed, const run_options& options);

    /// What decides everything that is left to chance.
    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
    /// Numbers for the scenario itself. Those of the world and of the plan are apart from them, so that
    /// a plan that is given leaves everything else as it was.
    [[nodiscard]] rng& dice() noexcept { return dice_; }

    /// Marks a state that the scenario declared, as reached. Marking another is a failure.
    void reached(std::string_view state);
    /// Reports what is wrong. The first report counts; the run goes on.
    void fail(std::string why);
    /// fail(what) unless `good`. \return `good`.
    bool check(bool good, std::string what);
    /// Whether anything was wrong so far.
    [[nodiscard]] bool failed() const noexcept { return !report_.failure.empty(); }

    /// The plan for this run: the given one, or one that is drawn.
    [[nodiscard]] const fault_plan& plan_faults(const fault_options& options, std::size_t targets);
    /// Of this run's scenario.
    [[nodiscard]] const fault_options& faults() const noexcept { return scenario_.faults; }

private:
    friend class stage;
    friend run_report play(const scenario&, std::uint64_t, const run_options&);

    const scenario& scenario_;
    std::uint64_t seed_;
    rng dice_;
    const run_options& options_;
    run_report report_;
};

/// The world of a run with its network. When it goes, even by an exception, the run gets its log hash and
/// its counts. Declare it behind what programs refer to: they are ended by its destructor at the latest.
class stage {
public:
    /// An empty world with the run's seed. \param r must outlive it.
    explicit stage(run& r);
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;
    ~stage();

    /// Draws the plan of the run's scenario (or takes the given one) and schedules it from now on. Call
    /// it once, when links and disks have their options. \return valid as long as the stage.
    fault_driver& start_faults(std::vector<fault_target> targets);
    /// The same with other options than the scenario's.
    fault_driver& start_faults(std::vector<fault_target> targets, const fault_options& options);

    /// The end of a good run: heals all faults, stops all machines and lets them end. A program that
    /// does not end within `limit`, or a socket it left open, is a failure of the run. \return whether
    /// all was well.
    bool shut_down(std::chrono::nanoseconds limit = std::chrono::minutes(1));

private:
    run& run_;

public:
    sim::world world;      ///< with the seed of the run
    sim::network network;  ///< of that world

private:
    std::unique_ptr<fault_driver> driver_;
};

/// Makes one run in a thread of its own: C libraries keep generators per thread, and a new one is in the
/// same state each time. What they set up once for a process should be so beforehand: discard one run.
/// \par Limits one world a thread. The caller's thread waits.
[[nodiscard]] run_report play(const scenario& s, std::uint64_t seed,
                              const run_options& options = {});

/// Shortens a plan with which a run fails as long as `fails` says so of the shorter one (delta debugging:
/// no single fault of the result can be left out). \param tries most calls of `fails`.
[[nodiscard]] fault_plan minimise(fault_plan plan,
                                  const std::function<bool(const fault_plan&)>& fails,
                                  std::size_t tries = 500);

/// The main function of a program of worlds: runs seeds in processes of their own, several at a time,
/// and prints what they reached. `--help` tells its options. Include <copse/sim/interpose.ipp> in one
/// file of the program. \return 0 when every run was good and everything declared was reached.
int campaign_main(int argc, char** argv, const std::vector<scenario>& scenarios);

/// The same with the arguments behind the program's name, and where to print.
/// \param program how the program is called in commands that it prints.
int campaign_main(const std::string& program, const std::vector<std::string>& arguments,
                  const std::vector<scenario>& scenarios, std::ostream& out);

}  // namespace copse::sim
