// Options, counts and the cursor of a campaign.
#pragma once

#include <copse/sim/impl/campaign_state.hpp>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <sstream>

namespace copse::sim::detail {

// ---- options --------------------------------------------------------------------------------------

inline bool parse_number(const std::string& text, std::uint64_t& out)
{
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    return ec == std::errc() && end == text.data() + text.size() && !text.empty();
}

inline std::string parse_plan_option(const std::string& value, std::optional<fault_plan>& out)
{
    std::string text = value;
    if (!value.empty() && value.front() == '@') {
        std::ifstream in(value.substr(1));
        if (!in) return "cannot read " + value.substr(1);
        text.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto plan = parse_fault_plan(text);
    if (!plan) return "not a plan of faults: " + text.substr(0, 100);
    out = std::move(plan).value();
    return {};
}

std::string parse_campaign_options(const std::vector<std::string>& arguments, campaign_options& out)
{
    const std::map<std::string, bool*> flags{{"--here", &out.here},
                                             {"--minimise", &out.minimise},
                                             {"--hashes", &out.hashes},
                                             {"--list", &out.list},
                                             {"--help", &out.help}};
    const std::map<std::string, std::string*> texts{
        {"--world", &out.world}, {"--log", &out.log}, {"--resume", &out.resume}};
    std::uint64_t seeds = 0;
    std::uint64_t cpu_seconds = 0;
    std::uint64_t jobs = 0;
    std::uint64_t max_failures = out.max_failures;
    const std::map<std::string, std::uint64_t*> numbers{
        {"--first", &out.first},           {"--seeds", &seeds},
        {"--cpu-seconds", &cpu_seconds},   {"--jobs", &jobs},
        {"--max-failures", &max_failures}, {"--limit", &out.limit_seconds}};
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& name = arguments[i];
        if (const auto flag = flags.find(name); flag != flags.end()) {
            *flag->second = true;
            continue;
        }
        const auto text = texts.find(name);
        const auto number = numbers.find(name);
        if (text == texts.end() && number == numbers.end() && name != "--plan")
            return "unknown option " + name;
        if (++i == arguments.size()) return name + " needs a value";
        const std::string& value = arguments[i];
        if (text != texts.end()) {
            *text->second = value;
        } else if (number != numbers.end()) {
            if (!parse_number(value, *number->second)) return name + ": not a number: " + value;
            if (name == "--seeds") out.seeds = seeds;
            if (name == "--cpu-seconds") out.cpu_seconds = cpu_seconds;
        } else if (auto wrong = parse_plan_option(value, out.plan); !wrong.empty()) {
            return wrong;
        }
    }
    out.jobs = static_cast<std::size_t>(jobs);
    out.max_failures = static_cast<std::size_t>(max_failures);
    const bool one = !out.world.empty() && out.seeds == 1U;
    if (!out.log.empty() && !one) return "--log needs --world and --seeds 1";
    if (out.plan && !one) return "--plan needs --world and --seeds 1";
    if (out.here && !one) return "--here needs --world and --seeds 1";
    if (out.plan && !out.resume.empty()) return "--plan and --resume exclude each other";
    return {};
}

std::string campaign_usage(const std::string& program)
{
    return "usage: " + program + R"( [OPTION...]
Runs seeds of simulated worlds, each in a process of its own, and prints what they reached.
  --list             name the worlds
  --world W          only this one; otherwise the seeds are spread over all
  --first S          the first seed of each world (1)
  --seeds N          how many in all (100, or without limit when another bound is given)
  --cpu-seconds N    start no more when the runs have taken this much processor time
  --jobs J           runs at a time (one a core)
  --limit N          seconds of processor time that a run may take (120)
  --resume FILE      go on where FILE ends, and save to it
  --max-failures N   end early when so many have failed (20)
  --hashes           print the hash of each run's log
  --minimise         shorten the plans of faults of runs that fail
one run, with --world W --first S --seeds 1:
  --log FILE         write all that happens ("-": to the output)
  --plan PLAN        faults to replace those that the seed draws (or @FILE, or none)
  --here             in this process, for a debugger
A run that fails, or a kind of fault or a state that less than 1 % of the seeds reach, makes the status 1.
)";
}

// ---- counts ---------------------------------------------------------------------------------------

void tally::add(std::uint64_t seed, const run_report& report, std::uint64_t cpu)
{
    next = seed + 1;
    ++done;
    cpu_us += cpu;
    hosts += report.hosts;
    bytes += report.bytes;
    faults += report.faults;
    log_hash += rng(seed ^ report.log_hash).next();
    for (const auto& name : report.reached) ++reached[name];
    if (report.failure.empty()) return;
    ++failed;
    if (failing.size() < max_failing) failing.push_back(seed);
}

std::size_t print_tally(const scenario& s, const tally& t, std::ostream& out)
{
    std::ostringstream text;
    const auto mean = [&](std::uint64_t total) {
        return static_cast<double>(total) / static_cast<double>(std::max<std::uint64_t>(1, t.done));
    };
    const double seconds = static_cast<double>(std::max<std::uint64_t>(1, t.cpu_us)) / 1e6;
    text << std::fixed << std::setprecision(1) << s.name << ": " << t.done << " seeds, " << t.failed
         << " failed, " << static_cast<double>(t.done) / seconds << " a CPU second (" << seconds
         << " s); mean " << mean(t.hosts) << " hosts, " << std::setprecision(0) << mean(t.bytes)
         << " bytes, " << std::setprecision(1) << mean(t.faults) << " faults; logs " << std::hex
         << std::setw(16) << std::setfill('0') << t.log_hash << std::dec << "\n   ";
    std::set<std::string> declared(s.states.begin(), s.states.end());
    for (const fault_choice& c : s.faults.choices) declared.emplace(name_of(c.kind));
    auto shown = declared;
    for (const auto& [name, count] : t.reached) shown.insert(name);
    std::vector<std::string> rare;
    for (const std::string& name : shown) {
        const auto at = t.reached.find(name);
        const std::uint64_t count = at == t.reached.end() ? 0 : at->second;
        text << ' ' << name << ' ' << 100 * mean(count) << " %";
        if (declared.contains(name) && count * 100 < t.done) rare.push_back(name);
    }
    if (shown.empty()) text << " nothing to reach is declared";
    text << '\n';
    const bool judged = t.done >= least_judged;
    if (!judged && !declared.empty()) {
        text << "    (shares are judged from " << least_judged << " seeds)\n";
    }
    if (judged && !rare.empty()) {
        text << "FAILED " << s.name << ": less than 1 % of the seeds reach:";
        for (const std::string& name : rare) text << ' ' << name;
        text << '\n';
    }
    out << text.str();
    return judged ? rare.size() : 0;
}

// ---- the cursor -----------------------------------------------------------------------------------

inline constexpr const char* cursor_title = "copse-sim-cursor 1";

result<cursor> load_cursor(const std::string& path)
{
    cursor out;
    std::ifstream in(path);
    if (!in) return out;
    const auto wrong = make_error_code(std::errc::invalid_argument);
    std::string line;
    if (!std::getline(in, line) || line != cursor_title) return wrong;
    while (std::getline(in, line)) {
        std::istringstream words(line);
        std::string what;
        std::string world;
        words >> what >> world;
        tally& t = out[world];
        if (what == "world") {
            words >> t.next >> t.done >> t.failed >> t.cpu_us >> t.hosts >> t.bytes >> t.faults >>
                t.log_hash;
        } else if (what == "reached") {
            std::string name;
            words >> name;
            words >> t.reached[name];
        } else if (what == "failing") {
            std::uint64_t seed = 0;
            words >> seed;
            t.failing.push_back(seed);
        } else {
            return wrong;
        }
        if (!words) return wrong;
    }
    return out;
}

result<void> save_cursor(const std::string& path, const cursor& c)
{
    const std::string path_beside = path + ".new";
    {
        std::ofstream file(path_beside, std::ios::trunc);
        file << cursor_title << '\n';
        for (const auto& [world, t] : c) {
            file << "world " << world << ' ' << t.next << ' ' << t.done << ' ' << t.failed << ' '
                 << t.cpu_us << ' ' << t.hosts << ' ' << t.bytes << ' ' << t.faults << ' '
                 << t.log_hash << '\n';
            for (const auto& [name, count] : t.reached) {
                file << "reached " << world << ' ' << name << ' ' << count << '\n';
            }
            for (const std::uint64_t seed : t.failing) {
                file << "failing " << world << ' ' << seed << '\n';
            }
        }
        file.flush();
        if (!file) return make_error_code(std::errc::io_error);
    }
    if (std::rename(path_beside.c_str(), path.c_str()) != 0) {
        return make_error_code(std::errc::io_error);
    }
    return outcome::success();
}

}  // namespace copse::sim::detail
