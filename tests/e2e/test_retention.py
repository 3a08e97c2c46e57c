"""Old jobs go when another one ends, from the command line and in a worker; what runs stays."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.kill.harness import fleet
from tests.trouble.harness import Admin, left

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")


def age(home: Path, days: int) -> None:
    """Let all that has ended have done so so many days ago, and let the store be looked at again."""
    with closing(sqlite3.connect(home / "jobs.db", timeout=30)) as database, database:
        database.execute("UPDATE job SET ended = ended - ? * 86400.0", (days,))
    (home / "jobs.db-tidied").unlink(missing_ok=True)


def names(admin: Admin) -> list[str]:
    done = admin.run("get", "-OutputFormat", "Csv")
    return [line.split(",")[1].strip('"') for line in done.stdout.splitlines()[1:]]


def soon(seen: Callable[[], bool]) -> None:
    """A worker tidies when its job has ended for everybody to see."""
    due = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < due
        time.sleep(0.05)


def test_old_jobs_go_when_another_one_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with fleet(tmp_path, "a,b", ()) as hosts:
        admin = Admin(hosts, home)
        admin.invoke("1..2000 | ForEach-Object { 'x' * 1000 }", "-JobName", "Large")
        admin.until(left)
        full = (home / "jobs.db").stat().st_size
        age(home, 100)
        admin.invoke("'foreground'")
        assert names(admin) == ["Job4"]
        assert (home / "jobs.db").stat().st_size < full / 10

        admin.invoke("Start-Sleep 60", "-JobName", "Running")
        age(home, 100)
        admin.environment["REMOTEJOBS_RETENTION_DAYS"] = "101"
        admin.invoke("'background'", "-JobName", "Kept")
        soon((home / "jobs.db-tidied").exists)
        assert names(admin) == ["Job4", "Running", "Kept"]
        age(home, 2)
        admin.environment["REMOTEJOBS_RETENTION_SIZE"] = "1KB"
        admin.invoke("'background'", "-JobName", "Last")
        soon(lambda: names(admin) == ["Running", "Last"])

        age(home, 100)
        assert admin.run("remove", "-Before", "2100-01-01").returncode == 0
        assert names(admin) == ["Running"]
        assert admin.job(7)["state"] == "Running"
        assert admin.run("stop", "7").returncode == 0

        admin.environment["REMOTEJOBS_RETENTION_SIZE"] = "plenty"
        assert "REMOTEJOBS_RETENTION_SIZE is 'plenty'" in admin.invoke("'never'")
        assert not any("'never'" in scripts for scripts in hosts.scripts().values())
