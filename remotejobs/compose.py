"""The one place that names concrete classes and wires them: from a JobSpec to a job that runs, here or in a process of
its own.

Knows everybody. Nobody but the API and the CLI may know it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from remotejobs import detach
from remotejobs.auth.credentials import Credential, packed, unpacked
from remotejobs.clock import SystemClock
from remotejobs.engine.descriptors import Capacity, capacity
from remotejobs.engine.fanout import Fanout
from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    JobError,
    RemoteJobsError,
    StoreError,
    UsageError,
)
from remotejobs.jobs.connecting import begun
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.worker import LeasedJob
from remotejobs.model import CmdCommand, JobSpec, Outcome, SessionOption, Target
from remotejobs.ports import ChildTask, Clock, HostRunner, JobStore, Refusals, Resume
from remotejobs.rows import ChildRow, JobRow, Phase, Request
from remotejobs.session import outcomes
from remotejobs.session.exchange import read_reply
from remotejobs.session.intake import Intake
from remotejobs.session.prepared import PreparedJob, prepare
from remotejobs.session.runner import PsrpRunner, Runner, WinrsRunner
from remotejobs.session.sessions import HostSessions
from remotejobs.states import EndReason
from remotejobs.store.home import DATABASE, state_directory
from remotejobs.store.home import open_store as open_store
from remotejobs.store.memory import MemoryStore
from remotejobs.store.retention import retention
from remotejobs.store.retention import tidy as tidy
from remotejobs.transport.connector import Connector
from remotejobs.transport.names import Names
from remotejobs.transport.tls import client_context

if TYPE_CHECKING:
    from remotejobs.compat.engines import EngineRun
    from remotejobs.doctor.doctor import Doctor

_log = logging.getLogger(__name__)


async def start(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    *,
    notes: Sequence[str] = (),
    store: JobStore | None = None,
    clock: Clock | None = None,
    source: Iterable[Any] | AsyncIterable[Any] | None = None,
) -> RemoteJob:
    """Check a job, store it, and let it run on this loop.

    Args:
        spec: What to do.
        credentials: By name; `""` is the one for targets that name none.
        notes: What an admin should know of it.
        store: Where it is kept; a memory store of its own unless given.
        clock: Time.
        source: The pipeline input of a command that has it `streamed`.

    Raises:
        UsageError: Before anything is stored or connected: a mechanism, a credential, a certificate file.
    """
    clock = clock or SystemClock()
    if store is not None:
        retention()  # a setting that means nothing is said before anything runs
    book: JobStore = store or MemoryStore(clock)
    plan = _plan(spec, credentials)
    if source is not None:
        plan = _fed(plan, source)
    row = await book.submit(plan.spec, (*notes, *plan.notes))
    leased = _leased(row, plan, book, await book.lease(row.id, _owner()), clock)
    leased.start()
    return RemoteJob(book, row.id, leased, clock)


async def submit(
    spec: JobSpec, credentials: Mapping[str, Credential], *, notes: Sequence[str] = (), store: JobStore
) -> JobRow:
    """Check a job and store it, for a worker to run.

    Raises:
        UsageError: As `start`.
    """
    retention()
    plan = _plan(spec, credentials)
    return await store.submit(plan.spec, (*notes, *plan.notes))


async def start_worker(
    job_id: int,
    credentials: Mapping[str, Credential],
    *,
    mode: str = "run",
    home: Path | None = None,
    store: JobStore | None = None,
    starting: detach.Starting | None = None,
) -> None:
    """Start a process of its own for a job, and return when it runs the job.

    Args:
        job_id: The job.
        credentials: By name, as in `start`; they go through a pipe.
        mode: `run` a job just submitted, `connect` one that nobody runs any more, or take it over to `stop` it.
        home: The state directory, if it is not this user's.
        store: The job's store where it is open already.
        starting: The process, where it was begun early.

    Raises:
        JobError: The process ended before it had the job; of a job to `run` nothing will begin.
    """
    home = home or state_directory()
    order = {
        "mode": mode,
        "credentials": {name: packed(each) for name, each in credentials.items()},
    }
    try:
        starting = starting or detach.Starting(home)
        await asyncio.to_thread(starting.order, job_id, order)
    except JobError as error:
        if mode == "run":
            await _end_unbegun(store or open_store(home / DATABASE), job_id, error.message)
        raise


def run_worker(begin: Callable[[], object] | None = None) -> int:
    """Be a worker: take the order from standard input, run the job, return the exit code.

    Args:
        begin: Called when the passwords are known, which no log may show, before anything else is done with them.
    """
    detach.settle()
    order: dict[str, Any] = {}
    try:
        order = detach.take_order()
        detach.keep_log(state_directory(), order)
        credentials = {name: unpacked(each) for name, each in order.pop("credentials").items()}
        if begin:
            begin()
        return run_loop(_serve(int(order["job"]), str(order["mode"]), credentials))
    except RemoteJobsError as error:
        detach.answer(f"error: {error.message}")
        return 1
    finally:
        if order:
            detach.drop_empty_log(state_directory(), int(order["job"]))


def sessions(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    clock: Clock | None = None,
    *,
    memory: Refusals | None = None,
) -> HostSessions:
    """Make what lists and deletes the shells of hosts, as many at a time as a job would have, behind the same guard.

    Args:
        spec: The hosts and how they are reached; its command is not looked at.
        credentials: As in `start`.
        clock: Time.
        memory: Knows of refusals before, as a store does.

    Raises:
        UsageError: As `start`.
    """
    plan = _plan(spec, credentials)
    admit = _admission(spec, Guard(memory, plan.account))
    return HostSessions(plan.prepared, clock or SystemClock(), admit, plan.room.slots)


def doctor(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    clock: Clock | None = None,
    *,
    memory: Refusals | None = None,
) -> Doctor:
    """Make what examines hosts, as many at a time as a job would have, behind the same guard.

    Args:
        spec: The hosts and how they are reached; its command is what the shell step runs.
        credentials: As in `start`; a target without one is examined as far as that goes.
        clock: Time.
        memory: As in `sessions`.

    Raises:
        ConfigurationError: A certificate file that cannot be used. What is wrong with one target is a finding.
    """
    from remotejobs.doctor.doctor import Doctor
    from remotejobs.doctor.patient import Tools
    from remotejobs.doctor.probes import name_of

    option = _absolute(spec.session_option)
    spec, clock = dataclasses.replace(spec, session_option=option), clock or SystemClock()
    connect = Connector(spec, credentials, ())  # nothing is checked yet: what one target cannot do is a finding
    room = capacity(spec.slots)
    prepared = prepare(spec, connect, asyncio.Semaphore(room.spare), user=connect.user)
    bare = dataclasses.replace(option, certificate_file=None, certificate_key_file=None)
    lenient = client_context(dataclasses.replace(bare, skip_ca_check=True, skip_cn_check=True))
    encrypted = any(spec.endpoint(target).ssl for target in spec.targets)
    tools = Tools(
        prepared,
        PsrpRunner(prepared, clock),
        clock,
        Names(),
        name_of,
        _admission(spec, Guard(memory, _accounts(credentials))),
        client_context(dataclasses.replace(bare, skip_ca_check=False, skip_cn_check=False)) if encrypted else lenient,
        lenient,
        connect.context,
        connect.close,
    )
    return Doctor(tools, room.slots)


def _admission(spec: JobSpec, guard: Guard) -> Callable[[Target], AbstractAsyncContextManager[None]]:
    """The guard as what asks hosts one thing passes it; an error leaves through it."""

    @contextlib.asynccontextmanager
    async def admit(target: Target) -> AsyncIterator[None]:
        name, accepted = target.credential or spec.credential or "", None
        await guard.enter(name, _Staying())
        try:
            yield
            accepted = True
        except (AuthenticationError, AccessDeniedError, FaultError) as error:
            if error.details.get("refused", True):  # not: a host or a domain that is not set up for it
                accepted = not isinstance(error, AuthenticationError)
            raise
        finally:
            guard.leave(name, accepted=accepted)

    return admit


def _accounts(credentials: Mapping[str, Credential]) -> Callable[[str], str]:
    """User names of credentials, by their names; empty for the current user. Holds no secret."""
    users = {name: each.username for name, each in credentials.items()}
    return lambda name: users.get(name) or users.get("", "")


class _Staying:
    """Who waits at the guard's gate until it opens, or is cancelled."""

    stop_requested = False


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run a program's main coroutine, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return int(uvloop.run(work))


async def _serve(job_id: int, mode: str, credentials: Mapping[str, Credential]) -> int:
    clock, home = SystemClock(), state_directory()
    store = open_store(home / DATABASE, clock)
    try:
        row = store.job(job_id)
        spec = row.spec if mode == "run" else dataclasses.replace(row.spec, in_disconnected_session=False)
        plan = _plan(spec, credentials, _to_run(row.children, mode))
        epoch = await store.lease(job_id, _owner())
        row = store.job(job_id)  # whoever had it writes no more from here on
        if mode == "connect":
            await _look_for(store, row, epoch)
        elif mode == "stop":
            store.request(job_id, Request.STOP)
        leased = _leased(row, plan, store, epoch, clock)
        if mode == "stop":
            leased.request(Request.STOP)
        leased.start()
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(leased.depart))
        detach.answer(detach.READY)
        try:
            await leased.finished()
        except RemoteJobsError as error:
            then = f" Then: remotejob connect {job_id}" if isinstance(error, StoreError) else ""
            _log.error("The job was not run to its end. %s%s", error.message, then)
            return 1
        tidy(store)
        return 0
    finally:
        store.close()


async def _look_for(store: JobStore, row: JobRow, epoch: int) -> None:
    """Nobody receives from what may be on its host: it is Disconnected until it is found there again."""
    await asyncio.gather(*[store.ledger(row.id, index, epoch).disconnected() for index in begun(row)])


def _to_run(children: Iterable[ChildRow], mode: str) -> list[Target]:
    """The targets whose hosts will be asked for something."""
    return [
        child.target
        for child in children
        if child.outcome is None and (mode != "stop" or child.phase is not Phase.QUEUED)
    ]


async def _end_unbegun(store: JobStore, job_id: int, words: str) -> None:
    """No worker came up: the job must not look as if one would."""
    outcome = Outcome(EndReason.NotStarted, f"Not begun: {words}")
    try:
        epoch = await store.lease(job_id, _owner())
        queued = [n for n, child in enumerate(store.job(job_id).children) if child.phase is Phase.QUEUED]
        await asyncio.gather(*[store.ledger(job_id, index, epoch).finish(outcome) for index in queued])
        await store.release(job_id, epoch)
    except RemoteJobsError as error:
        # one has come up after all, the job is gone, or the store is: who asked hears why no worker came up
        _log.info("job %d: %s", job_id, error.message)


class _Plan(NamedTuple):
    """A job that was checked and can be run."""

    spec: JobSpec
    prepared: PreparedJob
    room: Capacity
    notes: tuple[str, ...]
    account: Callable[[str], str]  # of a credential, by its name
    close: Callable[[], None]  # tickets and hashes go with the job
    engine: EngineRun | None = None  # where it is not our own


def _plan(spec: JobSpec, credentials: Mapping[str, Credential], targets: Sequence[Target] | None = None) -> _Plan:
    """Check what can be checked without connecting.

    Raises:
        UsageError: It cannot be done as written.
    """
    spec = dataclasses.replace(spec, session_option=_absolute(spec.session_option))
    if isinstance(spec.command, CmdCommand) and spec.in_disconnected_session:
        raise UsageError(
            "A cmd shell cannot be disconnected, WinRM does that with PowerShell shells only. Leave "
            "-InDisconnectedSession out; with -AsJob a process here goes on when this one ends.",
            error_id="System.InvalidOperationException",
        )
    connect = Connector(spec, credentials, spec.targets if targets is None else targets)
    room = capacity(spec.slots, _connections(spec))
    notes: tuple[str, ...] = ()
    if room.slots < min(spec.slots, len(spec.targets)):
        held = f"ThrottleLimit {spec.slots} is held at {room.slots} by the limit of open files"
        notes = (f"{held} ({room.limit}; ulimit -n).",)
    secrets = {name: each.secret.reveal for name, each in credentials.items() if each.secret}
    prepared = prepare(spec, connect, asyncio.Semaphore(room.spare), secrets, connect.user)
    if targets is None:  # who takes a job over may do without: what has begun needs them no more
        prepared.secrets.require()
    plan = _Plan(spec, prepared, room, notes, _accounts(credentials), connect.close)
    return plan if spec.engine == "native" else _with_engine(plan, connect, targets)


def _connections(spec: JobSpec) -> int:
    """What one host holds: a stream of input has a connection of its own."""
    return 2 if spec.command.streamed else 1


def _with_engine(plan: _Plan, connect: Connector, targets: Sequence[Target] | None) -> _Plan:
    """The same with an engine that is not our own; its threads go with the job.

    Raises:
        UsageError: It is not installed, or cannot do what the job asks for.
    """
    from remotejobs.compat.engines import EngineRun
    from remotejobs.compat.peer import Manners

    spec, manners = plan.spec, Manners(outcomes, Intake, read_reply)
    asked = spec.targets if targets is None else targets
    engine = EngineRun(spec, asked, connect, plan.room.slots, plan.prepared.secrets.names, manners)

    def close() -> None:
        engine.close()
        plan.close()

    return plan._replace(engine=engine, close=close)


def _fed(plan: _Plan, source: Iterable[Any] | AsyncIterable[Any]) -> _Plan:
    """The same with input, which is closed with the job."""
    from remotejobs.session.feed import Feed
    from remotejobs.wsman.pipes import program_input

    command = plan.spec.command
    feed = Feed(source, program_input(command.code_page)) if isinstance(command, CmdCommand) else Feed(source)

    def close() -> None:
        feed.close()
        plan.close()

    return plan._replace(prepared=plan.prepared._replace(feed=feed), close=close)


def _leased(row: JobRow, plan: _Plan, book: JobStore, epoch: int, clock: Clock) -> LeasedJob:
    """Wire a job whose lease was taken; what has ended already stays as it is."""
    job_id, spec = row.id, plan.spec
    if isinstance(spec.command, CmdCommand) and spec.command.input is not None:
        plan = _fed(plan, spec.command.input)  # a program reads while it writes: its input does not go up at once
    fanout = Fanout(
        [_task(index, child) for index, child in enumerate(row.children) if child.outcome is None],
        lambda index: book.ledger(job_id, index, epoch),
        _runner(plan, clock),
        policy=RetryPolicy(spec.session_option.max_connection_retry_count, spec.clocks.open),
        guard=Guard(book, plan.account),
        clock=clock,
        slots=plan.room.slots,
        total=spec.clocks.total,
        deadline=spec.clocks.deadline,
        credential=spec.credential or "",
        connections=_connections(spec),
    )
    return LeasedJob(book, job_id, epoch, fanout, clock, ended=plan.close)


def _runner(plan: _Plan, clock: Clock) -> HostRunner:
    """What runs this kind of command, with this engine."""
    job = plan.prepared
    if plan.engine is not None:
        begin = plan.engine.begin
        return Runner(job, clock, lambda _, *task: begin(*task))
    return WinrsRunner(job, clock) if isinstance(job.spec.command, CmdCommand) else PsrpRunner(job, clock)


def _task(index: int, child: ChildRow) -> ChildTask:
    """What was never begun is begun; what may have begun is looked for, and never begun a second time."""
    ids = child.start
    if child.phase is Phase.QUEUED:
        return ChildTask(index, child.target, ids)
    found = Resume(
        ids,
        child.shell_id or str(ids.shell_id).upper(),
        child.command_id or str(ids.command_id).upper(),
        started=child.phase >= Phase.STARTED,
        seq=child.seq,
        object_id=child.object_id,
    )
    return ChildTask(index, child.target, found)


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def _absolute(option: SessionOption) -> SessionOption:
    """Files by their full names: whoever runs the job next lives in another folder."""
    names = ("ca_file", "ca_path", "certificate_file", "certificate_key_file")
    found: dict[str, Any] = {name: str(Path(path).absolute()) for name in names if (path := getattr(option, name))}
    return dataclasses.replace(option, **found) if found else option
