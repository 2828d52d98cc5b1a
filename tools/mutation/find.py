"""Finds small changes of C++ text that a test should notice: operators, constants, removed statements.

It relies on the layout that tools/format enforces: a binary operator has a space on either side, and
the `<` of a template, a reference's `&&` and a sign have not. Only bodies of functions are looked at.
"""
import bisect
import dataclasses
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "check"))
from source import code  # noqa: E402

SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
         "+": "-", "-": "+", "&&": "||", "||": "&&"}  # fmt: skip
# From loose to tight. What is not swapped ends an operand all the same.
LEVELS = [["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", "?", ":"], ["||"], ["&&"], ["|"],
          ["^"], ["&"], ["==", "!="], ["<", "<=", ">", ">="], ["<=>"], ["<<", ">>"], ["+", "-"], ["*", "/", "%"]]  # fmt: skip
LEVEL = {op: n for n, ops in enumerate(LEVELS) for op in ops}
OPERATOR = re.compile(r"(?<=\s)(<=>|<<=|>>=|[-+*/%&|^]=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^<>=?:])(?=\s)")
WORDS = {"return", "co_return", "throw", "else", "do", "case", "new", "delete", "goto"}
NUMBER = re.compile(r"(?<![\w.'])\d+(?![\w.'])")
# Statements whose change no test can see, or whose text is no ordinary expression.
SKIPPED = re.compile(r"\b(constexpr|consteval|static|static_assert|assert|requires|template|case|alignas|using|"
                     r"concept|typedef|reserve|shrink_to_fit|co_await|co_yield|operator|delete|new)\b")  # fmt: skip
CONTAINER = re.compile(r"\b(namespace|class|struct|union|enum|concept)\b")
CALL = re.compile(r"(?:::)?[A-Za-z_]\w*(?:::\w+)*(?:(?:\.|->)\w+|\(\)|\[\])*\(\)")
PLACE = r"[A-Za-z_]\w*(?:(?:\.|->)\w+|\[\])*"
ASSIGNMENT = re.compile(rf"(?:{PLACE} (?:[-+*/|&^]|<<|>>)?= .+|(?:\+\+|--){PLACE}|{PLACE}(?:\+\+|--))", re.S)
KEYWORD = re.compile(r"(return|co_return|if|for|while|switch|else|throw|break|continue|COPSE_\w*TRY)\b")


@dataclasses.dataclass(frozen=True)
class Change:
    """Offsets are those of the whole text; `new` replaces text[begin:end]."""

    begin: int
    end: int
    new: str
    what: str
    at: int  # where the eye should look
    statement: bool = False


def blank_directives(text):
    """Preprocessor lines, with their continuations, as spaces."""
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.M)


def bodies(text):
    """The ranges of the outermost function bodies, as offsets of what is inside their braces."""
    found, stack, head, i = [], [], 0, 0
    while i < len(text):
        c = text[i]
        if c == "{":
            before = text[head:i].strip()
            if stack and stack[-1] != "container":
                kind = stack[-1]
            elif CONTAINER.search(re.sub(r"template <[^;{]*?>\s", "", before).split("(")[0]):
                kind = "container"
            elif re.search(r"\bconsteval\b", before):
                kind = "value"  # never at run time
            elif "(" in before or not before or before.startswith(","):
                kind = "body"
                start = i + 1
            else:
                kind = "value"
            stack.append(kind)
            head = i + 1
        elif c == "}" and stack:
            kind = stack.pop()
            if kind == "body" and "body" not in stack:
                found.append((start, i))
            head = i + 1
        elif c == ";" or (c == ":" and re.search(r"\b(public|private|protected)$", text[head:i])):
            head = i + 1
        i += 1
    return found


class Body:
    """One function body of a text without comments, literals and directives."""

    def __init__(self, text, begin, end):
        self.text, self.begin, self.end = text, begin, end
        self.match = {}
        self.ends = []  # of statements, and of the parts of a for
        self.inner = set()  # those inside a parenthesis
        opened = []
        for i in range(begin, end):
            c = text[i]
            if c in "([{":
                opened.append(i)
            elif c in ")]}" and opened:
                start = opened.pop()
                self.match[start], self.match[i] = i, start
            if c in ";{}":
                self.ends.append(i)
                if c == ";" and opened and text[opened[-1]] in "([":
                    self.inner.add(i)
        self.operators = {m.start(): m.group(1) for m in OPERATOR.finditer(text, begin, end)}
        self.template_arguments = [(i, self.closing(i)) for i in range(begin, end)
                                   if text[i] == "<" and re.match(r"\w<\S", text[i - 1 : i + 2])]  # fmt: skip

    def closing(self, at):
        """Where the `>` is of the template's `<` at `at`."""
        depth = 0
        while at < self.end:
            c = self.text[at]
            if c == "(" and at in self.match:
                at = self.match[at]
            elif c in "<>" and at not in self.operators and self.text[at - 1] not in "- ":
                depth += 1 if c == "<" else -1
                if depth == 0:
                    return at
            elif c in ";{}":
                break
            at += 1
        return at

    def constant(self, at):
        """Whether `at` is in a template's arguments, which the compiler evaluates."""
        return any(begin < at < end for begin, end in self.template_arguments)

    def statement(self, at):
        """Offsets of the text around `at` between two of ; { }."""
        n = bisect.bisect_left(self.ends, at)
        first = self.ends[n - 1] + 1 if n else self.begin
        last = self.ends[n] if n < len(self.ends) else self.end
        return first, last

    def left(self, at, level):
        """Where the left operand begins of an operator of that level."""
        i = at - 1
        start = at
        while i >= self.begin:
            c = self.text[i]
            if c in ")]" and i in self.match:
                i = self.match[i]
                start = i
            elif c in "([{};,":
                break
            elif i in self.operators and LEVEL[self.operators[i]] < level:
                break
            elif c.isalnum() or c == "_":
                j = i
                while self.text[j - 1].isalnum() or self.text[j - 1] == "_":
                    j -= 1
                if self.text[j : i + 1] in WORDS:
                    break
                i = start = j
            elif not c.isspace() and not self.inside_operator(i, level):
                start = i
            i -= 1
        return start

    def inside_operator(self, i, level):
        """Whether i is the last of the characters of a looser operator."""
        return any(i - k in self.operators and len(self.operators[i - k]) > k and
                   LEVEL[self.operators[i - k]] < level for k in (1, 2))  # fmt: skip

    def right(self, at, level):
        """Where the right operand ends; `at` is behind the operator."""
        i = end = at
        while i < self.end:
            c = self.text[i]
            if c in "([" and i in self.match:
                i = self.match[i]
            elif c in ")]{};,":
                break
            elif i in self.operators:
                if LEVEL[self.operators[i]] <= level:
                    break
                i += len(self.operators[i]) - 1
            if not c.isspace():
                end = i + 1
            i += 1
        return end


def operators(body, original):
    for at, op in body.operators.items():
        if op not in SWAPS:
            continue
        level = LEVEL[op]
        begin, end = body.left(at, level), body.right(at + len(op), level)
        left, right = original[begin:at].rstrip(), original[at + len(op) : end].lstrip()
        # A brace in an operand means a lambda, or that the operand was cut.
        if not left or not right or left[0] in ".->*&" or re.search(r"[{}]", left + right):
            continue
        if body.text[end] == "{" or body.text[begin - 1] == "}":
            continue
        if re.match(r"(const |auto\b)|.*[\w>][&*]? \w+$", left):
            continue  # a declaration
        yield Change(begin, end, f"{left} {SWAPS[op]} {right}" if op not in ("&&", "||") else
                     f"({left}) {SWAPS[op]} ({right})", f"{op} to {SWAPS[op]}", at)  # fmt: skip


def conditions(body, original):
    for match in re.finditer(r"\bif \(", body.text[: body.end]):
        start = match.end() - 1
        if start < body.begin or start not in body.match:
            continue
        end = body.match[start]
        inside = original[start + 1 : end]
        if re.search(r"[;{}]|(?<=\s)=(?=\s)", body.text[start + 1 : end]):
            continue
        if any(op in ("==", "!=") and (body.left(at, LEVEL[op]), body.right(at + 2, LEVEL[op])) == (start + 1, end)
               for at, op in body.operators.items() if start < at < end):  # fmt: skip
            continue  # swapping the operator is the same
        yield Change(start + 1, end, f"!({inside})", "negated", start + 1)


def numbers(body, original):
    for match in NUMBER.finditer(body.text, body.begin, body.end):
        before, after = body.text[match.start() - 1], body.text[match.end()]
        if before == "{" or after == "}":
            continue  # an initialiser
        value = int(match.group(0))
        changed = value + 1 if value % 2 == 0 else value - 1
        yield Change(match.start(), match.end(), str(changed), f"{value} to {changed}", match.start())


def truths(body, original):
    for match in re.finditer(r"\breturn (true|false);", body.text[: body.end]):
        if match.start() >= body.begin:
            new = "false" if match.group(1) == "true" else "true"
            yield Change(match.start(1), match.end(1), new, f"{match.group(1)} to {new}", match.start(1))


def flat(text):
    """The text with what is in parentheses and brackets left out."""
    out, depth = "", 0
    for c in text:
        if c in ")]":
            depth -= 1
        if depth == 0:
            out += c
        if c in "([":
            depth += 1
    return out


def statements(body, original):
    """Calls and assignments that stand alone, removed."""
    after = body.begin
    for last in body.ends:
        if last in body.inner:
            continue
        first, after = after, last + 1
        if body.text[last] != ";":
            continue
        # Behind the condition of an if, for or while without braces.
        lead = re.match(r"\s*(?:(?:if|while|for) \(|else\s)", body.text[first:last])
        if lead and lead.group(0).rstrip().endswith("("):
            opening = first + lead.end() - 1
            if opening not in body.match or body.match[opening] >= last:
                continue
            first = body.match[opening] + 1
        elif lead:
            first += lead.end()
        text = body.text[first:last]
        first += len(text) - len(text.lstrip())
        shape = flat(body.text[first:last])
        if KEYWORD.match(shape):
            continue
        if CALL.fullmatch(shape) or ASSIGNMENT.fullmatch(shape):
            yield Change(first, last + 1, "", "removed", first, True)


def changes(original):
    """Every change of a text, in its order."""
    text = blank_directives(code(original))
    found = []
    for begin, end in bodies(text):
        body = Body(text, begin, end)
        for kind in (operators, conditions, numbers, truths, statements):
            for change in kind(body, original):
                first, last = body.statement(change.at)
                if change.statement:
                    first, last = change.begin, change.end
                if not SKIPPED.search(body.text[first:last]) and not body.constant(change.at):
                    found.append(change)
    return sorted(found, key=lambda c: (c.at, c.what))
