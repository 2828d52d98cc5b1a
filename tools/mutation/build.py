"""Builds the tests once with every mutant in them; the environment says at run time which one is switched on."""
import hashlib
import json
import os
import re
import subprocess

from mutants import ROOT

HOME = ROOT / "build" / "mutate"
TREE = HOME / "tree"
OUT = HOME / "out"
# Signals, assertions of the standard library and our own count as found.
FLAGS = f"-O1 -w -D_GLIBCXX_ASSERTIONS -include {TREE}/tools/mutation/switch.hpp"


def write(path, text):
    """Writes what changed only, so that the rest is not compiled again."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def rewritten(text, mutants):
    """The text with a choice in place of each mutant, and the lines of each in it."""
    out, at, lines = "", 0, {}
    for m in sorted(mutants, key=lambda m: m.begin):
        out += text[at : m.begin]
        old = text[m.begin : m.end]
        first = out.count("\n") + 1
        if m.statement:
            out += f"{{ if (::copse_mutant({m.number})) {{ {m.new} }} else {{ {old} }} }}"
        elif m.what == "negated" and not re.search("[<>=!&|]", old):
            # Not always a bool: a result, a pointer.
            out += f"(::copse_mutant({m.number}) != static_cast<bool>({old}))"
        else:
            out += f"(::copse_mutant({m.number}) ? ({m.new}) : ({old}))"
        lines[m.name] = (first, out.count("\n") + 1)
        at = m.end
    return out + text[at:], lines


def write_tree(mutants):
    """The tree with the mutants: links, but for include/. Returns where each mutant is."""
    TREE.mkdir(parents=True, exist_ok=True)
    for entry in ROOT.iterdir():
        link = TREE / entry.name
        if entry.name in ("include", "build") or entry.name.startswith(".") or link.is_symlink():
            continue
        link.symlink_to(entry)
    places, kept = {}, set()
    for path in sorted((ROOT / "include").rglob("*")):
        if not path.is_file():
            continue
        file = str(path.relative_to(ROOT / "include" / "copse"))
        text, lines = rewritten(path.read_text(), [m for m in mutants if m.file == file])
        target = TREE / "include" / path.relative_to(ROOT / "include")
        write(target, text)
        kept.add(target)
        places[str(target)] = lines
    for old in (TREE / "include").rglob("*"):
        if old.is_file() and old not in kept:
            old.unlink()
    return places


def folders():
    """The folders of tests with an executable, in the order in which a reader would name them."""
    order = ["codec", "hash", "bao", "core", "disk", "store", "blob", "quic", "sim"]
    found = {p.parent.name for p in (ROOT / "tests").glob("*/*_test.cpp")}
    return [f for f in order if f in found] + sorted(found - set(order))


def guilty(log, places):
    """The mutants in whose lines the compiler found errors."""
    names, other = set(), 0
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: (?:fatal )?error:", log, re.M):
        path = os.path.normpath(OUT / path)
        hit = [n for n, (first, last) in places.get(path, {}).items() if first <= int(line) <= last]
        names.update(hit)
        other += not hit
    return names, other


def build(mutants, jobs):
    """Returns the executables by folder, and the mechanical mutants that do not compile."""
    dropped_file = HOME / "dropped.json"
    dropped = set(json.loads(dropped_file.read_text())) if dropped_file.is_file() else set()
    targets = [f"copse_test_{folder}" for folder in folders()]
    environment = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1")
    for _ in range(6):
        places = write_tree([m for m in mutants if m.key not in dropped])
        if not (OUT / "build.ninja").is_file():
            command = ["cmake", "-S", str(TREE), "-B", str(OUT), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=None",
                       f"-DCMAKE_CXX_FLAGS={FLAGS}", "-DCOPSE_BUILD_EXAMPLES=OFF", "-DCOPSE_WERROR=OFF"]  # fmt: skip
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                raise SystemExit(made.stdout + made.stderr)
        log = HOME / "build.log"
        with open(log, "w") as to:
            made = subprocess.run(["nice", "ninja", "-C", str(OUT), f"-j{jobs}", "-k0", *targets], stdout=to,
                                  stderr=subprocess.STDOUT, env=environment)  # fmt: skip
        if made.returncode == 0:
            binaries = {f: OUT / "bin" / f"copse_test_{f}" for f in folders()}
            return binaries, {m.name for m in mutants if m.key in dropped}
        names, other = guilty(log.read_text(), places)
        keys = {m.key for m in mutants if m.name in names and not m.hand}
        bad = [m.name for m in mutants if m.name in names and m.hand]
        if bad or not keys:
            raise SystemExit(f"does not compile: {', '.join(bad) or 'the tests'} (see {log})")
        print(f"{len(keys)} mechanical mutants do not compile, left out; {other} errors elsewhere", flush=True)
        dropped |= keys
        write(dropped_file, json.dumps(sorted(dropped)))
    raise SystemExit(f"the build fails again and again: see {log}")


def hash_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
