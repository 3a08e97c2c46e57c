"""From CLIXML to values, as a PowerShell server reads what a client sends (MS-PSRP 2.2.5).

Knows values. Must not know messages. What comes in may be hostile: document types are refused, depth and size limited,
and whatever is not CLIXML is a ClixmlError, never another exception.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

from remotejobs.sim.values import (
    Byte,
    Char,
    Hashtable,
    Int16,
    Int64,
    PSObject,
    SByte,
    ScriptBlock,
    SecureString,
    Single,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
)

_DEPTH = 120
_ESCAPE = re.compile(r"_[xX]([0-9A-Fa-f]{4})_")
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?\Z")
_DURATION = re.compile(r"(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z")
_CONTAINERS = {"LST", "IE", "STK", "QUE", "DCT"}
_MEMBERS = {"Props", "MS"}
_LIVE = ("System.Management.Automation.PSCredential",)  # PowerShell makes the object itself of it again


class ClixmlError(ValueError):
    """Not CLIXML, or past a limit."""


def unescape(text: str) -> str:
    """Undo `_xHHHH_`; two escapes that make a pair of surrogates are one character."""
    if "_" not in text:
        return text
    units = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class _Builder(ET.TreeBuilder):
    """Builds the tree and refuses document types and depth while the document is still being read."""

    depth = 0

    def doctype(self, *_: Any) -> None:
        """Refuse; entities cannot be declared elsewhere."""
        raise ClixmlError("a document type is not allowed")

    def start(self, tag: Any, attrs: Any) -> ET.Element:
        """Go down."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise ClixmlError(f"nested deeper than {_DEPTH} elements")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> ET.Element:
        """Come up."""
        self.depth -= 1
        return super().end(tag)


def _timestamp(text: str) -> datetime:
    match = _TIMESTAMP.match(text)
    if not match:
        raise ClixmlError(f"no date: {text[:40]}")
    value = datetime.fromisoformat(match[1]).replace(microsecond=int((match[2] or "0")[:6].ljust(6, "0")))
    if not match[3]:
        return value
    return value.replace(
        tzinfo=UTC if match[3] == "Z" else timezone(datetime.fromisoformat(match[0]).utcoffset() or timedelta())
    )


def _duration(text: str) -> timedelta:
    match = _DURATION.match(text)
    if not match:
        raise ClixmlError(f"no duration: {text[:40]}")
    days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups()[1:])
    whole = int((days * 86400 + hours * 3600 + minutes * 60 + seconds) * 1_000_000)
    return timedelta(microseconds=-whole if match[1] else whole)


def _integer(kind: type[int], low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = kind(text)
        if not low <= number <= high:
            raise ClixmlError(f"{text[:40]} is out of range")
        return number

    return read


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PRIMITIVES: dict[str, Callable[[str], Any]] = {
    "S": unescape, "C": lambda t: Char(chr(int(t))), "B": _BOOLEANS.__getitem__, "DT": _timestamp, "TS": _duration,
    "I32": _integer(int, -(2**31), 2**31 - 1), "Sg": lambda t: Single(t.replace("INF", "inf")),
    "Db": lambda t: float(t.replace("INF", "inf")), "D": Decimal, "BA": base64.b64decode, "G": uuid.UUID,
    "URI": Uri, "Version": Version, "XD": unescape, "SBK": lambda t: ScriptBlock(unescape(t)),
}  # fmt: skip
for _kind in (SByte, Byte, Int16, UInt16, UInt32, Int64, UInt64):
    _PRIMITIVES[_kind.tag] = _integer(_kind, _kind.low, _kind.high)


class _Reader:
    def __init__(self, decrypt: Callable[[str], str]) -> None:
        self._decrypt = decrypt
        self._objects: dict[str, Any] = {}
        self._types: dict[str, tuple[str, ...]] = {}

    def value(self, node: ET.Element) -> Any:
        if node.tag == "Obj":
            return self._object(node)
        if node.tag == "Nil":
            return None
        if node.tag == "Ref":
            return self._objects[node.attrib["RefId"]]
        if node.tag == "SS":
            return SecureString(self._decrypt(node.text or ""))
        return _PRIMITIVES[node.tag](node.text or "")

    def _object(self, node: ET.Element) -> PSObject:
        found = PSObject(())
        if "RefId" in node.attrib:
            self._objects[node.attrib["RefId"]] = found
        for child in node:
            if child.tag == "TN":
                names = tuple(unescape(t.text or "") for t in child)
                found.types = names if names[:1] == _LIVE else tuple(map(_deserialized, names))
                self._types[child.attrib.get("RefId", "")] = found.types
            elif child.tag == "TNRef":
                found.types = self._types[child.attrib["RefId"]]
            elif child.tag == "ToString":
                found.text = unescape(child.text or "")
            elif child.tag in _MEMBERS:
                members = found.adapted if child.tag == "Props" else found.extended
                members.update((unescape(m.attrib["N"]), self.value(m)) for m in child)
            elif child.tag == "DCT":
                found.value = Hashtable(self._entry(e) for e in child)
            elif child.tag in _CONTAINERS:
                found.value = [self.value(item) for item in child]
            else:
                found.value = self.value(child)
        return found

    def _entry(self, node: ET.Element) -> tuple[Any, Any]:
        pair = {child.attrib["N"]: self.value(child) for child in node}
        return pair["Key"], pair["Value"]


def _deserialized(name: str) -> str:
    return name if name.startswith("Deserialized.") else "Deserialized." + name


def from_clixml(payload: bytes, decrypt: Callable[[str], str]) -> Any:
    """Read one value.

    Args:
        payload: UTF-8 with or without a byte order mark; empty is `$null`.
        decrypt: From the base64 of a SecureString to its text.

    Raises:
        ClixmlError: It is not CLIXML, or goes past a limit.
    """
    if not payload:
        return None
    try:
        text = payload.decode("utf-8-sig").replace("&#xFFFE;", "_xFFFE_").replace("&#xFFFF;", "_xFFFF_")
        parser = ET.XMLParser(target=_Builder())  # noqa: S314 - document types are refused by _Builder
        parser.feed(text)
        return _Reader(decrypt).value(parser.close())
    except ClixmlError:
        raise
    except (ET.ParseError, ValueError, KeyError, ArithmeticError, TypeError) as error:
        raise ClixmlError(f"{type(error).__name__}: {error}"[:200]) from None
