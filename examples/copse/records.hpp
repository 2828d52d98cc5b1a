// Output for programs: with --json every line of standard output is one JSON object.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace app {

/// Whether this process prints records, and no text for people anywhere.
[[nodiscard]] bool prints_records() noexcept;
/// Called once, before anything is printed.
void print_records() noexcept;

/// One record: `type`, `elapsed_ms` since the process began, then what is added, in this order.
/// docs/reference/json.md has the table of all of them.
class record {
public:
    explicit record(std::string_view type);

    /// Text in UTF-8; bytes that are not become U+FFFD.
    record& text(std::string_view name, std::string_view value);
    record& number(std::string_view name, std::uint64_t value);
    /// With three decimals.
    record& decimal(std::string_view name, double value);
    record& flag(std::string_view name, bool value);
    record& list(std::string_view name, std::span<const std::string> values);

    /// Writes the line, if this process prints records at all.
    void print();

private:
    void name(std::string_view name);

    std::string line_;
};

}  // namespace app
