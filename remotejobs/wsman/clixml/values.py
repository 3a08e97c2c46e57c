"""What CLIXML holds, as Python values (MS-PSRP 2.2.5; PowerShell's serialization.cs).

Knows Python types and how PowerShell turns a value into text. Must not know XML, streams or records.

A value comes as the natural type where nothing is lost: str, bool, int, float, Decimal, datetime, timedelta, uuid.UUID,
bytes, list, dict, None. Where the natural type is a little too wide, a subclass of it keeps the rest and behaves like
it everywhere: Byte ... UInt64 and Single (numbers), Char, Uri, Version and XmlDocument (text), OrderedDictionary,
DateTime and TimeSpan (only where the seventh digit of the fraction is not 0, which Python cannot hold). BigInteger and
ScriptBlock are for writing: PowerShell reads an object and a string from them, and so does this. A list or dict keeps
no other .NET type name, as PowerShell makes an ArrayList or Hashtable of it too. All that has members, or text of its
own, is a PSObject.

A datetime without tzinfo is of kind Unspecified, one in `datetime.UTC` of kind Utc, any other of kind Local on the
computer that sent it: the offset is kept, and not turned into that of this computer as PowerShell does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final, final

from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.scalars import (
    BigInteger,
    Byte,
    Char,
    DateTime,
    Int16,
    Int64,
    SByte,
    ScriptBlock,
    Single,
    TimeSpan,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
    XmlDocument,
    number_text,
    span_text,
    span_ticks,
)

__all__ = [
    "NO_BASE",
    "BigInteger",
    "Byte",
    "Char",
    "DateTime",
    "Int16",
    "Int64",
    "OrderedDictionary",
    "PSObject",
    "SByte",
    "ScriptBlock",
    "SecureString",
    "Single",
    "TimeSpan",
    "UInt16",
    "UInt32",
    "UInt64",
    "Uri",
    "Version",
    "XmlDocument",
    "container_tag",
    "number_text",
    "secure_strings",
    "span_text",
    "span_ticks",
    "text",
    "type_name",
]


class OrderedDictionary(dict[Any, Any]):
    """System.Collections.Specialized.OrderedDictionary (`[ordered]`); a plain dict is a Hashtable."""

    __slots__ = ()


@final
class SecureString:
    """System.Security.SecureString as it came: base64, encrypted with the session key (MS-PSRP 2.2.5.1.24).

    Never shown: neither text nor repr has it. With protocol 2.4 it is not encrypted at all. Among the arguments and
    answers of a job it stands for a secret that is kept elsewhere, under `name`.
    """

    __slots__ = ("_decrypt", "wire")
    _NAMED: Final = ("ArgumentList[", "Parameters[", "Using[", "Commands[", "Answers[")  # no base64 begins like these

    def __init__(self, wire: str) -> None:
        self.wire = wire
        self._decrypt: Callable[[str], str] | None = None

    @classmethod
    def named(cls, place: str, credential: str = "") -> SecureString:
        """The name of a secret: its place, as `ArgumentList[0]`, and what its credential is called, if it is of one."""
        from urllib.parse import quote

        # what a user is called may be anything, and a name is written to CLIXML as it is
        return cls(f"{place}={quote(credential, safe='', errors='surrogatepass')}" if credential else place)

    def unlock(self, decrypt: Callable[[str], str]) -> None:
        """Let `reveal` read it with the key of its session."""
        self._decrypt = decrypt

    def reveal(self) -> str:
        """The text in clear. Hold it no longer than the call that needs it.

        Raises:
            UsageError: The key is not here. Only the process that ran the job has it, as long as the job object lives,
                and only where the script was given a secret argument.
            ProtocolError: It was not encrypted with that key.
        """
        if self._decrypt is None:
            raise UsageError(
                "The key of this SecureString is not here: keys are not stored. The process that runs the job can read "
                "it, where an argument of the script is a Secret or a Credential too."
            )
        return self._decrypt(self.wire)

    @property
    def name(self) -> str:
        """The name of the secret that it stands for, as `named` has made it; empty where it came from a host."""
        return self.wire if self.wire.startswith(self._NAMED) else ""

    @property
    def place(self) -> str:
        """Where the secret stands among the arguments: `ArgumentList[0]`."""
        return self.name.partition("=")[0]

    @property
    def credential(self) -> str:
        """What the credential is called of which it is the password: a user, or a name of the configuration."""
        from urllib.parse import unquote

        return unquote(self.name.partition("=")[2], errors="surrogatepass")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecureString) and other.wire == self.wire

    def __hash__(self) -> int:
        return hash(self.wire)

    def __str__(self) -> str:
        return "System.Security.SecureString"

    def __repr__(self) -> str:
        return "SecureString(...)"

    def __reduce__(self) -> tuple[type[SecureString], tuple[str]]:
        return SecureString, (self.wire,)  # a copy has not got the key


def secure_strings(value: Any) -> Iterator[SecureString]:
    """Yield every SecureString inside a decoded value, however deep, each once for each place."""
    left, seen = [value], set[int]()
    while left:
        value = left.pop()
        if isinstance(value, SecureString):
            yield value
        elif isinstance(value, PSObject | list | dict) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, PSObject):
                left += [value.base, *value.adapted.values(), *value.extended.values()]
            else:
                left += value.values() if isinstance(value, dict) else value


class _NoBase:
    """The type of NO_BASE."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_BASE"

    def __reduce__(self) -> str:
        return "NO_BASE"  # the one there is, after a copy too


NO_BASE: Final = _NoBase()
_LONGEST_TEXT = 1 << 26  # characters
_MISSING: Final = object()


class PSObject:
    """An object with its members, as it was when the host sent it: properties are values, methods are gone.

    `obj["Name"]`, `obj.Name` and `obj.get("Name")` find a property whatever its case, extended before adapted ones;
    `in` asks for a name. One that wraps a list (`base`) also has its length, its items by number and its iteration.
    Equal is what has equal content; as with lists, two that contain themselves cannot be compared.

    Attributes:
        type_names: The type and its bases as the host wrote them, without a `Deserialized.` that it did not write;
            empty for a property bag. The names are claims of the host.
        to_string: What its ToString() gave on the host; None where it was not sent.
        base: The primitive value or container inside (an enum's number), else NO_BASE.
        adapted: Its .NET properties, in order.
        extended: Properties added by PowerShell: notes, aliases, script properties, in order.
    """

    __slots__ = ("adapted", "base", "extended", "to_string", "type_names")

    def __init__(
        self,
        type_names: tuple[str, ...] = (),
        to_string: str | None = None,
        base: Any = NO_BASE,
        adapted: dict[str, Any] | None = None,
        extended: dict[str, Any] | None = None,
    ) -> None:
        self.type_names = type_names
        self.to_string = to_string
        self.base = base
        self.adapted: dict[str, Any] = {} if adapted is None else adapted
        self.extended: dict[str, Any] = {} if extended is None else extended

    @property
    def properties(self) -> dict[str, Any]:
        """All properties in PowerShell's order: extended, then the adapted ones that none of them hides."""
        if not self.adapted:
            return dict(self.extended)
        hidden = {name.lower() for name in self.extended}
        return {**self.extended, **{name: v for name, v in self.adapted.items() if name.lower() not in hidden}}

    def get(self, name: str, default: Any = None) -> Any:
        """The property `name`, or the entry of the dictionary inside, whatever its case, else `default`."""
        places = [self.extended, self.adapted]
        if isinstance(self.base, dict):
            places.insert(0, self.base)
        wanted = name.lower()
        for members in places:
            found = members.get(name, _MISSING)
            if found is not _MISSING:
                return found
            for key, value in members.items():
                if isinstance(key, str) and key.lower() == wanted:
                    return value
        return default

    def set_origin(self, computer_name: str, runspace_id: uuid.UUID, *, show: bool) -> None:
        """Say where the object came from, as Invoke-Command does: what the host claims is not trusted.

        Args:
            computer_name: PSComputerName, the target as the user named it.
            runspace_id: RunspaceId.
            show: PSShowComputerName. PowerShell leaves one that the host sent as it is; we do not.
        """
        ours = {"PSComputerName": computer_name, "RunspaceId": runspace_id, "PSShowComputerName": show}
        names = {name.lower() for name in ours}
        kept = {name: value for name, value in self.extended.items() if name.lower() not in names}
        self.extended = {**kept, **ours}

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self._items()[key]
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __getattr__(self, name: str) -> Any:
        # Only for what is no attribute. Dunder names are Python's own questions (copy, pickle), never properties.
        found = _MISSING if name.startswith("__") else self.get(name, _MISSING)
        if found is _MISSING:
            raise AttributeError(f"The object has no property {name!r}.", name=name, obj=self)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _MISSING) is not _MISSING

    def __iter__(self) -> Any:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, PSObject):
            return NotImplemented
        return (self.type_names, self.to_string, self.base, self.adapted, self.extended) == (
            other.type_names,
            other.to_string,
            other.base,
            other.adapted,
            other.extended,
        )

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        shown = self.type_names[0] if self.type_names else "PSCustomObject"
        return f"<PSObject {shown.rpartition('.')[2][:60]}: {text(self)[:60]!r}>"

    def _items(self) -> Any:
        if isinstance(self.base, list | dict):
            return self.base
        raise TypeError("The object holds no list or dictionary; its properties are in `properties`.")


def text(value: Any) -> str:
    """Turn any value into text as PowerShell's ToString does (invariant culture).

    A list is its items with blanks between them, a property bag `@{A=1; B=2}`, an object what its ToString said on the
    host. Nothing inside is followed more than one level down, so that cycles and size do no harm, and what becomes
    longer than 64 Mi characters is cut.
    """
    if isinstance(value, PSObject):
        if value.to_string is not None:
            return value.to_string
        if value.base is not NO_BASE:
            return type_name(value) if isinstance(value.base, dict) else text(value.base)
        members = _joined("; ", [f"{name}={_nested_text(member)}" for name, member in value.properties.items()])
        return f"@{{{members}}}" if members else ""
    if isinstance(value, list | tuple):
        return _joined(" ", [_nested_text(item) for item in value])
    return _nested_text(value)


def _joined(between: str, parts: list[str]) -> str:
    """Join up to a limit: a host may refer to one long text as often as it likes."""
    if sum(map(len, parts)) > _LONGEST_TEXT:
        parts = [part for part, end in zip(parts, accumulate(map(len, parts)), strict=True) if end <= _LONGEST_TEXT]
        parts.append("…")
    return between.join(parts)


def _nested_text(value: Any) -> str:
    """Text of a value inside another: what has no text of its own is only named."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return number_text(value, 7 if isinstance(value, Single) else 15)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return f"{value:%m/%d/}{value.year:04}{value: %H:%M:%S}"
    if isinstance(value, timedelta):
        return span_text(value)
    if isinstance(value, bytes):
        return " ".join(map(str, value))
    if isinstance(value, PSObject):
        if value.to_string is not None:
            return value.to_string
        if value.base is NO_BASE:
            return ""
        return type_name(value) if isinstance(value.base, list | dict) else _nested_text(value.base)
    if isinstance(value, list | tuple | dict):
        return type_name(value)
    return str(value)


def type_name(value: PSObject | list[Any] | tuple[Any, ...] | dict[Any, Any]) -> str:
    """The .NET name of the container that PowerShell makes of `value`."""
    inside = value.base if isinstance(value, PSObject) else value
    if isinstance(inside, OrderedDictionary):
        return "System.Collections.Specialized.OrderedDictionary"
    if isinstance(inside, dict):
        return "System.Collections.Hashtable"
    kinds = {"STK": "System.Collections.Stack", "QUE": "System.Collections.Queue"}
    return kinds.get(container_tag(value) if isinstance(value, PSObject) else "", "System.Collections.ArrayList")


def container_tag(value: PSObject) -> str:
    """The CLIXML tag of the list inside `value`: STK, QUE or LST, by its type name."""
    named = value.type_names[0].removeprefix("Deserialized.") if value.type_names else ""
    named = named.removeprefix("System.Collections.").removeprefix("Generic.").partition("`")[0]
    return {"Stack": "STK", "Queue": "QUE"}.get(named, "LST")
