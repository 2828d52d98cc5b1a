// Plans of faults as text, and what a run of a world reports.
#include "failing.hpp"

#include <copse/sim/campaign.hpp>
#include <copse/sim/faults.hpp>

using namespace copse;
using namespace copse::test;

TEST_CASE("alloc: copse::sim::to_text, copse::sim::parse_fault_plan", "[alloc]")
{
    sim::fault_plan plan;
    for (int i = 1; i < 9; ++i) {
        sim::fault f;
        f.at = std::chrono::seconds(i);
        f.kind = i % 2 ? sim::fault_kind::crash : sim::fault_kind::loss;
        f.target = static_cast<std::size_t>(i);
        f.span = std::chrono::milliseconds(i);
        f.amount = i % 2 ? 0 : i;
        plan.push_back(f);
    }
    CHECK(fail_each_allocation_of([&] { return sim::to_text(plan); }) > 0);
    const std::string text = sim::to_text(plan);
    const auto parse = [&] { return sim::parse_fault_plan(text).value(); };
    REQUIRE(parse() == plan);
    CHECK(fail_each_allocation_of(parse) > 0);
}

TEST_CASE("alloc: copse::sim::run::check", "[alloc]")
{
    const sim::scenario scenario{};
    const sim::run_options options;
    const auto make = [&] { return std::make_unique<sim::run>(scenario, 1, options); };
    // What is good needs no text, and what is wrong is reported or thrown.
    const auto good = [](std::unique_ptr<sim::run>& r) { return r->check(true, "a thing"); };
    CHECK(fail_each_allocation(make, good) == 0);
    const auto wrong = [](std::unique_ptr<sim::run>& r) {
        r->check(false, "a reason that is longer than the object holds without memory");
        return r->failed();
    };
    CHECK(fail_each_allocation(make, wrong) > 0);
}
