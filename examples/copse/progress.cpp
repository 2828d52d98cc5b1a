#include "progress.hpp"

#include "console.hpp"
#include "records.hpp"

#include <copse/core/clock.hpp>
#include <copse/core/timer.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <utility>

namespace app {

using namespace std::chrono_literals;
using copse::monotonic_clock;
using copse::time_point;

namespace {

constexpr std::chrono::nanoseconds terminal_interval = 100ms;
constexpr std::chrono::nanoseconds plain_interval = 2s;
// The rate shown is that of the last seconds, as people expect it.
constexpr std::chrono::nanoseconds rate_window = 4s;

bool can_rewrite_lines() noexcept
{
    const char* const term = std::getenv("TERM");
    return ::isatty(STDERR_FILENO) == 1 && term && std::string_view(term) != "dumb";
}

std::size_t terminal_columns() noexcept
{
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

struct sample {
    time_point at;
    std::uint64_t bytes;
};

}  // namespace

struct progress::state : std::enable_shared_from_this<progress::state> {
    explicit state(copse::executor ex)
        : timer(std::move(ex)), terminal(!prints_records() && can_rewrite_lines())
    {}

    void arm()
    {
        timer.expires_after(terminal ? terminal_interval : plain_interval);
        timer.async_wait([weak = weak_from_this()](std::error_code ec) {
            const auto self = weak.lock();
            if (ec || !self || self->phase.empty()) return;
            self->draw();
            self->arm();
        });
    }

    void clear_line() noexcept
    {
        if (!std::exchange(drawn, false)) return;
        std::fputs("\r\x1b[K", stderr);
    }

    void draw()
    {
        const time_point now = monotonic_clock::now();
        samples.push_back({now, done});
        while (samples.size() > 2 && now - samples.front().at > rate_window) samples.pop_front();
        // A server that waits must not fill a log.
        const bool news = done != told_done || text != told_text || total;
        if (prints_records() && news) print_record(now);
        std::string line = describe(now);
        if (!terminal) {
            if (news && !prints_records()) complain(line);
            told_done = done;
            told_text = text;
            return;
        }
        // Names are counted as bytes here: a line too short is better than one that wraps.
        const std::size_t room = terminal_columns() - 1;
        if (line.size() > room) line.resize(room);
        std::fputs("\r\x1b[K", stderr);
        std::fwrite(line.data(), 1, line.size(), stderr);
        std::fflush(stderr);
        drawn = true;
    }

    void print_record(time_point now) const
    {
        record out("progress");
        out.text("phase", phase).number("bytes", total ? std::min(done, *total) : done);
        if (total) out.number("total", *total);
        const std::chrono::duration<double> span = now - samples.front().at;
        if (span.count() > 0) {
            const auto moved = done - std::min(done, samples.front().bytes);
            out.number("bytes_per_s",
                       static_cast<std::uint64_t>(static_cast<double>(moved) / span.count()));
        }
        if (!text.empty()) out.text("detail", text);
        out.print();
    }

    [[nodiscard]] std::string describe(time_point now) const
    {
        std::string line = phase;
        line.resize(std::max<std::size_t>(line.size(), 8), ' ');
        const std::chrono::nanoseconds span = now - samples.front().at;
        const std::uint64_t moved = done - std::min(done, samples.front().bytes);
        if (total) {
            const std::uint64_t shown = std::min(done, *total);
            line += "  " + to_size(shown) + " of " + to_size(*total);
            const double part =
                *total ? static_cast<double>(shown) / static_cast<double>(*total) : 1;
            line += "  " + std::to_string(static_cast<int>(100 * part)) + "%";
        } else if (done > 0) {
            line += "  " + to_size(done);
        }
        if (total || done > 0) {
            const std::string rate = to_rate(moved, span);
            if (!rate.empty()) line += "  " + rate;
        }
        if (total && *total > done && moved > 0) {
            const double left = static_cast<double>(*total - done) * 1e-9 *
                                static_cast<double>(span.count()) / static_cast<double>(moved);
            if (left < 1e6) {
                line += "  ETA " +
                        to_duration(std::chrono::seconds(static_cast<std::int64_t>(left) + 1));
            }
        }
        if (!text.empty()) line += "  " + text;
        return line;
    }

    copse::timer timer;
    const bool terminal;
    bool drawn = false;
    std::string phase;  // empty: none
    std::string text;
    std::optional<std::uint64_t> total;
    std::uint64_t done = 0;
    std::uint64_t told_done = 0;  // what the last plain line said
    std::string told_text;
    std::deque<sample> samples;  // bounded by the window: at most 40
};

progress::progress(copse::executor ex) : state_(std::make_shared<state>(std::move(ex))) {}

progress::~progress()
{
    end();
}

void progress::begin(std::string phase, std::optional<std::uint64_t> total, std::uint64_t before)
{
    end();
    state& s = *state_;
    s.phase = std::move(phase);
    s.text.clear();
    s.total = total;
    s.done = before;
    s.told_done = before;
    s.told_text.clear();
    s.samples.assign(1, {monotonic_clock::now(), before});
    record phase_record("phase");
    phase_record.text("phase", s.phase);
    if (total) phase_record.number("bytes", before).number("total", *total);
    phase_record.print();
    s.arm();
}

void progress::add(std::uint64_t bytes) noexcept
{
    state_->done += bytes;
}

void progress::set(std::uint64_t bytes) noexcept
{
    state_->done = bytes;
}

void progress::detail(std::string text)
{
    state_->text = std::move(text);
}

void progress::end()
{
    state_->timer.cancel();
    state_->clear_line();
    state_->phase.clear();
}

void progress::note(std::string_view line)
{
    state_->clear_line();
    complain(line);
}

}  // namespace app
