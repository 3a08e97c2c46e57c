"""From an error to how a child ends: the closed set of end reasons.

Knows errors, phases and fault codes. Must not know connections.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    LimitError,
    ProtocolError,
    RemoteJobsError,
    StoreError,
    TimedOutError,
    TransportError,
)
from remotejobs.model import Clocks, Outcome, Stream
from remotejobs.rows import Phase
from remotejobs.session.hints import no_right
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import ErrorRecord, from_clixml
from remotejobs.wsman.clixml.tree import bounded
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.faults import HELD, Means, meaning
from remotejobs.wsman.psrp.runspace import PipelineState, Runspace

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


NOT_KEPT = (
    "Not begun: its input came as a stream to the process that began the job, and is not kept. Run the script again"
    " with its input."
)


def ended_by(error: RemoteJobsError, phase: Phase, *, refused: bool = False, user: str = "", host: str = "") -> Outcome:
    """How a child ends by `error`.

    Args:
        error: What went wrong.
        phase: How far the child had come. From STARTING on the script may have run, and the outcome says so.
        refused: The host answered Command itself with a fault, so the script has not run after all.
        user: The user name that the host was given, where it is known.
        host: The target's name.
    """
    reason = _reason(error, Phase.OPEN if refused else phase)
    message = error.message
    if isinstance(error, FaultError) and reason is EndReason.AccessDenied:
        message = f"{message.rstrip('. ')}. {_right(error, user, host)}"
    if reason is EndReason.Unknown:
        message = (
            f"{message.rstrip('.')}. The script was given to the host: it may have run, in part or to its end, "
            "and may still be running."
        )
    details = {"phase": phase.name, **error.details}
    return Outcome(reason, message, error_id=_error_id(error, reason), details=details)


def _right(error: FaultError, user: str, host: str) -> str:
    if error.error_id == "RemoteSessionDisallowed":
        return r"On the host: Set-Item WSMan:\localhost\Shell\AllowRemoteShellAccess $true"
    return no_right(user, host)


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


def ended_as(runspace: Runspace, errors: int, *, stopped: bool, second_hop: bool = False) -> Outcome:
    """How a child ends whose command is over, by what its pipeline said last.

    Args:
        runspace: Of the pipeline.
        errors: Records on the Error stream.
        stopped: A stop was asked for.
        second_hop: Another host refused what the script asked of it: stays in `details`, and a summary says what helps.

    Raises:
        ProtocolError: The pipeline did not say how it ended.
    """
    details: dict[str, Any] = {} if runspace.exit_code is None else {"exit_code": runspace.exit_code}
    if second_hop:
        details["second_hop"] = True
    message = ""
    if runspace.headless:
        message = (
            "The output is incomplete: the beginning of a large record went to a process that was killed, or was lost"
            " on the host, which keeps only the newest output while nobody is there (OutputBufferingMode Drop)."
        )
        details["incomplete"] = True
    state = runspace.pipeline_state
    if state is PipelineState.Completed:
        return Outcome(EndReason.Completed, message, error_count=errors, details=details)
    if state is PipelineState.Failed:
        message, error_id = failure_of(runspace.failure)
        failure = runspace.failure
        return Outcome(
            EndReason.CommandFailed, message, error_id=error_id, error_count=errors, failure=failure, details=details
        )
    if state is PipelineState.Stopped or stopped:
        return Outcome(EndReason.Stopped, message, error_count=errors, details=details)
    cut = " in the middle of a record" if runspace.cut_short else ""
    raise ProtocolError(f"The host ended the command{cut} without saying how it ended.", silent=True)


def left(idle: float | None, why: str = "", error: RemoteJobsError | None = None) -> Outcome:
    """The script goes on in a shell that waits on its host: not an end.

    Args:
        idle: Seconds that the host keeps it without a client; None where nobody has said.
        why: What came before, for a person.
        error: What went wrong, if anything did.
    """
    kept = f"for {idle:g} s" if idle is not None else "for as long as it keeps idle shells (2 hours unless set)"
    words = f"The script goes on in its shell on the host, which keeps it {kept} without a client: connect the job."
    details = {"phase": Phase.STARTED.name, **(error.details if error else {})}
    # PowerShell's own end of a robust connection
    error_id = "PowerShellNetworkFailedStartDisconnect" if error and not isinstance(error, StoreError) else ""
    return Outcome(EndReason.Disconnected, f"{why} {words}".strip(), error_id=error_id, details=details)


def not_found_again(error: RemoteJobsError, *, started: bool, seq: int) -> Outcome:
    """How it stands with a child that another run of the job began and this one has not got hold of.

    Args:
        error: Why not.
        started: The host is known to have got the command.
        seq: Of the last record that is stored.
    """
    if isinstance(error, FaultError) and meaning(error).means is Means.GONE:
        return lost_shell(error, seq=seq, started=started)
    if isinstance(error, TimedOutError) and error.details.get("clock") in ("total", "deadline", "silence"):
        return ended_by(error, Phase.STARTED)
    why = error.message.rstrip(".")
    if isinstance(error, FaultError) and error.code in HELD:
        why = f"The host does not give the shell to us: another client holds it, or it still believes so ({why})"
    details = {"phase": Phase.STARTING.name, **error.details}
    return Outcome(
        EndReason.Disconnected,
        f"{why}. Whether the script still runs there is not known; nothing was stopped or lost. Connect the job again "
        "when that is mended.",
        error_id=_error_id(error, EndReason.Disconnected),
        details=details,
    )


def lost_shell(error: RemoteJobsError, *, seq: int, started: bool = True) -> Outcome:
    """The shell is not on its host any more, and nobody has heard how the script ended."""
    ran = "" if started else " (if it came to that: the host's answer to it never came)"
    return _unknown(
        error,
        "The shell of the script is not on the host any more: the host or its WinRM service was restarted, or the shell"
        " was deleted or outlived its IdleTimeout; or it is another user's than the one asked with. The script may have"
        f" run{ran}, in part or to its end; what it wrote after record {seq} is lost. Look at the host before it is run"
        " again.",
        Phase.STARTED if started else Phase.STARTING,
    )


def lost_command(error: RemoteJobsError, *, seq: int, started: bool) -> Outcome:
    """The shell lives, its command is not there any more, and nobody has heard how the script ended."""
    if started:
        words = (
            "The script has ended on the host, but how it ended went to a process that was killed, or on a connection "
            f"that was lost, and the host does not repeat it. It may have run to its end or have failed; the output may"
            f" be incomplete after record {seq}. Look at the host before it is run again."
        )
    else:
        words = (
            "The host has the shell but not the command: the process that was to send it was killed, or its connection "
            "was lost, in that moment. Most likely the script has not run; it may have run only if the host has ended "
            "and forgotten it already."
        )
    return _unknown(error, words, Phase.STARTED if started else Phase.STARTING)


def unfed(error: RemoteJobsError, errors: int) -> Outcome:
    """A script that may not have got all of its pipeline input: it is ended, lest it wait for ever."""
    words = (
        "The script may not have got all of its input, and was ended on the host after what it did with a part of it. "
        f"{error.message.rstrip('.')}. Look at the host before it is run again."
    )
    return replace(_unknown(error, words, Phase.STARTED), error_count=errors)


def lives_on(error: RemoteJobsError) -> bool:
    """Whether a script that runs goes on where `error` ended the conversation: the host has not said otherwise."""
    if isinstance(error, FaultError):
        return error.code in HELD or meaning(error).means is Means.LEFT
    return isinstance(error, TransportError | StoreError) and not isinstance(error, TimedOutError)


def _unknown(error: RemoteJobsError, words: str, phase: Phase) -> Outcome:
    details = {"phase": phase.name, "incomplete": True, **error.details}
    return Outcome(EndReason.Unknown, words, error_id=_error_id(error, EndReason.Unknown), details=details)


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
        value = bounded(deserialize(data), data) if data else None
        record = from_clixml(Stream.Error, value.get("ExceptionAsErrorRecord")) if isinstance(value, PSObject) else None
    except ProtocolError as error:
        return f"The script failed; its error record cannot be read: {error.message}", ""
    if not isinstance(record, ErrorRecord):
        return "The script failed; the host did not say why.", ""
    return record.message or "The script failed; the host did not say why.", record.fully_qualified_error_id or ""
