"""One thread that commits what a process writes: all that waits in one transaction, while the next batch gathers.

Knows the book, SQLite and futures of event loops. Must not know what the operations mean. An
operation that comes alone is committed alone, at once; where they come in crowds the thread gives the next crowd a
moment to come together. Who writes waits for the commit: that alone bounds the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from remotejobs.errors import RemoteJobsError, StoreError
from remotejobs.store.book import Book, News
from remotejobs.store.room import Room
from remotejobs.store.schema import store_error

# So many operations are committed together at most: another process that writes waits no longer than for these.
_BATCH = 1024
# Seconds. A commit costs the same for one operation as for twenty; a host's round trip takes far longer than this.
_GATHERING = 0.006


class _Operation(NamedTuple):
    future: asyncio.Future[Any] | None
    loop: asyncio.AbstractEventLoop | None
    method: Callable[..., Any]
    arguments: tuple[Any, ...]


class Writer:
    """The thread and its queue.

    Args:
        path: The file, for messages.
        open_connection: Opens it; called in the thread.
        committed: Called on the loop after each batch, with what it wrote, by job.
    """

    def __init__(
        self,
        path: Path,
        open_connection: Callable[[], sqlite3.Connection],
        committed: Callable[[dict[int, News]], None],
    ) -> None:
        self._path = path
        self._open = open_connection
        self._committed = committed
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._unanswered = 0
        self._thread = threading.Thread(target=self._work, name="remotejobs store", daemon=True)
        self._thread.start()

    def put(self, method: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Queue `method(book, *arguments)`; the future has its result when it is committed."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._unanswered += 1
        self._queue.put(_Operation(future, loop, method, arguments))
        return future

    def send(self, method: Callable[..., Any], *arguments: Any) -> None:
        """Queue what nobody waits for: should it fail, nothing is lost that matters."""
        self._queue.put(_Operation(None, None, method, arguments))

    @property
    def busy(self) -> bool:
        """Somebody waits for a commit: the file is likely locked by it, and there will be another moment to write."""
        return self._unanswered > 0

    def close(self) -> None:
        """Commit what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        book = room = None
        batch: list[_Operation] = []
        while (operation := self._queue.get()) is not None:
            if len(batch) > 1:
                time.sleep(_GATHERING)
            batch, last = [operation], False
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH and not last:
                    following = self._queue.get_nowait()
                    if following is None:
                        last = True
                    else:
                        batch.append(following)
            try:
                if connection is None or book is None or room is None:
                    connection = self._open()
                    book, room = Book(connection), Room(connection, self._path)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                self._resolve(batch, [self._words(error)] * len(batch), {})
            else:
                self._together(connection, book, room, batch)
            if last:
                break
        if connection is not None:
            connection.close()

    def _together(self, connection: sqlite3.Connection, book: Book, room: Room, batch: list[_Operation]) -> None:
        """Commit a batch; where that fails, one by one: what one host sent must not fail another."""
        try:
            results = self._commit(connection, book, batch)
        except Exception as error:  # noqa: BLE001 - as above
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
            if full:
                room.give_up()
            for operation in batch:
                large = full and operation.method in (Book.append, Book.submit)
                # On a full disk the room that is left is for ends; of a locked file each would wait as long again.
                if large or code == sqlite3.SQLITE_BUSY or (len(batch) == 1 and not full):
                    self._resolve([operation], [self._words(error)], {})
                else:
                    self._alone(connection, book, operation)
        else:
            if room.short:
                room.keep()  # somebody may have made room
            self._resolve(batch, results, book.news)

    def _alone(self, connection: sqlite3.Connection, book: Book, operation: _Operation) -> None:
        try:
            results, news = self._commit(connection, book, [operation]), book.news
        except Exception as error:  # noqa: BLE001 - as above
            results, news = [self._words(error)], {}
        self._resolve([operation], results, news)

    def _commit(self, connection: sqlite3.Connection, book: Book, batch: list[_Operation]) -> list[Any]:
        """One transaction. An operation that is refused wrote nothing, and does not hinder the others."""
        results: list[Any] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            book.begin()
            for _, _, method, arguments in batch:
                try:
                    results.append(method(book, *arguments))
                except RemoteJobsError as refused:
                    results.append(refused)
            book.flush()
            connection.execute("COMMIT")
        except BaseException:
            book.forget()
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        return results

    def _words(self, error: Exception) -> RemoteJobsError:
        if isinstance(error, RemoteJobsError):
            return error
        if isinstance(error, sqlite3.Error):
            return store_error(self._path, error)
        return StoreError(f"The job store {self._path}: {type(error).__name__}: {error}.", path=str(self._path))

    def _resolve(self, batch: list[_Operation], results: list[Any], news: dict[int, News]) -> None:
        """Wake those who wait: one call for each event loop, and there is nearly always one."""
        for loop in {operation.loop for operation in batch}:
            if loop is None:
                continue
            mine = [
                (operation.future, result)
                for operation, result in zip(batch, results, strict=True)
                if operation.loop is loop and operation.future is not None
            ]
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._tell, mine, news)

    def _tell(self, mine: list[tuple[asyncio.Future[Any], Any]], news: dict[int, News]) -> None:
        self._unanswered -= len(mine)
        for future, result in mine:
            if not future.done():
                if isinstance(result, RemoteJobsError):
                    future.set_exception(_own(result))
                else:
                    future.set_result(result)
        self._committed(news)


def _own(error: RemoteJobsError) -> RemoteJobsError:
    """An exception of its own for each who waits: a traceback belongs to one."""
    copy = type(error)(error.message, error_id=error.error_id, **error.details)
    copy.__cause__ = error.__cause__
    return copy
