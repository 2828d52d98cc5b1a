// Every command, option and exit code in one table: parsing, --help, manual pages and completions are
// made from it.
#pragma once

#include "failure.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace app {

class arguments;

/// What a shell offers in place of a value or a word.
enum class completes : std::uint8_t { nothing, files, folders, shells, commands };

/// An option that a command knows. `--help` is known to all.
struct option_rule {
    std::string_view name;   ///< without the dashes
    char letter = '\0';      ///< short form, if any
    std::string_view value;  ///< name of the value; empty: a flag
    completes what = completes::nothing;
    std::string_view about;
};

struct command_rule {
    std::string_view name;
    std::string_view operands;  ///< such as `PATH...`
    completes operand = completes::nothing;
    std::string_view summary;  ///< one line of the overview
    std::string_view about;    ///< paragraphs, separated by an empty line, not wrapped
    std::span<const option_rule> options;
    step<exit_code> (*run)(const arguments& given);
    bool hidden = false;  ///< of use to packagers only
};

[[nodiscard]] std::span<const command_rule> all_commands() noexcept;
/// nullptr: there is none of that name.
[[nodiscard]] const command_rule* find_command(std::string_view name) noexcept;

inline constexpr std::size_t help_columns = 80;

/// Adds words to `out`, wrapped, each line after the first with so many spaces before it.
void add_wrapped(std::string& out, std::string_view text, std::size_t indent,
                 std::size_t columns = help_columns);

/// `usage: ...`, what it does, its options.
[[nodiscard]] std::string help_text(const command_rule& command);
/// All commands, and the exit codes.
[[nodiscard]] std::string overview_text();

}  // namespace app
