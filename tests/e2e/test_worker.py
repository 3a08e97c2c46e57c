"""A job in a process of its own: it outlives who started it, keeps its secrets, and may die at any moment."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from remotejobs import compose, detach
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import JobError
from remotejobs.model import JobSpec, ScriptCommand, SessionOption
from remotejobs.ports import JobStore
from remotejobs.rows import ChildRow, JobRow, Phase, Request
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.shells import HostSettings
from remotejobs.states import EndReason, JobState
from remotejobs.store.home import log_path
from remotejobs.wsman.clixml.read import deserialize
from tests.e2e.hosts import Writes, started, targets

PASSWORD = "Vqx-81-not-to-be-seen"
SETTINGS = HostSettings(user="ops", password=PASSWORD, allow_unencrypted=True)
CREDENTIALS = {"": Credential("ops", Secret(PASSWORD))}
SCRIPT = "'held'"
PROC = Path("/proc/self/environ").exists()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")


class Held:
    """Scripts that say `began`, wait for the test, and say `done`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def write(self, streams: Streams) -> None:
        await streams.output("began")
        await self.go.wait()
        await streams.output("done")


class Scene:
    """Hosts in this process, a state directory, and workers in processes of their own."""

    def __init__(self, home: Path, hosts: dict[str, SimulatedHost], held: Held) -> None:
        self.home, self.hosts, self.held = home, hosts, held
        self.store: JobStore = compose.open_store(home / "jobs.db")

    async def submit(self, throttle_limit: int = 32) -> int:
        spec = JobSpec(
            ScriptCommand(SCRIPT),
            tuple(targets(self.hosts)),
            authentication="Basic",
            throttle_limit=throttle_limit,
            session_option=SessionOption(allow_unencrypted=True, max_connection_retry_count=1, operation_timeout=5),
        )
        return (await compose.submit(spec, CREDENTIALS, store=self.store)).id

    async def work(self, job_id: int, mode: str = "run") -> int:
        """Start a worker; returns its process id."""
        await compose.start_worker(job_id, CREDENTIALS, mode=mode, home=self.home, store=self.store)
        return detach._started[-1].pid

    def pid(self, job_id: int) -> int:
        """The process that runs the job."""
        lease = self.store.job(job_id).lease
        assert lease is not None
        return int(lease.owner.split()[1])

    async def until(self, job_id: int, seen: Callable[[JobRow], bool]) -> JobRow:
        async with asyncio.timeout(60):
            while True:
                version = self.store.version(job_id)
                row = self.store.job(job_id)
                if seen(row):
                    return row
                await self.store.wait_change(job_id, version)

    async def left(self, job_id: int) -> JobRow:
        """Wait until nobody runs the job."""
        return await self.until(job_id, lambda row: row.lease is None)

    def lapse(self, job_id: int) -> None:
        """Let the lease be an hour old."""
        with sqlite3.connect(self.home / "jobs.db", timeout=30) as file:
            file.execute("UPDATE job SET lease_seen = lease_seen - 3600 WHERE id = ?", (job_id,))
        file.close()

    def said(self, job_id: int) -> dict[str, list[str]]:
        """What the store has of each host."""
        row = self.store.job(job_id)
        said: dict[str, list[str]] = {child.target.name: [] for child in row.children}
        for arrival in self.store.read(job_id, 0, 1000, again=True):
            said[row.children[arrival.child].target.name].append(str(deserialize(arrival.record.raw)))
        return said

    def runs(self) -> list[int]:
        return [host.counters.scripts[SCRIPT] for host in self.hosts.values()]


@asynccontextmanager
async def scene(
    tmp_path: Path, *names: str, write: Callable[[Streams], Awaitable[None]] | None = None
) -> AsyncIterator[Scene]:
    held = Held()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    async with started(dict.fromkeys(names, ""), settings=SETTINGS, interpreter=Writes(write or held.write)) as hosts:
        opened = Scene(home, hosts, held)
        try:
            yield opened
        finally:
            opened.store.close()


def begun(row: JobRow) -> bool:
    return all(child.phase is Phase.STARTED and child.seq for child in row.children)


def first_begun(row: JobRow) -> bool:
    return row.children[0].phase is Phase.STARTED and bool(row.children[0].seq)


async def gone(pid: int) -> None:
    """Wait for the end of a process that is our child."""
    [process] = [process for process in detach._started if process.pid == pid]
    await asyncio.wait_for(asyncio.to_thread(process.wait), 60)


def reasons(row: JobRow) -> list[EndReason | None]:
    def reason(child: ChildRow) -> EndReason | None:
        return None if child.outcome is None else child.outcome.reason

    return [reason(child) for child in row.children]


DONE = [EndReason.Completed]


def test_as_job_returns_while_the_job_runs_and_the_worker_keeps_secrets(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "web01", "web02") as here:
            lines = [
                f"{name} address=127.0.0.1 port={host.http_port} ssl=false authentication=Basic\n"
                for name, host in here.hosts.items()
            ]
            (tmp_path / "servers.txt").write_text("".join(lines))
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "remotejobs", "invoke", "@servers.txt", "-ScriptBlock", SCRIPT],
                *["-Credential", "ops", "-SessionOption", "AllowUnencrypted", "-JobName", "Hold", "-LogFile", "x.log"],
                cwd=tmp_path,
                env={**os.environ, "REMOTEJOBS_HOME": str(here.home), "REMOTEJOBS_PASSWORD": PASSWORD},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 60)
            assert (process.returncode, err) == (0, b"")
            assert out.decode().split()[-7:] == ["1", "Hold", "RemoteJob", "Running", "True", "web01,web02", SCRIPT]
            await here.until(1, begun)
            pid = here.pid(1)
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGINT)
            assert os.getsid(pid) == pid
            forms = [PASSWORD.encode(), base64.b64encode(f"ops:{PASSWORD}".encode()), PASSWORD.encode("utf-16-le")]
            places = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ")] if PROC else []
            files = [path for path in here.home.rglob("*") if path.is_file()]
            assert {path.name for path in files} >= {"jobs.db", "jobs.db-wal", "job-1.log"}
            assert (tmp_path / "x.log").stat().st_size
            for path in (*places, *files, tmp_path / "x.log"):
                # By another process: to close a file here drops the locks that SQLite has on it.
                content = await asyncio.to_thread(subprocess.check_output, ["cat", str(path)])
                assert not any(form in content for form in forms), path
            assert all(path.stat().st_mode & 0o077 == 0 for path in here.home.rglob("*"))
            here.held.go.set()
            row = await here.left(1)
            assert reasons(row) == DONE * 2
            assert here.said(1) == {"web01": ["began", "done"], "web02": ["began", "done"]}
            assert here.runs() == [1, 1]

    asyncio.run(main())


def test_a_stop_reaches_the_worker_through_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b", "c") as here:
            job_id = await here.submit(throttle_limit=2)
            pid = await here.work(job_id)
            await here.until(job_id, lambda row: sum(child.phase is Phase.STARTED for child in row.children) == 2)
            here.store.request(job_id, Request.STOP, 2)
            row = await here.until(job_id, lambda row: row.children[2].outcome is not None)
            assert reasons(row) == [None, None, EndReason.NotStarted]
            here.store.request(job_id, Request.STOP)
            row = await here.left(job_id)
            assert reasons(row) == [EndReason.Stopped, EndReason.Stopped, EndReason.NotStarted]
            await gone(pid)
            assert here.runs() == [1, 1, 0]
            assert list((here.home / "logs").iterdir()) == []

    asyncio.run(main())


def test_a_killed_worker_is_taken_over_and_nothing_is_lost_or_run_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b", "c") as here:
            job_id = await here.submit(throttle_limit=2)
            pid = await here.work(job_id)
            await here.until(job_id, lambda row: sum(child.seq for child in row.children) == 2)
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
            with pytest.raises(JobError, match=f"is run by process {pid}"):
                await here.work(job_id, "connect")
            here.lapse(job_id)
            assert await here.work(job_id, "connect") != pid
            here.held.go.set()
            row = await here.left(job_id)
            assert reasons(row) == DONE * 3
            assert here.said(job_id) == {name: ["began", "done"] for name in "abc"}
            assert here.runs() == [1, 1, 1]

    asyncio.run(main())


def test_a_suspended_worker_that_was_overtaken_starts_nothing_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b") as here:
            job_id = await here.submit(throttle_limit=1)
            pid = await here.work(job_id)
            await here.until(job_id, first_begun)
            os.kill(pid, signal.SIGSTOP)
            try:
                here.lapse(job_id)
                second = await here.work(job_id, "connect")
                assert second != pid
            finally:
                os.kill(pid, signal.SIGCONT)
            await gone(pid)
            assert here.pid(job_id) == second
            assert here.runs() == [1, 0]
            here.held.go.set()
            row = await here.left(job_id)
            assert reasons(row) == DONE * 2
            assert here.said(job_id) == {name: ["began", "done"] for name in "ab"}
            assert here.runs() == [1, 1]

    asyncio.run(main())


def test_a_job_is_taken_over_to_be_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b") as here:
            job_id = await here.submit(throttle_limit=1)
            pid = await here.work(job_id)
            await here.until(job_id, first_begun)
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
            here.lapse(job_id)
            await here.work(job_id, "stop")
            row = await here.left(job_id)
            assert reasons(row) == [EndReason.Stopped, EndReason.NotStarted]
            assert row.stop_requested
            assert here.runs() == [1, 0]

    asyncio.run(main())


def test_a_worker_told_to_end_leaves_its_shells_and_its_queue_for_another(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b") as here:
            job_id = await here.submit(throttle_limit=1)
            pid = await here.work(job_id)
            await here.until(job_id, first_begun)
            os.kill(pid, signal.SIGTERM)
            await gone(pid)
            row = await here.left(job_id)
            assert [child.state for child in row.children] == [JobState.Disconnected, JobState.NotStarted]
            await here.work(job_id, "connect")
            here.held.go.set()
            row = await here.left(job_id)
            assert reasons(row) == DONE * 2
            assert here.said(job_id) == {name: ["began", "done"] for name in "ab"}
            assert here.runs() == [1, 1]

    asyncio.run(main())


def test_where_no_worker_comes_up_the_job_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a", "b") as here:
            job_id = await here.submit()
            with monkeypatch.context() as patch, pytest.raises(JobError, match="ended before it was ready") as caught:
                broken = tmp_path / "python"
                broken.write_text("#!/bin/sh\necho no library >&2\nexit 3\n")
                broken.chmod(0o700)
                patch.setattr(sys, "executable", str(broken))
                await here.work(job_id)
            assert "no library" in caught.value.message
            row = await here.left(job_id)
            assert reasons(row) == [EndReason.NotStarted] * 2
            assert here.runs() == [0, 0]
            assert list((here.home / "logs").iterdir()) == []

    asyncio.run(main())


def test_a_worker_that_lacks_a_credential_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "a") as here:
            job_id = await here.submit()
            with pytest.raises(JobError, match=r"\[a\] needs a credential"):
                await compose.start_worker(job_id, {}, home=here.home, store=here.store)
            assert reasons(await here.left(job_id)) == [EndReason.NotStarted]
            assert list((here.home / "logs").iterdir()) == []
            log = log_path(here.home, job_id)
            log.write_text("something went wrong")
            here.store.remove(job_id)
            assert not log.exists()

    asyncio.run(main())


def test_the_hidden_verb_does_nothing_by_hand(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "remotejobs", "__worker"],
        cwd=tmp_path,
        env={**os.environ, "REMOTEJOBS_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == "error: A worker is started by remotejob itself, not by hand.\n"


async def invoke(here: Scene, home: Path, *words: str, before: Sequence[str] = ()) -> tuple[int | None, str, str]:
    """Run `remotejob invoke` on the first host; its exit code and what it printed."""
    port = next(iter(here.hosts.values())).http_port
    process = await asyncio.create_subprocess_exec(
        *[*before, sys.executable, "-m", "remotejobs", "invoke", "-ScriptBlock", SCRIPT, "-Authentication", "Basic"],
        *["-ConnectionUri", f"http://127.0.0.1:{port}/wsman", "-Credential", "ops"],
        *["-SessionOption", "AllowUnencrypted", *words],
        env={**os.environ, "REMOTEJOBS_HOME": str(home), "REMOTEJOBS_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("words", [(), ("-NoStore",), ("-AsJob",)])
def test_without_a_state_directory_only_the_foreground_works(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("in the way")

    async def main() -> None:
        async with scene(tmp_path, "web01") as here:
            here.held.go.set()
            code, out, err = await invoke(here, tmp_path / "file" / "x", *words)
            warnings = [line for line in err.splitlines() if line.startswith("WARNING: ")]
            if "-AsJob" in words:
                assert (code, out) == (1, "")
                assert "REMOTEJOBS_HOME" in err
                assert here.runs() == [0]
            else:
                assert out.split() == ["127.0.0.1:", "began", "127.0.0.1:", "done"]
                assert code == 0
                assert len(warnings) == (0 if words else 1)

    asyncio.run(main())


def test_a_foreground_job_stays_in_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "web01") as here:
            here.held.go.set()
            code, out, err = await invoke(here, here.home)
            assert (code, out.split()[1::2]) == (0, ["began", "done"]), err
            [row] = here.store.jobs()
            assert reasons(row) == DONE
            assert row.lease is None
            assert here.said(row.id) == {"127.0.0.1": ["began", "done"]}

    asyncio.run(main())


def test_in_disconnected_session_returns_once_the_script_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, "web01") as here:
            code, out, err = await invoke(here, here.home, "-InDisconnectedSession")
            assert code == 0, err
            assert out.splitlines()[-1].split()[:4] == ["1", "Job1", "RemoteJob", "Disconnected"]
            assert "1 disconnected" in err
            await here.work(1, "connect")
            here.held.go.set()
            row = await here.left(1)
            assert reasons(row) == DONE
            assert here.said(1) == {"127.0.0.1": ["began", "done"]}
            assert here.runs() == [1]

    asyncio.run(main())


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash's ulimit")
def test_a_disk_that_fills_leaves_scripts_on_their_hosts_and_is_told_once(tmp_path: Path) -> None:
    async def write(streams: Streams) -> None:
        while True:
            await streams.output("x" * 5000)

    async def main() -> None:
        async with scene(tmp_path, "web01", write=write) as here:
            code, _, err = await invoke(here, here.home, before=["bash", "-c", 'ulimit -f 400; exec "$@"', "bash"])
            assert code == 1
            assert "1 disconnected (127.0.0.1): 1 host" in err
            assert err.splitlines()[-1].startswith("remotejob invoke: The job store ")
            assert err.splitlines()[-1].endswith(" Then: remotejob connect 1")
            assert "Traceback" not in err
            said = here.said(1)["127.0.0.1"]
            assert said
            assert set(said) == {"x" * 5000}
            assert here.hosts["web01"].counters.shells == 1

    asyncio.run(main())
