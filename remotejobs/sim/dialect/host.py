"""`$Host` of a simulated session, as far as scripts ask their user by it.

Knows the calls of the client's host that PowerShell makes (MS-PSRP 2.2.3.17). Must not know how they travel, who
answers them, or cmdlets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from remotejobs.sim.dialect.conversions import convert, plain
from remotejobs.sim.dialect.errors import Failure, Refusal
from remotejobs.sim.interpreter import HostMethod, Streams
from remotejobs.sim.records import ARRAY_LIST, ScriptError
from remotejobs.sim.values import PSObject, items, to_text

_UI = "InternalHostUserInterface"


class HostObject(PSObject):
    """`$Host`, or a part of it: its methods ask the client."""

    def __init__(self, name: str, members: dict[str, Any]) -> None:
        super().__init__((f"System.Management.Automation.Internal.Host.{name}", "System.Object"), members)


def host_object() -> HostObject:
    """`$Host` of a remote session."""
    return HostObject("InternalHost", {"Name": "ServerRemoteHost", "UI": HostObject(_UI, {})})


async def call_host(host: HostObject, name: str, arguments: list[Any], streams: Streams) -> Any:
    """`$Host.UI.Method(...)`.

    Raises:
        Failure: The client has refused.
        Refusal: A method that is not simulated.
    """
    method = (host.types[0].rpartition(".")[2], name.lower(), len(arguments))
    if method == (_UI, "promptforchoice", 4):
        caption, message, choices, usual = arguments
        labels = [(to_text(choice), "") for choice in items(plain(choices))]
        return await choose(streams, to_text(caption), to_text(message), labels, convert(usual, "int"))
    raise Refusal(f"the method {name} of a {host.types[0]}")


async def choose(streams: Streams, caption: str, message: str, choices: Iterable[tuple[str, str]], usual: int) -> int:
    """Ask for one of some choices, each a label and its help; `usual` is what Enter alone means.

    Raises:
        Failure: The client has refused.
    """
    listed = [PSObject((), extended={"label": label, "helpMessage": text}) for label, text in choices]
    options = PSObject(ARRAY_LIST, value=listed)
    try:
        return int(plain(await streams.host_call(HostMethod.PromptForChoice, caption, message, options, usual)))
    except ScriptError as refused:
        raise Failure(refused.record, thrown=True) from None
