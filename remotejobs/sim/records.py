"""Records of the streams and what PSRP makes of them: the payloads of MS-PSRP 2.2.3.15 to 2.2.3.19 and their kin.

Knows values and CLIXML. Must not know fragments, pipelines or the dialect. Order and names of the members are those of
PowerShell 7 (recorded), which writes no stack traces here: a simulated host has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from remotejobs.sim.clixml_build import to_clixml
from remotejobs.sim.values import Hashtable, Int64, PSObject, UInt32, enum, to_text, type_names

_MANAGEMENT = "System.Management.Automation."
_CORELIB = "System.Private.CoreLib, Version=10.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e"
_GENERIC = "System.Collections.Generic."
_DICTIONARY = f"{_GENERIC}Dictionary`2[[System.String, {_CORELIB}],[System.Object, {_CORELIB}]]"
_OBJECTS, _STRINGS = f"{_GENERIC}List`1[[System.Object, {_CORELIB}]]", f"{_GENERIC}List`1[[System.String, {_CORELIB}]]"
_WIDTH = 69
STRING_ASSEMBLY = f"System.String, {_CORELIB}"
_RUNTIME = (f"{_MANAGEMENT}RuntimeException", "System.SystemException", "System.Exception", "System.Object")
_EXCEPTION_HRESULTS = {"System.Exception": -2146233088, "System.InvalidOperationException": -2146233079,
    "System.ArgumentException": -2147024809, "System.FormatException": -2146233033,
    "System.DivideByZeroException": -2147352558, "System.NotSupportedException": -2146233067}  # fmt: skip
ErrorCategory = IntEnum(
    "ErrorCategory",
    "NotSpecified OpenError CloseError DeviceError DeadlockDetected InvalidArgument InvalidData InvalidOperation "
    "InvalidResult InvalidType MetadataError NotImplemented NotInstalled ObjectNotFound OperationStopped "
    "OperationTimeout SyntaxError ParserError PermissionDenied ResourceBusy ResourceExists ResourceUnavailable "
    "ReadError WriteError FromStdErr SecurityError ProtocolError ConnectionError AuthenticationError LimitsExceeded "
    "QuotaExceeded NotEnabled",
    start=0,
)


@dataclass(eq=False, slots=True)
class NetException:
    """A .NET exception.

    Attributes:
        message: Its Message.
        types: Type names down to System.Object.
        own: Properties of its own type, before those of System.Exception.
        first: Properties that come even before ErrorRecord, where a type has such.
        thrown: It came from a `throw` statement (WasThrownFromThrowStatement of the RuntimeExceptions).
        inner: InnerException.
        hresult: None gives the usual number of the type.
    """

    message: str
    types: tuple[str, ...] = _RUNTIME
    own: Mapping[str, Any] = field(default_factory=dict)
    thrown: bool = False
    inner: NetException | None = None
    hresult: int | None = None
    first: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The type name without its namespace."""
        return self.types[0].rsplit(".", 1)[-1]

    def to_object(self) -> PSObject:
        """The exception as it is serialised."""
        head = dict(self.first)
        if _RUNTIME[0] in self.types:
            head["ErrorRecord"] = self.message
        head.update(self.own)
        if _RUNTIME[0] in self.types:
            head["WasThrownFromThrowStatement"] = self.thrown
        text = f"{self.types[0]}: {self.message}" if self.message else self.types[0]
        if self.inner:
            text += f"\n ---> {self.inner.to_object().text}\n   --- End of inner exception stack trace ---"
        number = self.hresult if self.hresult is not None else _EXCEPTION_HRESULTS.get(self.types[0], -2146233087)
        data = PSObject(("System.Collections.ListDictionaryInternal", "System.Object"), value=Hashtable())
        adapted = {
            **head, "TargetSite": None, "Message": self.message, "Data": data,
            "InnerException": self.inner.to_object() if self.inner else None, "HelpLink": None, "Source": None,
            "HResult": number, "StackTrace": None,
        }  # fmt: skip
        return PSObject(self.types, adapted=adapted, text=text)


def runtime_exception(message: str, name: str = "", *, thrown: bool = False, **own: Any) -> NetException:
    """A RuntimeException, or the class `name` (of System.Management.Automation) that derives from it."""
    types = (f"{_MANAGEMENT}{name}", *_RUNTIME) if name else _RUNTIME
    return NetException(message, types, own, thrown)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a script something happened: 1-based line and column, the text of it and of its line."""

    line: int
    column: int
    text: str
    source: str

    def message(self) -> str:
        """PowerShell's PositionMessage: the line, cut down to 69 characters around the place, and tildes below it."""
        line = self.source.rstrip()
        before = self.column - 1
        length = max(1, min(len(self.text), len(line) - before) if "\n" not in self.text else len(line) - before)
        prefix, suffix = before, len(line) - length - before
        dots = ["", ""]
        if len(line) > _WIDTH:
            prefix, suffix = min(prefix, 12), min(suffix, 8)
            if prefix + length + suffix >= _WIDTH:
                length, dots[1] = min(length, _WIDTH - prefix), " …"
            else:
                prefix += min(before - prefix, _WIDTH - prefix - length - suffix)
                suffix += min(len(line) - before - length - suffix, _WIDTH - prefix - length - suffix)
                dots[1] = " …" if suffix < len(line) - before - length else ""
            dots[0] = "… " if prefix < before else ""
            line = line[before - prefix : before - prefix + _WIDTH]
        shown = f"{dots[0]}{line}{dots[1]}"
        tildes = " " * (prefix + len(dots[0])) + "~" * length
        return f"At line:{self.line} char:{self.column}\n+ {shown}\n+ {tildes}"


def invocation_object(command: str | None, position: Position | None, name: str) -> PSObject:
    """InvocationInfo as error records carry it: the name of the command and the place in the script."""
    at = position or Position(0, 0, "", "")
    members: dict[str, Any] = {
        "MyCommand": command, "BoundParameters": PSObject((_DICTIONARY, "System.Object"), value=Hashtable()),
        "UnboundArguments": PSObject((_OBJECTS, "System.Object"), value=[]),
        "ScriptLineNumber": at.line, "OffsetInLine": at.column, "HistoryId": Int64(1), "ScriptName": "",
        "Line": at.source, "Statement": at.text, "PositionMessage": at.message() if position else "",
        "PSScriptRoot": "", "PSCommandPath": None, "InvocationName": name, "PipelineLength": 0, "PipelinePosition": 0,
        "ExpectingInput": False, "CommandOrigin": "Internal", "DisplayScriptPosition": None,
    }  # fmt: skip
    types = (f"{_MANAGEMENT}InvocationInfo", "System.Object")
    return PSObject(types, adapted=members, text=types[0])


@dataclass(eq=False, slots=True)
class ErrorRecord:
    """An error: of the error stream, or the one that ended a script.

    Attributes:
        exception: What happened.
        error_id: FullyQualifiedErrorId.
        category: A name of ErrorCategory.
        target: TargetObject.
        activity: The cmdlet, empty for the language itself.
        reason, target_name, target_type: CategoryInfo's; None takes PowerShell's defaults.
        command: MyCommand and InvocationName of the InvocationInfo, with `position`.
        position: Where in the script; None with `command` None leaves InvocationInfo out.
        stack: ScriptStackTrace.
        details, recommended: ErrorDetails.
    """

    exception: NetException
    error_id: str
    category: str = "NotSpecified"
    target: Any = None
    activity: str = ""
    reason: str | None = None
    target_name: str | None = None
    target_type: str | None = None
    command: str | None = None
    invocation_name: str = ""
    position: Position | None = None
    stack: str | None = None
    details: str | None = None
    recommended: str | None = None

    @property
    def message(self) -> str:
        """What the record says."""
        return self.exception.message if self.details is None else self.details

    def category_parts(self) -> tuple[str, str, str]:
        """Reason, TargetName and TargetType."""
        name = to_text(self.target) if self.target_name is None else self.target_name
        kind = type_names(self.target)[0].rsplit(".", 1)[-1] if self.target is not None else ""
        reason = self.exception.name if self.reason is None else self.reason
        return reason, name, kind if self.target_type is None else self.target_type

    def category_message(self) -> str:
        """`Category: (target:type) [activity], reason`."""
        reason, name, kind = (p if len(p) <= 40 else f"{p[:15]}...{p[-15:]}" for p in self.category_parts())
        return f"{self.category}: ({name}:{kind}) [{self.activity}], {reason}"

    def to_object(self, *, written: bool = True) -> PSObject:
        """The record as it is serialised; `written` to a stream, else as the reason of a state."""
        reason, name, kind = self.category_parts()
        info = None
        if self.position or self.command is not None:
            info = invocation_object(self.command, self.position, self.invocation_name)
        members: dict[str, Any] = {
            "Exception": self.exception.to_object(), "TargetObject": self.target,
            "FullyQualifiedErrorId": self.error_id, "InvocationInfo": info,
            "ErrorCategory_Category": int(ErrorCategory[self.category]), "ErrorCategory_Activity": self.activity,
            "ErrorCategory_Reason": reason, "ErrorCategory_TargetName": name, "ErrorCategory_TargetType": kind,
            "ErrorCategory_Message": self.category_message(),
        }  # fmt: skip
        if self.details is not None:
            members["ErrorDetails_Message"] = self.details
        if self.recommended is not None:
            members["ErrorDetails_RecommendedAction"] = self.recommended
        members["SerializeExtendedInfo"] = False
        if self.stack is not None:
            members["ErrorDetails_ScriptStackTrace"] = self.stack
        if written:
            members["PSMessageDetails"] = None
        return PSObject((f"{_MANAGEMENT}ErrorRecord", "System.Object"), extended=members, text=self.message)


STOPPED = ErrorRecord(
    runtime_exception("The pipeline has been stopped.", "PipelineStoppedException"),
    "PipelineStopped",
    "OperationStopped",
)


class ScriptError(Exception):
    """A script ended by a terminating error; `record` is what the client gets with the state Failed."""

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(record.message)
        self.record = record


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """One Write-Progress."""

    activity: str
    status: str = "Processing"
    activity_id: int = 0
    parent_id: int = -1
    percent: int = -1
    seconds: int = -1
    operation: str | None = None
    completed: bool = False

    def to_object(self) -> PSObject:
        """The record as it is serialised."""
        kind = ("Completed", 1) if self.completed else ("Processing", 0)
        return _bag(
            Activity=self.activity, ActivityId=self.activity_id, StatusDescription=self.status,
            CurrentOperation=self.operation, ParentActivityId=self.parent_id, PercentComplete=self.percent,
            Type=enum(f"{_MANAGEMENT}ProgressRecordType", *kind), SecondsRemaining=self.seconds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InformationRecord:
    """One Write-Information or Write-Host (tag PSHOST); `time` has its own offset."""

    data: Any
    source: str
    time: datetime
    user: str
    computer: str
    tags: tuple[str, ...] = ()

    def to_object(self) -> PSObject:
        """The record as it is serialised."""
        return _bag(
            MessageData=self.data, Source=self.source, TimeGenerated=self.time,
            Tags=PSObject((_STRINGS, "System.Object"), value=list(self.tags)), User=self.user,
            Computer=self.computer, ProcessId=UInt32(4242), NativeThreadId=UInt32(4243), ManagedThreadId=UInt32(7),
        )  # fmt: skip


def host_message(text: str, *, no_newline: bool = False, foreground: str = "-1", background: str = "-1") -> PSObject:
    """The HostInformationMessage of Write-Host."""
    types = (f"{_MANAGEMENT}HostInformationMessage", "System.Object")
    adapted = {"Message": text, "NoNewLine": no_newline, "ForegroundColor": foreground, "BackgroundColor": background}
    return PSObject(types, adapted=adapted, text=text)


def informational(stream: str, text: str) -> PSObject:
    """A DebugRecord, VerboseRecord or WarningRecord, without invocation info."""
    types = (f"{_MANAGEMENT}{stream}Record", f"{_MANAGEMENT}InformationalRecord", "System.Object")
    extended = {"InformationalRecord_Message": text, "InformationalRecord_SerializeInvocationInfo": False}
    return PSObject(types, extended=extended, text=text)


def host_call(call_id: int, number: int, name: str, parameters: list[Any]) -> PSObject:
    """A PIPELINE_HOST_CALL (MS-PSRP 2.2.3.27); `call_id` -100 wants no answer."""
    method = enum(f"{_MANAGEMENT}Remoting.RemoteHostMethodId", name, number)
    listed = PSObject(ARRAY_LIST, value=parameters)
    return _bag(ci=Int64(call_id), mi=method, mp=listed)


def state(name: str, number: int, record: ErrorRecord | None = None) -> PSObject:
    """PIPELINE_STATE or RUNSPACEPOOL_STATE: `name` is PipelineState or RunspaceState."""
    members: dict[str, Any] = {name: number}
    if record is not None:
        members["ExceptionAsErrorRecord"] = record.to_object(written=False)
    return PSObject((), extended=members)


ARRAY_LIST = ("System.Collections.ArrayList", "System.Object")


def _bag(**members: Any) -> PSObject:
    return PSObject((), extended=members)


def payload(message: PSObject) -> str:
    """CLIXML of a message: records are written at full depth."""
    return to_clixml(message, depth=9)
