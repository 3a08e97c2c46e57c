"""The store of the state directory is opened once for each event loop, and closed with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remotejobs.api.common import store_of
from remotejobs.api.invoke import job_targets
from remotejobs.api.jobs import get_job
from remotejobs.errors import JobError, StoreError
from remotejobs.model import JobSpec, ScriptCommand, Target
from remotejobs.ports import JobStore
from remotejobs.store import home


def test_it_is_closed_when_the_loop_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = tmp_path / "one", tmp_path / "two"

    async def main() -> list[JobStore]:
        stores: list[JobStore] = []
        for folder in homes:
            monkeypatch.setenv("REMOTEJOBS_HOME", str(folder))
            await get_job()
            stores.append(store_of(None))
            assert store_of(None) is stores[-1]
            await store_of(None).submit(JobSpec(ScriptCommand("1"), (Target("a"),)))
        assert stores[0].jobs()
        return stores

    first, second = asyncio.run(main())
    for store in (first, second):
        with pytest.raises(StoreError, match="it was closed"):
            store.jobs()
    assert asyncio.run(main())[0] is not first


def test_targets_of_a_job_need_no_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_HOME", str(tmp_path))
    opened: list[JobStore] = []
    before = home.open_store

    def open_store() -> JobStore:
        opened.append(before())
        return opened[-1]

    monkeypatch.setattr(home, "open_store", open_store)
    with pytest.raises(JobError):
        job_targets("7")
    with pytest.raises(StoreError, match="it was closed"):
        opened[0].jobs()


def test_the_calls_without_await_close_it_when_the_program_ends(tmp_path: Path) -> None:
    program = """
import atexit, os, sys
from remotejobs.errors import StoreError

def last() -> None:
    try:
        stores[0].jobs()
    except StoreError as error:
        print(error.message)

atexit.register(last)
from remotejobs import sync
from remotejobs.store import home
stores = []
open_store = home.open_store
home.open_store = lambda: stores.append(open_store()) or stores[-1]
print(sync.get_job())
"""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program],
        env={**os.environ, "REMOTEJOBS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first, second = done.stdout.splitlines()
    assert (first, second.endswith("it was closed."), done.stderr) == ("[]", True, "")
