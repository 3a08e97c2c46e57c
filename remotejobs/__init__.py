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

A record's `value` is a natural Python value, a PSObject, or what its stream holds: ErrorRecord (with InnerException and
InvocationInfo), InformationalRecord (warnings, verbose, debug), InformationRecord, ProgressRecord. Int64, Single, Char,
Uri, Version, TimeSpan and their kin keep what .NET has beyond Python's types, and behave like these.

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
    from remotejobs.api.pipeline import Pipeline
    from remotejobs.api.sessions import get_session, remove_session
    from remotejobs.auth.credentials import Credential, Secret
    from remotejobs.doctor.findings import Finding, HostDiagnosis
    from remotejobs.errors import RemoteJobsError
    from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
    from remotejobs.jobs.received import ReceivedRecord
    from remotejobs.jobs.sessions import PSSession
    from remotejobs.jobs.watching import JobStateEvent
    from remotejobs.model import (
        Clocks,
        HostInfo,
        InvocationSettings,
        JobSpec,
        Limits,
        Outcome,
        RemoteStreamOptions,
        SessionOption,
        Stream,
        Target,
    )
    from remotejobs.states import EndReason, JobState
    from remotejobs.wsman.clixml.records import (
        ErrorRecord,
        InformationalRecord,
        InformationRecord,
        InnerException,
        InvocationInfo,
        ProgressRecord,
    )
    from remotejobs.wsman.clixml.values import (
        BigInteger,
        Byte,
        Char,
        DateTime,
        Int16,
        Int64,
        OrderedDictionary,
        PSObject,
        SByte,
        ScriptBlock,
        SecureString,
        Single,
        TimeSpan,
        UInt16,
        UInt32,
        UInt64,
        Uri,
        Version,
        XmlDocument,
    )

__version__ = "0.1.0"

_HOMES = {
    "BigInteger": "wsman.clixml.values",
    "Byte": "wsman.clixml.values",
    "Char": "wsman.clixml.values",
    "ChildEnd": "jobs.job",
    "ChildJob": "jobs.job",
    "Clocks": "model",
    "Credential": "auth.credentials",
    "DateTime": "wsman.clixml.values",
    "EndReason": "states",
    "ErrorRecord": "wsman.clixml.records",
    "Finding": "doctor.findings",
    "HostDiagnosis": "doctor.findings",
    "HostInfo": "model",
    "InformationRecord": "wsman.clixml.records",
    "InformationalRecord": "wsman.clixml.records",
    "InnerException": "wsman.clixml.records",
    "Int16": "wsman.clixml.values",
    "Int64": "wsman.clixml.values",
    "InvocationInfo": "wsman.clixml.records",
    "InvocationSettings": "model",
    "JobSpec": "model",
    "JobState": "states",
    "JobStateEvent": "jobs.watching",
    "Limits": "model",
    "OrderedDictionary": "wsman.clixml.values",
    "Outcome": "model",
    "PSObject": "wsman.clixml.values",
    "PSSession": "jobs.sessions",
    "Pipeline": "api.pipeline",
    "ProgressRecord": "wsman.clixml.records",
    "ReceivedRecord": "jobs.received",
    "RemoteJob": "jobs.job",
    "RemoteJobsError": "errors",
    "RemoteStreamOptions": "model",
    "SByte": "wsman.clixml.values",
    "ScriptBlock": "wsman.clixml.values",
    "Secret": "auth.credentials",
    "SecureString": "wsman.clixml.values",
    "SessionOption": "model",
    "Single": "wsman.clixml.values",
    "Stream": "model",
    "Target": "model",
    "TimeSpan": "wsman.clixml.values",
    "UInt16": "wsman.clixml.values",
    "UInt32": "wsman.clixml.values",
    "UInt64": "wsman.clixml.values",
    "Uri": "wsman.clixml.values",
    "Version": "wsman.clixml.values",
    "XmlDocument": "wsman.clixml.values",
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
    "BigInteger",
    "Byte",
    "Char",
    "ChildEnd",
    "ChildJob",
    "Clocks",
    "Credential",
    "DateTime",
    "EndReason",
    "ErrorRecord",
    "Finding",
    "HostDiagnosis",
    "HostInfo",
    "InformationRecord",
    "InformationalRecord",
    "InnerException",
    "Int16",
    "Int64",
    "InvocationInfo",
    "InvocationSettings",
    "JobSpec",
    "JobState",
    "JobStateEvent",
    "Limits",
    "OrderedDictionary",
    "Outcome",
    "PSObject",
    "PSSession",
    "Pipeline",
    "ProgressRecord",
    "ReceivedRecord",
    "RemoteJob",
    "RemoteJobsError",
    "RemoteStreamOptions",
    "SByte",
    "ScriptBlock",
    "Secret",
    "SecureString",
    "SessionOption",
    "Single",
    "Stream",
    "Target",
    "TimeSpan",
    "UInt16",
    "UInt32",
    "UInt64",
    "Uri",
    "Version",
    "XmlDocument",
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
