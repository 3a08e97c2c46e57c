"""Calls that a script makes to its user's host (MS-PSRP 2.2.3.17): read, and told apart.

Knows the method numbers. Must not know who answers. A record comes twice, as a stream message and then as the host
call that shows it: the call is dropped. Where the protocol has no record (Write-Host of old hosts, `$Host.UI`), the
call becomes one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from remotejobs.errors import ProtocolError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize

VOID = -100
SET_SHOULD_EXIT = 6
_PROGRESS = 20

STREAMS: dict[int, Stream] = {
    13: Stream.Information,  # Write1
    14: Stream.Information,  # Write2, with colours
    15: Stream.Information,  # WriteLine1, no text
    16: Stream.Information,  # WriteLine2
    17: Stream.Information,  # WriteLine3, with colours
    18: Stream.Information,  # WriteErrorLine: text for the screen, not an error record
    19: Stream.Debug,
    _PROGRESS: Stream.Progress,
    21: Stream.Verbose,
    22: Stream.Warning,
}
_TYPES: dict[Stream, str] = {
    Stream.Debug: "System.Management.Automation.DebugRecord",
    Stream.Verbose: "System.Management.Automation.VerboseRecord",
    Stream.Warning: "System.Management.Automation.WarningRecord",
}
_PARTIAL = frozenset({13, 14})  # Write without a line end


class HostCall(NamedTuple):
    """One call. `method_value` is the enumeration object as it came, to be given back."""

    call_id: int
    method: int
    name: str
    method_value: Any
    parameters: list[Any]

    @property
    def text(self) -> str:
        """What is written: the last parameter, the ones before it are colours."""
        return str(self.parameters[-1]) if self.parameters and self.method != 15 else ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of SetShouldExit (`exit N` in the script)."""
        code = self.parameters[0] if self.parameters else None
        return code if isinstance(code, int) else None


def read(data: bytes) -> HostCall:
    """Read a host call.

    Raises:
        ProtocolError: A member that decides how to go on is missing.
    """
    value = deserialize(data)
    if not isinstance(value, PSObject):
        raise ProtocolError("A host call of the host is not an object.")
    call_id, method, parameters = value.get("ci"), value.get("mi"), value.get("mp")
    number = method.base if isinstance(method, PSObject) else method
    if not isinstance(call_id, int) or not isinstance(number, int):
        raise ProtocolError("A host call of the host names no method.")
    name = str(method)[:60] if isinstance(method, PSObject) else str(number)
    values = parameters.base if isinstance(parameters, PSObject) else parameters
    return HostCall(call_id, number, name, method, list(values) if isinstance(values, list) else [])


def repeats(call: HostCall, stream: Stream, last: bytes) -> bool:
    """Tell whether `call` shows the record `last`, which came on `stream` just before."""
    if stream is Stream.Progress:
        return True
    record = deserialize(last)
    if not isinstance(record, PSObject):
        return False
    if stream is Stream.Information:
        message = record.get("MessageData")
        text = message.get("Message", message) if isinstance(message, PSObject) else message
    else:
        text = record.get("InformationalRecord_Message")
    return str("" if text is None else text) == call.text


def as_record(call: HostCall, stream: Stream) -> bytes | None:
    """Make the record that the protocol does not have for this call; None where there is nothing to show."""
    if stream is Stream.Progress:
        return None
    if stream is not Stream.Information:
        kind = (_TYPES[stream], "System.Management.Automation.InformationalRecord", "System.Object")
        members = {"InformationalRecord_Message": call.text, "InformationalRecord_SerializeInvocationInfo": False}
        return serialize(PSObject(type_names=kind, to_string=call.text, extended=members))
    shown = PSObject(
        type_names=("System.Management.Automation.HostInformationMessage", "System.Object"),
        to_string=call.text,
        extended={"Message": call.text, "NoNewLine": call.method in _PARTIAL},
    )
    return serialize(PSObject(extended={"MessageData": shown, "Source": "Write-Host", "Tags": ["PSHOST"]}))
