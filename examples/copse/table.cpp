#include "table.hpp"

#include "commands.hpp"

#include <algorithm>
#include <array>

namespace app {

namespace {

constexpr option_rule json{"json", '\0', "", completes::nothing,
                           "print records for programs, one JSON object a line, instead of text"};
constexpr option_rule bind{
    "bind", '\0', "ADDR:PORT", completes::nothing,
    "use this local address only, such as 192.0.2.1:4433 or [::]:0 (repeated "
    "for several); default: all interfaces, a free port"};
constexpr option_rule key{"key", '\0', "FILE", completes::files,
                          "another key file than "
                          "${COPSE_HOME:-${XDG_CONFIG_HOME:-~/.config}/copse}/key"};

constexpr std::array send_options{
    bind,
    option_rule{"limit-up", '\0', "RATE", completes::nothing,
                "send no more bytes a second than that, to all together; K, M and G may follow (of "
                "1024)"},
    option_rule{"once", '\0', "", completes::nothing, "end after one complete transfer"},
    option_rule{"name", '\0', "NAME", completes::nothing,
                "what standard input is called at the receiver (default: stdin)"},
    option_rule{"skip-unsupported", '\0', "", completes::nothing,
                "leave out files whose names receivers would refuse"},
    key,
    option_rule{"qr", '\0', "", completes::nothing,
                "show the ticket as a QR code, too, on standard error"},
    json,
};

constexpr std::array recv_options{
    option_rule{"output", 'o', "DIR", completes::folders,
                "where to put them (default: this folder; what is unfinished: DIR/.copse-partial); "
                "- writes the only file to standard output"},
    option_rule{"force", '\0', "", completes::nothing, "replace existing files"},
    option_rule{"durable", '\0', "", completes::nothing,
                "survive power loss, not only the end of this process"},
    option_rule{"max-size", '\0', "SIZE", completes::nothing,
                "refuse more than that, in bytes or with K, M, G or T behind (of 1024)"},
    bind,
    option_rule{"limit-down", '\0', "RATE", completes::nothing,
                "receive no more bytes a second than that; K, M and G may follow (of 1024)"},
    option_rule{"timeout", '\0', "SECONDS", completes::nothing,
                "give up a provider after so long without an answer or progress (default 30)"},
    json,
};

constexpr std::array hash_options{
    option_rule{"threads", '\0', "N", completes::nothing,
                "threads for a large file (default: all processors that may be used)"},
    json,
};

constexpr std::array id_options{key, json};

constexpr std::array ticket_options{
    option_rule{"qr", '\0', "", completes::nothing, "show it as a QR code"},
    json,
};

constexpr std::array man_options{
    option_rule{"all", '\0', "DIR", completes::folders, "write all pages into this folder"},
};

constexpr std::array commands{
    command_rule{
        "send", "PATH...", completes::files,
        "offer files and folders, print a ticket, serve until Ctrl-C",
        "Hashes files and folders where they are, prints a ticket for `copse recv` (and sendme), "
        "and "
        "serves them until Ctrl-C. Nothing is copied. Symbolic links and special files are skipped "
        "and counted.\n\n"
        "A single - offers standard input, which is kept in a temporary file until the end.",
        send_options, &run_send},
    command_rule{
        "recv", "TICKET...", completes::nothing,
        "fetch what a ticket names; run it again to resume",
        "Fetches the files that a ticket of copse or sendme names, verifies them as they arrive, "
        "and "
        "puts them in place when all are complete. After an interruption the same command goes on "
        "where it ended.\n\n"
        "Several tickets for the same hash are tried in order: when one provider fails, the next "
        "one "
        "is asked for what is still missing.",
        recv_options, &run_recv},
    command_rule{
        "hash", "[PATH...]", completes::files, "BLAKE3 hashes, as b3sum prints them",
        "Prints the BLAKE3 hash and the name of each file, in the format of b3sum. Without "
        "a PATH, or for -, standard input is read.",
        hash_options, &run_hash},
    command_rule{
        "id", "", completes::nothing, "who this node is",
        "Prints the id under which `copse send` of this user is known. The key file is made "
        "when there is none.",
        id_options, &run_id},
    command_rule{
        "ticket", "TICKET", completes::nothing, "explain a ticket",
        "Explains a ticket of copse, sendme or iroh: what it names, who has it, and where.",
        ticket_options, &run_ticket},
    command_rule{"completion",
                 "SHELL",
                 completes::shells,
                 "what a shell needs to complete copse",
                 "Prints the completions for bash, zsh or fish.",
                 {},
                 &run_completion,
                 true},
    command_rule{"man", "[COMMAND]", completes::commands, "the manual as a page of man(7)",
                 "Prints the manual page of copse or of one of its commands.", man_options,
                 &run_man, true},
};

std::string left_side(const option_rule& option)
{
    std::string out = "  ";
    if (option.letter) out += std::string("-") + option.letter + ", ";
    out += "--" + std::string(option.name);
    if (!option.value.empty()) out += " " + std::string(option.value);
    return out;
}

}  // namespace

void add_wrapped(std::string& out, std::string_view text, std::size_t indent, std::size_t columns)
{
    const std::size_t last_line = out.rfind('\n');
    std::size_t column = out.size() - (last_line == out.npos ? 0 : last_line + 1);
    bool first = true;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (!first && column + 1 + word.size() > columns) {
            out += '\n' + std::string(indent, ' ');
            column = indent;
        } else if (!first) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
        first = false;
    }
}

std::span<const command_rule> all_commands() noexcept
{
    return commands;
}

const command_rule* find_command(std::string_view name) noexcept
{
    const auto* const found = std::ranges::find(commands, name, &command_rule::name);
    return found == commands.end() ? nullptr : found;
}

std::string help_text(const command_rule& command)
{
    std::string out = "usage: copse " + std::string(command.name);
    if (!command.operands.empty()) out += " " + std::string(command.operands);
    if (!command.options.empty()) out += " [options]";
    out += "\n";
    for (std::string_view rest = command.about; !rest.empty();) {
        const std::string_view paragraph = rest.substr(0, rest.find("\n\n"));
        rest.remove_prefix(std::min(rest.size(), paragraph.size() + 2));
        out += '\n';
        add_wrapped(out, paragraph, 0);
        out += '\n';
    }
    std::size_t widest = 0;
    for (const option_rule& option : command.options) {
        widest = std::max(widest, left_side(option).size());
    }
    for (const option_rule& option : command.options) {
        std::string left = left_side(option);
        left.resize(widest + 2, ' ');
        out += '\n' + left;
        add_wrapped(out, option.about, widest + 2);
    }
    if (command.options.empty()) out.pop_back();
    return out;
}

std::string overview_text()
{
    std::string out = "usage: copse COMMAND ...\n";
    for (const command_rule& command : commands) {
        if (command.hidden) continue;
        std::string left = "  copse " + std::string(command.name) + " ";
        left += command.operands;
        left.resize(25, ' ');
        out += '\n' + left + std::string(command.summary);
    }
    out +=
        "\n\n  copse COMMAND --help   the options of a command\n  copse --version\n\nExit codes:\n";
    for (const exit_rule& rule : all_exit_codes()) {
        std::string left = "  " + std::to_string(static_cast<int>(rule.code));
        left.resize(6, ' ');
        left += rule.name;
        left.resize(19, ' ');
        out += '\n' + left;
        add_wrapped(out, rule.about, 19);
    }
    return out;
}

}  // namespace app
