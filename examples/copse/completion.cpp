// copse completion: what bash, zsh and fish need, from the table of commands.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"

#include <string>

namespace app {

namespace {

std::string visible_commands()
{
    std::string out;
    for (const command_rule& command : all_commands()) {
        if (!command.hidden) out += (out.empty() ? "" : " ") + std::string(command.name);
    }
    return out;
}

std::string dashed(const option_rule& option)
{
    return "--" + std::string(option.name);
}

// ---- bash ----

/// The statement that offers values of a kind; empty: nothing is known about them.
std::string_view bash_values(completes what)
{
    switch (what) {
    case completes::files:
        return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
    case completes::folders:
        return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")";
    case completes::shells:
        return "mapfile -t COMPREPLY < <(compgen -W \"bash zsh fish\" -- \"$cur\")";
    case completes::commands:
        return "mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$cur\")";
    case completes::nothing: break;
    }
    return "";
}

std::string bash_command(const command_rule& command)
{
    std::string out = "    " + std::string(command.name) + ")\n";
    std::string names;
    std::string cases;
    for (const option_rule& option : command.options) {
        names += dashed(option) + " ";
        if (option.value.empty()) continue;
        std::string values(bash_values(option.what));
        if (!values.empty()) values += "; ";
        cases += "        " + dashed(option);
        if (option.letter) cases += std::string("|-") + option.letter;
        cases += ") " + values + "return ;;\n";
    }
    if (!cases.empty()) out += "        case $prev in\n" + cases + "        esac\n";
    out += "        if [[ $cur == -* ]]; then\n            mapfile -t COMPREPLY < <(compgen -W \"" +
           names + "--help\" -- \"$cur\")\n";
    const std::string_view words = bash_values(command.operand);
    if (!words.empty()) out += "        else\n            " + std::string(words) + "\n";
    return out + "        fi ;;\n";
}

std::string bash()
{
    std::string out = "# Completion of copse for bash, made by `copse completion bash`.\n"
                      "_copse()\n{\n"
                      "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                      "    local commands=\"" +
                      visible_commands() +
                      "\"\n    COMPREPLY=()\n"
                      "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
                      "        mapfile -t COMPREPLY < <(compgen -W \"$commands --help --version\" "
                      "-- \"$cur\")\n        return\n    fi\n"
                      "    case ${COMP_WORDS[1]} in\n";
    for (const command_rule& command : all_commands()) out += bash_command(command);
    return out + "    esac\n}\ncomplete -F _copse copse";
}

// ---- zsh ----

/// Text inside of '...', and inside of the brackets of a specification of _arguments.
std::string zsh_quoted(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        if (c == '\'') {
            out += "'\\''";
            continue;
        }
        if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

std::string zsh_action(completes what)
{
    switch (what) {
    case completes::files: return "_files";
    case completes::folders: return "_files -/";
    case completes::shells: return "(bash zsh fish)";
    case completes::commands: return "(" + visible_commands() + ")";
    case completes::nothing: break;
    }
    return " ";
}

std::string zsh()
{
    std::string out = "#compdef copse\n# Made by `copse completion zsh`.\n"
                      "_copse() {\n    local -a commands\n    commands=(\n";
    for (const command_rule& command : all_commands()) {
        if (command.hidden) continue;
        out += "        '" + std::string(command.name) + ":" + zsh_quoted(command.summary) + "'\n";
    }
    out += "    )\n    if (( CURRENT == 2 )); then\n        _describe 'command' commands\n"
           "        return\n    fi\n    local command=$words[2]\n    shift words\n    (( CURRENT-- "
           "))\n"
           "    case $command in\n";
    for (const command_rule& command : all_commands()) {
        out += "    " + std::string(command.name) + ")\n        _arguments \\\n";
        for (const option_rule& option : command.options) {
            const std::string tail = "[" + zsh_quoted(option.about) + "]" +
                                     (option.value.empty() ? std::string()
                                                           : ":" + zsh_quoted(option.value) + ":" +
                                                                 zsh_action(option.what));
            if (option.letter) {
                out += std::string("            '*-") + option.letter + tail + "' \\\n";
            }
            out += "            '*" + dashed(option) + tail + "' \\\n";
        }
        out += "            '--help[how to use it]'";
        if (!command.operands.empty()) {
            out += " \\\n            '*:" + zsh_quoted(command.operands) + ":" +
                   zsh_action(command.operand) + "'";
        }
        out += " ;;\n";
    }
    return out +
           "    esac\n}\n"
           "if [[ $funcstack[1] == _copse ]]; then _copse \"$@\"; else compdef _copse copse; fi";
}

// ---- fish ----

std::string fish_quoted(std::string_view text)
{
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    return out + "'";
}

std::string fish_values(completes what)
{
    switch (what) {
    case completes::files: return " -F";
    case completes::folders: return " -x -a '(__fish_complete_directories)'";
    case completes::shells: return " -x -a 'bash zsh fish'";
    case completes::commands: return " -x -a '" + visible_commands() + "'";
    case completes::nothing: break;
    }
    return " -x";
}

std::string fish()
{
    std::string out = "# Completion of copse for fish, made by `copse completion fish`.\n"
                      "complete -c copse -f\n"
                      "complete -c copse -n __fish_use_subcommand -l help -d 'how to use it'\n"
                      "complete -c copse -n __fish_use_subcommand -l version -d 'which version'\n";
    for (const command_rule& command : all_commands()) {
        const std::string name(command.name);
        const std::string inside =
            "complete -c copse -n '__fish_seen_subcommand_from " + name + "'";
        if (!command.hidden) {
            out += "complete -c copse -n __fish_use_subcommand -a " + name + " -d " +
                   fish_quoted(command.summary) + "\n";
        }
        for (const option_rule& option : command.options) {
            out += inside + " -l " + std::string(option.name);
            if (option.letter) out += std::string(" -s ") + option.letter;
            if (!option.value.empty()) {
                const bool files = option.what == completes::files;
                out += files ? " -r -F" : fish_values(option.what);
            }
            out += " -d " + fish_quoted(option.about) + "\n";
        }
        out += inside + " -l help -d 'how to use it'\n";
        if (command.operand != completes::nothing)
            out += inside + fish_values(command.operand) + "\n";
    }
    out.pop_back();
    return out;
}

}  // namespace

step<exit_code> run_completion(const arguments& given)
{
    if (given.plain().size() == 1) {
        const std::string& shell = given.plain().front();
        if (shell == "bash") return print(bash()), exit_code::ok;
        if (shell == "zsh") return print(zsh()), exit_code::ok;
        if (shell == "fish") return print(fish()), exit_code::ok;
    }
    return fail(exit_code::usage, "one shell is needed: bash, zsh or fish");
}

}  // namespace app
