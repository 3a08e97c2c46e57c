"""What is wrong between here and a host: Test-WSMan, and much more than that.

Knows PowerShell's parameters. Must not know how a host is examined: doctor/ does that, and compose wires it.
"""

# The name is PowerShell's; this is no test.
# ruff: noqa: PT028

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

from remotejobs.api.common import Credentials, Seconds, credentials_of, store_of
from remotejobs.api.invoke import targets_named
from remotejobs.doctor.findings import HostDiagnosis
from remotejobs.errors import ConfigurationError, StoreError
from remotejobs.model import (
    DEFAULT_CONFIGURATION,
    DEFAULT_THROTTLE_LIMIT,
    Clocks,
    JobSpec,
    ScriptCommand,
    SessionOption,
    Target,
    seconds_of,
)
from remotejobs.ports import JobStore

_MOST_RECEIVED = 1024 * 1024  # bytes of `$PSVersionTable`, which has two thousand


async def test_wsman(
    computer_name: str | Sequence[str | Target],
    *,
    credential: Credentials = None,
    authentication: str = "Default",
    use_ssl: bool = False,
    port: int | None = None,
    application_name: str = "wsman",
    configuration_name: str = DEFAULT_CONFIGURATION,
    session_option: SessionOption | None = None,
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT,
    connect_timeout: Seconds = 10.0,
    timeout: Seconds = 60.0,
    shell: bool = False,
    identify_only: bool = False,
    found: Callable[[HostDiagnosis], None] | None = None,
    store: JobStore | None = None,
) -> list[HostDiagnosis]:
    """Examine hosts, step by step, and say what is wrong, why most likely, and what to do (Test-WSMan).

    The steps: name, port, TLS, what listens, mechanisms that it offers, clock, Identify, Kerberos ticket,
    authentication, quotas, shell. What a step makes impossible is skipped. Nothing about a host is raised: it is in
    what is returned, in the order in which the hosts were named.

    Args:
        computer_name: As for invoke_command.
        credential, authentication, use_ssl, port, application_name: As for invoke_command. Without a credential the
            steps that need one are left out. The password is never sent where TLS is not verified and was to be.
        configuration_name: The session configuration that `shell` opens.
        session_option: As for invoke_command.
        throttle_limit: Hosts at a time; below 1 means 32.
        connect_timeout: For each step at one host; None is off.
        timeout: For all steps at one host; None is off.
        shell: Open a shell, look at `$PSVersionTable` in it, and delete it.
        identify_only: Only what finds out who the host is, as Test-WSMan does; with a credential as that user.
        found: Called with each host's, as soon as it is there.
        store: Where `@job:` of computer_name looks, and which knows of passwords refused before; the state directory's
            unless given.

    Raises:
        UsageError: What was asked for cannot be done as written; nothing was connected.
    """
    from remotejobs import compose
    from remotejobs.doctor.doctor import IDENTIFY_AS, IDENTIFY_ONLY, SHELL, STEPS

    option = dataclasses.replace(
        session_option or SessionOption(),
        maximum_received_data_size_per_command=_MOST_RECEIVED,
        max_connection_retry_count=0,
    )
    connect, total = seconds_of(connect_timeout), seconds_of(timeout)
    spec = JobSpec(
        ScriptCommand("$PSVersionTable"),
        targets_named(computer_name, store).targets,
        throttle_limit=throttle_limit,
        authentication=authentication,
        use_ssl=use_ssl,
        port=port,
        application_name=application_name,
        configuration_name=configuration_name,
        session_option=option,
        clocks=Clocks(connect=connect, authenticate=connect, open=total, total=total),
    )
    credentials = credentials_of(credential)
    doctor = compose.doctor(spec, credentials, memory=_memory(store) if credentials else None)
    if identify_only:
        chosen = IDENTIFY_AS if credentials else IDENTIFY_ONLY
    else:
        chosen = frozenset(step.name for step in STEPS) - (frozenset() if shell else {SHELL})

    async def examined(target: Target) -> HostDiagnosis:
        diagnosis = await doctor.examine(target, chosen)
        if found is not None:
            found(diagnosis)
        return diagnosis

    try:
        return list(await asyncio.gather(*map(examined, spec.targets)))
    finally:
        doctor.close()


def _memory(store: JobStore | None) -> JobStore | None:
    """What knows of passwords refused before; a computer where nothing can be stored is examined from all the same."""
    try:
        return store_of(store)
    except (ConfigurationError, StoreError):
        return None
