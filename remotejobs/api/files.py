"""A job carried to another computer in a file: export_job there, import_job here.

Knows files and whose a job is. Must not know the format of the file, nor tables: store/ has both.

The file is a copy, and one of the two goes on with the job: a shell has one client at a time, and its host decides who
that is. So what could run twice is not imported: a host that was not begun when the job was exported ends NotStarted
here. The imported job is another client to the hosts (a SessionId of its own): it connects to a shell that is
Disconnected, and is refused one that somebody uses.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from remotejobs.api.common import manager_of, store_of, taking_over
from remotejobs.clock import SystemClock
from remotejobs.errors import ConfigurationError, JobError, UsageError
from remotejobs.jobs import presumed
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.manager import JobName
from remotejobs.model import Outcome, SessionOption
from remotejobs.ports import Clock, JobStore
from remotejobs.rows import ChildRow, JobRow, Phase
from remotejobs.states import EndReason, JobState

_PAGE: Final = 512
_RENEW: Final = 3.0
_EXPORTED: Final = "Exported: if the copy was connected on another computer, the rest of the output is there."
_TRUSTING: Final = {
    "allow_unencrypted": "AllowUnencrypted",
    "skip_ca_check": "SkipCACheck",
    "skip_cn_check": "SkipCNCheck",
}


async def export_job(
    job: JobName, path: str | Path, *, force: bool = False, store: JobStore | None = None
) -> RemoteJob:
    """Write a job with all that was received of it to a file, for import_job on another computer. No secret is in it.

    The job stays where it is. The file is there when it is complete, and only its owner may read it.

    Args:
        job: One job that has ended, is Disconnected, or that nobody runs any more.
        path: The file.
        force: Replace a file that is there.
        store: Where the job is; the state directory's unless given.

    Returns:
        The job.

    Raises:
        JobError: It was not found, or somebody runs it: disconnect it first.
        ConfigurationError: The file is there already, or cannot be written.
    """
    found = manager_of(store).select(job)
    if len(found) != 1 or not isinstance(found[0], RemoteJob):
        raise UsageError(f"Name one whole job to export; {job!r} is not one.", error_id="AmbiguousParameterSet")
    chosen, path = found[0], _absolute(path)
    if path.exists() and not force:
        raise ConfigurationError(
            f"{path} is there already: give another name, or replace it with -Force.", path=str(path)
        )
    async with _standing_still(chosen):
        with _written(path) as file:
            await _write(chosen, file)
        if chosen.row.ended is None:
            chosen.store.note(chosen.id, _EXPORTED)
    return chosen


async def import_job(path: str | Path, *, store: JobStore | None = None) -> RemoteJob:
    """Store a job that export_job wrote, under a new id; its instance id stays.

    Import files of people whom you trust: connect_job gives your credential to the hosts that the file names, in the
    way that it says; the notes of the job tell where that is careless.

    Args:
        path: The file.
        store: Where it will be; the state directory's unless given.

    Raises:
        JobError: The job is here already.
        ConfigurationError: The file cannot be read, is damaged, or is no exported job. Nothing was imported.
    """
    from remotejobs.store.imported import read_job

    store = store_of(store)
    path = _absolute(path)
    try:
        with path.open("rb") as file:
            held = await asyncio.to_thread(read_job, file, str(path))
            row = _here(held.row, held.computer, held.exported, _clock(store).time())
            adopted = await store.adopt(row, held.unread, held.pages)
    except OSError as error:
        raise _unusable(path, "read", error) from error
    return RemoteJob(store, adopted.id, take_over=taking_over(store) if hasattr(store, "path") else None)


async def _write(job: RemoteJob, file: IO[bytes]) -> None:
    import gzip

    from remotejobs import __version__
    from remotejobs.store.exported import header_lines, last_line, record_line

    store, row = job.store, job.row
    unread = [_first_unread(store, job.id, index) for index in range(len(row.children))]
    head = header_lines(
        row, unread, by=f"remotejobs {__version__}", computer=socket.gethostname(), now=_clock(store).time()
    )
    with gzip.GzipFile("", "wb", compresslevel=4, fileobj=file) as out:
        out.writelines(map(str.encode, head))  # here: a row may still read from its store
        after = count = 0
        while page := store.read(job.id, after, _PAGE, again=True):
            await asyncio.to_thread(out.write, "".join(map(record_line, page)).encode())
            after, count = page[-1].number, count + len(page)
        out.write(last_line(count).encode())


def _first_unread(store: JobStore, job_id: int, child: int) -> int | None:
    page = store.read(job_id, 0, 1, children=(child,))
    return page[0].number if page else None


@asynccontextmanager
async def _standing_still(job: RemoteJob) -> AsyncIterator[None]:
    """Keep others from connecting to a job that has not ended, while it is read.

    Raises:
        JobError: Somebody runs it.
    """
    if job.row.ended is not None:  # the state may be presumed
        yield
        return
    store, job_id = job.store, job.id
    if presumed.owned(job.row, _clock(store).time()):
        raise _runs(job)
    try:
        epoch = await store.lease(job_id, f"export by process {os.getpid()} on {socket.gethostname()}")
    except JobError as error:
        if "owner" in error.details:
            raise _runs(job) from error
        raise

    async def renew() -> None:
        while True:
            await asyncio.sleep(_RENEW)
            await store.renew(job_id, epoch)

    renewing = asyncio.create_task(renew())
    try:
        yield
        await store.renew(job_id, epoch)  # what was read while somebody else took it over is not what it is now
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await store.release(job_id, epoch)


def _runs(job: RemoteJob) -> JobError:
    lease = job.row.lease
    return JobError(
        f"Job {job.id} runs ({lease.owner if lease else 'a process is about to'}), and what runs cannot be exported. "
        f"Leave it to its hosts first: remotejob disconnect {job.id}. If that process was killed just now, try again "
        "in ten seconds.",
        error_id="InvalidJobState",
        job=job.id,
    )


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that comes to its name when it is complete and on the disk; before that it is nowhere."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        try:
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb"
            ) as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(path, "written", error) from error


def _unusable(path: Path, doing: str, error: Exception) -> ConfigurationError:
    why = getattr(error, "strerror", None) or error
    return ConfigurationError(f"{path} cannot be {doing}: {why}.", path=str(path))


def _here(row: JobRow, computer: str, exported: float, now: float) -> JobRow:
    """What the job is on this computer."""
    when = datetime.fromtimestamp(exported, UTC).strftime("%Y-%m-%d %H:%M UTC")
    notes = [*(note for note in row.notes if note != _EXPORTED), f"Imported; exported on {computer} at {when}."]
    left = [index for index, child in enumerate(row.children) if child.phase is Phase.QUEUED]
    children = [replace(child, start=child.start._replace(session_id=uuid.uuid4())) for child in row.children]
    for index in left:
        children[index] = _not_begun(children[index], computer, now)
    if left:
        notes.append(
            f"{len(left)} of {len(children)} hosts had not begun: they are NotStarted here, for the job on {computer} "
            "may still begin them. If it will not: remotejob retry with -State NotStarted."
        )
    if open_ones := [child for child in children if child.outcome is None]:
        notes.append(f"A shell has one client: connect the job here or on {computer}, not in both places.")
        notes += _carelessness(row.spec.session_option, open_ones)
    return replace(
        row,
        children=children,
        spec=replace(row.spec, retry_of=None),  # an id of that computer
        ends=[*row.ends, *left],
        ended=row.ended if not left else None if open_ones else now,
        last_change=row.last_change if not left else JobState.Stopped,
        notes=tuple(notes),
    )


def _not_begun(child: ChildRow, computer: str, now: float) -> ChildRow:
    outcome = Outcome(
        EndReason.NotStarted,
        f"Not begun when the job was exported on {computer}. An imported job begins nothing: that could run it twice.",
    )
    return replace(child, state=outcome.state, phase=Phase.ENDED, outcome=outcome, ended=now)


def _carelessness(option: SessionOption, children: list[ChildRow]) -> Iterator[str]:
    """What somebody should know before a credential goes where a file says."""
    set_ = [name for field, name in _TRUSTING.items() if getattr(option, field)]
    elsewhere = [child.target for child in children if child.target.address not in (None, child.target.name)]
    if set_:
        yield f"The file sets {', '.join(set_)}: connect sends the credential without that protection."
    if elsewhere:
        named = [f"{target.name} at {target.address}" for target in elsewhere[:3]]
        more = "" if len(elsewhere) <= len(named) else f" and {len(elsewhere) - len(named)} more"
        yield f"The file says where hosts are ({', '.join(named)}{more}): connect sends the credential there."


def _absolute(path: str | Path) -> Path:
    return Path(path).absolute()


def _clock(store: JobStore) -> Clock:
    clock: Clock | None = getattr(store, "clock", None)
    return clock or SystemClock()
