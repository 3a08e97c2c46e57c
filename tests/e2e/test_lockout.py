"""A wrong password and a thousand hosts: what the lock-out guard lets through, counted by the hosts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose
from remotejobs.api.diagnose import test_wsman as examine
from remotejobs.api.invoke import invoke_command
from remotejobs.api.jobs import connect_job
from remotejobs.api.sessions import get_session
from remotejobs.errors import JobError, RemoteJobsError
from remotejobs.model import SessionOption, Target
from remotejobs.ports import JobStore
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from tests.e2e.hosts import Result, run, started, targets
from tests.kdc import PASSWORD, REALM, Kdc

LISTENERS, HOSTS = 10, 1000
WAY: dict[str, Any] = {"authentication": "Basic", "session_option": SessionOption(allow_unencrypted=True)}
LOOK = "Look whether the account is locked before the next try."


@dataclass
class Scene:
    """A thousand hosts, which share ten addresses, and a store."""

    hosts: dict[str, SimulatedHost]
    store: JobStore
    mechanism: str

    @property
    def targets(self) -> list[Target]:
        ways = targets(self.hosts)
        return [replace(ways[number % LISTENERS], name=f"web{number:02}") for number in range(HOSTS)]

    @property
    def failures(self) -> int:
        """Logon failures that the hosts have counted, all together."""
        return sum(host.counters.refused for host in self.hosts.values())

    async def released(self, job_id: int) -> None:
        """Nobody runs the job any more."""
        while self.store.job(job_id).lease is not None:
            await self.store.wait_change(job_id, self.store.version(job_id))

    async def job(self, password: str, hosts: int = HOSTS, *, user: str = "sim") -> Result:
        return await run(
            self.targets[:hosts],
            "1",
            credential=(user, password),
            authentication=self.mechanism,
            option={"allow_unencrypted": self.mechanism == "Basic"},
            store=self.store,
        )


@asynccontextmanager
async def scene(home: Path, mechanism: str = "Basic", keytab: Path | None = None) -> AsyncIterator[Scene]:
    settings = HostSettings(authentication=(mechanism,), allow_unencrypted=mechanism == "Basic", keytab=keytab)
    names = [f"listener{number}" for number in range(LISTENERS)]
    async with started(dict.fromkeys(names, ""), settings=settings) as hosts:
        store = compose.open_store(home / "jobs.db")
        try:
            yield Scene(hosts, store, mechanism)
        finally:
            store.close()


def reasons(result: Result) -> Counter[str]:
    return Counter(end.outcome.reason.value for end in result.ends.values())


@pytest.mark.parametrize("mechanism", ["Basic", "Negotiate"])
def test_three_logon_failures_in_the_first_job_and_one_in_the_next(mechanism: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, mechanism) as at:
            first = await at.job("wrong")
            assert at.failures == 3
            assert reasons(first) == {"AuthenticationFailed": 3, "NotStarted(guard)": 997}
            assert first.job.notes == (
                f"Credential sim: 3 logons tried, 3 refused, none accepted; 997 hosts were not asked. {LOOK}",
            )
            second = await at.job("wrong")
            assert at.failures == 4
            assert reasons(second) == {"AuthenticationFailed": 1, "NotStarted(guard)": 999}
            (note,) = second.job.notes
            assert note == (
                "Credential sim: 1 logon tried, 1 refused, none accepted; 999 hosts were not asked. "
                "4 refusals in the last 30 minutes: look whether the account is locked, then try again."
            )
            assert "after 3 refusals of its account in the 30 minutes before" in second.message("web999")
            right = await at.job("sim", 20)
            assert (reasons(right), right.job.notes, at.failures) == ({"Completed": 20}, (), 4)
            await at.job("wrong", 20)
            assert at.failures == 7

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_the_domain_refuses_counts_the_same(kdc: Kdc, tmp_path: Path) -> None:
    user = f"bob@{REALM}"

    def asked() -> int:
        """How often the domain was asked for a ticket."""
        return sum("AS_REQ" in line and f"{user} for " in line for line in kdc.log.splitlines())

    async def main() -> None:
        async with scene(tmp_path, "Kerberos", kdc.keytab) as at:
            before = asked()
            first = await at.job("wrong", user=user)
            assert reasons(first) == {"AuthenticationFailed": 3, "NotStarted(guard)": 997}
            second = await at.job("wrong", user=user)
            assert reasons(second) == {"AuthenticationFailed": 1, "NotStarted(guard)": 999}
            assert "after 3 refusals of its account" in second.message("web999")
            assert (asked() - before, at.failures) == (2, 0)  # a job asks for one ticket, and no host without it
            right = await at.job(PASSWORD, 4, user=user)
            assert [right.reason(name) for name in ("web01", "web02", "web03")] == ["Completed"] * 3
            assert at.store.refusals(user.casefold()) == 0

    asyncio.run(asyncio.wait_for(main(), 60))


def test_listing_sessions_and_examining_remember_with_the_jobs(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as at:

            async def ask(password: str) -> None:
                errors: list[RemoteJobsError] = []
                await get_session(at.targets[:20], errors=errors, credential=("sim", password), store=at.store, **WAY)

            async def look(password: str) -> None:
                await examine(at.targets[:20], credential=("sim", password), store=at.store, **WAY)

            for work, password, failures in (
                (ask, "wrong", 3),
                (look, "wrong", 4),
                (ask, "wrong", 5),
                (look, "sim", 5),
                (look, "wrong", 8),
                (ask, "sim", 8),
                (ask, "wrong", 11),
            ):
                await work(password)
                assert at.failures == failures
            await at.job("wrong", 20)
            assert at.failures == 12

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.skipif(sys.platform == "win32", reason="a worker of the test's own")
def test_taking_a_job_up_remembers_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as at:
            job = await invoke_command(
                at.targets[:20], "1", in_disconnected_session=True, credential=("sim", "sim"), store=at.store, **WAY
            )
            await job.wait()
            for failures in (3, 4):
                with pytest.raises(JobError, match="refused the user name or password"):
                    await connect_job(job.id, credential=("sim", "wrong"), store=at.store)
                await at.released(job.id)
                assert at.failures == failures
            assert [note.partition(";")[0] for note in at.store.job(job.id).notes] == [
                "Credential sim: 3 logons tried, 3 refused, none accepted",
                "Credential sim: 1 logon tried, 1 refused, none accepted",
            ]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_command_line_shows_what_became_of_the_credential(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as at:
            servers = tmp_path / "servers.txt"
            servers.write_text("".join(f"{t.name} address={t.address} port={t.port}\n" for t in at.targets))

            async def cli(*words: str) -> tuple[str, str]:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "remotejobs", *words),
                    env={**os.environ, "REMOTEJOBS_HOME": str(tmp_path), "REMOTEJOBS_PASSWORD": "wrong"},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                out, err = await process.communicate()
                return out.decode(), err.decode()

            job = ["invoke", f"@{servers}", "-ScriptBlock", "1", "-Credential", "sim", "-Authentication", "Basic"]
            job += ["-SessionOption", "AllowUnencrypted"]
            _, err = await cli(*job)
            assert at.failures == 3
            said = err.splitlines()
            assert any(", 997 not started (credential refused elsewhere) (web" in line for line in said), err
            note = f"Credential sim: 3 logons tried, 3 refused, none accepted; 997 hosts were not asked. {LOOK}"
            assert said.count(note) == 1, err

            await cli(*job, "-AsJob")
            row = at.store.jobs()[-1]
            await at.released(row.id)
            assert at.store.job(row.id).ended is not None
            assert at.failures == 4
            out, _ = await cli("get", str(row.id), "-OutputFormat", "List")
            last = out.splitlines()[-1]
            assert last.startswith("Notes         : Credential sim: 1 logon tried, 1 refused, none accepted; 999"), out
            assert "4 refusals in the last 30 minutes: look whether" in last

    asyncio.run(asyncio.wait_for(main(), 60))
