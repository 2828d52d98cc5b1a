// copse man: manual pages in the macros of man(7), from the table of commands.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"

#include <copse/config.hpp>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>

namespace app {

namespace {

// When what the pages say last changed.
constexpr std::string_view manual_date = "2026-11-21";

/// Text as roff takes it literally, without line ends.
std::string literal(std::string_view text)
{
    std::string out = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
    for (const char c : text) {
        if (c == '\\') out += "\\e";
        else if (c == '-') out += "\\-";
        else if (c == '`') out += "\\(ga";
        else if (c == '~') out += "\\(ti";
        else out += c;
    }
    return out;
}

/// The same in lines of moderate length, with a line end.
std::string paragraph(std::string_view text)
{
    std::string wrapped;
    add_wrapped(wrapped, text, 0, 70);  // 80 with what escapes add
    std::string out;
    for (std::string_view rest = wrapped; !rest.empty();) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        out += literal(line) + "\n";
    }
    return out;
}

std::string upper(std::string_view text)
{
    std::string out;
    for (const char c : text) out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return out;
}

std::string title(std::string_view name)
{
    return ".TH " + upper(name) + " 1 " + std::string(manual_date) + " \"copse " +
           COPSE_VERSION_STRING + "\" \"User commands\"\n";
}

void add_paragraphs(std::string& out, std::string_view text)
{
    for (bool first = true; !text.empty(); first = false) {
        const std::string_view part = text.substr(0, text.find("\n\n"));
        text.remove_prefix(std::min(text.size(), part.size() + 2));
        if (!first) out += ".PP\n";
        out += paragraph(part);
    }
}

void add_exit_codes(std::string& out)
{
    out += ".SH EXIT STATUS\n";
    for (const exit_rule& rule : all_exit_codes()) {
        out += ".TP\n.B " + std::to_string(static_cast<int>(rule.code)) + "\n" +
               paragraph(std::string(rule.name) + ": " + std::string(rule.about));
    }
}

std::string main_page()
{
    std::string out = title("copse");
    out += ".SH NAME\ncopse \\- send and receive files, verified as they stream\n"
           ".SH SYNOPSIS\n.B copse\n.I command\n[\\fIargument\\fR ...]\n"
           ".SH DESCRIPTION\n"
           "Sends files and folders from one machine to another, directly and verified\n"
           "by their BLAKE3 hash while they arrive.\nTickets are those of sendme.\n"
           ".SH COMMANDS\n";
    std::string others;
    for (const command_rule& command : all_commands()) {
        if (command.hidden) continue;
        const std::string name(command.name);
        out += ".TP\n.B copse " + name + " " + literal(command.operands);
        while (out.ends_with(' ')) out.pop_back();
        out += "\n" + paragraph(command.summary);
        others += (others.empty() ? "" : " ,\n") + std::string(".BR copse\\-") + name + " (1)";
    }
    add_exit_codes(out);
    out += ".SH ENVIRONMENT\n.TP\n.BR COPSE_HOME \", \" XDG_CONFIG_HOME \", \" HOME\n"
           "where the key file is: $COPSE_HOME/key, else $XDG_CONFIG_HOME/copse/key,\nelse "
           "$HOME/.config/copse/key\n"
           ".TP\n.B QLOGDIR\na folder for one qlog file a connection\n"
           ".TP\n.B SSLKEYLOGFILE\na file for the keys of connections, to decrypt captures\n"
           ".TP\n.B TMPDIR\nwhere standard input and output are kept until they are complete\n"
           ".SH SEE ALSO\n" +
           others + "\n";
    return out;
}

std::string page(const command_rule& command)
{
    const std::string name(command.name);
    std::string out = title("copse-" + name);
    out += ".SH NAME\ncopse\\-" + name + " \\- " + literal(command.summary) + "\n.SH SYNOPSIS\n" +
           ".B copse " + name + "\n";
    if (!command.operands.empty()) out += ".I " + literal(command.operands) + "\n";
    if (!command.options.empty()) out += "[\\fIoptions\\fR]\n";
    out += ".SH DESCRIPTION\n";
    add_paragraphs(out, command.about);
    if (!command.options.empty()) out += ".SH OPTIONS\n";
    for (const option_rule& option : command.options) {
        out += ".TP\n";
        std::string names;
        if (option.letter) names = std::string("\\-") + option.letter + ", ";
        names += "\\-\\-" + literal(option.name);
        if (option.value.empty()) out += ".B \"" + names + "\"\n";
        else out += ".BI \"" + names + " \" " + literal(option.value) + "\n";
        out += paragraph(option.about);
    }
    add_exit_codes(out);
    out += ".SH SEE ALSO\n.BR copse (1)\n";
    return out;
}

step<void> write_page(const std::string& path, const std::string& text)
{
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (out) return outcome::success();
    return fail(exit_code::files, "cannot write " + shown_path(path));
}

}  // namespace

step<exit_code> run_man(const arguments& given)
{
    if (const auto folder = given.get("all")) {
        COPSE_TRYV(write_page(*folder + "/copse.1", main_page()));
        for (const command_rule& command : all_commands()) {
            if (command.hidden) continue;
            const std::string path = *folder + "/copse-" + std::string(command.name) + ".1";
            COPSE_TRYV(write_page(path, page(command)));
        }
        return exit_code::ok;
    }
    if (given.plain().size() > 1) return fail(exit_code::usage, "one page at a time");
    std::string text = main_page();
    if (!given.plain().empty()) {
        const command_rule* const command = find_command(given.plain().front());
        if (!command) {
            return fail(exit_code::usage, "no command " + shown_path(given.plain().front()));
        }
        text = page(*command);
    }
    text.pop_back();
    print(text);
    return exit_code::ok;
}

}  // namespace app
