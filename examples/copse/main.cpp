// copse: sends and receives files, verified as they stream.
#include "commands.hpp"
#include "console.hpp"

#include <copse/config.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>

namespace {

using app::exit_code;

constexpr char overview[] =
    R"(usage: copse COMMAND ...

  copse send PATH...     offer files and folders, print a ticket, serve until Ctrl-C
  copse recv TICKET      fetch what a ticket names; run it again to resume
  copse hash PATH...     BLAKE3 hashes, as b3sum prints them
  copse id               who this node is
  copse ticket TICKET    explain a ticket

  copse COMMAND --help   the options of a command
  copse --version

Exit codes: 0 done, 1 other failure, 2 usage, 3 unreachable, 4 refused or not available,
5 data does not match its hash, 6 local files, 130 interrupted.)";

struct command {
    std::string_view name;
    app::step<exit_code> (*run)(const app::words&);
    const char* help;
};

constexpr std::array commands{
    command{"send", &app::run_send, app::send_help},
    command{"recv", &app::run_recv, app::recv_help},
    command{"hash", &app::run_hash, app::hash_help},
    command{"id", &app::run_id, app::id_help},
    command{"ticket", &app::run_ticket, app::ticket_help},
};

const command* find(std::string_view name)
{
    const auto* const found = std::ranges::find(commands, name, &command::name);
    return found == commands.end() ? nullptr : found;
}

exit_code complain_of(const app::failure& why)
{
    app::complain("copse: " + why.text);
    return why.code;
}

exit_code run(const app::words& input)
{
    if (input.empty()) {
        app::complain(overview);
        return exit_code::usage;
    }
    const std::string& first = input.front();
    if (first == "--version" || first == "-V") {
        app::print("copse " COPSE_VERSION_STRING);
        return exit_code::ok;
    }
    if (first == "--help" || first == "-h" || first == "help") {
        const command* const about = input.size() > 1 ? find(input[1]) : nullptr;
        app::print(about ? about->help : overview);
        return exit_code::ok;
    }
    const command* const chosen = find(first);
    if (!chosen) {
        app::complain("copse: no command " + app::shown_path(first) + "; copse --help lists them");
        return exit_code::usage;
    }
    const app::words rest(input.begin() + 1, input.end());
    for (const std::string& word : rest) {
        if (word == "--") break;
        if (word != "--help" && word != "-h") continue;
        app::print(chosen->help);
        return exit_code::ok;
    }
    const auto ended = chosen->run(rest);
    if (ended) return ended.assume_value();
    const exit_code code = complain_of(ended.assume_error());
    if (code == exit_code::usage) {
        app::complain("copse " + first + " --help shows how to use it");
    }
    return code;
}

}  // namespace

int main(int argc, char** argv)
{
    try {
        const exit_code code = run(app::words(argv + std::min(argc, 1), argv + argc));
        // What print() could not write shows here: a full disk must not pass for success.
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
            app::complain("copse: cannot write to standard output");
            return static_cast<int>(code == exit_code::ok ? exit_code::files : code);
        }
        return static_cast<int>(code);
    } catch (const std::exception& e) {
        app::complain(std::string("copse: ") + e.what());
        return static_cast<int>(exit_code::other);
    }
}
