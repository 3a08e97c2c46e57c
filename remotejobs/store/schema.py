"""The file: its tables, its versions, how it is opened, and what goes wrong with it in words.

Knows SQLite. Must not know jobs as Python objects.

`job` has what every list of jobs shows, `plan` what was submitted (the specification and 64 random bytes for each
child: its instance id, shell id, command id, session id), `progress` what the run of a child came to (written by who
has the lease, absent until it begins), `mark` what readers did to a child (absent until one does), `record` what hosts
sent. A child's key is `job << 32 | index`, a record's `job << 32 | arrival number`, so that each job is one range of
each table and is read in order without a second index. `trash` lists jobs whose rows are still to be deleted,
`refusal` which accounts hosts have refused, in whatever job.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from remotejobs.errors import StoreError
from remotejobs.store.home import network_file_system

SHIFT: Final = 32
_BUSY_SECONDS: Final = 30.0
_WAL_BYTES: Final = 16 * 1024 * 1024

MIGRATIONS: Final = (
    """
    CREATE TABLE sequence (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL);
    INSERT INTO sequence VALUES (1, 1);
    CREATE TABLE job (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        location TEXT NOT NULL,
        instance_id BLOB NOT NULL,
        began REAL NOT NULL,
        ended REAL,
        counts TEXT NOT NULL,
        last_change INTEGER,
        notes TEXT NOT NULL,
        requests TEXT NOT NULL DEFAULT '',
        lease_owner TEXT,
        lease_epoch INTEGER NOT NULL DEFAULT 0,
        lease_seen REAL NOT NULL DEFAULT 0,
        cursor INTEGER NOT NULL DEFAULT 0,
        last_number INTEGER NOT NULL DEFAULT 0,
        version INTEGER NOT NULL DEFAULT 0,
        marks INTEGER NOT NULL DEFAULT 0,
        cursors INTEGER NOT NULL DEFAULT 0,
        children INTEGER NOT NULL
    );
    CREATE TABLE plan (job INTEGER PRIMARY KEY, spec TEXT NOT NULL, ids BLOB NOT NULL);
    CREATE TABLE progress (
        id INTEGER PRIMARY KEY,
        state INTEGER NOT NULL,
        phase INTEGER NOT NULL,
        began REAL,
        ended REAL,
        seen REAL,
        seq INTEGER NOT NULL,
        object_id INTEGER NOT NULL,
        error_count INTEGER NOT NULL,
        shell_id TEXT NOT NULL,
        command_id TEXT NOT NULL,
        last_number INTEGER NOT NULL,
        end_order INTEGER,
        changed INTEGER NOT NULL,
        outcome TEXT,
        failure BLOB
    );
    CREATE TABLE mark (
        id INTEGER PRIMARY KEY,
        cursor INTEGER NOT NULL DEFAULT 0,
        told INTEGER NOT NULL DEFAULT 0,
        stop_requested INTEGER NOT NULL DEFAULT 0,
        changed INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE record (
        id INTEGER PRIMARY KEY,
        child INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        stream INTEGER NOT NULL,
        object_id INTEGER NOT NULL,
        time REAL NOT NULL,
        raw BLOB NOT NULL
    );
    CREATE UNIQUE INDEX record_once ON record (child, object_id);
    CREATE TABLE trash (job INTEGER PRIMARY KEY);
    """,
    # so many of its ends, in their order, have been received
    "ALTER TABLE job ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
    # set after the submit
    "ALTER TABLE job ADD COLUMN throttle_limit INTEGER",
    # logons that were refused of late, of all jobs
    "CREATE TABLE refusal (account TEXT NOT NULL, time REAL NOT NULL)",
)


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open the file, made and brought to the newest version if need be. Transactions are begun by hand.

    Args:
        path: The file; its folder is there.
        durable: A commit is on the disk when it returns.

    Raises:
        StoreError: It cannot be used.
    """
    connection: sqlite3.Connection | None = None
    try:
        _prepare(path)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _open(connection, path)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA fullfsync = ON" if durable else "PRAGMA fullfsync = OFF")  # macOS only
    except (sqlite3.Error, OSError, StoreError) as error:
        if connection is not None:
            connection.close()
        raise error if isinstance(error, StoreError) else store_error(path, error) from error
    return connection


def store_error(path: Path, error: Exception) -> StoreError:
    """What went wrong with the file, and what to do."""
    code, number = getattr(error, "sqlite_errorcode", 0) & 0xFF, getattr(error, "errno", 0)
    if code == sqlite3.SQLITE_FULL or number == errno.ENOSPC:
        words = "the disk is full. Make room, then try again; what was stored before is kept"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or number in (errno.EACCES, errno.EPERM, errno.EROFS):
        words = (
            "it may not be written by this user. Change the permissions of the file and its folder, or set "
            "REMOTEJOBS_HOME to another folder"
        )
    elif code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        words = (
            f"it is damaged, or no job store ({error}). Move it away to begin with an empty one; the sqlite3 program's "
            "command .recover may save what is in it"
        )
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        words = "another process has held it locked for too long. Try again, or end that process"
    elif code == sqlite3.SQLITE_CANTOPEN:
        words = "it cannot be opened. Look whether its folder is there and may be written by this user"
    elif code == sqlite3.SQLITE_IOERR:
        words = f"the disk answered with an error ({error}). Look at the disk, then try again"
    else:
        words = str(error) or type(error).__name__
    return StoreError(f"The job store {path}: {words}.", path=str(path))


def _prepare(path: Path) -> None:
    """Refuse a place that cannot be shared; make the file for its owner only (SQLite's side files follow it)."""
    network = network_file_system(path.parent)
    if network:
        raise StoreError(
            f"The job store {path} lies on a network file system ({network}), where several processes cannot share it "
            "safely. Set REMOTEJOBS_HOME to a folder on a disk of this computer.",
            path=str(path),
        )
    # Only where it is not there yet: closing a file drops all locks that this process has on it, SQLite's too, and then
    # another process may take the log from under an open connection.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _open(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version == 0:
        # only heard before the first table
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA page_size = 8192")  # a service as CLIXML is 2 KB: three a page, not one
    _write_ahead(connection, path)
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if version < len(MIGRATIONS):
        _migrate(connection)
        version = _version(connection)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The job store {path} was written by a later version of remotejobs (format {version}, this one knows "
            f"{len(MIGRATIONS)}). Use that version, or set REMOTEJOBS_HOME to another folder.",
            path=str(path),
            format=version,
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    """Switch the log on; two processes that make the file at once get in each other's way, without SQLite waiting."""
    for left in range(100, -1, -1):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not left:
                raise
        time.sleep(0.05)
    if mode != "wal":
        raise StoreError(
            f"The job store {path} lies where SQLite's write-ahead log cannot be used. Set REMOTEJOBS_HOME to a folder "
            "on a disk of this computer.",
            path=str(path),
        )


def _migrate(connection: sqlite3.Connection) -> None:
    """One transaction for all: another process may have been first, so the version is read again inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_version(connection), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
