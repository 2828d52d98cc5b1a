"""The mutants of the tree: the ones chosen by hand, and a sample of the mechanical ones."""
import dataclasses
import hashlib
import pathlib

import find

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include" / "copse"
HAND = pathlib.Path(__file__).resolve().parent / "hand.txt"
SURVIVORS = pathlib.Path(__file__).resolve().parent / "survivors.txt"
SAMPLE = pathlib.Path(__file__).resolve().parent / "find.sample"

# Cores and codecs: what decides, as patterns below include/copse. The code of one instruction set is
# left out, since the processor at hand may not have it.
MECHANICAL = {
    "codec": ["codec/*.hpp"],
    "hash": ["hash/blake3.hpp", "hash/parallel.hpp", "hash/impl/blake3.ipp", "hash/impl/blake3_portable.ipp"],
    "bao": ["bao/*.hpp", "bao/detail/*.hpp"],
    "store": ["store/bits_core.hpp", "store/detail/*.hpp"],
    "blob": ["blob/*.hpp"] + [f"blob/impl/{f}.ipp" for f in ("wire", "ticket", "collection", "selection",
                                                            "received_blobs", "download", "answer")],
    "core": ["core/credit.hpp", "core/rate_limit.hpp", "core/impl/address.ipp", "core/address.hpp"],
    "disk": ["disk/*.hpp", "disk/impl/*.ipp"],
    "quic": ["quic/detail/*.hpp"],
}  # fmt: skip
LEAST = 4  # of each folder


def rank(mutant, seed):
    """The order of the sample. Operators come forward: their changes are the ones that look right."""
    weight = 4 if mutant.what[0].isdigit() else 3 if mutant.what == "removed" else 1.5 if mutant.what == "negated" else 1
    return int(digest(f"{seed}|{mutant.key}")[:12], 16) * weight


@dataclasses.dataclass
class Mutant:
    file: str  # below include/copse
    begin: int
    end: int
    new: str
    statement: bool
    what: str
    line: int
    name: str  # of one chosen by hand, else "m" and its number
    key: str  # the same for as long as the text is
    hand: bool
    number: int = 0
    shown: str = ""  # the source line
    why: str = ""  # it survives

    @property
    def folder(self):
        return self.file.split("/")[0]


class Stale(Exception):
    """A list of mutants does not fit the source any more."""


def blocks(path):
    """The paragraphs of a list: dictionaries of its fields, with the lines of `-`, `+` and `in` joined."""
    found, block = [], {}
    for number, line in enumerate(path.read_text().splitlines() + [""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if block:
                found.append(block)
            block = {}
            continue
        field, _, value = line.partition(" ")
        if field in ("-", "+", "in"):
            block[field] = block[field] + "\n" + value if field in block else value
        elif field in block:
            block[field] += " " + value.strip()
        else:
            block[field] = value.strip()
        block.setdefault("place", f"{path.relative_to(ROOT)}:{number}")
    return found


def fail(block, why):
    raise Stale(f"{block['place']}: {block.get('mutant', block.get('file', ''))}: {why}")


def need(block, *fields):
    for field in fields:
        if field not in block:
            fail(block, f"no '{field}'")


def by_hand():
    """The listed mutants. \\throws Stale when a text is not there exactly once."""
    found, names = [], set()
    for block in blocks(HAND):
        need(block, "mutant", "file", "what", "-")
        path = INCLUDE / block["file"]
        if not path.is_file():
            fail(block, f"no file {block['file']}")
        text, old, new = path.read_text(), block["-"].strip(), block.get("+", "").strip()
        around = block.get("in", old).strip()
        if text.count(around) != 1:
            fail(block, f"'{around}' is {text.count(around)} times in {block['file']}, not once")
        if around.count(old) != 1:
            fail(block, f"'{old}' is not once in '{around}'")
        if block["mutant"] in names:
            fail(block, "there are two of that name")
        names.add(block["mutant"])
        begin = text.index(around) + around.index(old)
        mutant = Mutant(block["file"], begin, begin + len(old), new, old[-1] in ";}", block["what"],
                        text.count("\n", 0, begin) + 1, block["mutant"], "", True)  # fmt: skip
        mutant.key = "|".join(["hand", block["file"], around, old, new])
        for other in found:
            if other.file == mutant.file and other.begin < mutant.end and mutant.begin < other.end:
                fail(block, f"overlaps {other.name}")
        found.append(mutant)
    return found


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def candidates():
    """Every mechanical mutant there could be, by folder."""
    found = {}
    for folder, patterns in MECHANICAL.items():
        found[folder] = []
        for path in sorted({p for pattern in patterns for p in INCLUDE.glob(pattern)}):
            text = path.read_text()
            lines = text.splitlines()
            seen = {}
            for change in find.changes(text):
                line = text.count("\n", 0, change.at) + 1
                shown = lines[line - 1].strip()
                file = str(path.relative_to(INCLUDE))
                key = "|".join([file, shown, change.what])
                seen[key] = seen.get(key, 0) + 1
                found[folder].append(
                    Mutant(file, change.begin, change.end, change.new, change.statement, change.what, line, "",
                           f"{key}|{seen[key]}", False, shown=shown))  # fmt: skip
    return found


def mechanical(count, seed, taken):
    """A sample of `count`, spread over the folders by the root of what they hold. It changes little with the source."""
    every = candidates()
    weights = {folder: len(there) ** 0.5 for folder, there in every.items()}
    total = sum(weights.values()) or 1
    ordered = {folder: sorted(there, key=lambda m: rank(m, seed)) for folder, there in every.items()}
    chosen, rest = [], []
    for folder, there in ordered.items():
        quota = max(min(LEAST, count // len(every)), round(count * weights[folder] / total))
        kept = []
        for mutant in there:
            if any(o.file == mutant.file and o.begin < mutant.end and mutant.begin < o.end
                   for o in taken + chosen + kept):  # fmt: skip
                continue
            if len(kept) < quota:
                kept.append(mutant)
            else:
                rest.append((rank(mutant, seed), mutant))
        chosen += kept
    chosen.sort(key=lambda m: rank(m, seed))
    for _, mutant in sorted(rest, key=lambda r: r[0]):
        if len(chosen) >= count:
            break
        if not any(o.file == mutant.file and o.begin < mutant.end and mutant.begin < o.end for o in taken + chosen):
            chosen.append(mutant)
    return chosen[:count]


def explained():
    """Explanations of survivors, by (file, line, change). \\throws Stale when the source has no such change."""
    there = {(m.file, m.shown, m.what) for group in candidates().values() for m in group}
    found = {}
    for block in blocks(SURVIVORS):
        need(block, "file", "line", "change", "why")
        key = (block["file"], block["line"], block["change"])
        if key not in there:
            fail(block, f"the source has no line '{block['line']}' with '{block['change']}'")
        found[key] = block["why"]
    return found


def choose(count, seed):
    """Those by hand and the mechanical ones, numbered: a number stays with its text."""
    found = by_hand()
    found += mechanical(count, seed, found)
    why = explained()
    used = set()
    for mutant in found:
        salt = 0
        while not mutant.number or mutant.number in used:
            mutant.number = int(digest(f"{mutant.key}|{salt}")[:4], 16)
            salt += 1
        used.add(mutant.number)
        mutant.name = mutant.name or f"m{mutant.number:04x}"
        mutant.why = why.get((mutant.file, mutant.shown, mutant.what), "")
    return found


def check_sample():
    """Compares what is found in the sample with what its comments say. Returns the differences."""
    text = SAMPLE.read_text()
    found, wrong = {}, []
    for change in find.changes(text):
        found.setdefault(text.count("\n", 0, change.at) + 1, []).append(change.what)
    for number, line in enumerate(text.splitlines(), 1):
        expected = sorted(e.strip() for e in line.split("// finds ")[1].split(";")) if "// finds " in line else []
        if expected != sorted(found.get(number, [])):
            wrong.append(f"{SAMPLE.relative_to(ROOT)}:{number}: finds {'; '.join(found.get(number, ['nothing']))}")
    return wrong
