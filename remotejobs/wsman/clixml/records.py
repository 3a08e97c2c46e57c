"""The records of the streams other than Output, as dataclasses (MS-PSRP 2.2.3; PowerShell's ErrorRecord and its kin).

Knows the members that hosts send, of Windows PowerShell 2.0 to PowerShell 7. Must not know how a record is shown or
stored. A member that a host leaves out, or gives another type, is empty here: reading a record never fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.tree import bounded
from remotejobs.wsman.clixml.values import PSObject, text


class ErrorCategory(IntEnum):
    """System.Management.Automation.ErrorCategory."""

    NotSpecified = 0
    OpenError = 1
    CloseError = 2
    DeviceError = 3
    DeadlockDetected = 4
    InvalidArgument = 5
    InvalidData = 6
    InvalidOperation = 7
    InvalidResult = 8
    InvalidType = 9
    MetadataError = 10
    NotImplemented = 11
    NotInstalled = 12
    ObjectNotFound = 13
    OperationStopped = 14
    OperationTimeout = 15
    SyntaxError = 16
    ParserError = 17
    PermissionDenied = 18
    ResourceBusy = 19
    ResourceExists = 20
    ResourceUnavailable = 21
    ReadError = 22
    WriteError = 23
    FromStdErr = 24
    SecurityError = 25
    ProtocolError = 26
    ConnectionError = 27
    AuthenticationError = 28
    LimitsExceeded = 29
    QuotaExceeded = 30
    NotEnabled = 31


@dataclass(frozen=True, slots=True)
class InvocationInfo:
    """Where in a script something happened.

    Attributes:
        my_command: Name of the command, or the text of a script that has none.
        invocation_name: What was typed for it.
        script_name: Path of the script file on the host; empty for a script block.
        script_line_number, offset_in_line: From 1; 0 where there is no position.
        line: The line of source.
        position_message: `At line:1 char:1` and the line with the place underlined.
    """

    my_command: str = ""
    invocation_name: str = ""
    script_name: str = ""
    script_line_number: int = 0
    offset_in_line: int = 0
    line: str = ""
    position_message: str = ""


@dataclass(frozen=True, slots=True)
class InnerException:
    """What caused an exception: its .NET type and its message."""

    exception_type: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error, terminating or not.

    Attributes:
        message: As PowerShell shows it: the error details' message, else the exception's, else the category's.
        exception_type, exception_message: .NET type of the exception, empty where only a text came, and its message.
        inner_exceptions: What caused it, and what caused that, and so on.
        fully_qualified_error_id: Such as `PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand`.
        category: Name of the ErrorCategory, or the number where it has none.
        activity, reason, target_name, target_type: The rest of CategoryInfo.
        category_message: CategoryInfo in one line, as the host worded it.
        error_details_message, recommended_action: What the script gave beside the exception.
        target: TargetObject.
        script_stack_trace: Lines of `at <function>, <file>: line <n>`.
        invocation: Where it happened; None where the host did not say.
    """

    message: str
    exception_type: str = ""
    exception_message: str = ""
    fully_qualified_error_id: str = ""
    category: str = ErrorCategory.NotSpecified.name
    activity: str = ""
    reason: str = ""
    target_name: str = ""
    target_type: str = ""
    category_message: str = ""
    error_details_message: str = ""
    recommended_action: str = ""
    target: Any = None
    script_stack_trace: str = ""
    invocation: InvocationInfo | None = None
    inner_exceptions: tuple[InnerException, ...] = ()

    @property
    def category_info(self) -> str:
        """CategoryInfo as one line: `ObjectNotFound: (/nope:String) [Get-Item], ItemNotFoundException`."""
        made = f"{self.category}: ({self.target_name}:{self.target_type}) [{self.activity}], {self.reason}"
        return self.category_message or made

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class InformationalRecord:
    """A warning, verbose or debug message; `invocation` is None unless the host was asked for it."""

    message: str
    invocation: InvocationInfo | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class InformationRecord:
    """What Write-Information and Write-Host write.

    Attributes:
        message_data: The value written; of Write-Host an object with `Message` and `NoNewLine`.
        source: The command, or the path of the script.
        time_generated: On the host's clock; None where it was not sent.
        tags: `PSHOST` among them for Write-Host.
        user, computer: As the host claims.
        process_id, native_thread_id, managed_thread_id: On the host; 0 where not sent.
    """

    message_data: Any = None
    source: str = ""
    time_generated: datetime | None = None
    tags: tuple[str, ...] = ()
    user: str = ""
    computer: str = ""
    process_id: int = 0
    native_thread_id: int = 0
    managed_thread_id: int = 0

    def __str__(self) -> str:
        return text(self.message_data)


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """One step of a progress bar.

    Attributes:
        activity, status_description, current_operation: Its three lines of text.
        activity_id, parent_activity_id: The bar and the one it is under; -1 is none.
        percent_complete: 0 to 100; -1 where unknown.
        seconds_remaining: Seconds; -1 where unknown.
        record_type: `Processing`, or `Completed` when the bar goes.
    """

    activity: str = ""
    activity_id: int = 0
    status_description: str = ""
    current_operation: str = ""
    parent_activity_id: int = -1
    percent_complete: int = -1
    seconds_remaining: int = -1
    record_type: str = "Processing"

    def __str__(self) -> str:
        return f"{self.activity}: {self.status_description}" if self.status_description else self.activity


def from_clixml(stream: Stream, value: Any) -> Any:
    """Make the record of a stream from its decoded CLIXML.

    Returns:
        ErrorRecord, InformationalRecord (Warning, Verbose, Debug), InformationRecord or ProgressRecord; of Output the
        value itself. What is no object is the text of its record.
    """
    if stream is Stream.Output:
        return value
    whole = value if isinstance(value, PSObject) else None
    if stream is Stream.Error:
        return _error(whole) if whole is not None else ErrorRecord(text(value))
    if stream is Stream.Information:
        return _information(whole) if whole is not None else InformationRecord(value)
    if stream is Stream.Progress:
        return _progress(whole) if whole is not None else ProgressRecord(text(value))
    if whole is None:
        return InformationalRecord(text(value))
    detailed = whole.get("InformationalRecord_SerializeInvocationInfo") is True
    message = _text(whole, "InformationalRecord_Message") if "InformationalRecord_Message" in whole else text(whole)
    return InformationalRecord(message, _invocation(whole, "InvocationInfo_") if detailed else None)


def error_record(raw: bytes) -> ErrorRecord:
    """Decode an ErrorRecord, or the one inside a state message that says why a pipeline failed.

    Raises:
        ProtocolError: The CLIXML cannot be read.
    """
    value = bounded(deserialize(raw), raw)
    if isinstance(value, PSObject):
        return _error(value.get("ExceptionAsErrorRecord", value))
    return ErrorRecord(text(value))


def _error(value: Any) -> ErrorRecord:
    if not isinstance(value, PSObject):
        return ErrorRecord(text(value))
    (kind, said), *inner = _exceptions(value.get("Exception"))
    details, category = _text(value, "ErrorDetails_Message"), _number(value, "ErrorCategory_Category", 0)
    placed = value.get("InvocationInfo")
    if value.get("SerializeExtendedInfo") is True:
        invocation: InvocationInfo | None = _invocation(value, "InvocationInfo_")
    else:
        invocation = _invocation(placed, "") if isinstance(placed, PSObject) else None
    category_message = _text(value, "ErrorCategory_Message")
    shown = (details, said, category_message, value.to_string or "")
    return ErrorRecord(
        message=next((candidate for candidate in shown if candidate.strip()), ""),
        exception_type=kind,
        exception_message=said,
        fully_qualified_error_id=_text(value, "FullyQualifiedErrorId"),
        category=ErrorCategory(category).name if category in _CATEGORIES else str(category),
        activity=_text(value, "ErrorCategory_Activity"),
        reason=_text(value, "ErrorCategory_Reason"),
        target_name=_text(value, "ErrorCategory_TargetName"),
        target_type=_text(value, "ErrorCategory_TargetType"),
        category_message=category_message,
        error_details_message=details,
        recommended_action=_text(value, "ErrorDetails_RecommendedAction"),
        target=value.get("TargetObject"),
        script_stack_trace=_text(value, "ErrorDetails_ScriptStackTrace"),
        invocation=invocation,
        inner_exceptions=tuple(InnerException(*each) for each in inner),
    )


def _exceptions(exception: Any) -> list[tuple[str, str]]:
    """Type and message of an exception and of those inside it; of a text, or of nothing, the text alone."""
    found, seen = [], set[int]()  # a hostile one may contain itself
    while isinstance(exception, PSObject) and id(exception) not in seen:
        seen.add(id(exception))
        kind = exception.type_names[0].removeprefix("Deserialized.") if exception.type_names else ""
        found.append((kind, _text(exception, "Message") if "Message" in exception else text(exception)))
        exception = exception.get("InnerException")
    return found or [("", text(exception))]


def _invocation(value: PSObject, prefix: str) -> InvocationInfo:
    """The members are those of an object, or the record's own behind a prefix (SerializeExtendedInfo)."""
    return InvocationInfo(
        my_command=_text(value, "CommandInfo_Name" if prefix else "MyCommand"),
        invocation_name=_text(value, f"{prefix}InvocationName"),
        script_name=_text(value, f"{prefix}ScriptName"),
        script_line_number=_number(value, f"{prefix}ScriptLineNumber", 0),
        offset_in_line=_number(value, f"{prefix}OffsetInLine", 0),
        line=_text(value, f"{prefix}Line"),
        position_message=_text(value, f"{prefix}PositionMessage"),
    )


def _information(value: PSObject) -> InformationRecord:
    tags, time = value.get("Tags"), value.get("TimeGenerated")
    listed = tags.base if isinstance(tags, PSObject) else tags
    return InformationRecord(
        message_data=value.get("MessageData"),
        source=_text(value, "Source"),
        time_generated=time if isinstance(time, datetime) else None,
        tags=tuple(map(text, listed)) if isinstance(listed, list) else (),
        user=_text(value, "User"),
        computer=_text(value, "Computer"),
        process_id=_number(value, "ProcessId", 0),
        native_thread_id=_number(value, "NativeThreadId", 0),
        managed_thread_id=_number(value, "ManagedThreadId", 0),
    )


def _progress(value: PSObject) -> ProgressRecord:
    completed = _number(value, "Type", _number(value, "RecordType", 0)) == 1
    return ProgressRecord(
        activity=_text(value, "Activity"),
        activity_id=_number(value, "ActivityId", 0),
        status_description=_text(value, "StatusDescription"),
        current_operation=_text(value, "CurrentOperation"),
        parent_activity_id=_number(value, "ParentActivityId", -1),
        percent_complete=_number(value, "PercentComplete", -1),
        seconds_remaining=_number(value, "SecondsRemaining", -1),
        record_type="Completed" if completed else "Processing",
    )


def _text(value: PSObject, name: str) -> str:
    return text(value.get(name))


def _number(value: PSObject, name: str, default: int) -> int:
    """A whole number, or the one of an enum."""
    found = value.get(name)
    found = found.base if isinstance(found, PSObject) else found
    return int(found) if isinstance(found, int) else default


_CATEGORIES = frozenset(ErrorCategory)
