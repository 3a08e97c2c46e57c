"""Calls that a script makes to its user's host (MS-PSRP 2.2.3.17): read, told apart, answered or refused.

Knows the method numbers. Must not know streams of bytes or what carries them. A record comes twice, as a stream message
and right after it as the host call that shows it: that call is dropped. Where there was no record (`$Host.UI`, -WhatIf,
Out-Host, Write-Host of old hosts), the call becomes one. Nobody sits here: what was not answered in advance is refused.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from remotejobs.errors import ProtocolError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import ErrorCategory, from_clixml
from remotejobs.wsman.clixml.tree import bounded
from remotejobs.wsman.clixml.values import Int64, PSObject, text
from remotejobs.wsman.clixml.write import serialize

VOID = -100
SET_SHOULD_EXIT = 6
_WRITE_LINE_1 = 15
STREAMS: dict[int, Stream] = {
    13: Stream.Information,  # Write1
    14: Stream.Information,  # Write2, with colours
    _WRITE_LINE_1: Stream.Information,  # no text
    16: Stream.Information,  # WriteLine2
    17: Stream.Information,  # WriteLine3, with colours
    18: Stream.Information,  # WriteErrorLine: text for the screen, not an error record
    19: Stream.Debug,
    20: Stream.Progress,
    21: Stream.Verbose,
    22: Stream.Warning,
}
SHOWN = frozenset(STREAMS.values())  # streams whose records a host call repeats
_TYPES: dict[Stream, str] = {
    Stream.Debug: "System.Management.Automation.DebugRecord",
    Stream.Verbose: "System.Management.Automation.VerboseRecord",
    Stream.Warning: "System.Management.Automation.WarningRecord",
}
_PARTIAL = frozenset({13, 14})  # Write without a line end
# Prompt, PromptForCredential1 and 2, PromptForChoice, PromptForChoiceMultipleSelection: caption, message, ...
_PROMPTS = frozenset({23, 24, 25, 26, 56})
_LONGEST_QUESTION = 1000  # characters that are sent back
# What PowerShell takes out of the text for a host without colours, but not out of the record.
_ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\]8;;[^\x1b]*\x1b\\")


class HostCall(NamedTuple):
    """One call. `call_id` is VOID where no answer is wanted."""

    call_id: int
    method: int
    name: str
    parameters: list[Any]

    @property
    def text(self) -> str:
        """What is written: the last parameter, the ones before it are colours."""
        return text(self.parameters[-1]) if self.parameters and self.method != _WRITE_LINE_1 else ""

    @property
    def question(self) -> str:
        """What a prompt asks: its message, else its caption, else the names of its fields (`Read-Host name`)."""
        if self.method not in _PROMPTS:
            return ""
        caption, message, fields = (*self.parameters, "", "", "")[:3]
        names = [text(field.get("name")) for field in items(fields) if isinstance(field, PSObject)]
        asked = text(message).strip() or text(caption).strip() or ", ".join(filter(None, names))
        return asked[:_LONGEST_QUESTION]

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
    value = bounded(deserialize(data), data)
    if not isinstance(value, PSObject):
        raise ProtocolError("A host call of the host is not an object.")
    call_id, method = value.get("ci"), value.get("mi")
    number = method.base if isinstance(method, PSObject) else method
    if not isinstance(call_id, int) or not isinstance(number, int) or number.bit_length() > 31:
        raise ProtocolError("A host call of the host names no method.")
    return HostCall(call_id, int(number), text(method)[:60], items(value.get("mp")))


def repeats(call: HostCall, stream: Stream, raw: bytes) -> bool:
    """Tell whether `call` shows the record `raw`, which came on `stream` just before."""
    if stream is Stream.Progress:
        return True
    return _plain(str(from_clixml(stream, bounded(deserialize(raw), raw)))) == _plain(call.text)


def as_record(call: HostCall, stream: Stream) -> bytes | None:
    """Make the record that the protocol does not have for this call; None where there is nothing to show."""
    if stream is Stream.Progress:
        return None
    if stream is not Stream.Information:
        return informational(stream, call.text)
    shown = PSObject(
        type_names=("System.Management.Automation.HostInformationMessage", "System.Object"),
        to_string=call.text,
        adapted={"Message": call.text, "NoNewLine": call.method in _PARTIAL},
    )
    return serialize(PSObject(extended={"MessageData": shown, "Source": "$Host.UI", "Tags": ["PSHOST"]}))


def informational(stream: Stream, message: str) -> bytes:
    """Make a record of the stream Debug, Verbose or Warning."""
    kind = (_TYPES[stream], "System.Management.Automation.InformationalRecord", "System.Object")
    members = {"InformationalRecord_Message": message, "InformationalRecord_SerializeInvocationInfo": False}
    return serialize(PSObject(type_names=kind, to_string=message, extended=members))


def respond(call: HostCall, result: Any) -> bytes:
    """The payload of a HOST_RESPONSE that answers a call (MS-PSRP 2.2.2.28)."""
    return _response(call, "mr", result)


def refuse(call: HostCall, advice: str = "") -> bytes:
    """The payload of a HOST_RESPONSE that refuses a call.

    Its members are those with which PowerShell's client sends an exception of its host, and the exception is the one
    that PowerShell itself throws where there is no user (HostFunctionNotImplemented). The script can catch it.

    Args:
        call: The call.
        advice: How it is answered the next time, for the message.
    """
    message = f"{_NO_USER} {_ASKED} {call.question}" if call.question else f"{_NO_USER} {_TRY}"
    if advice:
        message += f" (to answer it: {advice})"
    exception = PSObject(
        type_names=(_HOST_EXCEPTION, *_EXCEPTIONS),
        to_string=f"{_HOST_EXCEPTION}: {message}",
        adapted={
            "ErrorRecord": message,
            "WasThrownFromThrowStatement": False,
            "Message": message,
            "InnerException": None,
            "HelpLink": None,
            "Source": None,
            "HResult": -2146233087,
            "StackTrace": None,
        },
    )
    error = {
        "Exception": exception,
        "TargetObject": None,
        "FullyQualifiedErrorId": "HostFunctionNotImplemented",
        "InvocationInfo": None,
        "ErrorCategory_Category": int(ErrorCategory.NotImplemented),
        "ErrorCategory_Activity": "",
        "ErrorCategory_Reason": "HostException",
        "ErrorCategory_TargetName": "",
        "ErrorCategory_TargetType": "",
        "ErrorCategory_Message": "NotImplemented: (:) [], HostException",
        "SerializeExtendedInfo": False,
    }
    return _response(call, "me", PSObject(extended=error))


def _response(call: HostCall, name: str, member: Any) -> bytes:
    method = PSObject(type_names=_METHOD_ID, to_string=call.name, base=call.method)
    return serialize(PSObject(extended={name: member, "ci": Int64(call.call_id), "mi": method}))


def items(value: Any) -> list[Any]:
    """Return the items of a list of the host's, none of anything else."""
    inside = value.base if isinstance(value, PSObject) else value
    return list(inside) if isinstance(inside, list) else []


def _plain(written: str) -> str:
    return _ESCAPES.sub("", written)


# PowerShell's own words (HostInterfaceExceptionsStrings).
_NO_USER = (
    "A command that prompts the user failed because the host program or the command type does not support user "
    "interaction."
)
_ASKED = "The host was attempting to request confirmation with the following message:"
_TRY = (
    "Try a host program that supports user interaction, such as the PowerShell Console, and remove prompt-related "
    "commands from command types that do not support user interaction."
)
_HOST_EXCEPTION = "System.Management.Automation.Host.HostException"
_EXCEPTIONS = (
    "System.Management.Automation.RuntimeException",
    "System.SystemException",
    "System.Exception",
    "System.Object",
)
_METHOD_ID = (
    "System.Management.Automation.Remoting.RemoteHostMethodId",
    "System.Enum",
    "System.ValueType",
    "System.Object",
)
