"""The file: made, brought up to date, or refused in words."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from pathlib import Path

import platformdirs
import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import ConfigurationError, StoreError
from remotejobs.store import home, schema
from remotejobs.store.schema import connect
from remotejobs.store.sqlite import SqliteStore

POSIX = pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def refused(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        SqliteStore(path, ManualClock())
    assert str(path) in caught.value.message
    assert caught.value.details["path"] == str(path)
    return caught.value.message


def test_a_new_file_is_of_this_version_and_gives_space_back(path: Path) -> None:
    connection = connect(path, durable=True)
    try:
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "journal_mode", "auto_vacuum", "synchronous")
        ]
    finally:
        connection.close()
    assert values == [len(schema.MIGRATIONS), "wal", 2, 2]


@POSIX
def test_only_its_owner_may_read_it(path: Path) -> None:
    mask = os.umask(0)
    try:
        store = SqliteStore(path, ManualClock())
        with store._transaction() as execute:
            execute("UPDATE sequence SET next = next")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(mask)
    assert modes == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}


def test_an_older_file_is_brought_up_to_date_and_a_later_one_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        connect(path, durable=False).close()
        later.setattr(
            schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE job ADD COLUMN extra TEXT; CREATE TABLE x (y)")
        )
        connection = connect(path, durable=False)
        connection.execute("SELECT extra FROM job, x")
        assert connection.execute("SELECT next FROM sequence").fetchone() == (1,)
        connection.close()
    words = refused(path)
    assert f"later version of remotejobs (format {len(schema.MIGRATIONS) + 1}, this one knows" in words


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(path, durable=False).close()
    with monkeypatch.context() as later:
        later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE x (y); CREATE TABLE job (id)"))
        assert "already exists" in refused(path)
    connection = connect(path, durable=False)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'x'").fetchone() == (0,)
    connection.close()


def test_a_file_that_is_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 100)
    assert "damaged, or no job store" in refused(path)


def test_a_damaged_file_is_refused_when_the_damage_is_met(path: Path) -> None:
    connect(path, durable=False).close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    store = SqliteStore(path, ManualClock())
    with pytest.raises(StoreError, match="damaged"):
        store.jobs()
    store.close()


def test_a_read_only_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    connect(path, durable=False).close()
    monkeypatch.setattr(os, "open", open_)  # what the system says to anybody but root
    assert "may not be written by this user" in refused(path)


def test_a_write_that_the_system_forbids_is_an_error_in_words(path: Path) -> None:
    store = SqliteStore(path, ManualClock())
    store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="may not be written"), store._transaction() as execute:
        execute("DELETE FROM trash")
    store.close()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "gone" / "jobs.db")


def test_a_file_that_is_held_for_too_long(path: Path) -> None:
    connect(path, durable=False).close()
    other = sqlite3.connect(path, isolation_level=None)
    store = SqliteStore(path, ManualClock())
    store._connection.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held it locked"), store._transaction():
        pass
    other.close()
    store.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what a folder lies on")
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "with blank" / "below"
    place.mkdir(parents=True)
    mount = str(place.parent.resolve()).replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        f"90 27 0:50 / {mount} rw,relatime shared:1 - nfs4 server:/export rw\n"
        f"91 27 0:51 / {mount}x rw - cifs //server/share rw\n"
        "broken\n"
    )
    assert home.network_file_system(place, str(mounts)) == "nfs4"
    assert home.network_file_system(tmp_path, str(mounts)) == ""
    assert home.network_file_system(place, str(tmp_path / "none")) == ""
    monkeypatch.setattr(schema, "network_file_system", lambda folder: "nfs4")
    assert "network file system (nfs4)" in refused(place / "jobs.db")
    assert not (place / "jobs.db").exists()


def test_the_state_directory_is_made_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    monkeypatch.setenv("REMOTEJOBS_HOME", str(folder))
    assert home.state_directory() == folder
    assert folder.is_dir()
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REMOTEJOBS_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match="REMOTEJOBS_HOME"):
        home.state_directory()
    monkeypatch.delenv("REMOTEJOBS_HOME")
    monkeypatch.setattr(platformdirs, "user_state_dir", lambda *names, **options: str(tmp_path / "state"))
    assert home.state_directory() == tmp_path / "state"
