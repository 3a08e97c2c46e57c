"""Fan a PowerShell script block out to many Windows hosts over WinRM: Invoke-Command -AsJob outside PowerShell.

    import remotejobs

    job = await remotejobs.invoke_command("web[01-20]", "Get-Service WinRM", credential=("ops", password),
                                          authentication="Basic", use_ssl=True)
    async for record in job.stream():
        print(record.computer_name, record.value)

`remotejobs.sync` has the same names without await. Names load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remotejobs.api import invoke_command, session_option
    from remotejobs.auth.credentials import Credential, Secret
    from remotejobs.errors import RemoteJobsError
    from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
    from remotejobs.jobs.received import ReceivedRecord
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
    "JobSpec": "model",
    "JobState": "states",
    "Limits": "model",
    "Outcome": "model",
    "PSObject": "wsman.clixml.values",
    "ReceivedRecord": "jobs.received",
    "RemoteJob": "jobs.job",
    "RemoteJobsError": "errors",
    "Secret": "auth.credentials",
    "SessionOption": "model",
    "Stream": "model",
    "Target": "model",
    "invoke_command": "api",
    "session_option": "api",
}
__all__ = [
    "ChildEnd",
    "ChildJob",
    "Clocks",
    "Credential",
    "EndReason",
    "JobSpec",
    "JobState",
    "Limits",
    "Outcome",
    "PSObject",
    "ReceivedRecord",
    "RemoteJob",
    "RemoteJobsError",
    "Secret",
    "SessionOption",
    "Stream",
    "Target",
    "invoke_command",
    "session_option",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'remotejobs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"remotejobs.{_HOMES[name]}"), name)
