"""Fan a PowerShell script block out to many Windows hosts over WinRM: Invoke-Command -AsJob outside PowerShell.

    import remotejobs

    job = await remotejobs.invoke_command("web[01-20]", "Get-Service WinRM", credential=("ops", password),
                                          authentication="Basic", use_ssl=True)
    async for record in job.stream():
        print(record.computer_name, record.value)

With `as_job=True` a process of its own runs the job, and get_job, receive_job, wait_job, stop_job, remove_job,
set_job, disconnect_job, connect_job and retry_job find it from any other; export_job and import_job carry it to another
computer.

get_session and remove_session are for the PowerShell sessions that hosts hold; test_wsman finds out what is wrong
between here and a host.

`remotejobs.sync` has the same names without await. Names load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remotejobs.api.diagnose import test_wsman
    from remotejobs.api.files import export_job, import_job
    from remotejobs.api.invoke import invoke_command, retry_job, session_option
    from remotejobs.api.jobs import (
        connect_job,
        disconnect_job,
        get_job,
        receive_job,
        remove_job,
        set_job,
        stop_job,
        wait_job,
    )
    from remotejobs.api.sessions import get_session, remove_session
    from remotejobs.auth.credentials import Credential, Secret
    from remotejobs.doctor.findings import Finding, HostDiagnosis
    from remotejobs.errors import RemoteJobsError
    from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
    from remotejobs.jobs.received import ReceivedRecord
    from remotejobs.jobs.sessions import PSSession
    from remotejobs.jobs.watching import JobStateEvent
    from remotejobs.model import Clocks, JobSpec, Limits, Outcome, SessionOption, Stream, Target
    from remotejobs.states import EndReason, JobState
    from remotejobs.wsman.clixml.values import PSObject

__version__ = "0.1.0"

_HOMES = {
    "ChildEnd": "jobs.job",
    "ChildJob": "jobs.job",
    "Clocks": "model",
    "Credential": "auth.credentials",
    "EndReason": "states",
    "Finding": "doctor.findings",
    "HostDiagnosis": "doctor.findings",
    "JobSpec": "model",
    "JobState": "states",
    "JobStateEvent": "jobs.watching",
    "Limits": "model",
    "Outcome": "model",
    "PSObject": "wsman.clixml.values",
    "PSSession": "jobs.sessions",
    "ReceivedRecord": "jobs.received",
    "RemoteJob": "jobs.job",
    "RemoteJobsError": "errors",
    "Secret": "auth.credentials",
    "SessionOption": "model",
    "Stream": "model",
    "Target": "model",
    "connect_job": "api.jobs",
    "disconnect_job": "api.jobs",
    "export_job": "api.files",
    "get_job": "api.jobs",
    "get_session": "api.sessions",
    "import_job": "api.files",
    "invoke_command": "api.invoke",
    "receive_job": "api.jobs",
    "remove_job": "api.jobs",
    "remove_session": "api.sessions",
    "retry_job": "api.invoke",
    "session_option": "api.invoke",
    "set_job": "api.jobs",
    "stop_job": "api.jobs",
    "test_wsman": "api.diagnose",
    "wait_job": "api.jobs",
}
__all__ = [
    "ChildEnd",
    "ChildJob",
    "Clocks",
    "Credential",
    "EndReason",
    "Finding",
    "HostDiagnosis",
    "JobSpec",
    "JobState",
    "JobStateEvent",
    "Limits",
    "Outcome",
    "PSObject",
    "PSSession",
    "ReceivedRecord",
    "RemoteJob",
    "RemoteJobsError",
    "Secret",
    "SessionOption",
    "Stream",
    "Target",
    "connect_job",
    "disconnect_job",
    "export_job",
    "get_job",
    "get_session",
    "import_job",
    "invoke_command",
    "receive_job",
    "remove_job",
    "remove_session",
    "retry_job",
    "session_option",
    "set_job",
    "stop_job",
    "test_wsman",
    "wait_job",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'remotejobs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"remotejobs.{_HOMES[name]}"), name)
