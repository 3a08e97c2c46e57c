"""From values to CLIXML, byte for byte as PowerShell 7 writes it (MS-PSRP 2.2.5; protocol of depth 1).

Knows the values. Must not know messages. Nothing of the client's codec is used here, on purpose: one mistake must not
sit on both ends.
"""

from __future__ import annotations

import base64
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from remotejobs.sim.values import (
    NOTHING,
    Char,
    Hashtable,
    Integer,
    PSObject,
    ScriptBlock,
    SecureString,
    Single,
    Uri,
    Version,
    double_text,
    object_text,
    type_names,
)

_NESTING = 49  # deeper than this PowerShell writes a sentence instead of the value
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\U00010000-\U0010ffff]|_(?=[xX])")
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\ufffe": "&#xFFFE;", "\uffff": "&#xFFFF;"})
_TAGS: list[tuple[type, str]] = [
    (Char, "C"), (Version, "Version"), (Uri, "URI"), (ScriptBlock, "SBK"), (SecureString, "SS"), (str, "S"),
    (bool, "B"), (Integer, ""), (int, "I32"), (Single, "Sg"), (float, "Db"), (Decimal, "D"), (datetime, "DT"),
    (timedelta, "TS"), (uuid.UUID, "G"), (bytes, "BA"),
]  # fmt: skip


def escape(text: str) -> str:
    """Text as PowerShell puts it between tags: `_xHHHH_` for controls, surrogates and the underscore of any `_x`."""

    def units(match: re.Match[str]) -> str:
        raw = match[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"_x{raw[i]:02X}{raw[i + 1]:02X}_" for i in range(0, len(raw), 2))

    return _ESCAPED.sub(units, text).translate(_XML)


def duration(value: timedelta) -> str:
    """A TimeSpan as xs:duration."""
    microseconds = abs(value) // timedelta(microseconds=1)
    seconds, micro = divmod(microseconds, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    fraction = f".{micro:06}".rstrip("0") if micro else ""
    time = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    time += f"{seconds}{fraction}S" if seconds or fraction else ""
    text = (f"{days}D" if days else "") + (f"T{time}" if time else "")
    return f"{'-' if value < timedelta() else ''}P{text or 'T0S'}"


def timestamp(value: datetime) -> str:
    """A DateTime: Z for UTC, an offset for local time, nothing where the kind is unspecified."""
    fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
    text = value.replace(microsecond=0, tzinfo=None).isoformat() + fraction
    if value.tzinfo is None:
        return text
    return text + ("Z" if value.tzinfo is UTC else value.isoformat()[-6:])


def _primitive(value: Any) -> tuple[str, str] | None:
    """Tag and content of a primitive, None for everything else."""
    for python, tag in _TAGS:
        if not isinstance(value, python):
            continue
        if isinstance(value, Char):
            return tag, str(ord(value))
        if isinstance(value, SecureString):
            return tag, base64.b64encode(value.encode("utf-16-le", "surrogatepass")).decode()
        if isinstance(value, str):
            return tag, escape(value)
        if isinstance(value, bool):
            return tag, "true" if value else "false"
        if isinstance(value, Integer):
            return value.tag, str(int(value))
        if isinstance(value, float):
            return tag, double_text(value).replace("∞", "INF")
        if isinstance(value, Decimal):
            return tag, format(value, "f")
        if isinstance(value, datetime):
            return tag, timestamp(value)
        if isinstance(value, timedelta):
            return tag, duration(value)
        return tag, base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
    return None


def _contains(value: Any) -> bool:
    return isinstance(value, (list, range, Hashtable))


class _Writer:
    """One CLIXML document: its two counters of references."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._types: dict[tuple[str, ...], int] = {}
        self._objects: dict[int, tuple[int, Any]] = {}  # the value is kept: a freed id would be given again

    def value(self, value: Any, name: str | None, depth: int, nesting: int = 0) -> None:
        """Append `value`; `depth` is how many levels of ordinary objects are still written as objects."""
        attribute = "" if name is None else f' N="{escape(name).replace(chr(34), "&quot;")}"'
        if value is None or value is NOTHING:
            self.out.append(f"<Nil{attribute} />")
        elif (primitive := _primitive(value)) is not None:
            tag, text = primitive
            self.out.append(f"<BA{attribute} />" if (tag, text) == ("BA", "") else f"<{tag}{attribute}>{text}</{tag}>")
        elif id(value) in self._objects:
            self.out.append(f'<Ref{attribute} RefId="{self._objects[id(value)][0]}" />')
        elif nesting >= _NESTING:
            self.out.append(f"<S{attribute}>Serialized XML is nested too deeply.</S>")
        elif depth < 1 and isinstance(value, PSObject) and not value.custom and not _contains(value.value):
            self.out.append(f"<S{attribute}>{escape(object_text(value))}</S>")
        else:
            number = len(self._objects)
            wrapped = not nesting and not isinstance(
                value, PSObject
            )  # a pipeline's item is another object than its content
            self._objects[-1 if wrapped else id(value)] = (number, value)
            value = value.to_object() if hasattr(value, "to_object") else value  # records are objects too
            self.out.append(f'<Obj{attribute} RefId="{number}">')
            if isinstance(value, PSObject):
                self._object(value, depth, nesting + 1)
            else:
                self._type(type_names(value))
                self._container(value, depth, nesting + 1)
            self.out.append("</Obj>")

    def _type(self, types: tuple[str, ...]) -> None:
        if not types:
            return
        if types in self._types:
            self.out.append(f'<TNRef RefId="{self._types[types]}" />')
            return
        number = self._types[types] = len(self._types)
        self.out.append(f'<TN RefId="{number}">{"".join(f"<T>{escape(t)}</T>" for t in types)}</TN>')

    def _object(self, value: PSObject, depth: int, nesting: int) -> None:
        self._type(value.types)
        if value.text is not None:
            self.out.append(f"<ToString>{escape(value.text)}</ToString>" if value.text else "<ToString />")
        if _contains(value.value):
            self._container(value.value, depth, nesting)
        elif value.value is not NOTHING:
            self.value(value.value, None, 0, nesting)
        inner = max(depth - 1, 1) if value.custom else depth - 1
        for tag, members in (("Props", value.adapted), ("MS", value.extended)):
            if members:
                self.out.append(f"<{tag}>")
                for name, member in members.items():
                    self.value(member, name, inner, nesting)
                self.out.append(f"</{tag}>")

    def _container(self, value: Any, depth: int, nesting: int) -> None:
        if isinstance(value, Hashtable):
            if not len(value):
                self.out.append("<DCT />")
                return
            self.out.append("<DCT>")
            for key, item in value.items():
                self.out.append("<En>")
                self.value(key, "Key", depth, nesting)
                self.value(item, "Value", depth, nesting)
                self.out.append("</En>")
            self.out.append("</DCT>")
        elif not len(value):
            self.out.append("<LST />")
        else:
            self.out.append("<LST>")
            for item in value:
                self.value(item, None, depth, nesting)
            self.out.append("</LST>")


def to_clixml(value: Any, *, depth: int = 1) -> str:
    """The CLIXML of one value, without a byte order mark.

    Args:
        value: Any value of remotejobs.sim.values.
        depth: How many levels of ordinary objects are written with their properties; 1 is what remoting uses.
    """
    writer = _Writer()
    writer.value(value, None, depth)
    return "".join(writer.out)
