"""What the trouble runs share: commands as an admin types them, and one line of counts.

The truth about the hosts is what they counted themselves; what was stored is asked of the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remotejobs.store.schema import SHIFT
from tests.kill.harness import Fleet

ROOT = Path(__file__).parents[2]


@dataclass
class Counts:
    """What one run came to; `untrue` are broken promises."""

    trouble: str
    hosts: int = 0
    produced: int = 0
    stored: int = 0
    received: list[int] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    ran_twice: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        each = f"{min(self.received):,}" + ("" if len(set(self.received)) == 1 else f" to {max(self.received):,}")
        readers = f" by each of {len(self.received)} readers" if len(self.received) > 1 else ""
        return (
            f"{self.trouble}: {self.hosts:,} hosts, {self.produced:,} records produced, {self.stored:,} stored, "
            f"{each} received{readers}: {self.lost:,} lost without a word, {self.doubled:,} doubled, {self.ran_twice} "
            f"scripts run twice, {len(self.untrue)} untrue; {reasons}"
        )


class Admin:
    """Somebody with a state directory of his own and the command line."""

    def __init__(self, hosts: Fleet, home: Path) -> None:
        self.hosts, self.home = hosts, home
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "REMOTEJOBS_HOME": str(home),
            "REMOTEJOBS_PASSWORD": "sim",
        }

    def command(self, *words: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "remotejobs", *words]

    def run(self, *words: str, limits: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; `limits` is called in its process before it begins."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=limits,
        )
        if "internal error" in done.stderr or "Traceback" in done.stderr:
            raise AssertionError(f"{words}: {done.stderr}")
        return done

    def invoke(self, script: str, *more: str, limits: Callable[[], None] | None = None) -> str:
        """Run a script on all hosts; returns stderr."""
        words = ("invoke", f"@{self.hosts.servers}", "-Credential", "sim", "-Authentication", "Basic")
        option = "AllowUnencrypted=true,MaxConnectionRetryCount=4,OperationTimeout=5"
        return self.run(*words, "-SessionOption", option, "-ScriptBlock", script, *more, limits=limits).stderr

    def job(self, number: int = 1) -> dict[str, Any]:
        """A job as `get` has it."""
        done = self.run("get", str(number), "-OutputFormat", "Jsonl")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return found

    def until(self, seen: Callable[[dict[str, Any]], bool], number: int = 1) -> dict[str, Any]:
        """Look at a job until something is so."""
        due = time.monotonic() + 300
        while not seen(job := self.job(number)):
            assert time.monotonic() < due, f"job {number}: {job}"
            time.sleep(0.2)
        return job

    def worker_log(self, number: int = 1) -> str:
        """What the job's own process had to say."""
        path = self.home / "logs" / f"job-{number}.log"
        return path.read_text() if path.exists() else ""

    def received(self, number: int = 1) -> dict[str, list[str]]:
        """All output that is stored, by host."""
        done = self.run("receive", str(number), "-FromStart", "-OutputFormat", "Jsonl")
        return outputs(done.stdout)

    def stored(self, number: int = 1) -> int:
        """Output records in the file."""
        with closing(sqlite3.connect(self.home / "jobs.db")) as database:
            ((count,),) = database.execute(
                "SELECT count(*) FROM record WHERE stream = 1 AND id BETWEEN ? AND ?",
                (number << SHIFT, (number + 1) << SHIFT),
            ).fetchall()
        return int(count)


def outputs(lines: str) -> dict[str, list[str]]:
    """What Jsonl has on the output stream, by host."""
    found: dict[str, list[str]] = {}
    for line in lines.splitlines():
        item = json.loads(line)
        if item.get("stream") == "Output":
            found.setdefault(item["computer_name"], []).append(item["value"])
    return found


def left(job: dict[str, Any]) -> bool:
    """Nobody runs it any more: it has ended, or waits to be connected."""
    return job["state"] not in ("NotStarted", "Running")


def compare(counts: Counts, admin: Admin, script: str, expected: list[str], number: int = 1) -> None:
    """Compare what is stored and told with what hosts did: Completed is all, all else a beginning and a sentence."""
    values, hosts = admin.received(number), admin.hosts.counters()
    counts.hosts, counts.stored = len(hosts), admin.stored(number)
    counts.produced = sum(host["records"] for host in hosts.values())
    counts.received.append(sum(map(len, values.values())))
    for child in admin.job(number)["children"]:
        name, reason, message = child["location"], child["reason"], child["message"]
        got, ran = values.get(name, []), hosts[name]["scripts"].get(script, 0)
        counts.reasons[reason or child["state"]] += 1
        counts.ran_twice += ran > 1
        counts.doubled += len(got) - len(set(got))
        if reason == "Completed":
            counts.lost += len(set(expected) - set(got))
        elif got != expected[: len(got)]:
            counts.lost += len(set(expected[: len(got)]) - set(got))
        if (
            (got != expected[: len(got)] and set(got) == set(expected[: len(got)]))
            or (reason == "Completed" and not ran)
            or (reason != "Completed" and not message)
            or (reason == "NotStarted" and ran)
        ):
            counts.untrue.append(f"{name} ran it {ran} times, {len(got)} records, and says {reason}: {message}")
