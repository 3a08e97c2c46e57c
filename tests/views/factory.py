"""Records and ends as the job layer gives them to a view, made from Python values."""

from __future__ import annotations

import io
import uuid
from typing import Any

from remotejobs.jobs.job import ChildEnd
from remotejobs.jobs.received import Origin, ReceivedRecord
from remotejobs.model import Outcome, Record, Stream
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize

TIME = 1_795_000_000.125


def raw_record(raw: bytes, host: str = "web01", stream: Stream = Stream.Output, *, child: int | None = None,
               seq: int = 1) -> ReceivedRecord:  # fmt: skip
    number = child if child is not None else int("".join(filter(str.isdigit, host)) or 0)
    return ReceivedRecord(Origin(1, number, host, uuid.UUID(int=number), True), Record(seq, stream, raw, seq, TIME))


def record(value: Any, host: str = "web01", stream: Stream = Stream.Output, *, seq: int = 1) -> ReceivedRecord:
    """A record of a value; it is serialised and read again, as on the wire."""
    return raw_record(b"" if value is None else serialize(value), host, stream, seq=seq)


def bag(**members: Any) -> PSObject:
    """A PSCustomObject."""
    return PSObject(("System.Management.Automation.PSCustomObject", "System.Object"), extended=members)


def service(status: str, name: str, display_name: str) -> PSObject:
    """What Get-Service sends."""
    state = PSObject(("System.ServiceProcess.ServiceControllerStatus", "System.Enum"), to_string=status, base=4)
    return PSObject(
        ("System.ServiceProcess.ServiceController", "System.ComponentModel.Component", "System.Object"),
        to_string=name,
        adapted={"CanStop": True, "DisplayName": display_name, "ServiceName": name, "Status": state},
        extended={"Name": name, "RequiredServices": ["RPCSS", "HTTP"]},
    )


def error(message: str = "Cannot find path '/nope'.", activity: str = "Get-Item", category: int = 13) -> PSObject:
    """An error record as it comes over the wire."""
    exception = PSObject(("System.Management.Automation.RemoteException",), to_string=message)
    exception.extended["Message"] = message
    return PSObject(
        ("System.Management.Automation.ErrorRecord", "System.Object"),
        to_string=message,
        extended={
            "Exception": exception,
            "TargetObject": "/nope",
            "FullyQualifiedErrorId": "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
            "InvocationInfo": None,
            "ErrorCategory_Category": category,
            "ErrorCategory_Activity": activity,
            "ErrorCategory_Reason": "ItemNotFoundException",
            "ErrorCategory_TargetName": "/nope",
            "ErrorCategory_TargetType": "String",
            "ErrorCategory_Message": "",
            "SerializeExtendedInfo": False,
        },
    )


def informational(message: str) -> PSObject:
    """A warning, verbose or debug record."""
    return PSObject(
        ("System.Management.Automation.WarningRecord",),
        to_string=message,
        extended={"InformationalRecord_Message": message, "InformationalRecord_SerializeInvocationInfo": False},
    )


def written_to_host(text: str, *, no_new_line: bool = False) -> PSObject:
    """What Write-Host sends on the Information stream."""
    data = PSObject(("System.Management.Automation.HostInformationMessage",), to_string=text)
    data.extended.update(Message=text, NoNewLine=no_new_line)
    return PSObject(extended={"MessageData": data, "Source": "Write-Host", "Tags": ["PSHOST"]})


def progress(activity: str, status: str, percent: int, *, completed: bool = False) -> PSObject:
    """A progress record."""
    members = {"Activity": activity, "ActivityId": 0, "StatusDescription": status, "PercentComplete": percent}
    return PSObject(extended={**members, "Type": int(completed)})


def end(host: str, reason: EndReason = EndReason.Completed, message: str = "", **more: Any) -> ChildEnd:
    """The end of one child."""
    number = int("".join(filter(str.isdigit, host)) or 0)
    return ChildEnd(1, number, host, Outcome(reason, message, **more))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True
