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
import concurrent.futures
import functools
import inspect
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from remotejobs import api
from remotejobs.api import session_option
from remotejobs.errors import UsageError
from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.states import JobState

__all__ = ["BlockingJob", "invoke_command", "session_option"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_END = object()
_PATIENCE = 0.25 if sys.platform == "win32" else None  # seconds; Windows sees ^C only between waits
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
        return _loop


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

    while (item := _call(step())) is not _END:
        yield item


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
        return [_OnLoop(child) for child in value] if name == "child_jobs" else value

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
    status_message: str
    has_more_data: bool
    notes: list[str]
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

    def __iter__(self) -> Iterator[ReceivedRecord]:
        """Yield the records as they arrive: `stream`."""
        return self.stream()


def _starting(function: Callable[_P, Coroutine[Any, Any, RemoteJob]]) -> Callable[_P, BlockingJob]:
    """Make a coroutine function that starts a job an ordinary one. ^C before it has returned stops the job."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> BlockingJob:
        started: list[RemoteJob] = []

        async def work() -> RemoteJob:
            started.append(await function(*args, **kwargs))
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


invoke_command = _starting(api.invoke_command)
