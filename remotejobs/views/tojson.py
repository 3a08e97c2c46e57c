"""Values as JSON, as PowerShell 7's ConvertTo-Json gives it (JsonObject.cs; written by Newtonsoft.Json).

Knows how a value becomes JSON. Must not know records, jobs or where the text goes. Three things differ on purpose: a
dictionary key that is no string is written as its text instead of an error, half a surrogate pair is escaped so that
the result is always valid Unicode, and an XML document is its text, not the nested empty arrays that PowerShell makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from remotejobs.states import JobState
from remotejobs.views.members import time_span, version
from remotejobs.wsman.clixml.primitives import date_time_text
from remotejobs.wsman.clixml.values import (
    NO_BASE,
    PSObject,
    SecureString,
    Version,
    number_text,
    text,
)

DEPTH: Final = 2  # ConvertTo-Json's default

_IP_ADDRESS = "System.Net.IPAddress"
_STATE_INFO = "System.Management.Automation.JobStateInfo"
# Types that PowerShell brings back to life on arrival: their own properties come before those that were added.
_REVIVED = frozenset(
    {
        _IP_ADDRESS,
        _STATE_INFO,
        "System.Globalization.CultureInfo",
        "System.Management.Automation.PSCredential",
        "System.Management.Automation.SwitchParameter",
        "System.Net.Mail.MailAddress",
        "System.Security.Cryptography.X509Certificates.X500DistinguishedName",
        "System.Security.Cryptography.X509Certificates.X509Certificate2",
    }
)
# Their enums came as text, being two levels down, and are numbers again.
_ENUMS: dict[str, Mapping[str, int]] = {
    _IP_ADDRESS: {"InterNetwork": 2, "InterNetworkV6": 23},
    _STATE_INFO: JobState.__members__,
}
_CUT = (list, tuple, dict, bytes, timedelta, Version, SecureString)
_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def to_json(value: Any, depth: int = DEPTH, compress: bool = False) -> str:
    """Write a value as ConvertTo-Json does.

    Args:
        value: Anything that CLIXML is read as.
        depth: Levels below the first that are written out (-Depth); what is deeper becomes text.
        compress: No line breaks or blanks (-Compress).
    """
    pieces: list[str] = []
    _write(_Converter(depth, Decimal).plain(value, 0), "" if compress else "\n", pieces)
    return "".join(pieces)


def to_plain(value: Any, depth: int = DEPTH, truncated: Callable[[], None] | None = None) -> Any:
    """Make what `json.dumps` takes: dict, list, str, int, float, bool, None. A Decimal becomes the nearest float.

    Args:
        value: As for `to_json`.
        depth: As for `to_json`.
        truncated: Called for each value that was too deep.
    """
    return _Converter(depth, float, truncated).plain(value, 0)


class _Converter:
    """One conversion: PowerShell's ProcessValue and AddPsProperties."""

    __slots__ = ("_decimal", "_depth", "_truncated")

    def __init__(
        self, depth: int, decimal: Callable[[Decimal], Any], truncated: Callable[[], None] | None = None
    ) -> None:
        self._depth = depth
        self._decimal = decimal
        self._truncated = truncated

    def plain(self, value: Any, level: int) -> Any:
        if isinstance(value, PSObject):
            return self._object(value, level)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return value if value - value == 0 else text(value)
        if isinstance(value, Decimal):
            return self._decimal(value) if value.is_finite() else str(value)
        if isinstance(value, datetime):
            return date_time_text(value)
        if isinstance(value, _CUT):
            return self._cut(value) if level > self._depth else self._inside(value, level)
        return str(value)

    def _cut(self, value: Any) -> str:
        if self._truncated:
            self._truncated()
        return text(value)

    def _inside(self, value: Any, level: int) -> Any:
        if isinstance(value, dict):
            return {text(key): self.plain(item, level + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | bytes):
            return [self.plain(item, level + 1) for item in value]
        if isinstance(value, Version):
            return version(value)
        return time_span(value) if isinstance(value, timedelta) else _secure_string(value)

    def _object(self, value: PSObject, level: int) -> Any:
        name = value.type_names[0].removeprefix("Deserialized.") if value.type_names else ""
        if value.base is NO_BASE:
            if level > self._depth:
                return self._cut(value)
            return self._members({}, _revived(value, name) if name in _REVIVED else value.properties, level)
        if type(value.base) is str or isinstance(value.base, datetime):
            return self.plain(value.base, level)
        inside = self.plain(value.base, level)
        added = dict(value.extended)
        if "System.Enum" in value.type_names or "Deserialized.System.Enum" in value.type_names:
            added.setdefault("Value", text(value))  # the one script property of PowerShell's own for received enums
        if not added:
            return inside
        return self._members(inside if isinstance(inside, dict) else {"value": inside}, added, level)

    def _members(self, into: dict[str, Any], members: Mapping[str, Any], level: int) -> dict[str, Any]:
        for name, member in members.items():
            if name not in into:
                into[name] = self.plain(member, level + 1)
        return into


def _revived(value: PSObject, name: str) -> dict[str, Any]:
    numbers = _ENUMS.get(name, {})
    own = {key: numbers.get(v, v) if isinstance(v, str) else v for key, v in value.adapted.items()}
    if name == _IP_ADDRESS:
        # One of the two is an error for any address, so that it was not sent; here it is $null.
        first = {"AddressFamily": own.pop("AddressFamily", None), "ScopeId": own.pop("ScopeId", None)}
        address = own.pop("Address", None)
        own = {**first, **own, "Address": address}
    return {**own, **value.extended}


def _secure_string(value: SecureString) -> dict[str, int | None]:
    """Its length, where it can be told: what fills blocks of 16 bytes may be encrypted."""
    size = len(value.wire.rstrip("=")) * 3 // 4
    return {"Length": None if size % 16 == 0 and size else size // 2}


def _write(value: Any, line: str, pieces: list[str]) -> None:
    """Write a converted value; `line` is the line break with the indentation of its level, or empty."""
    if isinstance(value, dict):
        colon = ": " if line else ":"
        opened, closed, items = "{", "}", [(_quoted(name) + colon, item) for name, item in value.items()]
    elif isinstance(value, list):
        opened, closed, items = "[", "]", [("", item) for item in value]
    else:
        pieces.append(_scalar(value))
        return
    deeper = line and line + "  "
    pieces.append(opened)
    for index, (label, item) in enumerate(items):
        pieces.append(("," if index else "") + deeper + label)
        _write(item, deeper, pieces)
    pieces.append((line if items else "") + closed)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    written = number_text(value) if isinstance(value, float) else format(value, "f")
    return written if set(written) & set(".E") else written + ".0"


def _quoted(value: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
