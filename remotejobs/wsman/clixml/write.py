"""From Python to CLIXML, as PowerShell writes it (MS-PSRP 2.2.5; PowerShell's serialization.cs).

Knows which element a value becomes. Must not know messages, records or where the bytes go.

Depth is PowerShell's: how many objects deep the properties of an object are written as objects; further down only
their text is. Elements of containers and notes (a custom object is nothing but notes) are as deep as what holds them.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.primitives import date_time_text, decimal_text, escape, real_text, time_span_text
from remotejobs.wsman.clixml.scalars import (
    BigInteger,
    Byte,
    Char,
    Int16,
    Int64,
    SByte,
    ScriptBlock,
    Single,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
    XmlDocument,
)
from remotejobs.wsman.clixml.values import (
    NO_BASE,
    OrderedDictionary,
    PSObject,
    SecureString,
    container_tag,
    text,
)

MAX_DEPTH: Final = 50  # a value inside 49 others is not read by PowerShell
_DOCUMENT = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
_INTEGERS = {
    Byte: "By",
    SByte: "SB",
    Int16: "I16",
    UInt16: "U16",
    UInt32: "U32",
    Int64: "I64",
    UInt64: "U64",
    BigInteger: "Obj",
}
_TEXTS = {Char: "C", ScriptBlock: "SBK", Uri: "URI", Version: "Version", XmlDocument: "XD"}
_ARRAY = ("System.Object[]", "System.Array", "System.Object")
_HASHTABLE = ("System.Collections.Hashtable", "System.Object")
_ORDERED = ("System.Collections.Specialized.OrderedDictionary", "System.Object")
_CUSTOM = ("System.Management.Automation.PSCustomObject", "System.Object")
# Types that have a depth of their own, wherever they stand.
_DEPTHS = {
    "System.Exception": 1,
    "System.Net.IPAddress": 1,
    "System.Management.Automation.PSCredential": 1,
    "System.Management.Automation.Job": 2,
    "Microsoft.Management.Infrastructure.CimInstance": 1,
}
_BIG_INTEGER = ("System.Numerics.BigInteger", "System.ValueType", "System.Object")
_FORBIDDEN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\ufffe": "&#xFFFE;", "\uffff": "&#xFFFF;"})


def serialize(value: Any, *, depth: int | None = None) -> bytes:
    """Write one value as one element, UTF-8, no byte order mark; None is `<Nil />`.

    Args:
        value: None, bool, int (Int32, else Int64, else BigInteger), float, str, bytes, Decimal, datetime, timedelta,
            UUID, list or tuple (Object[]), dict (Hashtable), a PSObject or a type of `values`. What occurs twice is
            written once and referred to, cycles among it.
        depth: Levels of properties written as objects, from 1; None for all, as PowerShell's remoting does with what
            it has received. It takes 1 for its own objects in remoting, and 2 in Export-Clixml.

    Raises:
        UsageError: It holds something else, a number that .NET has no room for, or 50 values inside each other.
    """
    writer = _Writer()
    writer.value(value, "", 1, depth)
    return "".join(writer.pieces).encode()


def document(items: Iterable[Any]) -> Iterator[str]:
    """The file that Import-Clixml reads, piece by piece: begin, one line for each item, end.

    Raises:
        UsageError: As `serialize`.
    """
    yield _DOCUMENT + "\n"
    for item in items:
        yield serialize(item).decode() + "\n"
    yield "</Objs>\n"


def _text(value: str) -> str:
    return escape(value).translate(_FORBIDDEN)


class _Writer:
    """One message: its text so far, its two counters, and what has been written already."""

    __slots__ = ("_objects", "_types", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._objects: dict[int, tuple[int, Any]] = {}  # id: RefId, and the object, lest its id be used again
        self._types: dict[tuple[str, ...], int] = {}

    def value(self, value: Any, name: str, level: int, depth: int | None) -> None:
        """Write the element of `value`.

        Args:
            value: What is written.
            name: Its N attribute as it is written, or empty.
            level: Values that it is inside of, and itself.
            depth: Levels of properties that are left; None for all.
        """
        if level >= MAX_DEPTH:
            raise UsageError(f"A value is nested {level} deep; PowerShell reads {MAX_DEPTH - 1} at most.")
        if isinstance(value, PSObject | list | tuple | dict):
            self._object(value, name, level, depth)
            return
        try:
            tag, content = _primitive(value)
        except (ValueError, TypeError, OverflowError):
            shown = "of thousands of digits" if isinstance(value, int) else f"{value!r:.40}"  # which has no repr
            raise UsageError(f"PowerShell has no room for this {type(value).__name__}: {shown}.") from None
        if tag == "Obj":
            self._object(_big_integer(value), name, level, depth)
        elif content or tag in ("S", "SBK"):
            self.pieces.append(f"<{tag}{name}>{content}</{tag}>")
        else:
            self.pieces.append(f"<{tag}{name} />")

    def _object(
        self, value: PSObject | list[Any] | tuple[Any, ...] | dict[Any, Any], name: str, level: int, depth: int | None
    ) -> None:
        if id(value) in self._objects:
            self.pieces.append(f'<Ref{name} RefId="{self._objects[id(value)][0]}" />')
            return
        if depth is not None and isinstance(value, PSObject):
            depth = next((_DEPTHS[of_type] for of_type in map(_bare, value.type_names) if of_type in _DEPTHS), depth)
            if depth <= 0 and _is_cut(value):
                self._cut(value, name, level)
                return
        self._begin(value, name)
        if isinstance(value, PSObject):
            self._type_names(value.type_names)
            if value.to_string is not None:
                self.pieces.append(
                    f"<ToString>{_text(value.to_string)}</ToString>" if value.to_string else "<ToString />"
                )
            if isinstance(value.base, list | tuple | dict):
                self._container(value.base, container_tag(value), level + 1, depth)
            elif value.base is not NO_BASE:
                self.value(value.base, "", level + 1, depth)
            if depth != 0:
                self._members("Props", value.adapted, level + 1, depth and depth - 1)
            if depth != 0 or not isinstance(value.base, list | tuple | dict):
                self._members("MS", value.extended, level + 1, depth)
        else:
            ordered = isinstance(value, OrderedDictionary)
            self._type_names(_ORDERED if ordered else _HASHTABLE if isinstance(value, dict) else _ARRAY)
            self._container(value, "LST", level + 1, depth)
        self.pieces.append("</Obj>")

    def _begin(self, value: Any, name: str) -> None:
        ref_id = len(self._objects)
        self._objects[id(value)] = (ref_id, value)
        self.pieces.append(f'<Obj{name} RefId="{ref_id}">')

    def _cut(self, value: PSObject, name: str, level: int) -> None:
        """Write what an object past the depth is: its text, and with it the notes that it has."""
        if not value.extended:
            self.value(text(value), name, level, 0)
            return
        self._begin(value, name)
        if value.type_names[-2:] == _CUSTOM and len(value.type_names) > 2:  # named by the script
            self._type_names(value.type_names)
        self.value(text(value), "", level + 1, 0)
        self._members("MS", value.extended, level + 1, 0)
        self.pieces.append("</Obj>")

    def _type_names(self, names: tuple[str, ...]) -> None:
        if names in self._types:
            self.pieces.append(f'<TNRef RefId="{self._types[names]}" />')
        elif names:
            ref_id = self._types[names] = len(self._types)
            listed = "".join([f"<T>{_text(name)}</T>" for name in names])
            self.pieces.append(f'<TN RefId="{ref_id}">{listed}</TN>')

    def _container(
        self, value: list[Any] | tuple[Any, ...] | dict[Any, Any], tag: str, level: int, depth: int | None
    ) -> None:
        tag = "DCT" if isinstance(value, dict) else tag
        if not value:
            self.pieces.append(f"<{tag} />")
            return
        self.pieces.append(f"<{tag}>")
        if isinstance(value, dict):
            for key, item in value.items():
                if key is None:
                    raise UsageError("A dictionary for PowerShell cannot have None for a key.")
                self.pieces.append("<En>")
                self.value(key, ' N="Key"', level, depth)
                self.value(item, ' N="Value"', level, depth)
                self.pieces.append("</En>")
        else:
            for item in value:
                self.value(item, "", level, depth)
        self.pieces.append(f"</{tag}>")

    def _members(self, tag: str, members: dict[str, Any], level: int, depth: int | None) -> None:
        if members:
            self.pieces.append(f"<{tag}>")
            for name, value in members.items():
                quoted = _text(name).replace('"', "&quot;")
                self.value(value, f' N="{quoted}"', level, depth)
            self.pieces.append(f"</{tag}>")


def _bare(type_name: str) -> str:
    return type_name.removeprefix("Deserialized.").partition("#")[0]


def _is_cut(value: PSObject) -> bool:
    """Whether depth counts for it: a container does not, nor a primitive with notes; an enum does."""
    return value.base is NO_BASE or "System.Enum" in value.type_names


def _big_integer(value: int) -> PSObject:
    """A number that has no element: an object with its text and .NET's properties."""
    members = {
        "IsPowerOfTwo": value > 0 and value.bit_count() == 1,
        "IsZero": value == 0,
        "IsOne": value == 1,
        "IsEven": value % 2 == 0,
        "Sign": (value > 0) - (value < 0),
    }
    return PSObject(_BIG_INTEGER, str(value), adapted=members)


def _primitive(value: Any) -> tuple[str, str]:
    """The tag and the content of a primitive value."""
    if value is None:
        return "Nil", ""
    if isinstance(value, str):
        tag = _TEXTS.get(type(value), "S")
        return tag, str(ord(value)) if tag == "C" else _text(value)
    if isinstance(value, bool):
        return "B", "true" if value else "false"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return "Sg" if isinstance(value, Single) else "Db", real_text(value)
    if isinstance(value, Decimal):
        return "D", decimal_text(value)
    if isinstance(value, datetime):
        return "DT", date_time_text(value)
    if isinstance(value, timedelta):
        return "TS", time_span_text(value)
    if isinstance(value, uuid.UUID):
        return "G", str(value)
    if isinstance(value, bytes | bytearray):
        return "BA", base64.b64encode(value).decode()
    if isinstance(value, SecureString):
        return "SS", value.wire
    if hasattr(value, "reveal") or hasattr(value, "secret"):
        raise UsageError(
            f"A {type(value).__name__} is an argument by itself or in a list or dictionary of argument_list; nothing "
            "else may hold it."
        )
    raise UsageError(
        f"PowerShell cannot be given a Python {type(value).__name__}; convert it to text or a number first."
    )


def _integer(value: int) -> tuple[str, str]:
    written = int.__repr__(value)
    tag = _INTEGERS.get(type(value))
    if tag is None:
        tag = "I32" if -(2**31) <= value < 2**31 else "I64" if -(2**63) <= value < 2**63 else "Obj"
    return tag, written
