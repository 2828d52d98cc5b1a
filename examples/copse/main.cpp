// copse: sends and receives files, verified as they stream.
#include "arguments.hpp"
#include "console.hpp"
#include "records.hpp"
#include "table.hpp"

#include <copse/config.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>

namespace {

using app::exit_code;

exit_code report(const app::failure& why)
{
    if (app::prints_records()) {
        app::record("error")
            .text("class", app::class_name(why.code))
            .number("code", static_cast<std::uint64_t>(why.code))
            .text("message", why.text)
            .print();
    } else {
        app::complain("copse: " + why.text);
    }
    return why.code;
}

exit_code run_command(const app::command_rule& command, const app::words& input)
{
    for (const std::string& word : input) {
        if (word == "--") break;
        if (word == "--help" || word == "-h")
            return app::print(app::help_text(command)), exit_code::ok;
        // Known before the rest is understood: an error is a record, too.
        if (word == "--json") app::print_records();
    }
    const auto given = app::arguments::parse(input, command);
    const auto ended =
        given ? command.run(given.assume_value()) : app::step<exit_code>(given.assume_error());
    if (ended) return ended.assume_value();
    const exit_code code = report(ended.assume_error());
    if (code == exit_code::usage && !app::prints_records()) {
        app::complain("copse " + std::string(command.name) + " --help shows how to use it");
    }
    return code;
}

exit_code run(const app::words& input)
{
    if (input.empty()) {
        app::complain(app::overview_text());
        return exit_code::usage;
    }
    const std::string& first = input.front();
    if (first == "--version" || first == "-V") {
        app::print("copse " COPSE_VERSION_STRING);
        return exit_code::ok;
    }
    if (first == "--help" || first == "-h" || first == "help") {
        const auto* const about = input.size() > 1 ? app::find_command(input[1]) : nullptr;
        app::print(about ? app::help_text(*about) : app::overview_text());
        return exit_code::ok;
    }
    if (const auto* const chosen = app::find_command(first)) {
        return run_command(*chosen, app::words(input.begin() + 1, input.end()));
    }
    if (std::ranges::find(input, "--json") != input.end()) app::print_records();
    return report(app::fail(exit_code::usage,
                            "no command " + app::shown_path(first) + "; copse --help lists them"));
}

/// A terminal that goes away is a Ctrl-C, which leaves nothing behind; nohup keeps its meaning.
void treat_hangup_as_interrupt() noexcept
{
    const auto before = std::signal(SIGHUP, [](int) { static_cast<void>(std::raise(SIGINT)); });
    if (before == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

/// A standard stream that is closed would be the next file or socket that is opened: what is printed
/// would go there. Whoever closed it gets errors instead. \return whether there is something for each.
bool occupy_standard_streams() noexcept
{
    for (const int fd : {0, 1, 2}) {
        if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
        // Reading standard input fails, and so does writing to the others.
        if (::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) return false;
    }
    return true;
}

}  // namespace

int main(int argc, char** argv)
{
    if (!occupy_standard_streams()) return static_cast<int>(exit_code::files);
    treat_hangup_as_interrupt();
    std::signal(SIGXFSZ, SIG_IGN);  // a file that becomes too large is an error like a full disk
    try {
        const exit_code code = run(app::words(argv + std::min(argc, 1), argv + argc));
        // What print() could not write shows here: a full disk must not pass for success.
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
            app::complain("copse: cannot write to standard output");
            return static_cast<int>(code == exit_code::ok ? exit_code::files : code);
        }
        return static_cast<int>(code);
    } catch (const std::exception& e) {
        return static_cast<int>(report(app::fail(exit_code::other, e.what())));
    }
}
