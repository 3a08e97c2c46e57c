"""`remotejob test`: what is wrong between here and hosts, and what helps.

Knows bound parameters and the API. Must not know how a host is examined.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.diagnose import test_wsman
from remotejobs.api.invoke import job_targets
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.invocation import credentials_of
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.views.diagnoses import write_diagnoses
from remotejobs.views.terminal import terminal_width

_NOT_WELL = 3
_PARAMETERS = {
    "Authentication": "authentication",
    "UseSSL": "use_ssl",
    "Port": "port",
    "ApplicationName": "application_name",
    "ConfigurationName": "configuration_name",
    "SessionOption": "session_option",
    "ThrottleLimit": "throttle_limit",
    "ConnectTimeout": "connect_timeout",
    "Timeout": "timeout",
    "Shell": "shell",
}


def run(bound: Bound, *, identify_only: bool = False) -> int:
    """Run the verb; 3 where something failed at a host."""
    values = bound.values
    named = resolve(values["ComputerName"], read_stdin=sys.stdin.read, read_job=job_targets)
    for warning in named.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    found = credentials_of(values, named.targets)
    user = values.get("Credential")
    credentials = {"": found[user], **found} if user in found else found
    return asyncio.run(_test(values, named, credentials, identify_only))


async def _test(
    values: Mapping[str, Any], named: Resolved, credentials: Mapping[str, Credential], identify_only: bool
) -> int:
    options = {keyword: values[name] for name, keyword in _PARAMETERS.items() if name in values}
    one = len(named.targets) == 1
    format_name, width = values.get("OutputFormat", "List" if one else "Table"), terminal_width(sys.stdout)

    def write_line(each: Any) -> None:
        write_diagnoses("Jsonl", [each], sys.stdout, None)
        sys.stdout.flush()

    at_once = write_line if format_name.lower() == "jsonl" else None
    diagnoses = await test_wsman(
        named.targets, credential=credentials, identify_only=identify_only, found=at_once, **options
    )
    if at_once is None:
        write_diagnoses(format_name, diagnoses, sys.stdout, width)
    return 0 if all(each.passed for each in diagnoses) else _NOT_WELL
