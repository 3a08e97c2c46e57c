"""The pipeline input of a job that comes as a stream: read from its source once, kept for hosts that begin later.

Knows payloads, and that each host gets all of them in order. Must not know what the source is, phases or
outcomes. Memory is bounded: what has been read goes to a file without a name; the source waits while it is ahead of the
fastest host.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterable, Callable, Iterable
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, Protocol

from remotejobs.errors import FaultError, RemoteJobsError, UnreachableError, UsageError
from remotejobs.model import Target
from remotejobs.ports import Clock, Control
from remotejobs.session.exchange import AnswerLostError
from remotejobs.session.link import Link
from remotejobs.session.opening import send
from remotejobs.session.prepared import PreparedJob
from remotejobs.wsman.faults import Means, meaning
from remotejobs.wsman.psrp.messages import pipeline_input
from remotejobs.wsman.shells import Shell

_IN_MEMORY = 1 << 20  # bytes, of all that was read
_AHEAD = 1 << 20  # bytes that the source may be ahead of the fastest host
# Seconds without input after which the connection is not kept: WinRM drops one that is idle for about two minutes, and
# a request that is lost with it cannot be sent again.
_IDLE = 20.0


class Part(NamedTuple):
    """Some input: its payloads, the position behind them, and whether there is nothing behind that."""

    payloads: list[bytes]
    position: int
    last: bool


class Feeding(Protocol):
    """What makes packets for Send of payloads: a Runspace, or the pipes of a program."""

    def feeding(self, inputs: Iterable[bytes], size: int, *, last: bool) -> Iterable[bytes]:
        """Packets of at most `size` bytes; with the last of the input, its end."""
        ...


class Feed:
    """The input of one job.

    Args:
        source: Values. An iterable is read on a thread of its own, and may block; an async one on the job's loop.
        payload: What goes up of a value: a payload of PIPELINE_INPUT unless given. It may raise UsageError.
    """

    def __init__(
        self, source: Iterable[Any] | AsyncIterable[Any], payload: Callable[[Any], bytes] = pipeline_input
    ) -> None:
        self._source, self._payload = source, payload
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - close() closes it
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._news, self._drained = asyncio.Event(), asyncio.Event()
        self._size = self._taken = 0  # bytes in the file, and how far the fastest host is
        self._error = ""
        self._started = self._ended = self._closed = self._telling = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    async def read(self, position: int, most: int) -> Part:
        """Read on at a position, 0 at first; waits until there is something.

        Args:
            position: Where.
            most: Bytes, but for a single value that is larger.

        Raises:
            UsageError: The source failed, or gave what CLIXML cannot carry.
        """
        self._start()
        while True:
            self._news.clear()
            with self._lock:
                payloads, after = self._payloads(position, most)
                last = self._ended and after == self._size
            if last and self._error:
                raise UsageError(self._error)
            if payloads or last:
                self._taken = max(self._taken, after)
                self._room.set()
                self._drained.set()
                return Part(payloads, after, last)
            await self._news.wait()

    def close(self) -> None:
        """The job is over: the source is read no more."""
        self._closed = True
        self._room.set()
        if self._task is not None:
            self._task.cancel()
        with self._lock:
            self._file.close()

    def _start(self) -> None:
        if self._started:
            return
        self._started, self._loop = True, asyncio.get_running_loop()
        if isinstance(self._source, AsyncIterable):
            self._task = self._loop.create_task(self._pull_async(self._source))
        else:
            # not of the pool, which is waited for when the loop ends: standard input may never end
            threading.Thread(target=self._pull, args=(self._source,), name="remotejobs input", daemon=True).start()

    def _pull(self, source: Iterable[Any]) -> None:
        try:
            for value in source:
                self._put(self._payload(value))
                while self._size - self._taken > _AHEAD and not self._closed:
                    self._room.clear()
                    self._room.wait(1.0)
                if self._closed:
                    return
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises
            self._error = _failed(error)
        self._end()

    async def _pull_async(self, source: AsyncIterable[Any]) -> None:
        try:
            async for value in source:
                self._put(self._payload(value))
                while self._size - self._taken > _AHEAD:
                    self._drained.clear()
                    await self._drained.wait()
        except Exception as error:  # noqa: BLE001 - likewise
            self._error = _failed(error)
        self._end()

    def _put(self, payload: bytes) -> None:
        with self._lock:
            if self._closed:
                return
            self._file.seek(self._size)
            self._file.write(len(payload).to_bytes(4, "little") + payload)
            self._size += 4 + len(payload)
        self._tell()

    def _end(self) -> None:
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if self._telling:
            return
        assert self._loop is not None
        self._telling = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._told)

    def _told(self) -> None:
        self._telling = False
        self._news.set()

    def _payloads(self, position: int, most: int) -> tuple[list[bytes], int]:
        found: list[bytes] = []
        self._file.seek(position)
        end = position
        while end < self._size:
            size = int.from_bytes(self._file.read(4), "little")
            if found and end + 4 + size - position > most:
                break
            found.append(self._file.read(size))
            end += 4 + size
        return found, end


def _failed(error: Exception) -> str:
    words = error.message if isinstance(error, RemoteJobsError) else f"{type(error).__name__}: {error}"
    return f"What gives the input failed here: {words}"


async def give(
    feed: Feed,
    job: PreparedJob,
    target: Target,
    control: Control,
    clock: Clock,
    shell: Shell,
    runspace: Feeding,
    command_id: str,
) -> RemoteJobsError | None:
    """Send all input to a command that runs, and its end, on a connection beside the one that receives.

    A value is sent when the host has answered to the ones before, so a host that is slow slows the source down.

    Returns:
        Why the command may not have got all of it; None where it has, or has ended without.
    """
    link = Link(job, target, control, clock)
    opened, position = False, 0
    try:
        while True:
            try:
                with clock.timeout(_IDLE):
                    part = await feed.read(position, shell.payload_size)
            except TimeoutError:
                link.transport.close()
                opened = False
                part = await feed.read(position, shell.payload_size)
            for packet in runspace.feeding(part.payloads, shell.payload_size, last=part.last):
                if not opened:
                    link.transport = job.connect(target)
                    await link.within(link.transport.open(), "connect")
                    opened = True
                try:
                    await _patiently(link, shell, command_id, packet, clock)
                except AnswerLostError:
                    raise
                except UnreachableError as error:
                    if "status" in error.details:
                        raise
                    await link.restore(error)  # not a byte has left
                    await _patiently(link, shell, command_id, packet, clock)
            position = part.position
            if part.last:
                return None
    except RemoteJobsError as error:
        return None if isinstance(error, FaultError) and meaning(error).means is Means.GONE else error
    finally:
        link.transport.close()


async def _patiently(link: Link, shell: Shell, command_id: str, packet: bytes, clock: Clock) -> None:
    """Send; a command that does not read keeps its host busy for as long as it likes."""
    while True:
        try:
            return await send(link, shell, command_id, packet, clock)
        except FaultError as fault:
            if meaning(fault).means is not Means.BUSY:
                raise
