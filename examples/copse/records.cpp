#include "records.hpp"

#include "console.hpp"

#include <copse/codec/utf8.hpp>
#include <copse/core/clock.hpp>

#include <array>
#include <cstdio>
#include <ctime>

namespace app {

namespace {

bool enabled = false;

// Before main() a process only computes (it loads its libraries), so its processor time until then is
// how long it has lived.
copse::time_point begin_of_process() noexcept
{
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return copse::monotonic_clock::now() - std::chrono::seconds(used.tv_sec) -
           std::chrono::nanoseconds(used.tv_nsec);
}

const copse::time_point began = begin_of_process();

std::string to_decimal(double value)
{
    std::array<char, 64> text;
    const int n = std::snprintf(text.data(), text.size(), "%.3f", value);
    return std::string(text.data(), static_cast<std::size_t>(n));
}

void add_quoted(std::string& out, std::string_view value)
{
    out += '"';
    while (!value.empty()) {
        const copse::codec::utf8_character c = copse::codec::decode_utf8(value);
        const std::size_t n = c.size == 0 ? 1 : c.size;
        const auto first = static_cast<unsigned char>(value[0]);
        if (c.size == 0) {
            out += "\xef\xbf\xbd";
        } else if (first == '"' || first == '\\') {
            out += '\\';
            out += value[0];
        } else if (c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0) ||
                   c.code_point == 0x2028 || c.code_point == 0x2029) {
            // Also what only some readers take for the end of a line.
            std::array<char, 16> escape;
            std::snprintf(escape.data(), escape.size(), "\\u%04x",
                          static_cast<unsigned>(c.code_point));
            out += escape.data();
        } else {
            out += value.substr(0, n);
        }
        value.remove_prefix(n);
    }
    out += '"';
}

}  // namespace

bool prints_records() noexcept
{
    return enabled;
}

void print_records() noexcept
{
    enabled = true;
}

record::record(std::string_view type)
{
    text("type", type);
    const std::chrono::duration<double, std::milli> elapsed = copse::monotonic_clock::now() - began;
    decimal("elapsed_ms", elapsed.count());
}

void record::name(std::string_view name)
{
    line_ += line_.empty() ? '{' : ',';
    add_quoted(line_, name);
    line_ += ':';
}

record& record::text(std::string_view key, std::string_view value)
{
    name(key);
    add_quoted(line_, value);
    return *this;
}

record& record::number(std::string_view key, std::uint64_t value)
{
    name(key);
    line_ += std::to_string(value);
    return *this;
}

record& record::decimal(std::string_view key, double value)
{
    name(key);
    line_ += to_decimal(value);
    return *this;
}

record& record::flag(std::string_view key, bool value)
{
    name(key);
    line_ += value ? "true" : "false";
    return *this;
}

record& record::list(std::string_view key, std::span<const std::string> values)
{
    name(key);
    line_ += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i > 0) line_ += ',';
        add_quoted(line_, values[i]);
    }
    line_ += ']';
    return *this;
}

void record::print()
{
    if (enabled) app::print(line_ + "}");
}

}  // namespace app
