"""What the functions share: the store of the state directory, credentials as they may be given, who takes a job over.

Knows where the store is. Must not know any one function.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.jobs.job import TakeOver
from remotejobs.jobs.manager import JobManager
from remotejobs.ports import JobStore

Seconds = float | timedelta | None
Credentials = Credential | tuple[str, str] | Mapping[str, Credential] | None
_Opened = dict[Path, tuple[JobStore, AsyncGenerator[None, None]]]
_stores: WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = WeakKeyDictionary()


def manager_of(store: JobStore | None) -> JobManager:
    """The jobs of a store: the state directory's, unless one is given."""
    store = store_of(store)
    return JobManager(store, take_over=taking_over(store))


def store_of(store: JobStore | None) -> JobStore:
    """The store of the state directory, unless one is given. It is opened once for each event loop.

    It is closed as an asynchronous generator is that nobody has ended: by asyncio.run, or whoever else ends the loop.
    """
    if store is not None:
        return store
    from remotejobs.store.home import open_store, state_directory

    opened, home = _stores.setdefault(asyncio.get_running_loop(), {}), state_directory()
    if home not in opened:
        store = open_store()
        opened[home] = store, _kept(store, opened)
        with contextlib.suppress(StopIteration):  # it has come to its yield
            opened[home][1].asend(None).send(None)
    return opened[home][0]


async def _kept(store: JobStore, opened: _Opened) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        opened.clear()
        await asyncio.sleep(0)  # readers, which end in the same moment, move their cursors first
        store.close()


def home_of(store: JobStore) -> Path:
    """The folder that a worker is given: it opens the store there."""
    if store.path is None:
        raise UsageError("A job in memory cannot be handed to another process: leave out store, or give one on disk.")
    return store.path.parent


def taking_over(store: JobStore) -> TakeOver:
    """What starts a process that takes a job of the store over."""

    async def take_over(job_id: int, mode: str, credentials: Mapping[str, Credential]) -> None:
        from remotejobs import compose

        await compose.start_worker(job_id, credentials, mode=mode, home=home_of(store), store=store)

    return take_over


def credentials_of(given: Credentials) -> Mapping[str, Credential]:
    """Credentials by name; `""` is the one for targets that name none."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple):
        given = Credential(given[0], Secret(given[1]))
    return {"": given}
