"""Room on the disk for the ends of what runs: a spare file that is given up when the disk is full.

Knows the file and its neighbour. Must not know what is written. Without it a job that a full disk stops could not say
so in the store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

SPARE_BYTES: Final = 512 * 1024
_PIECE: Final = 64 * 1024
_LOG_PAGES: Final = 1000  # SQLite's own default for when the log is copied into the file
_WAIT: Final = 1000


def spare_file(path: Path) -> Path:
    """The spare file beside the store."""
    return path.with_name(path.name + "-spare")


class Room:
    """The spare file of one writer.

    Args:
        connection: The writer's.
        path: The store's file.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._spare = spare_file(path)
        self.short = False
        self.keep()

    def keep(self) -> None:
        """Make the spare file where it is not there; a disk that has no room for it is no error yet."""
        try:
            with open(self._spare, "xb", opener=_private) as file:
                # zeros may take no room at all
                file.writelines(os.urandom(_PIECE) for _ in range(SPARE_BYTES // _PIECE))
        except FileExistsError:
            pass
        except OSError:
            self._remove()
            return
        if self.short:
            self.short = False
            self._log(_LOG_PAGES)

    def give_up(self) -> None:
        """The disk is full: begin the write-ahead log anew, else leave what the spare file held to it alone."""
        if self.short:
            return
        with contextlib.suppress(sqlite3.Error):
            (before,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {_WAIT}")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {before}")
        self._log(0)  # copying the log makes the file grow: not into this room
        self.short = True
        self._remove()

    def _log(self, pages: int) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._spare.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
