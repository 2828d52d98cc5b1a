// Runs in processes of their own: a crash, a hang or a leak has a seed, and each begins in the same state.
#pragma once

#include <copse/core/clock.hpp>
#include <copse/sim/impl/campaign_state.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <ostream>
#include <sstream>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// There when the program is built with the sanitizer, or with the coverage of clang.
extern "C" __attribute__((weak)) int __lsan_do_recoverable_leak_check();
extern "C" __attribute__((weak)) int __llvm_profile_write_file();

namespace copse::sim::detail {

inline volatile std::sig_atomic_t campaign_interrupted = 0;

// ---- a run in a process of its own ----------------------------------------------------------------

/// What is to be run.
struct job {
    const scenario* what = nullptr;
    std::uint64_t seed = 0;
    std::optional<fault_plan> plan;
    std::string log;
};

/// What came of it.
struct job_result {
    run_report report;
    std::uint64_t cpu_us = 0;
};

inline std::string one_line(std::string text)
{
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

// Waiting for the reader is fine: it never stops reading.
inline void write_all(int fd, const std::string& text)
{
    std::size_t done = 0;
    while (done < text.size()) {
        const auto n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        done += static_cast<std::size_t>(n);
    }
}

// A run in this process, its log written to a file line by line: it may end in the middle.
inline run_report run_logged(const job& j, run_options options)
{
    std::FILE* const file = j.log.empty()  ? nullptr
                            : j.log == "-" ? stdout
                                           : std::fopen(j.log.c_str(), "w");
    if (!j.log.empty() && !file) {
        run_report out;
        out.failure = "cannot write " + j.log;
        return out;
    }
    options.plan = j.plan;
    if (file) {
        options.log = [file](const std::string& line) {
            std::fprintf(file, "%s\n", line.c_str());
            std::fflush(file);
        };
    }
    run_report out = play(*j.what, j.seed, options);
    if (file && file != stdout) std::fclose(file);
    return out;
}

[[noreturn]] inline void run_child(int fd, const job& j, std::uint64_t limit_seconds)
{
    const rlimit limit{limit_seconds, limit_seconds};
    ::setrlimit(RLIMIT_CPU, &limit);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGINT, SIG_IGN);  // the parent decides, and waits for what runs
    std::signal(SIGTERM, SIG_IGN);
    run_options options;
    options.planned = [fd](const fault_plan& p) { write_all(fd, "plan " + to_text(p) + "\n"); };
    run_report r = run_logged(j, options);
    if (r.failure.empty() && __lsan_do_recoverable_leak_check &&
        __lsan_do_recoverable_leak_check() != 0) {
        r.failure = "memory leaked";
    }
    std::ostringstream text;
    if (!r.failure.empty()) text << "failure " << one_line(r.failure) << '\n';
    for (const auto& name : r.reached) text << "reached " << name << '\n';
    text << "end " << r.log_hash << ' ' << r.hosts << ' ' << r.bytes << ' ' << r.faults << '\n';
    write_all(fd, text.str());
    if (__llvm_profile_write_file) __llvm_profile_write_file();
    ::_exit(0);
}

/// Real time that a run may take for each second of processor time: the machine may be busy.
inline constexpr std::uint64_t real_per_cpu = 10;

/// A process that makes one run.
class child {
public:
    child(job j, std::uint64_t limit_seconds)
        : job_(std::move(j)),
          end_at_(monotonic_clock::now() + std::chrono::seconds(limit_seconds * real_per_cpu))
    {
        std::array<int, 2> ends{};
        std::cout.flush();
        std::fflush(nullptr);
        if (::pipe(ends.data()) != 0) return;
        pid_ = ::fork();
        if (pid_ == 0) run_child(ends[1], job_, limit_seconds);
        ::close(ends[1]);
        fd_ = ends[0];
    }
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child()
    {
        if (fd_ >= 0) ::close(fd_);
    }

    [[nodiscard]] int descriptor() const noexcept { return fd_; }
    [[nodiscard]] const job& what() const noexcept { return job_; }
    [[nodiscard]] time_point end_at() const noexcept { return end_at_; }

    void kill_hanging(std::uint64_t limit_seconds)
    {
        if (killed_.empty()) ::kill(pid_, SIGKILL);
        killed_ = "still running after " + std::to_string(limit_seconds * real_per_cpu) + " s";
        end_at_ = time_point::max();
    }

    /// True when there is nothing more to come.
    bool read_some()
    {
        if (pid_ <= 0) return true;
        std::array<char, 4096> part{};
        const auto n = ::read(fd_, part.data(), part.size());
        if (n < 0 && errno == EINTR) return false;
        if (n <= 0) return true;
        text_.append(part.data(), static_cast<std::size_t>(n));
        return false;
    }

    job_result finish()
    {
        job_result out;
        run_report& r = out.report;
        if (pid_ <= 0) {
            r.failure = "cannot start a process";
            return out;
        }
        int status = 0;
        rusage used{};
        while (::wait4(pid_, &status, 0, &used) < 0 && errno == EINTR) {
        }
        const auto us = [](const timeval& t) {
            return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000U +
                   static_cast<std::uint64_t>(t.tv_usec);
        };
        out.cpu_us = us(used.ru_utime) + us(used.ru_stime);
        bool whole = false;
        std::istringstream lines(text_);
        for (std::string line; std::getline(lines, line);) {
            const auto space = std::min(line.find(' '), line.size());
            const std::string word = line.substr(0, space);
            const std::string rest = line.substr(std::min(space + 1, line.size()));
            if (word == "failure") r.failure = rest;
            if (word == "reached") r.reached.insert(rest);
            if (word == "plan") {
                auto plan = parse_fault_plan(rest);
                if (plan) r.plan = std::move(plan).value();
            }
            if (word == "end") {
                std::istringstream numbers(rest);
                whole = !!(numbers >> r.log_hash >> r.hosts >> r.bytes >> r.faults);
            }
        }
        if (!killed_.empty()) r.failure = killed_;
        else if (WIFSIGNALED(status) &&
                 (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
            r.failure = "no end within the limit of processor time";
        else if (WIFSIGNALED(status))
            r.failure = std::string("ended by signal: ") + ::strsignal(WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
            r.failure = "ended with status " + std::to_string(WEXITSTATUS(status));
        else if (!whole && r.failure.empty()) r.failure = "ended without a report";
        return out;
    }

private:
    job job_;
    time_point end_at_;
    pid_t pid_ = -1;
    int fd_ = -1;
    std::string text_;
    std::string killed_;
};

// ---- the campaign ---------------------------------------------------------------------------------

class campaign {
public:
    campaign(campaign_options o, std::vector<const scenario*> worlds, std::ostream& out)
        : options_(std::move(o)), worlds_(std::move(worlds)), out_(out)
    {}

    int start()
    {
        if (options_.here) return one_here();
        if (!options_.resume.empty()) {
            auto saved = load_cursor(options_.resume);
            if (!saved) {
                out_ << options_.resume << " is not a cursor of a campaign\n";
                return 2;
            }
            cursor_ = std::move(saved).value();
        }
        for (const scenario* s : worlds_) {
            const auto made = cursor_.try_emplace(s->name);
            if (made.second) made.first->second.next = options_.first;
        }
        if (!warm_up()) return 1;
        run_all();
        if (options_.minimise) shorten_failures();
        return report();
    }

private:
    struct failing_run {
        job what;
        run_report report;
    };

    std::string command(const job& j) const
    {
        return options_.program + " --world " + j.what->name + " --first " +
               std::to_string(j.seed) + " --seeds 1" +
               (j.plan ? " --plan '" + to_text(*j.plan) + "'" : std::string()) + " --log " +
               j.what->name + "-" + std::to_string(j.seed) + ".log";
    }

    void print_failure(const job& j, const run_report& r)
    {
        out_ << "FAILED " << j.what->name << " seed " << j.seed << ": " << r.failure
             << "\n    replay: " << command(j) << '\n'
             << std::flush;
    }

    int one_here()
    {
        job j{worlds_.front(), options_.first, options_.plan, options_.log};
        static_cast<void>(play(*j.what, 0, warm_up_options()));  // only for what it sets up
        const run_report r = run_logged(j, {});
        if (!r.failure.empty()) print_failure(j, r);
        print_hash(j, r);
        return r.failure.empty() ? 0 : 1;
    }

    static run_options warm_up_options()
    {
        run_options o;
        o.plan.emplace();
        return o;
    }

    // A run of each world for what C libraries set up once for a process. First in a process of its own:
    // it may fail like any other.
    bool warm_up()
    {
        for (const scenario* s : worlds_) {
            const job_result trial = run_one({s, 0, fault_plan{}, {}});
            if (!trial.report.failure.empty()) {
                print_failure({s, 0, fault_plan{}, {}}, trial.report);
                return false;
            }
            static_cast<void>(play(*s, 0, warm_up_options()));
        }
        return true;
    }

    job_result run_one(job j)
    {
        child c(std::move(j), options_.limit_seconds);
        for (;;) {
            pollfd p{c.descriptor(), POLLIN, 0};
            const int ready = ::poll(&p, 1, 100);
            if (ready > 0 && c.read_some()) return c.finish();
            if (c.descriptor() < 0) return c.finish();
            if (monotonic_clock::now() > c.end_at()) c.kill_hanging(options_.limit_seconds);
        }
    }

    // The seeds in the order in which they begin: one of each world in turn.
    std::optional<job> next_job()
    {
        const bool bounded = options_.seeds.has_value();
        const std::uint64_t seeds = options_.seeds.value_or(options_.cpu_seconds ? 0 : 100);
        if (campaign_interrupted || failures_.size() >= options_.max_failures) return {};
        if ((bounded || !options_.cpu_seconds) && started_ >= seeds) return {};
        if (options_.cpu_seconds && cpu_us_ >= *options_.cpu_seconds * 1'000'000U) return {};
        // The world with the fewest seeds, so that an interrupted campaign goes on as if it was not.
        const auto least = std::min_element(begun_.begin(), begun_.end());
        const auto w = static_cast<std::size_t>(least - begun_.begin());
        const scenario* const s = worlds_[w];
        const std::uint64_t seed = next_[w]++;
        ++begun_[w];
        ++started_;
        return job{s, seed, options_.plan, options_.log};
    }

    void run_all()
    {
        campaign_interrupted = 0;
        const auto on_signal = [](int) { campaign_interrupted = 1; };
        const auto old_int = std::signal(SIGINT, on_signal);
        const auto old_term = std::signal(SIGTERM, on_signal);
        for (const scenario* s : worlds_) {
            const tally& t = cursor_[s->name];
            next_.push_back(t.next);
            begun_.push_back(t.done);
        }
        auto jobs = options_.jobs;
        if (jobs == 0)
            jobs = static_cast<std::size_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
        std::vector<std::unique_ptr<child>> running;
        auto save_at = monotonic_clock::now() + std::chrono::minutes(1);
        for (;;) {
            while (running.size() < jobs) {
                auto j = next_job();
                if (!j) break;
                running.push_back(std::make_unique<child>(std::move(*j), options_.limit_seconds));
            }
            if (running.empty()) break;
            std::vector<pollfd> polled;
            polled.reserve(running.size());
            for (const auto& c : running) polled.push_back({c->descriptor(), POLLIN, 0});
            ::poll(polled.data(), polled.size(), 1000);
            const auto now = monotonic_clock::now();
            for (std::size_t i = running.size(); i-- > 0;) {
                child& c = *running[i];
                if (now > c.end_at()) c.kill_hanging(options_.limit_seconds);
                if (c.descriptor() >= 0 && polled[i].revents == 0) continue;
                if (!c.read_some()) continue;
                take(c.what(), c.finish());
                running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
            }
            if (!options_.resume.empty() && now > save_at) {
                save();
                save_at = now + std::chrono::minutes(1);
            }
        }
        std::signal(SIGINT, old_int);
        std::signal(SIGTERM, old_term);
    }

    // Counted in the order of the seeds, so that a saved cursor says it all with one number.
    void take(const job& j, job_result r)
    {
        cpu_us_ += r.cpu_us;
        if (!r.report.failure.empty()) {
            print_failure(j, r.report);
            failures_.push_back({j, r.report});
        }
        auto& waiting = waiting_[j.what->name];
        waiting.emplace(j.seed, std::pair{j, std::move(r)});
        tally& t = cursor_[j.what->name];
        for (auto at = waiting.find(t.next); at != waiting.end(); at = waiting.find(t.next)) {
            const job_result& next = at->second.second;
            print_hash(at->second.first, next.report);
            t.add(at->first, next.report, next.cpu_us);
            waiting.erase(at);
        }
    }

    void print_hash(const job& j, const run_report& r)
    {
        const bool asked = options_.hashes || options_.here || options_.seeds == 1U;
        if (!asked || r.log_hash == 0) return;
        std::ostringstream line;
        line << "log " << j.what->name << ' ' << j.seed << ' ' << std::hex << std::setw(16)
             << std::setfill('0') << r.log_hash << '\n';
        out_ << line.str();
    }

    void shorten_failures()
    {
        for (const failing_run& f : failures_) {
            job j = f.what;
            j.log.clear();
            run_report last = f.report;
            std::size_t runs = 0;
            const auto shorter = minimise(f.report.plan, [&](const fault_plan& plan) {
                ++runs;
                j.plan = plan;
                run_report r = run_one(j).report;
                const bool fails = !r.failure.empty();
                if (fails) last = std::move(r);
                return fails;
            });
            j.plan = shorter;
            out_ << "shortened with " << runs << " runs from " << f.report.plan.size() << " to "
                 << shorter.size() << " faults\n";
            print_failure(j, last);
        }
    }

    bool save()
    {
        if (save_cursor(options_.resume, cursor_)) return true;
        out_ << "FAILED to write " << options_.resume << '\n';
        return false;
    }

    int report()
    {
        std::uint64_t done = 0;
        std::size_t rare = 0;
        for (const scenario* s : worlds_) {
            const tally& t = cursor_[s->name];
            rare += print_tally(*s, t, out_);
            done += t.done;
        }
        const bool saved = options_.resume.empty() || save();
        out_ << done << " seeds over " << worlds_.size() << " worlds, " << failures_.size()
             << " failed now, " << rare << " kinds or states too rare"
             << (campaign_interrupted ? ", interrupted" : "") << '\n';
        const bool ran = started_ > 0 || options_.seeds == 0U;
        return failures_.empty() && rare == 0 && saved && ran ? 0 : 1;
    }

    campaign_options options_;
    std::vector<const scenario*> worlds_;
    std::ostream& out_;
    cursor cursor_;
    std::vector<std::uint64_t> next_;   ///< seed of each world
    std::vector<std::uint64_t> begun_;  ///< runs of each world
    std::uint64_t started_ = 0;
    std::uint64_t cpu_us_ = 0;
    std::map<std::string, std::map<std::uint64_t, std::pair<job, job_result>>> waiting_;
    std::vector<failing_run> failures_;
};

}  // namespace copse::sim::detail

namespace copse::sim {

int campaign_main(const std::string& program, const std::vector<std::string>& arguments,
                  const std::vector<scenario>& scenarios, std::ostream& out)
{
    detail::campaign_options options;
    options.program = program;
    const std::string wrong = detail::parse_campaign_options(arguments, options);
    if (!wrong.empty()) {
        out << wrong << "\n" << detail::campaign_usage(program);
        return 2;
    }
    if (options.help) {
        out << detail::campaign_usage(program);
        return 0;
    }
    std::vector<const scenario*> chosen;
    for (const scenario& s : scenarios) {
        if (options.list) out << s.name << "  " << s.about << '\n';
        if (options.world.empty() || options.world == s.name) chosen.push_back(&s);
    }
    if (options.list) return 0;
    if (chosen.empty()) {
        out << "no such world: " << options.world << '\n';
        return 2;
    }
    return detail::campaign(std::move(options), std::move(chosen), out).start();
}

int campaign_main(int argc, char** argv, const std::vector<scenario>& scenarios)
{
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    // A tool that calls this program names itself.
    const char* const called = std::getenv("COPSE_SIM_PROGRAM");
    return campaign_main(called ? called : argv[0], arguments, scenarios, std::cout);
}

}  // namespace copse::sim
