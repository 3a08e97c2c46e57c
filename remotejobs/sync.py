"""The API without await: the same names, on a thread with an event loop of its own.

Knows only how to call: one generic facade for every coroutine function, object and asynchronous iterator. Works where a
loop already runs, in a notebook for one. Holds one loop for the life of the process.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from remotejobs import api
from remotejobs.jobs.job import RemoteJob

_T = TypeVar("_T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="remotejobs", daemon=True).start()
            _loop = loop
        return _loop


def _call(work: Coroutine[Any, Any, _T]) -> _T:
    future = asyncio.run_coroutine_threadsafe(work, _running_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # ^C in the caller's thread must not leave the work behind
        raise


def _iterate(items: AsyncIterator[Any]) -> Iterator[Any]:
    async def step() -> Any:
        return await anext(items, _END)

    while (item := _call(step())) is not _END:
        yield item


_END = object()


def blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a coroutine function, or one that returns an asynchronous iterator, an ordinary one."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        async def work() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return _wrap(_call(work()))

    return call


def _wrap(result: Any) -> Any:
    if isinstance(result, RemoteJob):
        return BlockingJob(result)
    return _iterate(result) if hasattr(result, "__anext__") else result


class BlockingJob:
    """A RemoteJob whose methods block. Every attribute is the job's own; what it awaits is awaited on its loop."""

    def __init__(self, job: RemoteJob) -> None:
        self._job = job

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._job, name)
        return blocking(value) if callable(value) else value

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the records as they arrive."""
        iterator: Iterator[Any] = self.stream()
        return iterator

    def __repr__(self) -> str:
        return repr(self._job)


invoke_command = blocking(api.invoke_command)
