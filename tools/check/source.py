"""What the checks share: the files of the project, and C++ text without its comments and strings."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include" / "copse"


def files(*folders, suffixes=(".hpp", ".ipp", ".cpp")):
    """Every C++ file below the given folders of the project, sorted."""
    found = []
    for folder in folders:
        found += [p for p in (ROOT / folder).rglob("*") if p.suffix in suffixes and p.is_file()]
    return sorted(found)


def name(path):
    return str(path.relative_to(ROOT))


_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""",
    re.S,
)


def code(text):
    """The text with comments and literals blanked, every line where it was. Include rows are kept."""

    def blank(match):
        token = match.group(0)
        if token.startswith('"') and "\n" not in token:
            start = text.rfind("\n", 0, match.start()) + 1
            if text[start : match.start()].lstrip().startswith("#"):
                return token
        if token.startswith("'") and match.start() and text[match.start() - 1].isalnum():
            return token  # a digit separator
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(blank, text)


def finish(problems, checked, what):
    """Prints the problems and ends the program: 0 when there are none."""
    for problem in problems:
        print(problem)
    print(f"{checked} {what} checked, {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    if not checked:
        print("nothing was checked")
    sys.exit(1 if problems or not checked else 0)
