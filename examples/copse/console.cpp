#include "console.hpp"

#include "records.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>

namespace app {

namespace {

template <class... Values>
std::string format(const char* pattern, Values... values)
{
    std::array<char, 64> text;
    const int n = std::snprintf(text.data(), text.size(), pattern, values...);
    return std::string(text.data(), static_cast<std::size_t>(n));
}

}  // namespace

void print(std::string_view line)
{
    // A closed pipe shows at the end of the program, as for any other tool.
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
}

void complain(std::string_view line)
{
    if (prints_records()) {
        record("note").text("message", line).print();
        return;
    }
    std::string whole(line);
    whole += '\n';
    std::fwrite(whole.data(), 1, whole.size(), stderr);
}

std::string to_size(std::uint64_t bytes)
{
    if (bytes < 1024) return to_count(bytes, "byte");
    static constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return format("%.1f %s", value, units[unit]);
}

std::string to_count(std::uint64_t count, std::string_view singular)
{
    std::string out = std::to_string(count) + " ";
    out += singular;
    if (count != 1) out += 's';
    return out;
}

std::string to_rate(std::uint64_t bytes, std::chrono::nanoseconds time)
{
    if (time.count() <= 0) return {};
    // Bytes a nanosecond are GB/s.
    const double rate = 1e3 * static_cast<double>(bytes) / static_cast<double>(time.count());
    return rate < 10 ? format("%.2f MB/s", rate) : format("%.0f MB/s", rate);
}

std::string to_duration(std::chrono::nanoseconds time)
{
    const double seconds = 1e-9 * static_cast<double>(time.count());
    if (seconds < 10) return format("%.2f s", seconds);
    if (seconds < 100) return format("%.0f s", seconds);
    const auto whole = static_cast<unsigned long long>(seconds);
    if (whole < 6000) return format("%llu min %02llu s", whole / 60, whole % 60);
    return format("%llu h %02llu min", whole / 3600, whole / 60 % 60);
}

bool output_is_terminal() noexcept
{
    return ::isatty(STDOUT_FILENO) == 1;
}

}  // namespace app
