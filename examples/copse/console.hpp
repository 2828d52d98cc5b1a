// Lines for people and for scripts.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace app {

/// Writes a line to standard output at once: a script may read it through a pipe.
void print(std::string_view line);
/// Writes a line to standard error; to programs, a record of type `note`.
void complain(std::string_view line);

/// `412.0 MiB`, `17 bytes`.
[[nodiscard]] std::string to_size(std::uint64_t bytes);
/// `1 file`, `3 files`.
[[nodiscard]] std::string to_count(std::uint64_t count, std::string_view singular);
/// `873 MB/s`, of 10^6 bytes; empty when no time has passed.
[[nodiscard]] std::string to_rate(std::uint64_t bytes, std::chrono::nanoseconds time);
/// `1.23 s`, `4 min 05 s`.
[[nodiscard]] std::string to_duration(std::chrono::nanoseconds time);

[[nodiscard]] bool output_is_terminal() noexcept;

}  // namespace app
