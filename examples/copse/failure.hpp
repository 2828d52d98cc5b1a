// How a command of the program fails: an exit code and one line for the person who ran it.
#pragma once

#include <copse/core/result.hpp>

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/all_narrow.hpp>

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace app {

using namespace copse;

/// docs/how-to/command-line.md has the table.
enum class exit_code : int {
    ok = 0,
    other = 1,
    usage = 2,        ///< wrong options, or a text that is no ticket
    unreachable = 3,  ///< no answer, or none any more
    refused = 4,      ///< the provider refuses or lacks the data, or what it offers is refused
    integrity = 5,    ///< data that does not match its hash
    files = 6,        ///< local files: existing, not permitted, disk full
    interrupted = 130,
};

struct failure {
    failure() = default;  // for the results that have a value
    failure(exit_code c, std::string t) : code(c), text(std::move(t)) {}

    exit_code code = exit_code::other;
    std::string text;  ///< what, where, what to do; what came from a peer is escaped
};

/// A value, or why the command cannot go on.
template <class T = void>
using step = outcome::basic_result<T, failure, outcome::policy::all_narrow>;

/// The exit code that stands for an error of the library or of the system's files.
[[nodiscard]] exit_code to_exit_code(const std::error_code& error) noexcept;

[[nodiscard]] inline failure fail(exit_code code, std::string text)
{
    return failure(code, std::move(text));
}
/// `what: message`, with the exit code of the error.
[[nodiscard]] failure fail(const std::error_code& error, std::string_view what);

/// A local path, as it may be printed.
[[nodiscard]] std::string shown_path(std::string_view path);

}  // namespace app
