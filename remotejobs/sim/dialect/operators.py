"""The operators of the dialect. Knows values and conversions. Must not know the tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from remotejobs.sim.dialect.conversions import (
    convert,
    format_text,
    is_type,
    plain,
    to_bool,
    to_number,
)
from remotejobs.sim.dialect.errors import Failure, Refusal, failure, wrapped
from remotejobs.sim.dialect.scanner import numeral
from remotejobs.sim.values import (
    NOTHING,
    Char,
    Hashtable,
    Int64,
    Integer,
    PSObject,
    UInt64,
    is_array,
    items,
    to_text,
    type_names,
    wildcard,
)

_LONGEST = 64 * 1024 * 1024
_GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\}|(\$)|(&))")


def _whole(result: int, left: int, right: int) -> Any:
    """An integer result: Int32, Int64 if an operand is, Double where it does not fit."""
    for operand in (left, right):
        if isinstance(operand, UInt64):
            raise Refusal("arithmetic with UInt64")
    wide = any(isinstance(operand, Integer) and operand.high > 2**31 - 1 for operand in (left, right))
    if wide:
        return Int64(result) if Int64.low <= result <= Int64.high else float(result)
    return int(result) if -(2**31) <= result < 2**31 else float(result)


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    left, right = to_number(left), to_number(right)
    kinds = {type(left), type(right)}
    if Decimal in kinds and float in kinds:
        raise Refusal("arithmetic of Decimal with Double")
    if Decimal in kinds:
        left, right = Decimal(left), Decimal(right)
    if operator in "/%":
        return _divide(operator, left, right)
    result = {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}[operator]()
    return result if isinstance(result, (float, Decimal)) else _whole(result, left, right)


def _divide(operator: str, left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        if right == 0:
            return float("nan") if operator == "%" or left == 0 else float("inf") * (1 if left > 0 else -1)
        return left / right if operator == "/" else left - right * int(left / right)
    if right == 0:
        raise wrapped("Attempted to divide by zero.", "System.DivideByZeroException", "Attempted to divide by zero.")
    if isinstance(left, Decimal):
        return left / right if operator == "/" else left % right
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    if operator == "%":
        return _whole(left - quotient * right, left, right)
    return _whole(quotient, left, right) if quotient * right == left else left / right


def _add(left: Any, right: Any) -> Any:
    left, right = plain(left), plain(right)
    if left is None or left is NOTHING:
        return right
    if is_array(left) or isinstance(left, bytes):
        return [*items(left), *(items(right) if right is not None else [None])]
    if isinstance(left, str) and not isinstance(left, Char):
        return left + to_text(right)
    if isinstance(left, Hashtable) and isinstance(right, Hashtable):
        return Hashtable(iter([*left.items(), *right.items()]))
    if isinstance(left, (datetime, timedelta)) and isinstance(right, timedelta):
        return left + right
    return _arithmetic("+", left, right)


def _subtract(left: Any, right: Any) -> Any:
    left, right = plain(left), plain(right)
    if isinstance(left, datetime) and isinstance(right, (datetime, timedelta)):
        return left - right
    if isinstance(left, timedelta) and isinstance(right, timedelta):
        return left - right
    return _arithmetic("-", left, right)


def _multiply(left: Any, right: Any) -> Any:
    left = plain(left)
    if isinstance(left, str) or is_array(left):
        times = convert(right, "int")
        if len(left) * times > _LONGEST:
            raise failure(
                "Insufficient memory to continue the execution of the program.", "System.OutOfMemoryException"
            )
        return (left if isinstance(left, str) else list(left)) * max(times, 0)
    return _arithmetic("*", left, right)


def _range(left: Any, right: Any) -> Any:
    first, last = convert(left, "int"), convert(right, "int")
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def equal(left: Any, right: Any, *, cased: bool = False) -> bool:
    """`left -eq right` for single values: the left one decides what is compared."""
    if isinstance(left, PSObject) and left.text is not None and isinstance(right, str):
        return left.text.casefold() == right.casefold()  # an enum, or an object by its text
    left, right = plain(left), plain(right)
    if left is None or left is NOTHING or right is None or right is NOTHING:
        return (left is None or left is NOTHING) and (right is None or right is NOTHING)
    if isinstance(left, bool):
        return left == to_bool(right)
    if isinstance(left, str):
        return left == to_text(right) if cased else left.casefold() == to_text(right).casefold()
    if isinstance(left, (int, float, Decimal)):
        other = numeral(right) if isinstance(right, str) else right
        return isinstance(other, (int, float, Decimal)) and left == other
    return bool(left == right) or left is right


def compare(left: Any, right: Any, *, cased: bool = False) -> int:
    """Less, equal or greater: -1, 0, 1. $null is less than anything.

    Raises:
        Failure: They cannot be compared.
    """
    left, right = plain(left), plain(right)
    if left is None or right is None:
        return (right is None) - (left is None)
    if isinstance(left, str) and not isinstance(left, Char):
        texts = (left, to_text(right)) if cased else (left.casefold(), to_text(right).casefold())
        return (texts[0] > texts[1]) - (texts[0] < texts[1])
    if isinstance(left, (int, float, Decimal)):
        right = to_number(right)
    elif isinstance(left, datetime) and isinstance(right, str):
        right = convert(right, "datetime")
    try:
        return int(left > right) - int(left < right)
    except TypeError:
        name = type_names(left)[0]
        message = f'Cannot compare "{to_text(left)}" because it is not IComparable.'
        raise failure(message, "NotIcomparable", "InvalidOperation", name) from None


def _flags(*, cased: bool) -> re.RegexFlag:
    return re.RegexFlag(0) if cased else re.IGNORECASE


def regex(pattern: Any, *, cased: bool = False) -> re.Pattern[str]:
    """A .NET regular expression as Python's.

    Raises:
        Failure: Python does not read it either.
    """
    text = re.sub(r"\(\?<(?=\w)", "(?P<", to_text(pattern))
    try:
        return re.compile(text, _flags(cased=cased))
    except re.error as error:
        raise failure(f"Invalid pattern '{to_text(pattern)}': {error}.", "InvalidRegularExpression") from None


def _replace(left: Any, right: Any, *, cased: bool) -> str:
    arguments = list(items(plain(right)))
    pattern = regex(arguments[0] if arguments else "", cased=cased)
    template = to_text(arguments[1]) if len(arguments) > 1 else ""

    def substitute(match: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            if reference[3]:
                return "$"
            name: str | int = 0 if reference[4] else int(reference[1]) if reference[1] else reference[2]
            try:
                return match[name] or ""
            except IndexError:
                return reference[0]

        return _GROUP.sub(group, template)

    return pattern.sub(substitute, to_text(left))


def _split(left: Any, right: Any, *, cased: bool) -> list[Any]:
    arguments = list(items(plain(right)))
    limit = convert(arguments[1], "int") if len(arguments) > 1 else 0
    if len(arguments) > 2 or limit < 0:
        raise Refusal("options of -split")
    pattern = regex(arguments[0], cased=cased)
    return [
        part for text in items(plain(left)) for part in pattern.split(to_text(text), max(limit - 1, 0) if limit else 0)
    ]


def _filtered(test: Callable[[Any], bool], left: Any) -> Any:
    """A comparison of an array gives the elements for which it is true."""
    left = left if isinstance(left, PSObject) and not is_array(left.value) else plain(left)
    return [item for item in left if test(item)] if is_array(left) else test(left)


def _compared(name: str, left: Any, right: Any, *, cased: bool) -> Any:
    if name in {"eq", "ne"}:
        return _filtered(lambda v: equal(v, right, cased=cased) is (name == "eq"), left)
    if name in {"gt", "ge", "lt", "le"}:
        wanted = {"gt": {1}, "ge": {0, 1}, "lt": {-1}, "le": {-1, 0}}[name]
        return _filtered(lambda v: compare(v, right, cased=cased) in wanted, left)
    if name in {"like", "notlike"}:
        pattern = wildcard(to_text(right))
        return _filtered(lambda v: bool(pattern.match(to_text(v))) is (name == "like"), left)
    if name in {"match", "notmatch"}:
        found = regex(right, cased=cased)
        return _filtered(lambda v: bool(found.search(to_text(v))) is (name == "match"), left)
    if name in {"contains", "notcontains"}:
        return any(equal(v, right, cased=cased) for v in items(plain(left))) is (name == "contains")
    return any(equal(v, left, cased=cased) for v in items(plain(right))) is (name == "in")


def _bits(name: str, left: Any, right: Any) -> Any:
    first, second = to_number(left), to_number(right)
    result = {"band": lambda: first & second, "bor": lambda: first | second, "bxor": lambda: first ^ second}[name]()
    return _whole(int(result), first, second)


def binary(name: str, left: Any, right: Any) -> Any:
    """Apply a binary operator; `-and` and `-or` are the evaluator's.

    Raises:
        Failure: As PowerShell fails.
    """
    simple: dict[str, Callable[[Any, Any], Any]] = {
        "+": _add, "-": _subtract, "*": _multiply, "..": _range,
        "/": lambda a, b: _arithmetic("/", a, b), "%": lambda a, b: _arithmetic("%", a, b),
        "f": lambda a, b: format_text(to_text(a), list(items(plain(b)))),
        "join": lambda a, b: to_text(b).join(to_text(v) for v in items(plain(a))),
        "xor": lambda a, b: to_bool(a) != to_bool(b),
        "is": lambda a, b: is_type(a, to_text(b)), "isnot": lambda a, b: not is_type(a, to_text(b)), "as": _as,
    }  # fmt: skip
    if name in simple:
        return simple[name](left, right)
    if name in {"band", "bor", "bxor"}:
        return _bits(name, left, right)
    cased = name[0] == "c" and name != "contains"
    bare = name[1:] if cased or (name[0] == "i" and name != "in") else name
    if bare == "replace":
        many = plain(left)
        return [_replace(v, right, cased=cased) for v in many] if is_array(many) else _replace(many, right, cased=cased)
    if bare == "split":
        return _split(left, right, cased=cased)
    return _compared(bare, left, right, cased=cased)


def _as(value: Any, type_name: Any) -> Any:
    try:
        return convert(value, to_text(type_name))
    except Failure:
        return None


def unary(name: str, value: Any) -> Any:
    """Apply a unary operator."""
    if name in {"!", "not"}:
        return not to_bool(value)
    if name == ",":
        return [value]
    if name in {"-", "+"}:
        return _arithmetic(name, 0, value)
    if name == "join":
        return "".join(to_text(v) for v in items(plain(value)))
    if name == "bnot":
        return _whole(~int(to_number(value)), to_number(value), 0)
    return [part for text in items(plain(value)) for part in to_text(text).split()]
