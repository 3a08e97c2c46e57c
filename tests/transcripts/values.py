"""Jobs and what hosts sent, as the scripts of transcripts see them: objects with PowerShell's properties."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from remotejobs.jobs.job import ChildJob, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.model import Outcome, Stream
from remotejobs.sim.clixml_build import to_clixml
from remotejobs.sim.clixml_parse import from_clixml
from remotejobs.sim.dialect.errors import Refusal
from remotejobs.sim.values import Hashtable, PSObject, enum, type_names
from remotejobs.states import JobState
from remotejobs.views.errorview import error_text
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import ErrorRecord, InformationRecord, ProgressRecord, error_record
from remotejobs.wsman.clixml.values import PSObject as Ours
from remotejobs.wsman.clixml.write import serialize
from tests.transcripts import decisions

_MANAGEMENT = "System.Management.Automation."
_LABELS = {Stream.Warning: "WARNING: ", Stream.Verbose: "VERBOSE: ", Stream.Debug: "DEBUG: "}


def theirs(value: Any) -> Any:
    """A value of ours as the dialect has it."""
    if isinstance(value, Ours) and type(value.base) in (str, int):  # the short way for what is sent most
        return PSObject((), extended=dict(value.extended), value=value.base)
    return from_clixml(serialize(value), str)


def ours(value: Any) -> Any:
    """A value of the dialect as the views take it."""
    return deserialize(to_clixml(value, depth=4).encode())


def state_text(state: JobState) -> PSObject:
    """A state, as JobStateInfo has it."""
    return enum(f"{_MANAGEMENT}JobState", state.name, int(state))


class JobValue(PSObject):
    """A job or child job of ours.

    Args:
        job: It.
        number: Its id as PowerShell would count.
        of: Gives the value of a child.
    """

    def __init__(self, job: RemoteJob | ChildJob, number: int, of: Callable[[RemoteJob | ChildJob], JobValue]) -> None:
        name = "PSRemotingJob" if isinstance(job, RemoteJob) else "PSRemotingChildJob"
        types = (f"{_MANAGEMENT}{name}", f"{_MANAGEMENT}Job", "System.Object")
        super().__init__(types, text=types[0])
        self.job, self.number, self._of = job, number, of

    def names(self) -> list[str]:
        return list(_PROPERTIES)

    def find(self, name: str) -> tuple[dict[str, Any], str] | None:
        for known, value in _PROPERTIES.items():
            if known.lower() == name.lower():
                return _Fixed({known: value(self)}), known
        return None

    @property
    def name(self) -> str:
        """Its own, or one by its number."""
        named = f"Job{self.job.id}"
        return f"Job{self.number}" if self.job.name == named else self.job.name

    def state_info(self) -> PSObject:
        """JobStateInfo."""
        state, failure = decisions.state(self.job), getattr(self.job, "failure", None)
        members = {"State": state_text(state), "Reason": _reason(failure) if failure else None}
        return PSObject((f"{_MANAGEMENT}JobStateInfo",), members, text=state.name)

    def children(self) -> list[JobValue]:
        """ChildJobs."""
        return [self._of(child) for child in self.job.child_jobs] if isinstance(self.job, RemoteJob) else []

    def records(self, stream: Stream) -> list[Any]:
        """What came on a stream; a parent's own are empty."""
        if isinstance(self.job, RemoteJob):
            return []
        found = [item for item in self.job.receive(keep=True, from_start=True) if item.stream is stream]
        return [record_value(item) for item in found]


class _Fixed(dict[str, Any]):
    def __setitem__(self, name: str, value: Any) -> None:
        raise Refusal(f"the assignment to {name} of a job")


_PROPERTIES: dict[str, Callable[[JobValue], Any]] = {
    "State": lambda v: decisions.state(v.job).name,
    "HasMoreData": lambda v: v.job.has_more_data,
    "StatusMessage": lambda v: v.job.status_message,
    "Location": lambda v: v.job.location,
    "Command": lambda v: v.job.command,
    "JobStateInfo": JobValue.state_info,
    "InstanceId": lambda v: v.job.instance_id,
    "Id": lambda v: v.number,
    "Name": lambda v: v.name,
    "ChildJobs": JobValue.children,
    "PSBeginTime": lambda v: v.job.ps_begin_time,
    "PSEndTime": lambda v: v.job.ps_end_time,
    "Finished": lambda v: v,  # its one method is the job's
    "PSJobTypeName": lambda v: v.job.ps_job_type_name,
    **{
        stream.name: lambda v, stream=stream: v.records(stream)  # type: ignore[misc]
        for stream in (
            Stream.Output, Stream.Error, Stream.Progress, Stream.Verbose, Stream.Debug, Stream.Warning,
            Stream.Information,
        )
    },
}  # fmt: skip


def _reason(outcome: Outcome) -> PSObject:
    name = "Remoting.PSRemotingTransportException" if decisions.lost(outcome.reason) else "RemoteException"
    found = _exception(f"{_MANAGEMENT}{name}", _said(outcome))
    if outcome.failure:
        found.adapted["ErrorRecord"] = error_value(error_record(outcome.failure), "", "ConciseView")
    return found


def _exception(name: str, message: str) -> PSObject:
    return PSObject((name, "System.Exception", "System.Object"), {"Message": message}, text=f"{name}: {message}")


def _said(outcome: Outcome) -> str:
    return decisions.TRANSPORT if decisions.lost(outcome.reason) else outcome.message


class NoSessions(Exception):  # noqa: N818 - a case of its own
    """A script asks a session of its own for something: there are none here, each job opens its hosts' shells."""


class SessionValue(PSObject):
    """A PSSession: no more than the host that it is on."""

    def __init__(self, host: str) -> None:
        super().__init__(("System.Management.Automation.Runspaces.PSSession", "System.Object"))
        self.host = host

    def find(self, name: str) -> tuple[dict[str, Any], str] | None:
        if name.lower() == "computername":
            return {name: self.host}, name
        raise NoSessions(name)


class ErrorValue(PSObject):
    """An error of a host, or why one failed; `line` is how it is shown."""

    def __init__(self, host: str, line: str, members: dict[str, Any]) -> None:
        types = (f"{_MANAGEMENT}Runspaces.RemotingErrorRecord", f"{_MANAGEMENT}ErrorRecord", "System.Object")
        origin = PSObject((f"{_MANAGEMENT}Remoting.OriginInfo",), {"PSComputerName": host}, text=host)
        message = members["Exception"].get("Message")
        super().__init__(types, {**members, "OriginInfo": origin}, text=message)
        self.line, self.message = line, message
        self.stack, self.position, self.command = "", None, ""  # as a record of the dialect has them


def error_value(record: ErrorRecord, host: str, view: str) -> ErrorValue:
    """An error that a script wrote or ended by."""
    members = {
        "Exception": _exception(f"{_MANAGEMENT}RemoteException", record.message),
        "FullyQualifiedErrorId": record.fully_qualified_error_id,
        "CategoryInfo": PSObject(
            (f"{_MANAGEMENT}ErrorCategoryInfo",),
            {"Category": record.category, "Activity": record.activity, "Reason": record.reason,
             "TargetName": record.target_name, "TargetType": record.target_type},
            text=record.category_info,
        ),
        "TargetObject": None if record.target is None else theirs(record.target),
    }  # fmt: skip
    return ErrorValue(host, error_text(record, view, host), members)


def failure_value(outcome: Outcome, host: str, view: str) -> ErrorValue:
    """Why a host failed, as Receive-Job writes it."""
    if outcome.failure:
        return error_value(error_record(outcome.failure), host, view)
    lost = decisions.lost(outcome.reason)
    members = {"Exception": _reason(outcome), "FullyQualifiedErrorId": decisions.error_id(outcome.error_id)}
    return ErrorValue(host, f"{'OpenError' if lost else 'OperationStopped'}: {_said(outcome)}", members)


def record_value(item: ReceivedRecord, view: str = "ConciseView") -> Any:
    """One record as PowerShell has it."""
    value = item.value
    if isinstance(value, ErrorRecord):
        return error_value(value, item.computer_name, view)
    if isinstance(value, ProgressRecord):
        members = {name: getattr(value, _snake(name)) for name in _PROGRESS}
        return PSObject((f"{_MANAGEMENT}ProgressRecord", "System.Object"), members)
    if isinstance(value, InformationRecord):
        members = {name: getattr(value, _snake(name)) for name in _INFORMATION}
        members |= {"MessageData": theirs(value.message_data), "Tags": list(value.tags)}
        return PSObject((f"{_MANAGEMENT}InformationRecord", "System.Object"), members, text=str(value))
    if item.stream is Stream.Output:
        if not isinstance(value, Ours):  # in Python a plain value stays one, and its record knows the host
            value = Ours(base=value)
            value.set_origin(item.computer_name, item.runspace_id, show=item.show_computer_name)
        return theirs(value)
    return PSObject(
        (f"{_MANAGEMENT}{item.stream.name}Record", "System.Object"), {"Message": str(value)}, text=str(value)
    )


_PROGRESS = (
    "ActivityId", "ParentActivityId", "Activity", "StatusDescription", "CurrentOperation", "PercentComplete",
    "SecondsRemaining", "RecordType",
)  # fmt: skip
_INFORMATION = ("MessageData", "Source", "TimeGenerated", "Tags", "User", "Computer", "ProcessId", "NativeThreadId")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def host_line(item: ReceivedRecord) -> str:
    """How PowerShell's host shows a warning, and what else is no object."""
    return _LABELS.get(item.stream, "") + str(item.value)


def event_value(event: JobStateEvent) -> PSObject:
    """A JobStateEventArgs."""
    before = None if event.previous_state is None else {"State": state_text(event.previous_state)}
    members = {
        "JobStateInfo": PSObject((f"{_MANAGEMENT}JobStateInfo",), {"State": state_text(event.state)}),
        "PreviousJobStateInfo": before and PSObject((f"{_MANAGEMENT}JobStateInfo",), before),
    }
    return PSObject((f"{_MANAGEMENT}JobStateEventArgs", "System.EventArgs", "System.Object"), members)


def type_of(value: Any) -> PSObject:
    """`GetType()`: a bag that came from a host is a PSObject, whatever it was there."""
    names = type_names(value)
    if isinstance(value, PSObject) and value.types and value.types[0].startswith("Deserialized."):
        names = (f"{_MANAGEMENT}PSObject", "System.Object") if not isinstance(value.value, Hashtable) else names
    base = PSObject(("System.RuntimeType",), _names(names[1])) if len(names) > 1 else None
    return PSObject(("System.RuntimeType",), {**_names(names[0]), "BaseType": base}, text=names[0])


def _names(name: str) -> dict[str, Any]:
    return {"Name": name.rsplit(".", 1)[-1], "FullName": name}
