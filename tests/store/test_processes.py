"""Several processes on one file: they write, they read, they are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from remotejobs.clock import SystemClock
from remotejobs.rows import Phase
from remotejobs.store.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from pathlib import Path
from remotejobs.clock import SystemClock
from remotejobs.model import JobSpec, Record, ScriptCommand, Stream, Target
from remotejobs.store.sqlite import SqliteStore

async def main(path, hosts, records):
    store = SqliteStore(Path(path), SystemClock())
    row = await store.submit(JobSpec(ScriptCommand("1"), tuple(Target(f"web{n}") for n in range(hosts))))
    epoch = await store.lease(row.id, "child process")
    print(row.id, flush=True)
    async def host(child):
        ledger = store.ledger(row.id, child, epoch)
        await ledger.starting()
        await ledger.started("S", "C")
        for seq in range(1, records + 1):
            await ledger.append([Record(seq, Stream.Output, b"<S>x</S>" * 20, seq, 0.0)])
            print(child, seq, flush=True)
    await asyncio.gather(*map(host, range(hosts)))
    store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def writer(path: Path, hosts: int, records: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), str(hosts), str(records)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with writer(path, 8, 100_000) as process:
        assert process.stdout is not None
        job_id = int(process.stdout.readline())
        told = [process.stdout.readline() for _ in range(300)]
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)
    if sys.platform != "win32":
        assert process.returncode == -signal.SIGKILL
    acknowledged = dict.fromkeys(range(8), 0)
    for line in told:
        if line.endswith("\n"):
            child, seq = map(int, line.split())
            acknowledged[child] = max(acknowledged[child], seq)
    store = SqliteStore(path, SystemClock())
    kept: dict[int, list[int]] = {child: [] for child in range(8)}
    for arrival in store.read(job_id, 0, 1_000_000):
        kept[arrival.child].append(arrival.record.seq)
    children = list(store.job(job_id).children)
    integrity = store._connection.execute("PRAGMA integrity_check").fetchone()
    store.close()
    assert integrity == ("ok",)
    for child, seqs in kept.items():
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= acknowledged[child]
        assert (children[child].seq, children[child].phase) == (len(seqs), Phase.STARTED)


def test_two_processes_write_to_one_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with writer(path, 4, 25) as one, writer(path, 4, 25) as two:
        ids = []
        for process in (one, two):
            assert process.stdout is not None
            ids.append(int(process.stdout.readline()))
            assert len(process.stdout.read().splitlines()) == 100
    assert (one.returncode, two.returncode) == (0, 0)
    assert sorted(ids) == [1, 6]
    store = SqliteStore(path, SystemClock())
    for job_id in ids:
        assert [a.number for a in store.read(job_id, 0, 1000)] == list(range(1, 101))
    store.close()


GUARD = """
import asyncio, sys
from pathlib import Path
from remotejobs.clock import SystemClock
from remotejobs.engine.guard import Guard
from remotejobs.errors import AuthenticationError
from remotejobs.store.sqlite import SqliteStore

class Staying:
    stop_requested = False

async def main(path, accepted):
    store, tried = SqliteStore(Path(path), SystemClock()), 0
    guard = Guard(store)
    try:
        for _ in range(9):
            await guard.enter("ops", Staying())
            tried += 1
            guard.leave("ops", accepted=accepted)
    except AuthenticationError:
        pass
    store.close()
    print(tried)

asyncio.run(main(sys.argv[1], sys.argv[2] == "right"))
"""


def test_one_process_knows_the_refusals_of_another(tmp_path: Path) -> None:
    tried = [
        int(subprocess.check_output([sys.executable, "-c", GUARD, str(tmp_path / "jobs.db"), password], text=True))
        for password in ("wrong", "wrong", "right", "wrong")
    ]
    assert tried == [3, 1, 9, 3]


READER = """
import asyncio, sys
from pathlib import Path
from remotejobs.clock import SystemClock
from remotejobs.store.sqlite import SqliteStore

async def main(path, total):
    store = SqliteStore(Path(path), SystemClock())
    number = 0
    while number < total:
        version = store.version(1)
        while page := store.read(1, number, 100, again=True):
            assert [a.number for a in page] == list(range(number + 1, number + len(page) + 1))
            number = page[-1].number
        if number < total:
            await store.wait_change(1, version)
    seen = {child.seq for child in store.job(1).children}
    store.close()
    print(number, *seen)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_others_read_while_many_hosts_write(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with writer(path, 200, 10) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "1\n"
        arguments = [sys.executable, "-c", READER, str(path), "2000"]
        readers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        assert len(one.stdout.read().splitlines()) == 2000
        said = [reader.communicate()[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert said == ["2000 10\n"] * 4
