"""Properties and methods of values: `.name`, `.method()`, `[type]::member`.

Knows values, records and conversions. Must not know the tree. What is not in a table here is refused, except the
properties that an object really lacks: those are $null, as PowerShell has it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from remotejobs.sim.dialect.conversions import INTEGERS, convert, format_value, full_name, plain, short_name
from remotejobs.sim.dialect.errors import Refusal, failure
from remotejobs.sim.records import ErrorRecord, NetException
from remotejobs.sim.values import (
    NOTHING,
    Char,
    Hashtable,
    PSObject,
    ScriptBlock,
    SecureString,
    Uri,
    Version,
    bag_text,
    enum,
    is_array,
    items,
    to_text,
    type_names,
)

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SYSTEM = ("System.SystemException", "System.Exception", "System.Object")
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "exception": ("System.Exception", "System.Object"),
    "invalidoperationexception": ("System.InvalidOperationException", *_SYSTEM),
    "argumentexception": ("System.ArgumentException", *_SYSTEM),
    "notsupportedexception": ("System.NotSupportedException", *_SYSTEM),
    "formatexception": ("System.FormatException", *_SYSTEM),
    "timeoutexception": ("System.TimeoutException", *_SYSTEM),
}


_CREDENTIAL = "System.Management.Automation.PSCredential"
_VERSION = ("major", "minor", "build", "revision")


class TypeName(str):
    """A type as a value: what stands between the brackets."""

    __slots__ = ()


def _type_object(value: Any) -> PSObject:
    name = type_names(value)[0]
    return PSObject(("System.RuntimeType",), adapted={"Name": name.rsplit(".", 1)[-1], "FullName": name}, text=name)


_STRING: dict[str, Callable[..., Any]] = {
    "toupper": str.upper, "tolower": str.lower, "toupperinvariant": str.upper, "tolowerinvariant": str.lower,
    "trim": lambda s, *c: s.strip("".join(map(to_text, c)) or None),
    "trimstart": lambda s, *c: s.lstrip("".join(map(to_text, c)) or None),
    "trimend": lambda s, *c: s.rstrip("".join(map(to_text, c)) or None),
    "startswith": lambda s, t: s.startswith(to_text(t)), "endswith": lambda s, t: s.endswith(to_text(t)),
    "contains": lambda s, t: to_text(t) in s, "indexof": lambda s, t: s.find(to_text(t)),
    "lastindexof": lambda s, t: s.rfind(to_text(t)), "replace": lambda s, a, b: s.replace(to_text(a), to_text(b)),
    "padleft": lambda s, n, c=" ": s.rjust(n, to_text(c)), "padright": lambda s, n, c=" ": s.ljust(n, to_text(c)),
    "split": lambda s, t=" ": s.split(to_text(t)), "insert": lambda s, n, t: s[:n] + to_text(t) + s[n:],
    "tochararray": lambda s: [Char(c) for c in s], "equals": lambda s, t: s == t,
}  # fmt: skip
_DATE: dict[str, Callable[..., Any]] = {
    "adddays": lambda d, n: d + timedelta(days=n), "addhours": lambda d, n: d + timedelta(hours=n),
    "addminutes": lambda d, n: d + timedelta(minutes=n), "addseconds": lambda d, n: d + timedelta(seconds=n),
    "addmilliseconds": lambda d, n: d + timedelta(milliseconds=n),
    "touniversaltime": lambda d: d.astimezone(UTC), "tolocaltime": lambda d: d.astimezone(),
}  # fmt: skip
_DATE_PROPERTIES: dict[str, Callable[[datetime], Any]] = {
    "year": lambda d: d.year, "month": lambda d: d.month, "day": lambda d: d.day, "hour": lambda d: d.hour,
    "minute": lambda d: d.minute, "second": lambda d: d.second, "millisecond": lambda d: d.microsecond // 1000,
    "date": lambda d: d.replace(hour=0, minute=0, second=0, microsecond=0),
    "dayofyear": lambda d: d.timetuple().tm_yday,
    "dayofweek": lambda d: enum("System.DayOfWeek", _DAYS[d.isoweekday() % 7], d.isoweekday() % 7),
}  # fmt: skip
_SPAN_PROPERTIES: dict[str, Callable[[timedelta], Any]] = {
    "days": lambda t: int(t / timedelta(days=1)), "hours": lambda t: int(t / timedelta(hours=1)) % 24,
    "minutes": lambda t: int(t / timedelta(minutes=1)) % 60, "seconds": lambda t: int(t.total_seconds()) % 60,
    "totaldays": lambda t: t / timedelta(days=1), "totalhours": lambda t: t / timedelta(hours=1),
    "totalminutes": lambda t: t / timedelta(minutes=1), "totalseconds": lambda t: t.total_seconds(),
    "totalmilliseconds": lambda t: t / timedelta(milliseconds=1),
}  # fmt: skip


def _record_property(record: ErrorRecord, name: str) -> Any:
    if name == "categoryinfo":
        reason, target, kind = record.category_parts()
        members = {
            "Category": record.category,
            "Activity": record.activity,
            "Reason": reason,
            "TargetName": target,
            "TargetType": kind,
        }
        return PSObject(
            ("System.Management.Automation.ErrorCategoryInfo", "System.Object"), members, text=record.category_message()
        )
    known = {
        "exception": record.exception, "fullyqualifiederrorid": record.error_id, "targetobject": record.target,
        "scriptstacktrace": record.stack, "errordetails": None if record.details is None else NOTHING,
    }  # fmt: skip
    if known.get(name, NOTHING) is NOTHING:
        raise Refusal(f"the property {name} of an ErrorRecord")
    return known[name]


def get_property(value: Any, name: str) -> Any:
    """`value.name`; of an array without such a property, that of its elements."""
    key, whole = name.lower(), value
    if isinstance(value, PSObject):
        if value.find(name):
            return value.get(name)
        if value.value is NOTHING or not is_array(value.value):
            value = plain(value)
        else:
            value = value.value
    if value is None or value is NOTHING:
        return None
    if isinstance(value, Hashtable):
        if name in value:
            return value.get(name)
        collections = {
            "keys": [k for k, _ in value.items()],
            "values": [v for _, v in value.items()],
            "count": len(value),
        }
        return collections.get(key)
    if is_array(value) or isinstance(value, bytes):
        if key in {"count", "length"}:
            return len(value)
        found = [part for item in items(value) for part in items(get_property(item, name)) if has_property(item, name)]
        return found[0] if len(found) == 1 else found or None
    if isinstance(value, ErrorRecord):
        return _record_property(value, key)
    if isinstance(value, NetException):
        known = {"message": value.message, "innerexception": value.inner}
        if key not in known:
            raise Refusal(f"the property {name} of an exception")
        return known[key]
    if isinstance(value, str) and not isinstance(value, Char) and key == "length":
        return len(value.encode("utf-16-le", "surrogatepass")) // 2
    if isinstance(value, datetime) and key in _DATE_PROPERTIES:
        return _DATE_PROPERTIES[key](value)
    if isinstance(value, timedelta) and key in _SPAN_PROPERTIES:
        return _SPAN_PROPERTIES[key](value)
    if key in {"count", "length"}:
        return 1
    if isinstance(value, Version) and key in _VERSION:
        return (*map(int, value.split(".")), -1, -1)[_VERSION.index(key)]
    if isinstance(value, (datetime, timedelta, ScriptBlock, Uri, Version)) or key in {"psobject", "pstypenames"}:
        raise Refusal(f"the property {name} of a {type_names(value)[0]}")
    if (
        isinstance(whole, PSObject)
        and not whole.custom
        and not whole.types[0].startswith(("Deserialized.", "Selected.", "System.Runtime"))
    ):
        raise Refusal(f"the property {name} of a {whole.types[0]}")
    return None


def has_property(value: Any, name: str) -> bool:
    """True when member enumeration over an array finds `name` on this element."""
    if isinstance(value, PSObject):
        return bool(value.find(name)) or (value.value is not NOTHING and has_property(value.value, name))
    if isinstance(value, Hashtable):
        return name in value or name.lower() in {"keys", "values", "count"}
    return get_property(value, name) is not None


def set_property(value: Any, name: str, new: Any) -> None:
    """`value.name = new`.

    Raises:
        Failure: There is no such property.
    """
    if isinstance(value, Hashtable):
        value[name] = new
        return
    found = value.find(name) if isinstance(value, PSObject) else None
    if not found:
        message = (
            f"The property '{name}' cannot be found on this object. Verify that the property exists and can be set."
        )
        raise failure(message, "PropertyNotFound")
    found[0][found[1]] = new


def call(value: Any, name: str, arguments: list[Any]) -> Any:
    """`value.name(arguments)`.

    Raises:
        Failure: As PowerShell fails.
    """
    key = name.lower()
    if value is None or value is NOTHING:
        raise failure("You cannot call a method on a null-valued expression.", "InvokeMethodOnNull")
    if key == "gettype" and not arguments:
        return _type_object(value)
    if key == "getnetworkcredential" and isinstance(value, PSObject) and type_names(value)[0] == _CREDENTIAL:
        clear = {"UserName": value.get("UserName"), "Password": "".join(value.get("Password") or ""), "Domain": ""}
        return PSObject(("System.Net.NetworkCredential", "System.Object"), clear, text="System.Net.NetworkCredential")
    inner = plain(value)
    if key == "tostring" and not arguments:
        return bag_text(inner) if isinstance(value, PSObject) and value.custom else to_text(value)
    if key == "tostring":
        return format_value(inner, to_text(arguments[0]))
    if isinstance(inner, str) and not isinstance(inner, Char | SecureString):
        if key == "substring":
            return _substring(inner, *(convert(a, "int") for a in arguments))
        if key in _STRING:
            return _STRING[key](inner, *arguments)
    if isinstance(inner, datetime) and key in _DATE:
        return _DATE[key](inner, *(convert(a, "double") for a in arguments))
    if isinstance(inner, Hashtable):
        if key in {"containskey", "contains"}:
            return arguments[0] in inner
        if key == "add":
            inner[arguments[0]] = arguments[1]
            return NOTHING
        if key == "remove":
            inner.pop(arguments[0])
            return NOTHING
    if is_array(inner) and key == "contains":
        return arguments[0] in inner
    raise Refusal(f"the method {name} of a {type_names(value)[0]}")


def _substring(text: str, start: int, length: int | None = None) -> str:
    end = len(text) if length is None else start + length
    if not (0 <= start <= end <= len(text)):
        what = "length" if length is not None else "startIndex"
        inner = (
            "Index and length must refer to a location within the string. (Parameter 'length')"
            if what == "length"
            else "startIndex cannot be larger than length of string. (Parameter 'startIndex')"
        )
        count = 1 if length is None else 2
        types = ("System.ArgumentOutOfRangeException", "System.ArgumentException", *_SYSTEM)
        raise invocation_failure("Substring", count, NetException(inner, types))
    return text[start:end]


def invocation_failure(method: str, count: int, cause: NetException) -> Exception:
    """A .NET exception out of a method: MethodInvocationException, its id the name of the cause."""
    message = f'Exception calling "{method}" with "{count}" argument(s): "{cause.message}"'
    found = failure(message, cause.name, "NotSpecified", name="MethodInvocationException")
    bases = ("MethodException", "ExtendedTypeSystemException")
    types = found.record.exception.types
    found.record.exception.types = (types[0], *(f"System.Management.Automation.{b}" for b in bases), *types[1:])
    found.record.exception.inner = cause
    return found


_MATH: dict[str, Callable[..., Any]] = {
    "max": max, "min": min, "abs": abs, "sqrt": math.sqrt, "pow": lambda x, y: float(x) ** y,
    "floor": lambda x: float(math.floor(x)), "ceiling": lambda x: float(math.ceil(x)),
    "round": lambda x, n=0: float(round(Decimal(repr(float(x))), n)),
}  # fmt: skip


def static(type_name: str, name: str, arguments: list[Any] | None, host: str) -> Any:
    """`[type]::name`, or `[type]::name(arguments)`; `host` is the computer's name.

    Raises:
        Failure: As PowerShell fails.
    """
    short, key = short_name(type_name), name.lower()
    if arguments is None:
        kind = INTEGERS.get(short)
        constants: dict[tuple[str, str], Any] = {
            ("math", "pi"): math.pi, ("math", "e"): math.e, ("string", "empty"): "",
            ("guid", "empty"): uuid.UUID(int=0),
            ("environment", "newline"): "\r\n", ("environment", "machinename"): host, ("double", "nan"): math.nan,
            ("double", "positiveinfinity"): math.inf, ("timespan", "zero"): timedelta(),
        }  # fmt: skip
        if (short, key) in constants:
            return constants[short, key]
        if kind and key in {"maxvalue", "minvalue"}:
            return kind(getattr(kind, "high", 2**31 - 1) if key == "maxvalue" else getattr(kind, "low", -(2**31)))
        if short == "datetime" and key in {"now", "utcnow", "today"}:
            now = datetime.now(UTC)
            local = now.astimezone()
            return now if key == "utcnow" else _DATE_PROPERTIES["date"](local) if key == "today" else local
    elif key == "new" and short in EXCEPTIONS and len(arguments) in {1, 2}:
        return NetException(
            to_text(arguments[0]), EXCEPTIONS[short], inner=arguments[1] if len(arguments) == 2 else None
        )
    elif short == "math" and key in _MATH:
        found = [plain(a) for a in arguments]
        return _MATH[key](*(a if isinstance(a, (int, float, Decimal)) else convert(a, "double") for a in found))
    elif short == "string" and key in {"isnullorempty", "isnullorwhitespace"}:
        return not (to_text(arguments[0]).strip() if key.endswith("space") else to_text(arguments[0]))
    elif short == "string" and key == "join":
        return to_text(arguments[0]).join(to_text(v) for a in arguments[1:] for v in items(plain(a)))
    elif short == "guid" and key == "newguid":
        return uuid.uuid4()
    elif short == "datetime" and key == "new":
        return _date(arguments)
    elif short == "timespan" and key.startswith("from") and len(arguments) == 1:
        unit = {"fromdays": "days", "fromhours": "hours", "fromminutes": "minutes", "fromseconds": "seconds",
            "frommilliseconds": "milliseconds"}.get(key)  # fmt: skip
        if unit:
            return timedelta(**{unit: convert(arguments[0], "double")})
    elif short in INTEGERS and key == "parse" and len(arguments) == 1:
        return _parse(short, to_text(arguments[0]))
    raise Refusal(f"[{type_name}]::{name}")


def _parse(short: str, text: str) -> Any:
    if not text.strip().lstrip("+-").isdigit():
        types = ("System.FormatException", *_SYSTEM)
        raise invocation_failure(
            "Parse", 1, NetException(f"The input string '{text}' was not in a correct format.", types)
        )
    return convert(text, short)


def _date(arguments: list[Any]) -> datetime:
    *numbers, last = arguments
    kind = to_text(last).lower() if isinstance(last, str) else ""
    values = [convert(n, "int") for n in (numbers if kind else arguments)]
    if len(values) not in {3, 6, 7} or kind not in {"", "utc", "local", "unspecified"}:
        raise Refusal("this constructor of [datetime]")
    if len(values) == 7:
        values[6] *= 1000
    moment = datetime(*values)  # noqa: DTZ001 - Unspecified is a kind of its own in .NET
    return moment.replace(tzinfo=UTC) if kind == "utc" else moment.astimezone() if kind == "local" else moment


def get_index(value: Any, index: Any) -> Any:
    """`value[index]`; an array of indexes gives an array; past the end is $null."""
    inner = plain(value)
    if inner is None or inner is NOTHING:
        raise failure("Cannot index into a null array.", "NullArray")
    if isinstance(inner, Hashtable):
        return [inner.get(i) for i in index] if is_array(index) else inner.get(index)
    if is_array(index):
        return [found for i in index if (found := get_index(inner, i)) is not None]
    if is_array(inner) or isinstance(inner, (str, bytes)):
        position = convert(index, "int")
        sequence = items(inner) if isinstance(inner, bytes) else inner
        if not -len(sequence) <= position < len(sequence):
            return None
        return Char(sequence[position]) if isinstance(inner, str) else sequence[position]
    raise Refusal(f"an index into a {full_name(type_names(value)[0])}")


def set_index(value: Any, index: Any, new: Any) -> None:
    """`value[index] = new`.

    Raises:
        Failure: The index is past the end.
    """
    inner = plain(value)
    if isinstance(inner, Hashtable):
        inner[index] = new
    elif isinstance(inner, list):
        position = convert(index, "int")
        if not -len(inner) <= position < len(inner):
            raise failure(
                "Index was outside the bounds of the array.", "System.IndexOutOfRangeException", "OperationStopped"
            )
        inner[position] = new
    else:
        raise Refusal("this assignment to an element")
