"""What the functions share: the store of the state directory, credentials as they may be given, who takes a job over.

Knows where the store is. Must not know any one function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
_stores: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Path, JobStore]] = WeakKeyDictionary()


def manager_of(store: JobStore | None) -> JobManager:
    """The jobs of a store: the state directory's, unless one is given."""
    store = store_of(store)
    return JobManager(store, take_over=taking_over(store))


def store_of(store: JobStore | None) -> JobStore:
    """The store of the state directory, unless one is given. It is opened once for each event loop."""
    if store is not None:
        return store
    from remotejobs.store.home import open_store, state_directory

    home = state_directory()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return open_store()
    if loop not in _stores or _stores[loop][0] != home:
        _stores[loop] = home, open_store()
    return _stores[loop][1]


def home_of(store: JobStore) -> Path:
    """The folder that a worker is given: it opens the store there."""
    path = getattr(store, "path", None)
    if not isinstance(path, Path):
        raise UsageError("A job in memory cannot be handed to another process: leave out store, or give one on disk.")
    return path.parent


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
