"""The API without await: the same names, on a thread with an event loop of its own.

Knows only how to call: one generic facade for coroutine functions, ordinary methods and asynchronous iterators. Works
where a loop already runs, in a notebook for one. Holds one loop for the life of the process; all that touches a job
happens on it.

    from remotejobs import sync

    job = sync.invoke_command("web[01-20]", "Get-Service WinRM", credential=("ops", password),
                              authentication="Basic", use_ssl=True)
    for record in job:
        print(record.computer_name, record.value)
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import inspect
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from remotejobs.api import diagnose, files, invoke, jobs, sessions
from remotejobs.api.invoke import session_option
from remotejobs.errors import UsageError
from remotejobs.jobs.job import ChildEnd, ChildJob, JobStateInfo, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.states import JobState

__all__ = [
    "BlockingJob",
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

_P = ParamSpec("_P")
_T = TypeVar("_T")
_END = object()
_PATIENCE = 0.25 if sys.platform == "win32" else None  # seconds; Windows sees ^C only between waits
_CLOSE_SECONDS = 10.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="remotejobs", daemon=True)
            _thread.start()
            atexit.register(_let_go, _loop)
        return _loop


def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    """The program ends: what the loop holds open is closed."""
    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(_CLOSE_SECONDS)


def _call(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` on the loop and wait for it. ^C in the caller's thread cancels it."""
    loop = _running_loop()
    if threading.current_thread() is _thread:
        work.close()
        raise UsageError("A callback of a job cannot wait for the job: it runs on the thread that drives it.")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        while not future.done():
            concurrent.futures.wait([future], _PATIENCE)
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _iterate(items: AsyncIterator[Any]) -> Iterator[Any]:
    async def step() -> Any:
        return await anext(items, _END)

    try:
        while (item := _call(step())) is not _END:
            yield item
    finally:
        # the cursor moves behind what was taken; where a collector drops us on the loop's thread it does so later
        if threading.current_thread() is not _thread:
            with contextlib.suppress(Exception):
                _call(_closed(items))


async def _closed(items: AsyncIterator[Any]) -> None:
    await items.aclose()  # type: ignore[attr-defined]


@overload
def _blocking(
    function: Callable[Concatenate[RemoteJob, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[BlockingJob, _P], _T]: ...
@overload
def _blocking(
    function: Callable[Concatenate[RemoteJob, _P], AsyncIterator[_T]],
) -> Callable[Concatenate[BlockingJob, _P], Iterator[_T]]: ...
@overload
def _blocking(
    function: Callable[Concatenate[RemoteJob, _P], _T],
) -> Callable[Concatenate[BlockingJob, _P], _T]: ...
def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of RemoteJob one of BlockingJob."""

    @functools.wraps(function)
    def call(self: BlockingJob, *args: Any, **kwargs: Any) -> Any:
        async def work() -> Any:
            result = function(self._job, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        result = _call(work())
        return _iterate(result) if inspect.isasyncgen(result) else result

    return call


class _OnLoop:
    """A job or child job whose attributes are read on the loop: only there do they stand still."""

    def __init__(self, job: RemoteJob | ChildJob) -> None:
        self._job: Any = job

    def __getattr__(self, name: str) -> Any:
        async def read() -> Any:
            return getattr(self._job, name)

        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        value = _call(read())
        return _function(value) if callable(value) else _wrapped(value)

    def __repr__(self) -> str:
        return repr(self._job)


class BlockingJob(_OnLoop):
    """A RemoteJob whose methods block; iterating over it yields its records as they arrive.

    ^C ends the call that waits, not the job: `stop` does that.
    """

    id: int
    name: str
    instance_id: uuid.UUID
    location: str
    command: str
    state: JobState
    job_state_info: JobStateInfo
    status_message: str
    has_more_data: bool
    notes: tuple[str, ...]
    owner: str
    throttle_limit: int
    retry_of: int | None
    credential_names: list[str]
    secret_names: dict[str, str]
    outcomes: list[ChildEnd]
    child_jobs: list[ChildJob]
    ps_job_type_name: str
    ps_begin_time: datetime | None
    ps_end_time: datetime | None

    stream = _blocking(RemoteJob.stream)
    events = _blocking(RemoteJob.events)
    receive = _blocking(RemoteJob.receive)
    wait = _blocking(RemoteJob.wait)
    stop = _blocking(RemoteJob.stop)
    request_stop = _blocking(RemoteJob.request_stop)
    disconnect = _blocking(RemoteJob.disconnect)
    connect = _blocking(RemoteJob.connect)
    remove = _blocking(RemoteJob.remove)

    def __iter__(self) -> Iterator[ReceivedRecord]:
        """Yield the records as they arrive: `stream`."""
        return self.stream()


def _starting(function: Callable[_P, Coroutine[Any, Any, RemoteJob]]) -> Callable[_P, BlockingJob]:
    """Make a coroutine function that starts a job an ordinary one. ^C before it has returned stops the job."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> BlockingJob:
        started: list[RemoteJob] = []

        async def work() -> RemoteJob:
            started.append(await function(*map(_bare, args), **kwargs))
            return started[0]

        def undo() -> None:
            for job in started:
                job.request_stop()

        try:
            return BlockingJob(_call(work()))
        except KeyboardInterrupt:
            _running_loop().call_soon_threadsafe(undo)
            raise

    return call


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of the API, or a method of a child job, an ordinary one; jobs go in and come out blocking."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        async def work() -> Any:
            result = function(*map(_bare, args), **kwargs)
            return await result if inspect.isawaitable(result) else result

        result = _call(work())
        return _iterate(result) if inspect.isasyncgen(result) else _wrapped(result)

    return call


def _bare(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value._job if isinstance(value, _OnLoop) else value  # noqa: SLF001


def _wrapped(value: Any) -> Any:
    if isinstance(value, list):
        return [_wrapped(item) for item in value]
    if isinstance(value, RemoteJob):
        return BlockingJob(value)
    return _OnLoop(value) if isinstance(value, ChildJob) else value


invoke_command = _starting(invoke.invoke_command)
retry_job: Callable[..., BlockingJob] = _starting(invoke.retry_job)
get_job = _function(jobs.get_job)
receive_job = _function(jobs.receive_job)
wait_job = _function(jobs.wait_job)
stop_job = _function(jobs.stop_job)
remove_job = _function(jobs.remove_job)
set_job = _function(jobs.set_job)
disconnect_job = _function(jobs.disconnect_job)
connect_job = _function(jobs.connect_job)
export_job = _function(files.export_job)
import_job = _function(files.import_job)
get_session = _function(sessions.get_session)
remove_session = _function(sessions.remove_session)
test_wsman = _function(diagnose.test_wsman)
