"""Where jobs are kept on this computer: the state directory, its store, whether a file there can be shared safely.

Knows the environment, folders and mounts. Must not know what is in the files.
"""

from __future__ import annotations

import os
from pathlib import Path

from remotejobs.errors import ConfigurationError
from remotejobs.ports import Clock, JobStore

VARIABLE = "REMOTEJOBS_HOME"
DATABASE = "jobs.db"
# File systems whose locks do not hold between computers: SQLite's write-ahead log breaks on them.
_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "davfs", "fuse.sshfs", "fuse.gluster")


def state_directory() -> Path:
    """The folder for jobs and logs, made for its owner only where it is not there yet.

    Raises:
        ConfigurationError: It cannot be made.
    """
    folder = Path(os.environ.get(VARIABLE, "")).expanduser()
    if not folder.name:
        import platformdirs

        folder = Path(platformdirs.user_state_dir("remotejobs", appauthor=False))
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder for jobs, {folder}, cannot be made: {error.strerror or error}. Set {VARIABLE} to another one.",
            path=str(folder),
        ) from error
    return folder.absolute()


def log_path(home: Path, job_id: int) -> Path:
    """Where the process that runs a job writes what goes wrong."""
    return home / "logs" / f"job-{job_id}.log"


def open_store(path: Path | None = None, clock: Clock | None = None) -> JobStore:
    """Open the store of this user's jobs, or the file `path`.

    Raises:
        ConfigurationError: The state directory cannot be used.
        StoreError: The file cannot.
    """
    from remotejobs.clock import SystemClock
    from remotejobs.store.sqlite import SqliteStore

    return SqliteStore(path or state_directory() / DATABASE, clock or SystemClock())


def network_file_system(path: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """The type of the network file system that `path` lies on; empty where it lies on none, or nothing can be told."""
    try:
        table = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape")
        place = path.resolve()
    except OSError:
        return ""  # only Linux has the table
    found, longest = "", -1
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        columns = before.split(" ")
        if len(columns) < 5 or not after:
            continue
        mount = columns[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # Of two mounts on one point the later one is seen.
        if len(mount) >= longest and place.is_relative_to(mount):
            found, longest = after.split(" ", 1)[0], len(mount)
    return found if found.startswith(_NETWORK) else ""
