// The campaign finds what is planted, says how to see it again, and counts what it did.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/sim/campaign.hpp>

#include <csignal>
#include <fstream>
#include <sstream>

using namespace copse;
using namespace std::chrono_literals;

namespace {

awaitable<result<void>> beat(unsigned& beats)
{
    for (;;) {
        const std::error_code ec = co_await sleep_for(100ms);
        if (ec) co_return outcome::success();
        ++beats;
    }
}

enum class plant { nothing, two_faults, signal, hang, exception, rare };

// Two machines that beat. Planted: what goes wrong when machine 1 crashes while machine 0 is frozen.
void play_with(plant what, sim::run& r)
{
    unsigned beats = 0;
    sim::stage st(r);
    auto& a = st.world.add_machine("a");
    auto& b = st.world.add_machine("b");
    auto& ha = st.network.add_host(a);
    auto& hb = st.network.add_host(b);
    bool bad = false;
    const auto start_a = [&] { a.start(beat(beats)); };
    const auto start_b = [&] {
        b.start(beat(beats));
        if (st.world.now() > 0s && a.frozen()) bad = true;
    };
    start_a();
    start_b();
    st.start_faults({{&a, &ha, nullptr, start_a}, {&b, &hb, nullptr, start_b}});
    r.check(st.world.run_for(10s).has_value(), "time passes");
    r.reached("ten_seconds");
    if (what == plant::rare && r.seed() % 400 == 1) r.reached("rare");
    if (bad && what == plant::two_faults) r.fail("crashed while the other was frozen");
    if (bad && what == plant::signal) std::raise(SIGUSR1);
    if (bad && what == plant::exception) throw std::runtime_error("thrown");
    if (bad && what == plant::hang) {
        for (volatile bool forever = true; forever;) {
        }
    }
    st.shut_down();
}

sim::scenario scenario_with(plant what, std::string name = "beats")
{
    sim::scenario s;
    s.name = std::move(name);
    s.faults.choices = {{sim::fault_kind::crash}, {sim::fault_kind::freeze}};
    s.faults.until = 8s;
    s.states = {"ten_seconds"};
    if (what == plant::rare) s.states.push_back("rare");
    s.play = [what](sim::run& r) { play_with(what, r); };
    return s;
}

struct printed {
    int status;
    std::string text;
    [[nodiscard]] bool says(std::string_view what) const
    {
        return text.find(what) != std::string::npos;
    }
    // What stands between two texts.
    [[nodiscard]] std::string between(std::string_view from, std::string_view to) const
    {
        const auto begin = text.find(from);
        if (begin == std::string::npos) return {};
        const auto end = text.find(to, begin + from.size());
        return text.substr(begin + from.size(), end - begin - from.size());
    }
};

printed campaign(const std::vector<sim::scenario>& worlds, std::vector<std::string> arguments)
{
    std::ostringstream out;
    arguments.insert(arguments.begin(), {"--jobs", "2", "--limit", "2"});
    const int status = sim::campaign_main("sim", arguments, worlds, out);
    return {status, out.str()};
}

// The cursor less its processor times.
std::string counts(const std::filesystem::path& cursor)
{
    std::istringstream in(test::read_file(cursor));
    std::string out;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string word;
        for (int i = 0; words >> word; ++i) {
            if (i != 5 || line.rfind("world", 0) != 0) out += word + ' ';
        }
        out += '\n';
    }
    return out;
}

}  // namespace

TEST_CASE("campaign: good seeds pass, with their counts")
{
    const auto p = campaign({scenario_with(plant::nothing)}, {"--seeds", "20"});
    INFO(p.text);
    CHECK(p.status == 0);
    CHECK(p.says("beats: 20 seeds, 0 failed"));
    CHECK(p.says("mean 2.0 hosts, 0 bytes"));
    CHECK(p.says("ten_seconds 100.0 %"));
    CHECK(p.says("shares are judged from 200 seeds"));
}

TEST_CASE("campaign: a planted failure is found, replayed and shortened")
{
    const std::vector worlds{scenario_with(plant::two_faults)};
    const auto p = campaign(worlds, {"--seeds", "40", "--max-failures", "1", "--minimise"});
    INFO(p.text);
    REQUIRE(p.status == 1);
    const std::string seed = p.between("FAILED beats seed ", ":");
    REQUIRE_FALSE(seed.empty());
    CHECK(p.says("seed " + seed +
                 ": crashed while the other was frozen\n    replay: sim --world beats --first " +
                 seed + " --seeds 1 --log"));
    const std::vector<std::string> one{"--world", "beats", "--first", seed, "--seeds", "1"};
    const auto again = campaign(worlds, one);
    CHECK(again.status == 1);
    CHECK(again.says("crashed while the other was frozen"));
    // Two faults are needed, and the command with them says so too.
    const std::string plan = p.between("--plan '", "'");
    const auto parsed = sim::parse_fault_plan(plan);
    REQUIRE(parsed);
    CHECK(parsed.value().size() == 2);
    auto with_plan = one;
    with_plan.insert(with_plan.end(), {"--plan", plan});
    CHECK(campaign(worlds, with_plan).status == 1);
    with_plan.back() = "none";
    CHECK(campaign(worlds, with_plan).status == 0);
}

TEST_CASE("campaign: a run that crashes, hangs or throws has a seed")
{
    const auto crashed = campaign({scenario_with(plant::signal)}, {"--seeds", "20"});
    CHECK(crashed.status == 1);
    const auto hanging = campaign({scenario_with(plant::hang)},
                                  {"--seeds", "20", "--max-failures", "1", "--limit", "1"});
    CHECK(hanging.status == 1);
    CHECK(hanging.says("no end within the limit of processor time\n    replay: sim --world beats"));
    const auto thrown = campaign({scenario_with(plant::exception)}, {"--seeds", "20"});
    CHECK(thrown.status == 1);
    CHECK(thrown.says("exception: thrown\n    replay: sim --world beats"));
    CHECK(crashed.says("ended by signal: User defined signal 1\n    replay: sim --world beats"));
}

TEST_CASE("campaign: what less than 1 % of the seeds reach fails it")
{
    const auto few = campaign({scenario_with(plant::rare)}, {"--seeds", "199"});
    CHECK(few.status == 0);
    const auto enough = campaign({scenario_with(plant::rare)}, {"--seeds", "201"});
    INFO(enough.text);
    CHECK(enough.status == 1);
    CHECK(enough.says("FAILED beats: less than 1 % of the seeds reach: rare\n"));
    auto undeclared = scenario_with(plant::nothing);
    undeclared.states.clear();
    CHECK(
        campaign({undeclared}, {"--seeds", "1"}).says("a state that is not declared: ten_seconds"));
}

TEST_CASE("campaign: resumed from a cursor it ends as if it had not stopped")
{
    const std::vector worlds{scenario_with(plant::two_faults, "one"),
                             scenario_with(plant::nothing, "two")};
    const test::temporary_directory folder;
    const auto whole = folder.path() / "whole";
    const auto parts = folder.path() / "parts";
    const auto all = campaign(worlds, {"--seeds", "41", "--resume", whole.string()});
    for (const char* n : {"7", "20", "14"}) {
        campaign(worlds, {"--seeds", n, "--resume", parts.string()});
    }
    INFO(all.text);
    CHECK(all.says("41 seeds over 2 worlds"));
    CHECK(counts(whole) == counts(parts));
    CHECK(counts(whole).find("failing one ") != std::string::npos);
    std::ofstream(parts) << "something else\n";
    CHECK(campaign(worlds, {"--seeds", "1", "--resume", parts.string()}).status == 2);
}

TEST_CASE("campaign: the same seed has the same log alone and among others")
{
    const std::vector worlds{scenario_with(plant::nothing)};
    const auto many = campaign(worlds, {"--seeds", "9", "--hashes"});
    const auto one = campaign(worlds, {"--world", "beats", "--first", "9", "--seeds", "1"});
    const auto hash = one.between("log beats 9 ", "\n");
    CHECK(hash.size() == 16);
    CHECK(many.between("log beats 9 ", "\n") == hash);
    const auto here =
        campaign(worlds, {"--world", "beats", "--first", "9", "--seeds", "1", "--here"});
    CHECK(here.between("log beats 9 ", "\n") == hash);
    const test::temporary_directory folder;
    const auto log = folder.path() / "log";
    CHECK(campaign(worlds,
                   {"--world", "beats", "--first", "9", "--seeds", "1", "--log", log.string()})
              .status == 0);
    CHECK(test::read_file(log).find(" fault ") != std::string::npos);
}

TEST_CASE("campaign: wrong options are refused")
{
    const std::vector worlds{scenario_with(plant::nothing)};
    const std::vector<std::vector<std::string>> wrong{
        {"--sedes", "1"},   {"--seeds"},
        {"--seeds", "x"},   {"--world", "no"},
        {"--plan", "none"}, {"--log", "x"},
        {"--seeds", "-1"},  {"--plan", "1:x:0"},
        {"--here"},         {"--plan", "@/nowhere/at/all", "--world", "beats", "--seeds", "1"}};
    for (const auto& arguments : wrong) {
        INFO(arguments.front());
        CHECK(campaign(worlds, arguments).status == 2);
    }
    CHECK(campaign(worlds, {"--help"}).says("usage: sim"));
    CHECK(campaign(worlds, {"--list"}).says("beats"));
}
