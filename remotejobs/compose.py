"""The one place that names concrete classes and wires them: from a JobSpec to a job that runs.

Knows everybody. Nobody but the API and the CLI may know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from remotejobs.auth import tokens
from remotejobs.auth.credentials import Credential
from remotejobs.clock import SystemClock
from remotejobs.engine.descriptors import capacity
from remotejobs.engine.fanout import Fanout
from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.errors import ConfigurationError
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import JobSpec, Target
from remotejobs.ports import ChildTask, Clock, JobStore, Transport
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.store.memory import MemoryStore
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.transport.tls import client_context


class _RunningJob:
    """A job that runs as a task of this process's loop: the Running port."""

    def __init__(self, fanout: Fanout, task: asyncio.Task[None]) -> None:
        self._fanout = fanout
        self._task = task

    def stop(self) -> None:
        self._fanout.stop()

    async def finished(self) -> None:
        await asyncio.shield(self._task)


async def start(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    *,
    store: JobStore | None = None,
    clock: Clock | None = None,
) -> RemoteJob:
    """Check a job, store it, and let it run on this loop.

    Args:
        spec: What to do.
        credentials: By name; `""` is the one for targets that name none.
        store: Where it is kept; a memory store of its own unless given.
        clock: Time.

    Raises:
        UsageError: Before anything is stored or connected: a mechanism, a credential, a certificate file.
    """
    clock = clock or SystemClock()
    store = store or MemoryStore(clock)
    connect = _connector(spec, credentials)
    room = capacity(spec.slots)
    prepared = prepare(spec, connect, asyncio.Semaphore(room.spare))
    row = await store.submit(spec)
    if room.slots < min(spec.slots, len(spec.targets)):
        row.notes.append(
            f"ThrottleLimit {spec.slots} is held at {room.slots} by the limit of open files ({room.limit}; ulimit -n)."
        )
    runner = PsrpRunner(prepared, clock)
    job_id = row.id
    fanout = Fanout(
        [ChildTask(index, child.target, child.start) for index, child in enumerate(row.children)],
        lambda index: store.ledger(job_id, index),
        runner,
        policy=RetryPolicy(spec.session_option.max_connection_retry_count, spec.clocks.open),
        guard=Guard(),
        clock=clock,
        slots=room.slots,
        total=spec.clocks.total,
        deadline=spec.clocks.deadline,
        credential=spec.credential or "",
    )
    task = asyncio.get_running_loop().create_task(fanout.run(), name=f"remotejobs job {job_id}")
    return RemoteJob(store, job_id, _RunningJob(fanout, task), clock)


def _connector(spec: JobSpec, credentials: Mapping[str, Credential]) -> Callable[[Target], Transport]:
    """Check every target's way in, then return what makes a connection to one."""
    encrypted = False
    for target in {(t.authentication, t.credential, t.ssl): t for t in spec.targets}.values():
        mechanism, endpoint = target.authentication or spec.authentication, spec.endpoint(target)
        tokens.refuse_clear_text(mechanism, endpoint, spec.session_option.allow_unencrypted)
        tokens.context(mechanism, _credential(spec, target, credentials))
        encrypted = encrypted or endpoint.ssl
    tls = client_context(spec.session_option) if encrypted else None
    names, limits, block = Names(), spec.limits, shared_block()

    def connect(target: Target) -> Transport:
        endpoint = spec.endpoint(target)
        context = tokens.context(target.authentication or spec.authentication, _credential(spec, target, credentials))
        return HttpTransport(endpoint, context, tls=tls, names=names, limits=limits, block=block)

    return connect


def _credential(spec: JobSpec, target: Target, credentials: Mapping[str, Credential]) -> Credential:
    name = target.credential or spec.credential or ""
    found = credentials.get(name)
    if found is None:
        who = f"the credential {name!r}" if name else "a credential"
        raise ConfigurationError(
            f"[{target.name}] needs {who}, and none was given. On the command line: -Credential USER, with "
            "-PasswordFile FILE, REMOTEJOBS_PASSWORD or a terminal to ask on.",
            error_id="CredentialMissing",
        )
    return found
