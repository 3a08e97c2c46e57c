"""Characters of a script: white space, comments, numbers, names, strings.

Knows the text. Must not know statements: sub-expressions inside strings are parsed by the class that inherits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from remotejobs.sim.dialect.errors import Refusal, parse_failure
from remotejobs.sim.dialect.nodes import Expandable, Literal, Node, Source, Variable
from remotejobs.sim.records import ScriptError
from remotejobs.sim.values import Int64

_BLANK = re.compile(r"(?:[ \t\f\u00a0]+|`\r?\n|#[^\n]*|<#.*?#>)+", re.DOTALL)
_BLANK_LINES = re.compile(r"(?:[ \t\f\u00a0\r\n]+|`\r?\n|#[^\n]*|<#.*?#>)+", re.DOTALL)
_NUMBER = re.compile(
    r"(?:0x(?P<hex>[0-9a-f]+)|(?P<plain>\d+(?:\.(?!\.)\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?))"
    r"(?P<suffix>[dl]?)(?P<unit>kb|mb|gb|tb|pb)?(?![\w.]*[A-Za-z_])",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$(?:\{([^}]+)\}|(?:(\w+):(?!:))?([A-Za-z_]\w*|\d+)|([$?^_]))")
_UNITS = {"kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip
_HERE = re.compile(r"@(['\"])[ \t]*\r?\n(.*?)\r?\n\1@|@(['\"])[ \t]*\r?\n\3@", re.DOTALL)
_UNICODE = re.compile(r"u\{([0-9a-fA-F]{1,6})\}")


def number(match: re.Match[str]) -> Any:
    """The value of a numeric literal: Int32, else Int64, else Double; `d` is Decimal, `l` Int64."""
    unit = _UNITS.get((match["unit"] or "").lower(), 1)
    suffix = match["suffix"].lower()
    if match["hex"]:
        whole = int(match["hex"], 16)
        digits = len(match["hex"])
        whole -= 2**32 if digits <= 8 and whole >= 2**31 else 2**64 if digits > 8 and whole >= 2**63 else 0
    elif suffix == "d":
        return Decimal(match["plain"]) * unit
    elif not match["plain"].isdigit():
        return float(match["plain"]) * unit
    else:
        whole = int(match["plain"])
    whole *= unit
    if suffix == "l" or not -(2**31) <= whole < 2**31:
        return Int64(whole) if -(2**63) <= whole < 2**63 else float(whole)
    return whole


class Scanner:
    """A place in a script, and what can be read there without knowing its grammar."""

    def __init__(self, source: Source, at: int = 0) -> None:
        self.source = source
        self.text = source.text
        self.at = at

    def blank(self, *, lines: bool = False) -> None:
        """Skip spaces and comments, and line ends too."""
        match = (_BLANK_LINES if lines else _BLANK).match(self.text, self.at)
        if match:
            self.at = match.end()

    def peek(self, length: int = 1) -> str:
        """The next characters; fewer at the end."""
        return self.text[self.at : self.at + length]

    def take(self, token: str) -> bool:
        """Step over `token` if it is next."""
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over `pattern` if it is next."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def keyword(self, *words: str) -> str:
        """Step over one of `words`, any case, as a whole word; empty if none is next."""
        found = re.compile(r"([A-Za-z]+)(?![\w-])").match(self.text, self.at)
        if found and found[1].lower() in words:
            self.at = found.end()
            return found[1].lower()
        return ""

    def error(self, message: str, error_id: str, start: int | None = None, end: int | None = None) -> ScriptError:
        """PowerShell's own parser error at a place."""
        start = self.at if start is None else start
        place = self.source.position(start, start + 1 if end is None else end)
        return parse_failure(
            message, error_id, place, incomplete=start >= len(self.text.rstrip()) or end == len(self.text)
        )

    def unexpected(self) -> ScriptError:
        """What is next does not belong here: PowerShell says so of a stray bracket, the rest may be its syntax."""
        self.blank(lines=True)
        following = self.peek()
        if following and following in ")]}":
            message = f"Unexpected token '{following}' in expression or statement."
            return self.error(message, "UnexpectedToken", self.at, self.at + 1)
        found = re.compile(r"-?\w+|\S|\Z").search(self.text, self.at)
        return self.refuse(f"'{found[0]}' here" if found and found[0] else "scripts that end like this")

    def refuse(self, what: str, start: int | None = None) -> Refusal:
        """A construct that the dialect does not know."""
        start = self.at if start is None else start
        line_end = self.text.find("\n", start)
        return Refusal(what, self.source.position(start, len(self.text) if line_end < 0 else line_end))

    def number(self) -> Node | None:
        """A numeric literal, if one is next."""
        start = self.at
        found = self.match(_NUMBER)
        return Literal(number(found), start=start, end=self.at) if found else None

    def variable(self) -> Variable | None:
        """A variable, if one is next."""
        start = self.at
        found = self.match(_VARIABLE)
        if not found:
            return None
        braced, scope, name, special = found.groups()
        if name and not scope and self.peek() == ":" and self.peek(2) != "::":
            message = (
                "Variable reference is not valid. ':' was not followed by a valid variable name character. "
                "Consider using ${} to delimit the name."
            )
            raise self.error(message, "InvalidVariableReferenceWithDrive", start, self.at + 1)
        if braced and ":" in braced:
            scope, name = braced.split(":", 1)
        scope = (scope or "").lower()
        if scope == "using":  # what stands behind it may belong to it: it is looked up by its text
            return Variable(found[0], scope, start=start, end=self.at)
        if scope not in {"", "env", "global", "script", "local", "private"}:
            raise self.refuse(f"the variable scope or drive '{scope}:'", start)
        return Variable(name or braced or special, scope, start=start, end=self.at)

    def string(self) -> Node | None:
        """A string of any of the four kinds, if one is next."""
        start = self.at
        here = _HERE.match(self.text, self.at)
        if here:
            self.at = here.end()
            body = here[2] or ""
            if here[1] == "'":
                return Literal(body, start=start, end=self.at)
            return self._expandable(body, start, quoted=False)
        if self.peek(2) in {"@'", '@"'}:
            raise self.error(
                "The string is missing the terminator.", "TerminatorExpectedAtEndOfString", start, len(self.text)
            )
        quote = self.peek()
        if quote == "'":
            found = self.match(re.compile(r"'((?:[^']|'')*)'"))
            if found:
                return Literal(found[1].replace("''", "'"), start=start, end=self.at)
        elif quote == '"':
            end = self._end_of_expandable()
            if end:
                body, self.at = self.text[start + 1 : end], end + 1
                return self._expandable(body, start, quoted=True)
        else:
            return None
        message = f"The string is missing the terminator: {quote}."
        raise self.error(message, "TerminatorExpectedAtEndOfString", start, len(self.text))

    def _end_of_expandable(self) -> int:
        """Where the string that begins here ends; sub-expressions may hold quotes."""
        at, depth = self.at + 1, 0
        while at < len(self.text):
            char = self.text[at]
            if char == "`":
                at += 1
            elif self.text.startswith("$(", at):
                depth, at = depth + 1, at + 1
            elif depth and char in "()":
                depth += 1 if char == "(" else -1
            elif char == '"' and not depth:
                if not self.text.startswith('""', at):
                    return at
                at += 1
            at += 1
        return 0

    def bareword(self, text: str, start: int) -> Node:
        """An unquoted word: variables in it are expanded as in a string."""
        return self._expandable(text, start, quoted=False)

    def _expandable(self, body: str, start: int, *, quoted: bool) -> Node:
        parts: list[str | Node] = []
        plain: list[str] = []
        at = 0
        while at < len(body):
            char = body[at]
            if char == "`" and at + 1 < len(body):
                code = _UNICODE.match(body, at + 1)
                plain.append(chr(int(code[1], 16)) if code else _ESCAPES.get(body[at + 1], body[at + 1]))
                at = code.end() if code else at + 2
            elif quoted and body.startswith('""', at):
                plain.append('"')
                at += 2
            elif char == "$" and (inner := self._inside(body, at)):
                if plain:
                    parts.append("".join(plain))
                    plain = []
                parts.append(inner[0])
                at = inner[1]
            else:
                plain.append(char)
                at += 1
        if not parts:
            return Literal("".join(plain), start=start, end=self.at)
        return Expandable([*parts, "".join(plain)], start=start, end=self.at)

    def _inside(self, body: str, at: int) -> tuple[Node, int] | None:
        inner = type(self)(Source(body), at)
        if body.startswith("$(", at):
            return inner.subexpression(), inner.at
        found = inner.variable()
        return (found, inner.at) if found else None

    def subexpression(self) -> Node:
        """`$( )`; the grammar is the heir's."""
        raise NotImplementedError


def numeral(text: str) -> Any:
    """The number that a string holds, None if it holds none (conversions: no suffixes, spaces around are fine)."""
    text = text.strip()
    sign = -1 if text.startswith("-") else 1
    found = _NUMBER.fullmatch(text[1:] if text[:1] in {"+", "-"} else text)
    return sign * number(found) if found else None
