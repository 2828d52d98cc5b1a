// One run: its world, what it reports, and the thread it is made in.
#pragma once

#include <copse/sim/campaign.hpp>

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

namespace copse::sim {

namespace detail {

inline rng fork_seed(std::uint64_t seed, std::uint64_t purpose) noexcept
{
    return rng(rng(seed ^ purpose).next());
}

}  // namespace detail

// ---- run ------------------------------------------------------------------------------------------

run::run(const scenario& s, std::uint64_t seed, const run_options& options)
    : scenario_(s),
      seed_(seed),
      dice_(detail::fork_seed(seed, 0x6469636500000000U)),
      options_(options)
{}

void run::reached(std::string_view state)
{
    const auto& known = scenario_.states;
    if (std::find(known.begin(), known.end(), state) == known.end()) {
        fail("reached a state that is not declared: " + std::string(state));
        return;
    }
    report_.reached.emplace(state);
}

void run::fail(std::string why)
{
    if (report_.failure.empty()) report_.failure = why.empty() ? "no reason given" : std::move(why);
}

bool run::check(bool good, std::string what)
{
    if (!good) fail(std::move(what));
    return good;
}

const fault_plan& run::plan_faults(const fault_options& options, std::size_t targets)
{
    rng random = detail::fork_seed(seed_, 0x6661756c74730000U);
    report_.plan = options_.plan ? *options_.plan : draw_faults(random, options, targets);
    if (options_.planned) options_.planned(report_.plan);
    return report_.plan;
}

// ---- stage ----------------------------------------------------------------------------------------

stage::stage(run& r) : run_(r), world(r.seed()), network(world)
{
    if (run_.options_.log) world.keep_log(run_.options_.log);
}

stage::~stage()
{
    run_.report_.log_hash = world.log_hash();
    run_.report_.hosts = world.machines().size();
    run_.report_.bytes = network.statistics().bytes;
    if (driver_) run_.report_.faults = driver_->applied();
}

fault_driver& stage::start_faults(std::vector<fault_target> targets)
{
    return start_faults(std::move(targets), run_.faults());
}

fault_driver& stage::start_faults(std::vector<fault_target> targets, const fault_options& options)
{
    const fault_plan& plan = run_.plan_faults(options, targets.size());
    driver_ = std::make_unique<fault_driver>(
        world, &network, std::move(targets),
        [this](fault_kind kind) { run_.report_.reached.emplace(name_of(kind)); });
    driver_->schedule(plan);
    return *driver_;
}

bool stage::shut_down(std::chrono::nanoseconds limit)
{
    if (driver_) driver_->heal();
    for (const auto& m : world.machines()) m->stop();
    const auto& all = world.machines();
    const auto ended = world.run_until(
        [&] {
            return std::all_of(all.begin(), all.end(),
                               [](const auto& m) { return m->running() == 0; });
        },
        world.now() + limit);
    for (const auto& h : network.hosts()) {
        if (!ended || h->open_sockets() == 0) continue;
        run_.fail(std::to_string(h->open_sockets()) + " sockets of " + h->computer().name() +
                  " stay open");
    }
    if (ended) return !run_.failed();
    for (const auto& m : all) {
        if (m->running() > 0) {
            run_.fail(std::to_string(m->running()) + " programs of " + m->name() +
                      " do not end when stopped: " + ended.error().message());
        }
    }
    return false;
}

// ---- runs -----------------------------------------------------------------------------------------

run_report play(const scenario& s, std::uint64_t seed, const run_options& options)
{
    run_report out;
    std::thread apart([&] {
        run r(s, seed, options);
        try {
            s.play(r);
        } catch (const std::exception& e) {
            r.fail(std::string("exception: ") + e.what());
        }
        out = std::move(r.report_);
    });
    apart.join();
    return out;
}

fault_plan minimise(fault_plan plan, const std::function<bool(const fault_plan&)>& fails,
                    std::size_t tries)
{
    const auto still = [&](const fault_plan& shorter) {
        if (tries == 0) return false;
        --tries;
        return fails(shorter);
    };
    if (!plan.empty() && still({})) return {};
    for (std::size_t parts = 2; !plan.empty() && tries > 0;) {
        parts = std::min(parts, plan.size());
        bool shortened = false;
        for (std::size_t i = 0; i < parts && !shortened; ++i) {
            const auto from = static_cast<std::ptrdiff_t>(plan.size() * i / parts);
            const auto to = static_cast<std::ptrdiff_t>(plan.size() * (i + 1) / parts);
            fault_plan without(plan.begin(), plan.begin() + from);
            without.insert(without.end(), plan.begin() + to, plan.end());
            if (!still(without)) continue;
            plan = std::move(without);
            shortened = true;
        }
        if (shortened) parts = std::max<std::size_t>(2, parts - 1);
        else if (parts == plan.size()) break;
        else parts *= 2;
    }
    return plan;
}

}  // namespace copse::sim
