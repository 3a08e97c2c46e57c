"""The bench: one table of ratios, everything measured side by side in one run. Exits 1 when a budget is missed.

    python -m tests.bench [--quick]

Client CPU only: the simulated hosts run in processes of their own and answer from canned bytes. Every client runs in a
fresh process; what it imports is not counted. In brackets: wall time, and by how much the process grew. Times of a
shared machine are noise: read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import micro

PEER_THREADS = 32


class Budget(NamedTuple):
    """One row of the table."""

    what: str
    ours: str
    peer: str
    ratio: float | None
    limit: float | None  # the ratio must not be under it, with `least`; else not over it
    least: bool = True

    @property
    def met(self) -> bool:
        """True where there is no budget, or it is kept."""
        if self.limit is None or self.ratio is None:
            return True
        return self.ratio >= self.limit if self.least else self.ratio <= self.limit


@contextlib.contextmanager
def hosts(
    objects: int, *, latency: float = 0.0, tls: bool = False, processes: int = 1, pool_answers: int = 2
) -> Iterator[tuple[str, str]]:
    """Canned hosts in processes of their own: yields their addresses and the CA file."""
    with tempfile.TemporaryDirectory() as folder:
        ca = str(Path(folder) / "ca.pem")
        command = [sys.executable, "-m", "remotejobs.sim.canned", "--port", "0", "--objects", str(objects)]
        command += ["--latency", str(latency), "--pool-answers", str(pool_answers)]
        if tls:
            command += ["--ssl", "--ca-file", ca]
        started = []
        try:
            addresses = []
            for _ in range(processes):
                process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                started.append(process)
                assert process.stdout is not None
                addresses.append(process.stdout.readline().split()[-1])
            yield ",".join(addresses), ca
        finally:
            for process in started:
                process.terminate()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


def client(engine: str, count: int, address: str, **options: Any) -> dict[str, Any]:
    """Run one client in its own process."""
    command = [sys.executable, "-m", "tests.bench.client", "--engine", engine, "--hosts", str(count)]
    command += ["--address", address]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name}")
        elif value not in (None, False):
            command += [f"--{name}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["completed"] != count:
        raise SystemExit(f"{engine}: {result['completed']} of {count} hosts completed: {result.get('failure')}")
    return result


def milliseconds(result: dict[str, Any], count: int) -> float:
    """CPU milliseconds per host."""
    return float(result["cpu"]) / count * 1000


def compare(
    title: str, limit: float | None, objects: int, counts: list[int], most_peers: int, scheme: str
) -> Iterator[Budget]:
    """Our CPU per host against pypsrp's, both with as many hosts at a time."""
    with hosts(objects, tls=scheme == "https") as (address, ca):
        options: dict[str, Any] = {"scheme": scheme, "ca": ca if scheme == "https" else None, "slots": PEER_THREADS}
        for count in counts:
            peers = min(count, most_peers)
            times = 5 if count <= 100 else 3 if count <= 1000 else 1
            pairs = [  # in turn, so that both meet the same weather
                (client("remotejobs", count, address, **options), client("pypsrp", peers, address, **options))
                for _ in range(times)
            ]
            ours = statistics.median(milliseconds(mine, count) for mine, _ in pairs)
            theirs = statistics.median(milliseconds(peer, peers) for _, peer in pairs)
            mine, peer = pairs[-1]
            yield Budget(
                f"{title}, {count:,} hosts" + (f" (pypsrp {peers:,})" if peers != count else ""),
                f"{ours:.2f} ms ({rest(mine)})",
                f"pypsrp {theirs:.1f} ms ({rest(peer)})",
                theirs / ours,
                limit,
            )


def rest(result: dict[str, Any]) -> str:
    """Wall time and how much the process grew."""
    return f"{result['wall']:.1f} s, {result['memory'] / 2**20:.0f} MB"


def winrm(count: int) -> Budget:
    """The CPU of pywinrm for one `echo` in a cmd shell beside ours for one object: as many posts."""
    with simulated() as address, hosts(1) as (canned, _):
        peer = client("pywinrm", count, address, slots=PEER_THREADS)
        ours = client("remotejobs", count, canned, slots=PEER_THREADS)
    cost, peer_cost = milliseconds(ours, count), milliseconds(peer, count)
    what = f"CPU per host, http, one `echo`, {count:,} hosts"
    mine, theirs = f"{cost:.2f} ms ({rest(ours)})", f"pywinrm {peer_cost:.1f} ms ({rest(peer)})"
    return Budget(what, mine, theirs, peer_cost / cost, None)


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """One simulated host with a cmd shell, over http."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "remotejobs", "simulate", "web01", "-Http", "-ServerList", "list.txt"]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            process.stderr.readline()
            process.stderr.readline()
            port = (Path(folder) / "list.txt").read_text().split("port=")[1].split()[0]
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()


def wall(count: int, slots: int, latency: float, *, posts: int = 5) -> Budget:
    """Wall time to the last outcome, against the least that the posts before Delete allow.

    The lock-out gate adds one latency to a job, and it is not taken off: until the first host has accepted the
    credential, three are asked.
    """
    least = math.ceil(count / slots) * posts * latency
    with hosts(1, latency=latency, pool_answers=posts - 3) as (address, _):
        took = statistics.median(client("remotejobs", count, address, slots=slots)["outcomes"] for _ in range(3))
    what = f"wall, {count:,} hosts, {slots:,} slots, {latency * 1000:.0f} ms, {posts} posts"
    return Budget(what, f"{took:.2f} s", f"posts {least:.2f} s", took / least, 1.15, least=False)


def in_flight(count: int, latency: float) -> Budget:
    """As many hosts at once as there are, in one process."""
    with hosts(1, latency=latency, processes=2) as (address, _):
        took = client("remotejobs", count, address, slots=count)["outcomes"]
    what = f"{count:,} hosts in flight at {latency * 1000:.0f} ms"
    return Budget(what, f"{took:.1f} s", f"{count / took:,.0f} hosts/s", None, None)


def memory(count: int, scheme: str, limit: int) -> Budget:
    """Memory per host with all of them in flight."""
    with hosts(1, latency=1.0 if scheme == "http" else 3.0, tls=scheme == "https") as (address, ca):
        result = client(
            "remotejobs", count, address, slots=count, scheme=scheme, memory=True, ca=ca if scheme == "https" else None
        )
    each = result["memory"] / count / 1024
    return Budget(
        f"memory per host in flight, {scheme}, {count:,}",
        f"{each:.1f} KB",
        f"budget {limit} KB",
        each,
        limit,
        least=False,
    )


def start_up() -> Iterator[Budget]:
    """The time to the first byte of the command line."""
    for words in (["help"], ["hosts", "web[1-3]"]):
        times = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "remotejobs", *words], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - began)
        bare = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            bare.append(time.perf_counter() - began)
        ours, python = statistics.median(times) * 1000, statistics.median(bare) * 1000
        yield Budget(
            f"start of `remotejob {words[0]}`",
            f"{ours:.0f} ms",
            f"python alone {python:.0f} ms",
            ours,
            150,
            least=False,
        )


def rows(quick: bool) -> Iterator[Budget]:
    """Every measurement, the quick ones first."""
    counts = [100, 1000] if quick else [100, 1000, 5000]
    yield from start_up()
    yield from (Budget(*row) for row in micro.rows())
    title = "CPU per host, {}, {}".format
    yield from compare(title("http", "1 object"), 15, 1, counts, 100 if quick else 5000, "http")
    yield from compare(title("https", "1 object"), None, 1, counts, 100 if quick else 1000, "https")
    yield from compare(title("http", "200 objects stored"), 50, 200, counts[:2], 20 if quick else 50, "http")
    yield winrm(100)
    yield winrm(1000)
    yield wall(1000, 256, 0.2)
    yield wall(1000, 256, 0.2, posts=4)
    yield memory(2000 if quick else 5000, "http", 25)
    yield memory(1000, "https", 100)
    if not quick:
        yield in_flight(15000, 0.2)


def main() -> int:
    """Print the table; 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, peers with {PEER_THREADS} threads\n")
    print("| what | remotejobs | beside | ratio | budget | |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    missed = 0
    for row in rows(arguments.quick):
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
        limit = "" if row.limit is None else f"{'>=' if row.least else '<='} {row.limit:g}"
        missed += not row.met
        mark = "" if row.limit is None else "ok" if row.met else "MISSED"
        print(f"| {row.what} | {row.ours} | {row.peer} | {ratio} | {limit} | {mark} |", flush=True)
    print(f"\n{missed} budgets missed" if missed else "\nAll budgets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
