"""The public functions and classes that the headers declare, read without a compiler.

It knows the house's C++ only: no macros at namespace scope, no function pointers as parameters.
"""
import dataclasses
import re

from source import INCLUDE, code, files

WORD = re.compile(r"(?:operator\s*(?:\(\)|\[\]|[^\s\w(]+|\w+)|~?[A-Za-z_]\w*)\s*$")
OPEN, CLOSE = "([{", ")]}"


@dataclasses.dataclass(frozen=True)
class Function:
    name: str  # qualified
    owner: str  # qualified name of its class, or ""
    returns: str
    parameters: str
    behind: str  # const, noexcept, override, = 0, a body's "{"
    folder: str

    @property
    def noexcept(self):
        return "noexcept" in self.behind

    @property
    def overrides(self):
        return bool(re.search(r"\boverride\b", self.behind))

    @property
    def pure(self):
        return bool(re.search(r"=\s*0$", self.behind.rstrip(" ;{")))


@dataclasses.dataclass(frozen=True)
class Class:
    name: str  # qualified
    bases: tuple
    folder: str


def balanced(text, start):
    """The index behind the bracket that closes the one at start."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in OPEN:
            depth += 1
        elif text[i] in CLOSE:
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)


def angles(text, start):
    """The index behind the > that closes the < at start."""
    depth = 0
    i = start
    while i < len(text):
        if text[i] == "<":
            depth += 1
        elif text[i] == ">" and text[i - 1] != "-":
            depth -= 1
            if depth == 0:
                return i + 1
        elif text[i] in OPEN:
            i = balanced(text, i) - 1
        i += 1
    return len(text)


def strip_front(text):
    """A declaration without attributes and template heads in front."""
    while True:
        text = text.lstrip()
        if text.startswith("[["):
            text = text[balanced(text, 0) :]
        elif re.match(r"template\s*<", text):
            text = text[angles(text, text.index("<")) :]
        elif match := re.match(r"requires\s+[\w:]+\s*<[^<>]*>", text):
            text = text[match.end() :]
        elif match := re.match(r"requires\s*(?=\()", text):
            text = text[balanced(text, match.end()) :]
        else:
            return text


def function(declaration, scope, owner, folder):
    """The function that a declaration is, or None."""
    text = strip_front(declaration)
    if re.match(r"(using|typedef|friend|enum|static_assert|extern template|namespace)\b", text):
        return None
    i = 0
    while i < len(text):  # the first parenthesis outside of <...>
        if text.startswith("operator", i) and not (i and (text[i - 1].isalnum() or text[i - 1] == "_")):
            match = re.compile(r"operator\s*(\(\)|\[\]|[^\s\w(]+|bool)").match(text, i)
            i = match.end() if match else i + 8
            continue
        if text[i] == "<":
            i = angles(text, i)
            continue
        if text[i] in "={":
            return None  # a variable
        if text[i] == "(":
            break
        i += 1
    else:
        return None
    found = WORD.search(text[:i])
    if not found:
        return None
    if text[: found.start()].rstrip().endswith("::"):
        return None  # the definition of something declared in its class
    end = balanced(text, i)
    name = re.sub(r"\s+", "", found.group(0))
    join = lambda s: re.sub(r"\s+", " ", s).strip()
    # The initialisers of a constructor are nobody's concern.
    behind = re.split(r"(?<!:):(?!:)", text[end:])[0]
    return Function(
        "::".join(scope + [name]), owner, join(text[: found.start()]), join(text[i + 1 : end - 1]), join(behind), folder
    )


def scan(text, folder):
    """All public functions and classes of a header's text."""
    text = code(text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
    functions, classes = [], []
    scopes = []  # (kind, names, public); kind: namespace or class
    i = start = 0

    def names():
        return [n for _, part, _ in scopes for n in part]

    def visible():
        return all(public for _, _, public in scopes) and "detail" not in names()

    def owner():
        return "::".join(names()) if scopes and scopes[-1][0] == "class" else ""

    while i < len(text):
        c = text[i]
        if c in "([":
            i = balanced(text, i)
            continue
        if c == "<" and re.search(r"template\s*$", text[start:i]):
            i = angles(text, i)
            continue
        declaration = strip_front(text[start:i])
        if c == ":" and scopes and scopes[-1][0] == "class" and text[i : i + 2] != "::" and text[i - 1] != ":":
            if re.fullmatch(r"\s*(public|private|protected)\s*", declaration):
                kind, part, _ = scopes[-1]
                scopes[-1] = (kind, part, declaration.strip() == "public")
                start = i + 1
        elif c == "}":
            if scopes:
                scopes.pop()
            start = i + 1
        elif c == ";":
            if visible() and (f := function(declaration, names(), owner(), folder)):
                functions.append(f)
            start = i + 1
        elif c == "{":
            space = re.match(r"(?:inline\s+)?namespace\s*([\w:]*)\s*$", declaration)
            kind = re.match(r"(class|struct|union)\s+(?:\[\[.*?\]\]\s*)?([\w:]*\w)\s*(?:<.*>\s*)?(?:final\s*)?(?::([^:].*))?$", declaration, re.S)
            if space:
                scopes.append(("namespace", space.group(1).split("::") if space.group(1) else ["detail"], True))
            elif kind:
                scopes.append(("class", kind.group(2).split("::"), kind.group(1) != "class"))
                bases = tuple(re.findall(r"(?:public\s+)?([\w:]+)(?:<[^,]*>)?\s*(?:,|$)", kind.group(3) or ""))
                own = re.fullmatch(r"[\w:]*\w", "::".join(names())) and "detail" not in names()
                if own and not kind.group(2).startswith("std::") and all(p for _, _, p in scopes[:-1]):
                    classes.append(Class("::".join(names()), bases, folder))
            else:
                if visible() and (f := function(declaration + " {", names(), owner(), folder)):
                    functions.append(f)
                i = balanced(text, i)
                # What follows an initialiser goes on to its semicolon; a body ends the declaration.
                if not re.match(r"\s*[;,]", text[i:]) and not re.match(r"\s*\{", text[i:]):
                    start = i
                continue
            start = i + 1
        i += 1
    return functions, classes


def public_headers():
    return [
        p
        for p in files("include/copse", suffixes=(".hpp",))
        if not {"impl", "detail"} & set(p.relative_to(INCLUDE).parts) and p.name not in ("src.hpp", "copse.hpp")
    ]


def read_all():
    """The functions and classes of all public headers."""
    functions, classes = [], []
    for path in public_headers():
        f, c = scan(path.read_text(), path.relative_to(INCLUDE).parts[0])
        functions += f
        classes += c
    return functions, classes
