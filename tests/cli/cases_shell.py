"""What is made from the table of commands: help, manual pages and completions."""
import re
import shutil
import subprocess

from harness import LIMIT_S, OK, USAGE, Skipped, require

COMMANDS = ("send", "recv", "hash", "id", "ticket")
CODES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130)


def options_of(world, command):
    return re.findall(r"^  (?:-\w, )?--([\w-]+)", world.copse(command, "--help").expect(OK).out, re.M)


def shell(world, *command, text=None):
    if not shutil.which(command[0]):
        raise Skipped(f"{command[0]} is not installed")
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                          env=world.environment, cwd=world.scratch)
    require(done.returncode == 0 and not done.stderr, f"{command[0]}: {done.returncode} {done.stderr[-300:]}")
    return done.stdout


def help_texts(world):
    """Every command and exit code is in the overview; no help of a command is wider than 80 columns."""
    overview = world.copse("--help").expect(OK).out
    for command in COMMANDS:
        require(re.search(rf"^  copse {command}\b", overview, re.M), f"{command} is not in the overview")
        text = world.copse(command, "--help").expect(OK, f"usage: copse {command}").out
        require(text == world.copse("help", command).expect(OK).out, "two different helps")
        require(max(map(len, text.splitlines())) <= 80, f"{command}: a line of help is too wide")
        require("json" in options_of(world, command), f"{command} has no --json")
    for code in CODES:
        require(re.search(rf"^  {code} ", overview, re.M), f"exit code {code} is not in the overview")


def manual(world):
    """A page for the program and for each command, with every option and exit code, clean roff."""
    pages = {"copse": world.copse("man").expect(OK).out + "\n"}
    for command in COMMANDS:
        pages[f"copse-{command}"] = world.copse("man", command).expect(OK).out + "\n"
        for option in options_of(world, command):
            escaped = "\\-\\-" + option.replace("-", "\\-")
            require(escaped in pages[f"copse-{command}"], f"--{option} is not in the page of {command}")
    out = world.folder("man")
    world.copse("man", "--all", out).expect(OK)
    for name, text in pages.items():
        for code in CODES:
            require(f"\n.B {code}\n" in text, f"{name}: exit code {code} is missing")
        require((out / f"{name}.1").read_text() == text, f"{name}.1 differs from what is printed")
    world.copse("man", "sned").expect(USAGE, "sned")
    for name in pages:
        said = shell(world, "mandoc", "-Tlint", "-Wstyle", out / f"{name}.1")
        require(not said, f"{name}: {said}")


def bash_completion(world):
    """bash, asked for words in several places."""
    script = world.scratch / "copse.bash"
    script.write_text(world.copse("completion", "bash").expect(OK).out)
    for name in ("a file", "another", "folder"):
        (world.scratch / name).mkdir() if name == "folder" else (world.scratch / name).touch()

    def ask(*line):
        quoted = " ".join(f"'{word}'" for word in ("copse", *line))
        return shell(world, "bash", "--norc", "-c", f"compopt() {{ :; }}; source {script}; COMP_WORDS=({quoted}); "
                     f"COMP_CWORD={len(line)}; _copse; printf '%s\\n' \"${{COMPREPLY[@]}}\"").splitlines()

    require(set(ask("")) == {*COMMANDS, "--help", "--version"}, f"commands: {ask('')}")
    require(ask("re") == ["recv"], "recv is not completed")
    for command in COMMANDS:
        expected = {f"--{option}" for option in options_of(world, command)} | {"--help"}
        require(set(ask(command, "--")) == expected, f"{command}: {ask(command, '--')}")
    require(sorted(ask("send", "a")) == ["a file", "another"], "files of send")
    require(ask("recv", "x", "-o", "f") == ["folder"], "the folder of recv")
    require(ask("send", "--bind", "") == [""], "an address is not a file")
    require(ask("completion", "z") == ["zsh"], "shells")


def zsh_completion(world):
    """zsh takes the script without complaint, knows the function, and finds every option."""
    script = world.copse("completion", "zsh").expect(OK).out
    (world.scratch / "_copse").write_text(script + "\n")
    text = shell(world, "zsh", "-f", "-c", "autoload -Uz compinit && compinit -D; source ./_copse; "
                 "print -r -- $_comps[copse]; _describe() { print -rl -- ${(P)2} }; _arguments() { print -rl -- $@ }; "
                 "CURRENT=2 words=(copse ''); _copse; CURRENT=3 words=(copse recv ''); _copse")
    require(text.startswith("_copse\n"), f"not registered: {text[:100]!r}")
    for command in COMMANDS:
        require(f"\n{command}:" in text, f"{command} is not offered")
    for option in options_of(world, "recv"):
        require(f"*--{option}[" in text, f"--{option} is not offered")


def fish_completion(world):
    """fish, asked for words in several places."""
    script = world.scratch / "copse.fish"
    script.write_text(world.copse("completion", "fish").expect(OK).out + "\n")

    def ask(line):
        said = shell(world, "fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
        return {entry.split("\t")[0] for entry in said.splitlines()}

    require(ask("copse ") == set(COMMANDS), f"commands: {ask('copse ')}")
    for command in COMMANDS:
        expected = {f"--{option}" for option in options_of(world, command)} | {"--help"}
        require(ask(f"copse {command} --") == expected, f"{command}: {ask(f'copse {command} --')}")
    (world.scratch / "folder").mkdir()
    require("folder/" in ask("copse recv x -o fol"), "the folder of recv")


def completion_usage(world):
    world.copse("completion").expect(USAGE, "bash, zsh or fish")
    world.copse("completion", "tcsh").expect(USAGE, "bash, zsh or fish")


SCENARIOS = {
    "shell/help": help_texts,
    "shell/manual": manual,
    "shell/bash": bash_completion,
    "shell/zsh": zsh_completion,
    "shell/fish": fish_completion,
    "shell/usage": completion_usage,
}
