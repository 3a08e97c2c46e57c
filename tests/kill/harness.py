"""Kill a job's processes at every moment, take it over, and compare what is left with what the hosts did.

Drives the command line only, as an admin would; the truth about the hosts is what they counted themselves.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remotejobs.rows import Phase
from remotejobs.store.schema import SHIFT

SITE = Path(__file__).parent / "site"
HOSTS = 20
STEPS = ("starting", "started", "append", "finish")
LEASE = 1.0  # seconds; a killed process is believed in no longer


@dataclass
class Tally:
    """What some runs came to."""

    kills: int = 0
    jobs: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    ran_twice: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        return (
            f"{self.kills} kills, {self.jobs} jobs, {self.records:,} records: {self.lost} lost, {self.doubled} doubled,"
            f" {self.ran_twice} commands run twice, {len(self.untrue)} untrue ends; {reasons}"
        )


class Fleet:
    """Simulated hosts in a process of their own."""

    def __init__(self, folder: Path, servers: Path, addresses: dict[str, int]) -> None:
        self.folder, self.servers, self.addresses = folder, servers, addresses

    def scripts(self) -> dict[str, dict[str, int]]:
        """How often each host has run each script, by its own count."""
        return {name: counts["scripts"] for name, counts in self.counters().items()}

    def counters(self) -> dict[str, dict[str, Any]]:
        """What each host has done, by its own count."""
        found = {}
        logon = b64encode(b"sim:sim").decode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for name, port in self.addresses.items():
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/counters", headers={"Authorization": f"Basic {logon}"}
            )
            with opener.open(request, timeout=10) as answer:
                found[name] = json.load(answer)
        return found


@contextmanager
def fleet(folder: Path, names: str = f"k[01-{HOSTS}]", faults: tuple[str, ...] = ("*=silence:1",)) -> Iterator[Fleet]:
    """Start simulated hosts; unless said otherwise, a client that is silent for a second has left its shells."""
    servers = folder / "servers.txt"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "remotejobs", "simulate", names, "-Http", "-PowerShell", "builtin"),
            *("-ServerList", str(servers), "-CAFile", str(folder / "sim-ca.pem")),
            *(("-Fault", ",".join(faults)) if faults else ()),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        process.stderr.readline()
        process.stderr.readline()
        addresses = {}
        for line in servers.read_text().splitlines():
            if line and not line.startswith("#"):
                name, *settings = line.split()
                addresses[name] = next(int(s.removeprefix("port=")) for s in settings if s.startswith("port="))
        yield Fleet(folder, servers, addresses)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


class Run:
    """One job and those who kill it."""

    def __init__(self, hosts: Fleet, home: Path, rng: random.Random, tally: Tally) -> None:
        self.hosts, self.home, self.rng, self.tally = hosts, home, rng, tally
        self.count = rng.choice((1, 10, 200, 2000))
        self.script = f'"{uuid.uuid4()}"; 1..{self.count} | ForEach-Object {{ "$_" }}'
        self.marker = self.script.split('"')[1]
        self.killed = home / "killed"
        self.deaths: list[str] = []
        self.window: set[int] = set()

    def cli(self, *words: str, kill: str = "") -> subprocess.CompletedProcess[str]:
        """One command; `kill` says where it or the worker that it starts dies."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(SITE), str(SITE.parents[2]))),
            "REMOTEJOBS_HOME": str(self.home),
            "REMOTEJOBS_PASSWORD": "sim",
            "REMOTEJOBS_LEASE": str(LEASE),
            "REMOTEJOBS_KILL": kill,
            "REMOTEJOBS_KILLED": str(self.killed),
        }
        command = [sys.executable, "-m", "remotejobs", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if "internal error" in done.stderr:
            raise AssertionError(f"{words}: {done.stderr}")
        return done

    def death(self) -> str:
        """Where the next process dies, if it comes so far."""
        if self.rng.random() < 0.1:
            where = f"cli time {self.rng.uniform(0.1, 0.6):.3f}"
        elif self.rng.random() < 0.5:
            where = f"worker time {self.rng.uniform(0.3, 1.5):.3f}"
        else:
            when = self.rng.choice(("before", "after"))
            where = f"worker {self.rng.choice(STEPS)} {when} {self.rng.randint(1, HOSTS)}"
        self.deaths.append(where)
        return where

    def _note_window(self, job: dict[str, Any]) -> None:
        """Which hosts a death left between STARTING and the answer to Command: only these may end Unknown."""
        with closing(sqlite3.connect(self.home / "jobs.db")) as database:
            rows = database.execute(
                "SELECT id FROM progress WHERE phase = ? AND id BETWEEN ? AND ?",
                (Phase.STARTING, job["id"] << SHIFT, (job["id"] + 1) << SHIFT),
            )
            self.window |= {number & 0xFFFFFFFF for (number,) in rows}

    def job(self) -> dict[str, Any] | None:
        """The job as `get` has it; None where the CLI died before it was stored."""
        done = self.cli("get", "-OutputFormat", "Jsonl")
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines() if self.marker in line]
        return found[0] if found else None

    def run(self, deaths: int) -> None:
        """Start the job and kill what runs it, `deaths` times; then let it end, and count."""
        self.tally.jobs += 1
        before = self._kills()
        try:
            self._run(deaths)
        finally:
            self.tally.kills += self._kills() - before

    def _kills(self) -> int:
        return self.killed.stat().st_size if self.killed.exists() else 0

    def _run(self, deaths: int) -> None:
        words: tuple[str, ...] = (
            "invoke",
            "-ComputerName",
            f"@{self.hosts.servers}",
            "-Credential",
            "sim",
            "-Authentication",
            "Basic",
        )
        words += ("-SessionOption", "AllowUnencrypted=true", "-ScriptBlock", self.script, "-AsJob")
        deaths -= 1
        self.cli(*words, kill=self.death())
        job = self.job()
        if job is None:
            assert not any(self.script in scripts for scripts in self.hosts.scripts().values())
            self.tally.reasons["not stored"] += HOSTS
            return
        until = time.monotonic() + 90
        while job["state"] not in ("Completed", "Failed", "Stopped") or any(
            child["state"] in ("NotStarted", "Running", "Disconnected") for child in job["children"]
        ):
            assert time.monotonic() < until, f"job {job['id']} does not come to its end: {job}"
            if job["state"] == "Running":
                time.sleep(0.2)
            else:
                self._note_window(job)
                words = ("connect", str(job["id"]), "-Credential", "sim")
                self.cli(*words, kill=self.death() if deaths > 0 else "")
                deaths -= 1
            job = self.job()
            assert job is not None
        self.check(job)

    def check(self, job: dict[str, Any]) -> None:
        """Compare what is stored with what the hosts did."""
        done = self.cli("receive", str(job["id"]), "-FromStart", "-OutputFormat", "Jsonl")
        values: dict[str, list[str]] = {name: [] for name in self.hosts.addresses}
        for line in done.stdout.splitlines():
            item = json.loads(line)
            if item.get("stream") == "Output":
                values[item["computer_name"]].append(item["value"])
        expected = [self.marker, *(str(n) for n in range(1, self.count + 1))]
        scripts = self.hosts.scripts()
        for index, child in enumerate(job["children"]):
            name, reason = child["location"], child["reason"]
            ran, got = scripts[name].get(self.script, 0), values[name]
            self.tally.reasons[reason] += 1
            self.tally.records += len(got)
            self.tally.ran_twice += ran > 1
            self.tally.doubled += len(got) - len(set(got))
            if reason == "Completed":
                self.tally.lost += len(set(expected) - set(got))
                if got != expected and set(got) == set(expected):
                    self.tally.untrue.append(f"{name}: out of order")
            possible = reason in ("Completed", "NotStarted") or (reason == "Unknown" and index in self.window)
            if not possible or (reason == "Completed") > ran or (reason == "NotStarted" and ran):
                self.tally.untrue.append(
                    f"{name} ran it {ran} times, and says {reason} after {self.deaths}: {child['message']}"
                )
