"""What is decided otherwise than in PowerShell: each once, as the step from what is ours to what was recorded.

The README says the same to users, with the reasons.
"""

from __future__ import annotations

import re

from remotejobs.errors import RemoteJobsError
from remotejobs.jobs.job import ChildJob, RemoteJob
from remotejobs.sim.values import PSObject
from remotejobs.states import EndReason, JobState

_GUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d+/\d+/\d{4} \d+:\d\d:\d\d [AP]M")
_TRANSPORT = re.compile(
    r"(OpenError: ).*|(?:The SSH \w+ |There is an error processing data from the background process).*"
    r"|An error has occurred which PowerShell cannot handle\. A remote session might have ended\."
)
_OF_THE_PROCESS = ("Runspace", "Debugger", "IsAsync")
_STREAMS = ("Output", "Error", "Progress", "Verbose", "Debug", "Warning", "Information")
OURS_ALONE = ("EndReason", "Message", "ErrorCount", "Notes")
_SET = "Parameter set cannot be resolved using the specified named parameters."
_SETTER = re.compile(r"Cannot bind parameter '\w+' to the target\. Exception setting \"\w+\": \"(.*)\"")
TRANSPORT = "<the host was lost>"


def state(job: RemoteJob | ChildJob) -> JobState:
    """Children stopped one by one make their parent Stopped here; PowerShell calls it Completed."""
    if not isinstance(job, RemoteJob) or job.state is not JobState.Stopped or job.row.stop_requested:
        return job.state
    assert any(child.state is JobState.Stopped for child in job.child_jobs)
    return JobState.Completed


def error_id(ours: str) -> str:
    """Over WS-Man there is mostly a word or number for why a connection failed; over SSH there is none."""
    return "PSSessionStateBroken" if ours.endswith(",PSSessionStateBroken") else ours


def lost(reason: EndReason) -> bool:
    """How a client learns that a host is lost, and puts it, is a matter of what carries the messages."""
    return reason is not EndReason.CommandFailed


def same_refusal(ours: str, recorded: str) -> bool:
    """Ours says what to do, too. -HostName has parameter sets that -ComputerName has not: there any refusal will do."""
    label = recorded.split(": ")[0]
    recorded = _SETTER.sub(r"\1", recorded)
    return ours.startswith(recorded) or (_SET in recorded and ours.startswith(f"{label}: "))


def origin(value: PSObject, job: ChildJob) -> None:
    """With -Wait PowerShell notes at each object which child it is of; here the record knows (`child_id`)."""
    value.extended["PSSourceJobInstanceId"] = job.instance_id


def refused(error: RemoteJobsError) -> bool:
    """-Filter finds no job of Invoke-Command in PowerShell, and says nothing; here it is refused."""
    return error.details.get("parameter") == "Filter"


def unfinished(errors: list[RemoteJobsError]) -> bool:
    """Take back that jobs were not removed because they run: it needs -Force here, however they were found."""
    kept = [error for error in errors if error.error_id != "JobObjectNotFinishedCannotBeRemoved"]
    some, errors[:] = len(kept) < len(errors), kept
    return some


def never(jobs: list[RemoteJob | ChildJob]) -> bool:
    """A job that is waited for twice counts once; Wait-Job would not return before its time is over."""
    return len({job.id for job in jobs}) < len(jobs)


def listed(lines: list[str]) -> list[str]:
    """The list of one job without what is an object of PowerShell's own process, and what a host sent."""
    left_out = (*_OF_THE_PROCESS, *(_STREAMS if "PSJobTypeName :" in map(str.rstrip, lines) else ()))
    kept = [line for line in lines if line.split(" ")[0] not in left_out]
    return [re.sub(r"^(Finished +: ).*", r"\1<handle>", line) for line in kept]


def comparable(line: str) -> str:
    """A line without what is another in each run, and without what is of SSH, or of PowerShell's own process."""
    line = _TIME.sub("<time>", _GUID.sub(lambda found: found[0] if set(found[0]) == {"0", "-"} else "<guid>", line))
    line = _TRANSPORT.sub(lambda found: (found[1] or "") + TRANSPORT, line)
    return line.replace("PSHOST,FORWARDED", "PSHOST")  # its own mark of what it has shown
