// How a command of the program fails: an exit code and one line for the person who ran it.
#pragma once

#include <copse/core/result.hpp>

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/all_narrow.hpp>

#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace app {

using namespace copse;

/// How a command ended. all_exit_codes() says what each stands for.
enum class exit_code : int {
    ok = 0,
    other = 1,
    usage = 2,
    unreachable = 3,
    refused = 4,
    integrity = 5,
    files = 6,
    disk_full = 7,
    limit = 8,
    partial = 9,
    interrupted = 130,
};

struct exit_rule {
    exit_code code;
    std::string_view name;  ///< the class, as records and tables call it
    std::string_view about;
};

/// The table of --help, the manual and the documentation.
[[nodiscard]] std::span<const exit_rule> all_exit_codes() noexcept;
[[nodiscard]] std::string_view class_name(exit_code code) noexcept;

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
