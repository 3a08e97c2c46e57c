"""Runs a target on bytes, sees which lines it came by, and says what is wrong: a foreign exception, time or memory.

Knows tracing. Must not know what the bytes mean. Time is counted in lines of Python, the same on every machine.
Code in C is not seen by that, so that a run by hand has a clock for it as well.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple

import remotejobs
from remotejobs.errors import RemoteJobsError

Run = Callable[[bytes], object]
Edges = set[tuple[int, int]]

LINES: Final = 20_000, 30  # that any input may cost, and each of its bytes, as a rule
MEMORY: Final = 1_000_000, 400  # bytes, likewise
SECONDS: Final = 2.0  # of this process, for one input of some KB: not a matter of a slow machine

_OURS: Final = str(Path(remotejobs.__file__).parent)


class Finding(Exception):  # noqa: N818 - it is no error of the harness
    """What a target must not do."""


class _TooLong(BaseException):
    """Not to be caught by what is looked at."""


class Target(NamedTuple):
    """One reader of foreign bytes.

    Attributes:
        run: Gets the bytes; may raise RemoteJobsError.
        seeds: To begin with.
        words: What may be put in anywhere.
        lines: What any input may cost, and each of its bytes.
        memory: Bytes, likewise.
    """

    run: Run
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    lines: tuple[int, int] = LINES
    memory: tuple[int, int] = MEMORY

    def allowed(self, data: bytes) -> int:
        """Lines that an input may cost."""
        return self.lines[0] + self.lines[1] * len(data)


class Tracer:
    """Which lines of the package follow one another, as pairs of numbers that are the same in each run."""

    def __init__(self) -> None:
        self._codes: dict[CodeType, int] = {}
        self._edges: Edges = set()
        self._last = self._left = 0

    def run(self, run: Run, data: bytes, lines: int) -> Edges:
        """Run a target that may cost so many lines.

        Raises:
            Finding: It raised what is no error of ours, or takes too many steps.
        """
        self._edges, self._last, self._left = set(), 0, lines
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            run(data)
        except RemoteJobsError:
            pass
        except _TooLong:
            raise Finding(f"takes more than {lines} lines for {len(data):,} bytes") from None
        except Exception as error:
            sys.settrace(before)
            raise Finding(f"raises {type(error).__name__}: {error!s:.200} {_where(error.__traceback__)}") from error
        finally:
            sys.settrace(before)
        return self._edges

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        base = self._codes.get(frame.f_code)
        if base is None:
            ours = frame.f_code.co_filename.startswith(_OURS)
            base = self._codes[frame.f_code] = (len(self._codes) + 1) << 16 if ours else 0
        return self._line if base else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            here = self._codes[frame.f_code] + frame.f_lineno
            self._edges.add((self._last, here))
            self._last = here
            self._left -= 1
            if self._left < 0:
                raise _TooLong
        return self._line


def measure(run: Run, data: bytes, memory: tuple[int, int] = MEMORY) -> None:
    """Run a target and look at its memory.

    Raises:
        Finding: It takes too much.
    """
    with _traced_memory():
        before, _ = tracemalloc.get_traced_memory()
        with suppress(RemoteJobsError):
            run(data)
        peak = tracemalloc.get_traced_memory()[1] - before
    if peak > memory[0] + memory[1] * len(data):
        raise Finding(f"takes {peak:,} bytes of memory for {len(data):,}")


def clock(run: Run, data: bytes) -> None:
    """Run a target and look at the clock: for what C does (patterns, above all).

    Raises:
        Finding: It takes too long, twice.
    """
    for _ in range(2):
        began = time.process_time()
        with suppress(RemoteJobsError):
            run(data)
        if time.process_time() - began < SECONDS:
            return
    raise Finding(f"takes {SECONDS} s and more for {len(data):,} bytes")


@contextmanager
def _traced_memory() -> Iterator[None]:
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    else:
        tracemalloc.reset_peak()
    try:
        yield
    finally:
        if started:
            tracemalloc.stop()


def _where(traceback: TracebackType | None) -> str:
    place = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename.startswith(_OURS):
            place = f"({code.co_filename.removeprefix(_OURS)}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place
