"""The PowerShell sessions on hosts: Get-PSSession -ComputerName and Remove-PSSession.

Knows PowerShell's parameters. Must not know how a host is asked: session/ does that, and compose wires it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from remotejobs.api.common import Credentials, Seconds, credentials_of, store_of
from remotejobs.api.invoke import targets_named
from remotejobs.clock import SystemClock
from remotejobs.errors import JobError, RemoteJobsError, TransportError
from remotejobs.jobs.lookup import has_wildcards, wildcard
from remotejobs.jobs.manager import Errors
from remotejobs.jobs.sessions import Command, PSSession, owners
from remotejobs.model import DEFAULT_THROTTLE_LIMIT, Clocks, JobSpec, ScriptCommand, SessionOption, Target, seconds_of
from remotejobs.ports import JobStore
from remotejobs.rows import Phase

if TYPE_CHECKING:
    from remotejobs.session.sessions import HostSession


async def get_session(
    computer_name: str | Sequence[str | Target],
    *,
    name: str | Sequence[str] | None = None,
    instance_id: uuid.UUID | str | Sequence[uuid.UUID | str] | None = None,
    configuration_name: str | None = None,
    state: str | None = None,
    all: bool = False,  # noqa: A002
    credential: Credentials = None,
    authentication: str = "Default",
    use_ssl: bool = False,
    port: int | None = None,
    application_name: str = "wsman",
    session_option: SessionOption | None = None,
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT,
    connect_timeout: Seconds = 30.0,
    timeout: Seconds = 60.0,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[PSSession]:
    """Return the PowerShell sessions on hosts (Get-PSSession -ComputerName), in the order in which these were named.

    Args:
        computer_name: As for invoke_command.
        name: Only sessions with these names; wildcards work.
        instance_id: Only these sessions.
        configuration_name: Only those in this session configuration; wildcards work.
        state: `Connected` or `Disconnected`: only those.
        all: Everybody's, not only those of the user who asks: what an administrator may see.
        credential, authentication, use_ssl, port, application_name: As for invoke_command.
        session_option: As for invoke_command.
        throttle_limit: Hosts at a time; below 1 means 32.
        connect_timeout: For finding and connecting to one host; None is off.
        timeout: For the answers of one host; None is off.
        errors: Takes what went wrong with a host, and what was not found; without it the first of these is raised.
        store: Whose jobs are looked at, and which knows of passwords refused before; the state directory's unless
            given.

    Raises:
        UsageError: What was asked for cannot be done as written; nothing was connected.
        TransportError: RemotePSSessionQueryFailed: a host did not answer.
        JobError: PSSessionNameMatchFail, PSSessionIdMatchFail: none has this name or id.
    """
    from remotejobs import compose

    names = () if name is None else (name,) if isinstance(name, str) else name
    ids = () if instance_id is None else (instance_id,) if isinstance(instance_id, str | uuid.UUID) else instance_id
    chosen = _Chosen(
        {each: wildcard(each) for each in names},
        [str(each).lower() for each in ids],
        wildcard(configuration_name or "*"),
        (state or "").lower(),
    )
    store = store_of(store)
    spec = JobSpec(
        ScriptCommand(""),
        targets_named(computer_name, store).targets,
        throttle_limit=throttle_limit,
        authentication=authentication,
        use_ssl=use_ssl,
        port=port,
        application_name=application_name,
        session_option=session_option or SessionOption(),
        clocks=Clocks(connect=seconds_of(connect_timeout), total=seconds_of(timeout)),
    )
    credentials = credentials_of(credential)
    hosts = compose.sessions(spec, credentials, memory=store)

    async def listed(target: Target) -> list[PSSession] | TransportError:
        known = credentials.get(target.credential or "")
        try:
            found = await hosts.find(target, user="" if all or known is None else known.username)
        except RemoteJobsError as error:
            return _said(target.name, error, "RemotePSSessionQueryFailed")
        return [_session(target, each, partial(hosts.delete, target, each.shell.shell_id)) for each in found]

    per_host = await asyncio.gather(*map(listed, spec.targets))
    answers = [answer for answer in per_host if not isinstance(answer, TransportError)]
    found = [session for sessions in answers for session in sessions if chosen.takes(session)]
    failed = [answer for answer in per_host if isinstance(answer, TransportError)]
    _report([*failed, *chosen.missing(found)], errors)
    whose = owners(store, found, SystemClock().time())
    return [dataclasses.replace(session, job=whose.get(session.instance_id)) for session in found]


async def remove_session(
    session: PSSession | Sequence[PSSession],
    *,
    force: bool = False,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[PSSession]:
    """Delete sessions on their hosts, with all that runs in them (Remove-PSSession), and return those that are gone.

    Args:
        session: What get_session has returned.
        force: Also those of jobs that have not ended: their scripts are cut off, and the jobs learn of it only when
            they ask.
        errors: Takes what went wrong with one session; without it the first of these is raised at the end.
        store: Whose jobs are looked at; the state directory's unless given.

    Raises:
        JobError: SessionInUse: a job that has not ended uses it.
        TransportError: A host did not answer, or refused.
    """
    sessions = [session] if isinstance(session, PSSession) else session
    whose = owners(store_of(store), sessions, SystemClock().time())

    async def removed(each: PSSession) -> PSSession | RemoteJobsError:
        job = whose.get(each.instance_id)
        if job is not None and not job.state.finished and not force:
            return JobError(
                f"[{each.computer_name}] The session {each.instance_id} is used by job {job.job_id}, which is"
                f" {job.state.name} there. Stop that first: remotejob stop {job.job_id}. Or delete the session under"
                " it, with -Force.",
                error_id="SessionInUse",
                computer_name=each.computer_name,
                job=job.job_id,
            )
        try:
            await each.delete()
        except RemoteJobsError as error:
            return _said(each.computer_name, error, "RemovePSSessionFailed")
        return each

    ends = await asyncio.gather(*map(removed, sessions))
    _report([end for end in ends if isinstance(end, RemoteJobsError)], errors)
    return [end for end in ends if isinstance(end, PSSession)]


class _Chosen(NamedTuple):
    """Which sessions of those on the hosts are meant."""

    names: Mapping[str, re.Pattern[str]]
    instance_ids: Sequence[str]
    configuration: re.Pattern[str]
    state: str

    def takes(self, session: PSSession) -> bool:
        return (
            (not self.names or any(pattern.fullmatch(session.name) for pattern in self.names.values()))
            and (not self.instance_ids or session.instance_id in self.instance_ids)
            and self.configuration.fullmatch(session.configuration_name) is not None
            and self.state in ("", session.state.lower())
        )

    def missing(self, found: Sequence[PSSession]) -> Iterator[JobError]:
        """What was named and is nowhere."""
        there = {session.instance_id for session in found}
        for name, pattern in self.names.items():
            if not has_wildcards(name) and not any(pattern.fullmatch(session.name) for session in found):
                yield JobError(f"No session called {name} was found on these hosts.", error_id="PSSessionNameMatchFail")
        for number in self.instance_ids:
            if number not in there:
                yield JobError(
                    f"No session with the instance id {number} was found on these hosts.",
                    error_id="PSSessionIdMatchFail",
                )


def _session(target: Target, found: HostSession, delete: Callable[[], Awaitable[bool]]) -> PSSession:
    shell = found.shell
    return PSSession(
        target.name,
        shell.shell_id.lower(),
        shell.name,
        shell.state,
        found.configuration,
        shell.owner,
        None,
        tuple(Command(*command) for command in found.commands),
        shell.client,
        shell.process_id,
        shell.idle_timeout,
        shell.inactivity,
        shell.run_time,
        shell.buffer_mode,
        delete,
    )


def _said(name: str, error: RemoteJobsError, error_id: str) -> TransportError:
    """What went wrong with a host, in the words of a job on it."""
    from remotejobs.session.outcomes import ended_by

    outcome = ended_by(error, Phase.OPEN)
    details = {"computer_name": name, "reason": outcome.reason.value, **error.details}
    return TransportError(f"[{name}] {outcome.reason}: {outcome.message}", error_id=error_id, **details)


def _report(failed: Sequence[RemoteJobsError], errors: Errors | None) -> None:
    if errors is not None:
        errors += failed
    elif failed:
        raise failed[0]
