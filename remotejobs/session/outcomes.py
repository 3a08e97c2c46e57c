"""From an error to how a child ends: the closed set of end reasons.

Knows errors, phases and fault codes. Must not know connections.
"""

from __future__ import annotations

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    LimitError,
    ProtocolError,
    RemoteJobsError,
    TimedOutError,
)
from remotejobs.model import Clocks, Outcome, Stream
from remotejobs.ports import Phase
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import ErrorRecord, from_clixml
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.faults import Means, meaning

_CLOCKS = {
    "connect": EndReason.TimedOutConnect,
    "open": EndReason.TimedOutConnect,
    "authenticate": EndReason.TimedOutAuthenticate,
    "silence": EndReason.TimedOutSilence,
    "total": EndReason.TimedOutTotal,
    "deadline": EndReason.TimedOutDeadline,
}
_MEANS = {
    Means.DENIED: EndReason.AccessDenied,
    Means.LOGON: EndReason.AuthenticationFailed,
    Means.QUOTA: EndReason.QuotaExceeded,
}


def ended_by(error: RemoteJobsError, phase: Phase, *, refused: bool = False) -> Outcome:
    """How a child ends by `error`.

    Args:
        error: What went wrong.
        phase: How far the child had come. From STARTING on the script may have run, and the outcome says so.
        refused: The host answered Command itself with a fault, so the script has not run after all.
    """
    reason = _reason(error, Phase.OPEN if refused else phase)
    message = error.message
    if reason is EndReason.Unknown:
        message = (
            f"{message.rstrip('.')}. The script was given to the host: it may have run, in part or to its end, "
            "and may still be running."
        )
    details = {"phase": phase.name, **error.details}
    return Outcome(reason, message, error_id=_error_id(error, reason), details=details)


def _reason(error: RemoteJobsError, phase: Phase) -> EndReason:
    if isinstance(error, TimedOutError):
        return _CLOCKS.get(error.details.get("clock", ""), EndReason.Unreachable)
    if phase >= Phase.STARTING:
        return EndReason.CommandFailed if isinstance(error, LimitError) and error.error_id else EndReason.Unknown
    if isinstance(error, AuthenticationError):
        return EndReason.NotStartedGuard if error.details.get("guard") else EndReason.AuthenticationFailed
    if isinstance(error, AccessDeniedError):
        return EndReason.AccessDenied
    if isinstance(error, FaultError):
        return _MEANS.get(meaning(error).means, EndReason.Unreachable)
    return EndReason.Unreachable


def _error_id(error: RemoteJobsError, reason: EndReason) -> str:
    """PowerShell's id of a connection failure: `<mapped>,PSSessionStateBroken` (semantics of ProcessJobFailure)."""
    if reason is EndReason.NotStartedGuard:
        return error.error_id
    return f"{error.error_id},PSSessionStateBroken" if error.error_id else "PSSessionStateBroken"


def timed_out(clock: str, clocks: Clocks) -> TimedOutError:
    """The error for a clock that ran out."""
    seconds = getattr(clocks, clock, None)
    what = {
        "connect": "No connection within {} s (-ConnectTimeout)",
        "authenticate": "The host did not answer the first authenticated request within {} s (-AuthTimeout)",
        "open": "The host did not open a runspace within {} s",
        "silence": "No record came for {} s (-SilenceTimeout); the script is being ended",
        "total": "Not done within {} s (-Timeout); the script is being ended",
        "deadline": "The job's deadline of {} s has passed",
    }.get(clock, "No answer within {} s")
    return TimedOutError(
        what.format(f"{seconds:g}" if seconds is not None else "its time") + ".", clock=clock, seconds=seconds
    )


def failure_of(data: bytes | None) -> tuple[str, str]:
    """The message and the error id of a pipeline that failed."""
    try:
        value = deserialize(data) if data else None
        record = from_clixml(Stream.Error, value.get("ExceptionAsErrorRecord")) if isinstance(value, PSObject) else None
    except ProtocolError as error:
        return f"The script failed; its error record cannot be read: {error.message}", ""
    if not isinstance(record, ErrorRecord):
        return "The script failed; the host did not say why.", ""
    return record.message or "The script failed; the host did not say why.", record.fully_qualified_error_id or ""
