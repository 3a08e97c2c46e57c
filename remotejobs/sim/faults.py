r"""Scripted faults of a simulated host: a compact text to what goes wrong, when and how often.

Knows the words below and what they do to the bytes of an answer. Must not know hosts, shells or sockets.

A script is any number of faults, with commas or blanks between them:

    NAME[:ARGUMENT][@OPERATION[#FIRST]][*COUNT]

OPERATION is the last word of a WS-Man action: Create, Command, Receive, Send, Signal, Delete, Get, Enumerate, Pull,
Release, Disconnect, Reconnect, Connect or Identify. Without it a fault meets every request, before authentication.
`#FIRST` leaves earlier requests of that operation alone: `@Receive#3` begins with the third. `*COUNT` ends the fault
after so many times; without it, it never ends. Several faults of one request happen in the order of the script, until
one of them has answered; those behind it are not spent.

| fault | what happens |
| --- | --- |
| `refuse` | the port is closed: connection refused |
| `wrong-password` | every credential is refused: 401 |
| `silence:SECONDS` | a PowerShell shell is Disconnected when its client was silent for so long (60 unless said) |
| `no-replay` | the last batch of a command, with its Done, is sent once and then forgotten |
| `linger` | a Receive of a client that is gone goes on waiting, and another one is refused: 2150858802 |
| `slow:SECONDS` | the answer comes so much later |
| `reset` | TCP reset; the request was not acted on |
| `reset-after` | the request was acted on, then TCP reset instead of the answer |
| `stall` | no answer ever; the request was not acted on |
| `stall-after` | the request was acted on, but no answer ever comes |
| `status:NUMBER` | HTTP status without a body |
| `html` | HTTP 200 with a web page, as of a proxy |
| `garbage` | bytes that are no HTTP |
| `truncate` | acted on; the connection ends in the middle of the answer |
| `fault:CODE` | WS-Man fault with this code |
| `wmi-fault:CODE` | the same, told as MSFT_WmiError without WSManFault |
| `quota` | `fault:2150859173`, MaxShellsPerUser; for Create unless said otherwise |
| `reboot[:SECONDS]` | all shells are gone, all connections reset; for so long new ones are reset too |
| `oversize[:BYTES]` | the answer is blown up by so many bytes (default 4 MiB) |
| `endless` | the answer begins and never ends |
| `entity-bomb` | the answer has a DTD whose entities expand to gigabytes |
| `bad-base64` | the first stream of the answer is not base64 |
| `wrong-relatesto` | the answer relates to another request |
| `duplicate` | every stream element of the answer is there twice |
| `replay` | the next Receive brings the same batch once more |
| `out-of-order` | the stream elements of the answer are in reverse order |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from remotejobs.errors import ConfigurationError
from remotejobs.sim.shells import HostSettings
from remotejobs.sim.soap import OPERATIONS, new_id

_FAULT: Final = re.compile(
    r"(?P<name>[a-z0-9-]+)(?::(?P<argument>[0-9.]+))?"
    r"(?:@(?P<operation>[A-Za-z]+)(?:#(?P<first>[0-9]{1,6}))?)?(?:\*(?P<count>[0-9]{1,6}))?"
)
_CANONICAL: Final = {operation.lower(): operation for operation in OPERATIONS}

# What an argument is: required, optional (with its default), or none.
_ARGUMENTS: Final[dict[str, tuple[bool, str]]] = {
    "slow": (True, ""), "status": (True, ""), "fault": (True, ""), "wmi-fault": (True, ""),
    "reboot": (False, "0"), "oversize": (False, str(4 << 20)), "silence": (True, ""),
}  # fmt: skip
_PLAIN: Final = (
    *("refuse", "wrong-password", "reset", "reset-after", "stall", "stall-after", "html", "garbage", "truncate"),
    *("no-replay", "linger"),
    *("quota", "endless", "entity-bomb", "bad-base64", "wrong-relatesto", "duplicate", "replay", "out-of-order"),
)
_OF_THE_HOST: Final = ("refuse", "wrong-password", "silence", "no-replay", "linger")  # not of one operation
_FINAL: Final = ("reset", "stall", "status", "html", "garbage", "fault", "wmi-fault", "quota", "reboot")  # they answer
NAMES: Final = (*_ARGUMENTS, *_PLAIN)


@dataclass(slots=True)
class ScriptedFault:
    """One fault of a script.

    Attributes:
        name: One of NAMES.
        argument: Its number, 0 where it has none.
        operation: Empty for every request.
        first: The first request of the operation that it meets, from 1.
        left: How often it still happens, None for ever.
    """

    name: str
    argument: float = 0
    operation: str = ""
    first: int = 1
    left: int | None = None


def parse_faults(text: str) -> list[ScriptedFault]:
    """Read a script.

    Raises:
        ConfigurationError: A word of it is none of the language.
    """
    return [_parse(word) for word in re.split(r"[,\s]+", text.strip()) if word]


def _parse(word: str) -> ScriptedFault:
    found = _FAULT.fullmatch(word)
    if found is None or found["name"] not in NAMES:
        raise ConfigurationError(
            f"{word[:60]!r} is no fault that a simulated host knows; there are {', '.join(NAMES)}, written "
            "NAME[:ARGUMENT][@OPERATION[#FIRST]][*COUNT]."
        )
    name, argument, operation = found["name"], found["argument"], found["operation"] or ""
    required, default = _ARGUMENTS.get(name, (False, ""))
    if (required and not argument) or (argument and name not in _ARGUMENTS):
        raise ConfigurationError(f"The fault {name} {'needs a number' if required else 'takes no number'}: {name}:N.")
    try:
        number = float(argument or default or 0)
    except ValueError:
        raise ConfigurationError(f"The number of the fault {word[:60]!r} cannot be read.") from None
    if operation and operation.lower() not in _CANONICAL:
        raise ConfigurationError(f"{operation!r} is no operation; there are {', '.join(OPERATIONS)}.")
    if operation and name in _OF_THE_HOST:
        raise ConfigurationError(f"The fault {name} belongs to no operation: write it without @{operation}.")
    if name == "quota" and not operation:
        operation = "Create"
    first, count = int(found["first"] or 1), found["count"]
    canonical = _CANONICAL.get(operation.lower(), "")
    return ScriptedFault(name, number, canonical, first, int(count) if count else None)


class FaultScript:
    """The faults of one host, and how often they have happened."""

    def __init__(self, faults: Iterable[ScriptedFault] = ()) -> None:
        self._faults = list(faults)
        self._met: Counter[str] = Counter()

    @property
    def refuses(self) -> bool:
        """The host does not listen at all."""
        return any(fault.name == "refuse" for fault in self._faults)

    def settings(self, settings: HostSettings) -> HostSettings:
        """Return the settings with what the script changes in them."""
        for fault in self._faults:
            match fault.name:
                case "silence":
                    settings = replace(settings, silence_disconnects=fault.argument)
                case "no-replay":
                    settings = replace(settings, replays_end=False)
                case "linger":
                    settings = replace(settings, lingering=True)
        return settings

    def take(self, operation: str) -> list[ScriptedFault]:
        """Return what happens to this request: one of `operation`, or with `""` any, before authentication."""
        self._met[operation] += 1
        taken: list[ScriptedFault] = []
        for fault in self._faults:
            mine = fault.operation == operation and fault.name not in _OF_THE_HOST
            if mine and self._met[operation] >= fault.first and _spend(fault):
                taken.append(fault)
                if fault.name in _FINAL:
                    break
        return taken

    def refuses_credential(self) -> bool:
        """True if this credential is refused whatever it is."""
        return any(fault.name == "wrong-password" and _spend(fault) for fault in self._faults)


def _spend(fault: ScriptedFault) -> bool:
    if fault.left is None:
        return True
    fault.left -= 1
    return fault.left >= 0


# What is done to an answer

_STREAM: Final = re.compile(rb"<rsp:Stream [^>]*>[^<]*</rsp:Stream>")
_BOMB: Final = (
    b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 32) for n in range(6))
    + b"]>"
)


def _oversize(data: bytes, argument: float) -> bytes:
    return data.replace(b"<s:Body>", b"<s:Body>" + b" " * int(argument), 1)


def _endless(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    return data[: data.find(b"<s:Body>")] + b'<s:Body><rsp:ReceiveResponse><rsp:Stream Name="stdout">A'


def _entity_bomb(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    return _BOMB + data.replace(b"</s:Body>", b"<x:bomb>&g;</x:bomb></s:Body>", 1)


def _bad_base64(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    return re.sub(rb"(<rsp:Stream [^>]*>)[^<]+", rb"\1*not base64*", data, count=1)


def _wrong_relates_to(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    return re.sub(rb"(<a:RelatesTo>)[^<]*", rb"\1uuid:" + new_id().encode("ascii"), data, count=1)


def _duplicate(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    return _STREAM.sub(rb"\g<0>\g<0>", data)


def _out_of_order(data: bytes, argument: float) -> bytes:  # noqa: ARG001
    streams = _STREAM.findall(data)
    return _STREAM.sub(lambda _: streams.pop(), data)


SPOILERS: Final[dict[str, Callable[[bytes, float], bytes]]] = {
    "oversize": _oversize,
    "endless": _endless,
    "entity-bomb": _entity_bomb,
    "bad-base64": _bad_base64,
    "wrong-relatesto": _wrong_relates_to,
    "duplicate": _duplicate,
    "out-of-order": _out_of_order,
}
"""What makes another answer of an answer: by name of the fault, from its bytes and the argument."""
