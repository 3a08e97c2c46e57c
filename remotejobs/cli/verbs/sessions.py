"""`remotejob sessions`: the PowerShell sessions on hosts; deletes them, or connects the jobs that they belong to.

Knows bound parameters and the API. Must not know how a host is asked, or stores.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from remotejobs.api.invoke import job_targets
from remotejobs.api.jobs import connect_job
from remotejobs.api.sessions import get_session, remove_session
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.invocation import credentials_of
from remotejobs.cli.jobs import FAILED, complain, print_jobs
from remotejobs.cli.lines import one_line
from remotejobs.errors import JobError, RemoteJobsError, TransportError
from remotejobs.jobs.sessions import PSSession
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.views.sessiontable import write_sessions
from remotejobs.views.terminal import terminal_width

_NOT_REACHED = 3
_PARAMETERS = {
    "Name": "name",
    "InstanceId": "instance_id",
    "ConfigurationName": "configuration_name",
    "All": "all",
    "Authentication": "authentication",
    "UseSSL": "use_ssl",
    "Port": "port",
    "ApplicationName": "application_name",
    "SessionOption": "session_option",
    "ThrottleLimit": "throttle_limit",
    "ConnectTimeout": "connect_timeout",
    "Timeout": "timeout",
}


def run(bound: Bound) -> int:
    """Run the verb; 3 where a host was not reached, 1 where something else was refused or not found."""
    values = bound.values
    named = resolve(values["ComputerName"], read_stdin=sys.stdin.read, read_job=job_targets)
    for warning in named.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    found = credentials_of(values, named.targets)
    user = values.get("Credential")
    return asyncio.run(_sessions(values, named, {"": found[user], **found} if user in found else found))


async def _sessions(values: Mapping[str, Any], named: Resolved, credentials: Mapping[str, Credential]) -> int:
    errors: list[RemoteJobsError] = []
    options = {keyword: values[name] for name, keyword in _PARAMETERS.items() if name in values}
    if values.get("State", "All") != "All":
        options["state"] = values["State"]
    found = await get_session(named.targets, credential=credentials, errors=errors, **options)
    if values.get("Remove"):
        await _remove(found, values, errors)
    elif values.get("Connect"):
        await _connect(found, values, credentials, errors)
    else:
        write_sessions(values.get("OutputFormat", "Table"), found, sys.stdout, terminal_width(sys.stdout))
    for error in errors:
        if isinstance(error, TransportError):
            print(one_line(error.message), file=sys.stderr)
        else:
            complain("sessions", error)
    if any(isinstance(error, TransportError) for error in errors):
        return _NOT_REACHED
    return FAILED if errors else 0


async def _remove(found: Sequence[PSSession], values: Mapping[str, Any], errors: list[RemoteJobsError]) -> None:
    """Delete what was named, else what jobs of this store have there."""
    meant = [session for session in found if session.job or "InstanceId" in values]
    if values.get("WhatIf"):
        for each in meant:
            of = f", of job {each.job} ({each.job.state.name})" if each.job else ""
            target = one_line(f"{each.name} ({each.instance_id}) on {each.computer_name}{of}")
            print(f'What if: Performing the operation "Remove" on target "{target}".')
    else:
        await remove_session(meant, force=bool(values.get("Force")), errors=errors)
    if left := len(found) - len(meant):
        what = "1 session of no job here was" if left == 1 else f"{left:,} sessions of no job here were"
        print(f"{what} left alone: -InstanceId names the ones to delete.", file=sys.stderr)


async def _connect(
    found: Sequence[PSSession],
    values: Mapping[str, Any],
    credentials: Mapping[str, Credential],
    errors: list[RemoteJobsError],
) -> None:
    """Take up the jobs of these sessions, each once."""
    errors += [
        JobError(
            f"[{each.computer_name}] The session {each.instance_id} is of no job in this store: only the computer that"
            " began the job, or one that has imported it, can take up its output.",
            error_id="PSSessionConnectFailed",
        )
        for each in found
        if each.job is None
    ]
    connected = []
    for number in dict.fromkeys(each.job.job_id for each in found if each.job):
        try:
            connected += await connect_job(number, credential=credentials)
        except RemoteJobsError as error:
            errors.append(error)
    if connected:
        print_jobs(connected, values)
