"""The words of a command line, read as PowerShell's parser reads what follows a command name.

Knows the lexical rules: parameter names, `-Name:value`, comma lists, script blocks in braces, quotes, number literals.
Must not know any parameter, type or command.

The user's shell has split the line and taken its quotes away before we see it. Three rules make up for that: a word
with a blank in it must have been quoted, so it is one string; quotes that are still there (cmd.exe leaves single
ones) are PowerShell's; and commas inside `[ ]` and `{ }` do not split, so that `web[1,3]` and JSON stay whole.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from remotejobs.errors import BindingError

# PowerShell takes the dashes that word processors make for the real one (CharTraits.IsDash).
_NAME = re.compile(r"[-–—―](?P<name>(?:[^\W\d]|\?)[^:\s]*)(?P<colon>:(?P<value>.*))?", re.DOTALL)
_KEBAB = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)(?P<colon>=(?P<value>.*))?", re.DOTALL)
_ITEM = re.compile(
    r"""'(?P<single>(?:[^']|'')*)'(?=,|$) | "(?P<double>(?:[^"]|"")*)"(?=,|$)
      | (?P<bare>(?:\[[^\[\]]*\] | \{[^{}]*\} | [^,])*)""",
    re.VERBOSE,
)
_SCRIPT = re.compile(
    r"""`. | '(?:[^']|'')*' | "(?:`.|""|[^"`])*" | <\#.*?\#> | (?<=[\s{(;])\#[^\n]*\n | (?P<brace>[{}])""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(
    r"""(?P<sign>[-+]?)
        (?: 0x(?P<hex>[0-9a-f]+) | 0b(?P<bin>[01]+) | (?P<int>\d+) | (?P<real>(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?) )
        (?P<type>u?[lsy]?|n|d) (?P<unit>[kmgtp]b)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "kb", "mb", "gb", "tb", "pb"))}
_CONSTANTS: dict[str, bool | None] = {"$true": True, "$false": False, "$null": None}
_LONGEST_NUMBER = 400  # characters; a double has no more digits than that before its point


class Argument(NamedTuple):
    """One value: a word, or several that commas or braces hold together.

    Attributes:
        text: The value as text, PowerShell's own quotes taken off.
        quoted: It was in quotes, so it is a string whatever it looks like.
        block: The text between the braces, where the whole of it is one script block.
        items: Its elements, where commas split it in two or more.
        raw: As it arrived, words joined by single blanks.
    """

    text: str
    quoted: bool = False
    block: str | None = None
    items: tuple[Argument, ...] = ()
    raw: str = ""

    @property
    def elements(self) -> tuple[Argument, ...]:
        """The elements of a list; a single value is a list of itself."""
        return self.items or (self,)

    @property
    def constant(self) -> Any:
        """The value that PowerShell's parser gives a bare word: a number, True, False or None, else the text."""
        if self.quoted or self.block is not None or self.items:
            return self.text
        if self.text.lower() in _CONSTANTS:
            return _CONSTANTS[self.text.lower()]
        value = number(self.text)
        return self.text if value is None else value


_HOLE = Argument("")  # what `a,` and `,b` have on the other side of the comma; the next word may fill it


class Name(NamedTuple):
    """A word that names a parameter: `-Name`, `-Name:value`, `--kebab-name`, `--kebab-name=value`.

    `value` is None where none was attached; `colon` alone says that the value after it is empty or comes next.
    """

    name: str
    raw: str
    kebab: bool = False
    colon: bool = False
    value: Argument | None = None


def read(argv: Sequence[str]) -> list[Name | Argument]:
    """Read the words after the verb, in order. `--` ends the names: what follows it are arguments.

    Raises:
        BindingError: A script block has no closing brace.
    """
    rest, result, names = deque(argv), list[Name | Argument](), True
    while rest:
        kebab = _KEBAB.fullmatch(rest[0])
        named = kebab or _NAME.fullmatch(rest[0])
        if names and rest[0] == "--":
            rest.popleft()
            names = False
        elif names and named:
            raw = rest.popleft()
            value = None
            if named["value"] or (kebab and named["colon"]):  # `--name=` is empty, `-Name:` has its value next
                rest.appendleft(named["value"])
                value = _argument(rest)
            result.append(Name(named["name"], raw, bool(kebab), bool(named["colon"]), value))
        else:
            result.append(_argument(rest))
    return result


def number(text: str) -> Any:
    """Read a PowerShell number literal (about_Numeric_Literals): an int, float or Decimal; None for anything else.

    Python has one int where PowerShell has eight: the type suffixes are read, the width is not kept.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        return None
    unit = _UNITS[(match["unit"] or "").lower()]
    negative = match["sign"] == "-"
    if match["hex"] or match["bin"]:
        digits, base, bits = (match["hex"], 16, 4) if match["hex"] else (match["bin"], 2, 1)
        value, width = int(digits, base), len(digits) * bits
        if width in (32, 64) and not match["type"] and value >> (width - 1):
            value -= 1 << width  # 0xFFFFFFFF is -1: a literal as wide as an integer has its sign bit
    elif match["int"] and match["type"].lower() != "d":
        value = int(match["int"])
    elif match["type"].lower() in ("", "d"):
        exact = match["type"] != ""
        return _real(match["sign"] + (match["int"] or match["real"]), unit, exact=exact)
    else:
        return None
    value *= -unit if negative else unit
    if -(1 << 63) <= value < 1 << 63 or match["type"]:
        return value
    return _real(str(value), 1, exact=abs(value) < 1 << 96)


def elements(word: str) -> tuple[Argument, ...]:
    """Read one word as a value by itself: what its commas separate, or the one that it is."""
    return tuple(_split(word))


def suggestion(word: str, candidates: Iterable[str], mark: str = "") -> str:
    """Return ` Did you mean X?` for the candidate closest to `word`, or an empty string."""
    import difflib  # only a mistake pays for it

    names = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return f" Did you mean {mark}{names[close[0]]}?" if close else ""


def _real(text: str, unit: int, *, exact: bool) -> Any:
    if not exact:
        value = float(text) * unit
        return value if math.isfinite(value) else None
    from decimal import Decimal

    return Decimal(text) if unit == 1 else Decimal(text) * unit  # a product has no more than 28 digits


def _argument(rest: deque[str]) -> Argument:
    """Take one value off the front of `rest`."""
    if rest[0].startswith("{"):
        count = _block_length(rest)
        if count:
            raw = " ".join(rest.popleft() for _ in range(count))
            return Argument(raw, block=raw[1:-1], raw=raw)
    parts = [rest.popleft()]
    items = _split(parts[0])
    while rest and _joins(parts[-1], rest[0]):
        parts.append(rest.popleft())
        head, *tail = _split(parts[-1])
        items = [*items[:-1], head if items[-1] == _HOLE else items[-1], *tail]
    raw = " ".join(parts)
    if len(items) > 1:
        return Argument(raw, items=tuple(items), raw=raw)
    return Argument(items[0].text, items[0].quoted, raw=raw)


def _joins(word: str, following: str) -> bool:
    """Say whether a comma at the end of `word`, or at the start of `following`, makes one list of both."""
    if following.startswith(",") and not _blank(following):
        return not _blank(word)
    other = following.startswith(("{", "--")) or _NAME.fullmatch(following)
    return word.endswith(",") and not _blank(word) and not other


def _blank(word: str) -> bool:
    return any(character.isspace() for character in word)


def _split(word: str) -> list[Argument]:
    """Split one word at its commas; a word with a blank, or an empty one, was quoted and is one string."""
    if not word or (_blank(word) and word[0] not in "'\""):
        return [Argument(word, quoted=True)]
    items, position = list[Argument](), -1
    while position < len(word):
        match = _ITEM.match(word, position + 1)
        assert match is not None
        if match["bare"] is not None:
            items.append(Argument(match["bare"]))
        else:
            text = match["double"].replace('""', '"') if match["single"] is None else match["single"].replace("''", "'")
            items.append(Argument(text, quoted=True))
        position = match.end()
    return items


def _block_length(words: deque[str]) -> int:
    """How many words the script block at the front is made of; 0 where the brace only begins a text (`{0} of {1}`)."""
    for count, word in enumerate(words, 1):
        if not word.endswith("}") and count > 1:
            continue
        text = " ".join(islice(words, count))
        end = _closing_brace(text)
        if end == len(text) - 1:
            return count
        if count == 1 and end is not None:
            return 0
    raise BindingError(
        "Missing closing '}' in statement block or type definition. A script block is one quoted word,"
        " -ScriptBlock 'Get-Service WinRM', or words between two braces that stand alone, { Get-Service WinRM }.",
        error_id="MissingEndCurlyBrace",
    )


def _closing_brace(text: str) -> int | None:
    """Where the brace that opens `text` is closed; strings, comments and escaped characters do not count."""
    depth = 0
    for match in _SCRIPT.finditer(text):
        if match["brace"]:
            depth += 1 if match["brace"] == "{" else -1
            if depth == 0:
                return match.start()
    return None
