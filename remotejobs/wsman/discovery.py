"""Finding shells on a host (MS-WSMV 3.1.4.1.31, 3.1.4.1.32): who owns them, what runs in them, whether they live.

Knows the requests on `windows/shell` and `windows/shell/Command` and their answers. Must not know connections, nor
which shells are ours. What a host says is cut to sane lengths and counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.envelopes import (
    ENUMERATION,
    SHELL,
    TRANSFER,
    WSMAN,
    Element,
    Request,
    Requests,
    escape,
    read_answer,
    selector_set,
)

COMMANDS = f"{SHELL}/Command"
MAX_ITEMS = 5000  # shells or commands of one host; a host allows far fewer
_AT_A_TIME = 32000  # the most that a host takes (MaxBatchItems)
_TEXT_LIMIT = 256
_LINE_LIMIT = 2000
_CONTEXT_LIMIT = 1024
_RSP = f"{{{SHELL}}}"
_ENUMERATION = f"{{{ENUMERATION}}}"
_FILTER = "http://schemas.dmtf.org/wbem/wsman/1/wsman/SelectorFilter"
_DURATION = re.compile(r"P(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?", re.ASCII)


class ShellInfo(NamedTuple):
    r"""What a host says of one shell; empty or None where it says nothing.

    Attributes:
        shell_id: Upper case.
        name: As the client that made it called it.
        resource_uri: What it is; PowerShell's end in the configuration name.
        owner: `HOST\user` or `user`.
        state: `Connected` or `Disconnected`.
        client: The address of the client that made it.
        process_id: On the host.
        idle_timeout: Seconds that it is kept without a client.
        buffer_mode: `Block` or `Drop`.
        run_time, inactivity: Seconds since it was made, since it was last asked for.
    """

    shell_id: str
    name: str = ""
    resource_uri: str = ""
    owner: str = ""
    state: str = ""
    client: str = ""
    process_id: str = ""
    idle_timeout: float | None = None
    buffer_mode: str = ""
    run_time: float | None = None
    inactivity: float | None = None

    @property
    def disconnected(self) -> bool:
        """It waits for a client."""
        return self.state.lower() == "disconnected"


class CommandInfo(NamedTuple):
    """What a host says of one command of a shell."""

    command_id: str
    line: str = ""
    state: str = ""


class Page(NamedTuple):
    """One answer to Enumerate or Pull: its items, and where it goes on; `context` is empty at the end."""

    items: list[Element]
    context: str


def get_shell(requests: Requests, shell_id: str) -> Request:
    """Ask for one shell: whether it is there, and in which state."""
    return requests.request(f"{TRANSFER}/Get", selectors=selector_set(ShellId=shell_id))


def enumerate_all(requests: Requests, shell_id: str = "") -> Request:
    """Ask for all shells of the user, or with `shell_id` for the commands of one shell."""
    chosen = f'<w:Filter Dialect="{_FILTER}">{selector_set(ShellId=shell_id)}</w:Filter>' if shell_id else ""
    body = (
        f'<n:Enumerate xmlns:n="{ENUMERATION}"><w:OptimizeEnumeration/><w:MaxElements>{_AT_A_TIME}</w:MaxElements>'
        f"{chosen}</n:Enumerate>"
    )
    return requests.request(f"{ENUMERATION}/Enumerate", body)


def pull(requests: Requests, context: str) -> Request:
    """Ask for the next page."""
    body = (
        f'<n:Pull xmlns:n="{ENUMERATION}"><n:EnumerationContext>{escape(context)}</n:EnumerationContext>'
        f"<n:MaxElements>{_AT_A_TIME}</n:MaxElements></n:Pull>"
    )
    return requests.request(f"{ENUMERATION}/Pull", body)


def read_page(data: bytes, message_id: str) -> Page:
    """Read the answer to Enumerate or Pull.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it is neither, or too much.
    """
    answer = read_answer(data, message_id)
    if answer.tag not in (f"{_ENUMERATION}EnumerateResponse", f"{_ENUMERATION}PullResponse"):
        raise ProtocolError("The answer to Enumerate is not an EnumerateResponse.")
    items: list[Element] = []
    ended = False
    for element in answer:
        # Items and EndOfSequence are WS-Man's in the optimised answer, WS-Enumeration's in the answer to Pull.
        if element.tag in (f"{{{WSMAN}}}Items", f"{_ENUMERATION}Items"):
            items += element
        elif element.tag in (f"{{{WSMAN}}}EndOfSequence", f"{_ENUMERATION}EndOfSequence"):
            ended = True
    if len(items) > MAX_ITEMS:
        raise LimitError(f"The host lists more than {MAX_ITEMS:,} shells or commands; that cannot be.")
    context = (answer.findtext(f"{_ENUMERATION}EnumerationContext") or "").strip()
    if len(context) > _CONTEXT_LIMIT:
        raise LimitError("The host's enumeration context is longer than any.")
    return Page(items, "" if ended else context)


def read_shell(data: bytes, message_id: str) -> ShellInfo:
    """Read the answer to get_shell().

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it holds no shell.
    """
    found = shell_of(read_answer(data, message_id))
    if found is None:
        raise ProtocolError("The answer to Get is not a shell.")
    return found


def shell_of(element: Element) -> ShellInfo | None:
    """Read an `rsp:Shell`; None where it is none, or has no id."""
    shell_id = _text(element, "ShellId").upper()
    if element.tag != f"{_RSP}Shell" or not shell_id:
        return None
    return ShellInfo(
        shell_id,
        name=_text(element, "Name"),
        resource_uri=_text(element, "ResourceUri"),
        owner=_text(element, "Owner"),
        state=_text(element, "State"),
        client=_text(element, "ClientIP"),
        process_id=_text(element, "ProcessId"),
        idle_timeout=_seconds(_text(element, "IdleTimeOut")),
        buffer_mode=_text(element, "BufferMode"),
        run_time=_seconds(_text(element, "ShellRunTime")),
        inactivity=_seconds(_text(element, "ShellInactivity")),
    )


def command_of(element: Element) -> CommandInfo | None:
    """Read an `rsp:Command`; None where it is none, or has no id."""
    command_id = _text(element, "CommandId")
    if element.tag != f"{_RSP}Command" or not command_id:
        return None
    return CommandInfo(command_id, _text(element, "CommandLine", _LINE_LIMIT), _text(element, "CommandState"))


def _text(element: Element, name: str, limit: int = _TEXT_LIMIT) -> str:
    words = (element.findtext(f"{_RSP}{name}") or "").strip()[:limit]
    return "".join([c if c.isprintable() else " " for c in words])


def _seconds(text: str) -> float | None:
    """Read an xs:duration without years and months, as hosts write them; None where it is none."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
