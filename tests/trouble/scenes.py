"""The troubles: hosts that reboot in the middle, a disk that fills, many readers while many hosts write."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.kill.harness import fleet
from tests.trouble.harness import Admin, Counts, compare, left, outputs


def numbered(count: int, width: int = 0) -> tuple[str, list[str]]:
    """A script that nobody has run before, and what it writes."""
    marker, tail = str(uuid.uuid4()), "x" * width
    script = f'"{marker}"; 1..{count} | ForEach-Object {{ "$_ {tail}" }}'
    return script, [marker, *(f"{number} {tail}" for number in range(1, count + 1))]


def reboots(folder: Path, rng: random.Random, hosts: int, records: int) -> Counts:
    """Two hosts of three go down for a moment, at an operation of their own; what was running there is gone."""
    names = [f"r{number:03}" for number in range(1, hosts + 1)]
    faults = []
    for name in names[: 2 * hosts // 3]:
        operation = rng.choice(("Create", "Command", "Receive", "Receive", "Delete"))
        after = f"#{rng.randint(2, 6)}" if operation == "Receive" else ""
        faults.append(f"{name}=reboot:{rng.uniform(0, 1):.1f}@{operation}{after}*1")
    counts = Counts("reboots")
    script, expected = numbered(records, 200)
    home = folder / "home"
    home.mkdir()
    with fleet(folder, ",".join(names), tuple(faults)) as running:
        admin = Admin(running, home)
        admin.invoke(script, "-AsJob", "-ThrottleLimit", "64")
        admin.until(left)
        compare(counts, admin, script, expected)
        for child in admin.job()["children"]:
            if child["message"]:
                counts.told.append(child["message"])
    return counts


class Disk:
    """Where jobs are kept, and how it gets full and roomy again."""

    def __init__(self, home: Path, limits: Callable[[], None] | None, make_room: Callable[[], None]) -> None:
        self.home, self.limits, self.make_room = home, limits, make_room


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """A file system of its own, which needs root; OSError where it cannot be had."""
    home = folder / "small"
    home.mkdir(mode=0o700)
    _mount(f"size={size},mode=0700", home)
    try:
        yield Disk(home, None, lambda: _mount(f"remount,size={size * 50}", home))
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)


def _mount(options: str, home: Path) -> None:
    if sys.platform == "win32" or os.geteuid() != 0:
        raise OSError("only root may mount a file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(done.stderr.strip() or "mount refused")


@contextlib.contextmanager
def small_files(folder: Path, size: int) -> Iterator[Disk]:
    """No file of the worker may grow beyond a size (ulimit -f): what anybody may ask of POSIX."""
    if sys.platform == "win32":
        raise OSError("Windows has no limit for the size of files")
    import resource

    home = folder / "limited"
    home.mkdir(mode=0o700)

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    yield Disk(home, limits, lambda: None)


DISKS = {"disk full (a small file system)": small_disk, "disk full (a limit for files)": small_files}


def full_disk(folder: Path, kind: str, hosts: int, records: int, size: int) -> Counts:
    """The disk of the store fills while hosts write; then there is room again, and the job is connected."""
    counts = Counts(kind)
    script, expected = numbered(records, 1000)
    with DISKS[kind](folder, size) as disk, fleet(folder, f"d[001-{hosts:03}]", ("*=silence:1",)) as running:
        admin = Admin(running, disk.home)
        admin.invoke(script, "-AsJob", "-ThrottleLimit", str(hosts // 2), limits=disk.limits)
        job = admin.until(left)
        before = admin.received()
        counts.told += [_ends(job), admin.worker_log(), admin.run("receive", "1", "-Keep").stderr]
        counts.told += sorted({child["message"] for child in job["children"]})
        if _ends(job) == f"{hosts} Completed":
            counts.untrue.append("the disk did not get full")
        disk.make_room()
        while job["state"] == "Disconnected":
            done = admin.run("connect", "1", "-Credential", "sim")
            assert done.returncode == 0, done.stderr
            job = admin.until(left)
        after = admin.received()
        for name, values in before.items():
            if after.get(name, [])[: len(values)] != values:
                counts.untrue.append(f"{name}: what was stored before the disk was full is gone")
        compare(counts, admin, script, expected)
    return counts


def _ends(job: dict[str, Any]) -> str:
    found = Counter(child["reason"] or child["state"] for child in job["children"])
    return ", ".join(f"{count} {name}" for name, count in found.most_common())


def many_readers(folder: Path, readers: int, hosts: int, records: int) -> Counts:
    """Many processes read a job to its end while many hosts write."""
    counts = Counts("readers")
    script, expected = numbered(records)
    home = folder / "home"
    home.mkdir()
    with contextlib.ExitStack() as stack:
        admin = Admin(stack.enter_context(fleet(folder, f"w[0001-{hosts:04}]", ())), home)
        admin.invoke(script, "-AsJob", "-ThrottleLimit", "64")
        words = admin.command("receive", "1", "-FromStart", "-Wait", "-OutputFormat", "Jsonl")
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(readers)]
        errors = stack.enter_context(tempfile.TemporaryFile())
        reading = [subprocess.Popen(words, env=admin.environment, stdout=file, stderr=errors) for file in files]
        codes = [process.wait(600) for process in reading]
        admin.until(left)
        compare(counts, admin, script, expected)
        counts.received.clear()
        for number, (file, code) in enumerate(zip(files, codes, strict=True)):
            file.seek(0)
            got = outputs(file.read().decode())
            counts.received.append(sum(map(len, got.values())))
            for name in admin.hosts.addresses:
                values = got.get(name, [])
                counts.lost += len(set(expected) - set(values))
                counts.doubled += len(values) - len(set(values))
            if code:
                counts.untrue.append(f"reader {number} ended with {code}")
        errors.seek(0)
        counts.told += errors.read().decode().splitlines()[-1:]
    return counts
