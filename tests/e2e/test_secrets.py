"""Secrets as arguments over the whole way: to scripts of simulated hosts over https, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose, detach
from remotejobs.api.invoke import invoke_command, retry_job
from remotejobs.api.jobs import connect_job
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import SessionOption, Target
from remotejobs.ports import JobStore
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Invocation, Streams
from remotejobs.sim.psrp_host import PsrpHost
from remotejobs.sim.psrp_wire import Message, MessageType
from remotejobs.sim.pwsh_host import pwsh_shell_factory
from remotejobs.sim.shells import HostInfo, HostSettings
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.values import SecureString
from tests.e2e.hosts import SIM, Writes, authority, ca_file, run, started, targets
from tests.e2e.test_worker import Held
from tests.sim.psrp_conversation import in_loop
from tests.sim.test_pwsh_host import STANDIN

PASSWORD = "Vqx-81-pässword-not-to-be-seen"
OPS = Credential("CORP\\ops", Secret(PASSWORD))
SETTINGS = HostSettings()


def option(tmp_path: Path) -> dict[str, Any]:
    return {"allow_unencrypted": False, "ca_file": ca_file(tmp_path)}


def forms(text: str) -> list[bytes]:
    """A secret as it might lie somewhere."""
    found = [text.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    return found + [base64.b64encode(each)[:-4] for each in found]


@in_loop
async def test_scripts_get_secure_strings_and_credentials(tmp_path: Path) -> None:
    script = (
        'param([securestring]$s, [pscredential]$c, $t) $s.GetType().FullName; $s.Length; "$s"; $c.GetType().FullName; '
        "$c.UserName; $c.GetNetworkCredential().Password; $t.in[0].Length; $c; $s"
    )
    async with started({"web01": "", "web02": ""}, settings=SETTINGS, tls=True) as hosts:
        found = await run(
            targets(hosts),
            script,
            argument_list=[Secret(PASSWORD), OPS, {"in": [Secret("four")]}],
            option=option(tmp_path),
        )
    for name in hosts:
        *seen, credential, text = found.values(name)
        assert seen == [
            *("System.Security.SecureString", len(PASSWORD), "System.Security.SecureString"),
            *("System.Management.Automation.PSCredential", "CORP\\ops", PASSWORD, 4),
        ]
        assert isinstance(text, SecureString)
        assert PASSWORD not in f"{credential} {credential!r} {text} {text!r}"
        assert credential.Password.reveal() == text.reveal() == PASSWORD


@in_loop
async def test_a_powershell_process_behind_the_host_gets_them_too(tmp_path: Path) -> None:
    factories = {"http://schemas.microsoft.com/powershell/": pwsh_shell_factory(STANDIN)}
    host = SimulatedHost("web01", factories, SETTINGS)
    await host.start(authority().server_context("web01"), http=False)
    try:
        script = "param($c) $c.GetNetworkCredential().Password"
        found = await run(targets({"web01": host}), script, argument_list=[OPS], option=option(tmp_path))
    finally:
        await host.stop()
    assert found.values("web01") == [PASSWORD]


@in_loop
async def test_a_secure_string_of_a_job_without_secrets_stays_closed(tmp_path: Path) -> None:
    class Gives:
        def open(self, host: HostInfo) -> Gives:
            return self

        async def run(self, invocation: Invocation, streams: Streams) -> None:
            from remotejobs.sim.values import SecureString as Clear

            await streams.output(Clear("sekrit"))

    async with started({"web01": ""}, settings=SETTINGS, tls=True, interpreter=Gives()) as hosts:
        found = await run(targets(hosts), "x", option=option(tmp_path))
    (value,) = found.values("web01")
    with pytest.raises(UsageError, match="keys are not stored"):
        value.reveal()


class SecondHop:
    """A script that asks another host, with the credential that it was given: `Invoke-Command -Credential $c`."""

    def __init__(self, ca: str) -> None:
        self.ca = ca
        self.db01: Target | None = None

    def open(self, host: HostInfo) -> SecondHop:
        return self

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        ((_, credential),) = invocation.statements[0][0].parameters
        assert self.db01 is not None
        logon = (credential.get("UserName"), "".join(credential.get("Password")))
        inner = await run([self.db01], "'from ' + $env:COMPUTERNAME", credential=logon, option={"ca_file": self.ca})
        end = inner.ends["db01"].outcome
        await streams.output(inner.values("db01")[0] if inner.values("db01") else end.reason.value)


@pytest.mark.parametrize(("password", "said"), [(PASSWORD, "from db01"), ("wrong", "AuthenticationFailed")])
@in_loop
async def test_the_second_hop_by_a_credential(tmp_path: Path, password: str, said: str) -> None:
    hop = SecondHop(ca_file(tmp_path))
    far = HostSettings(user="ops", password=PASSWORD)
    async with (
        started({"db01": ""}, settings=far, tls=True) as second,
        started({"web01": ""}, settings=SETTINGS, tls=True, interpreter=hop) as first,
    ):
        (hop.db01,) = targets(second)
        found = await run(
            targets(first),
            "param($c) Invoke-Command -ComputerName db01 -Credential $c { 'from ' + $env:COMPUTERNAME }",
            argument_list=[Credential("ops", Secret(password))],
            option=option(tmp_path),
        )
    assert found.values("web01") == [said]


@pytest.mark.parametrize("answer", ["garbage", "storm"])
@in_loop
async def test_a_hostile_host_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    take_pool = PsrpHost._take_pool

    def hostile(self: PsrpHost, message: Message, raw: bytes) -> None:
        if self.host.name.lower() != "bad" or message.type != MessageType.PUBLIC_KEY:
            take_pool(self, message, raw)
        elif answer == "garbage":
            self.write(
                MessageType.ENCRYPTED_SESSION_KEY,
                '<Obj RefId="0"><MS><S N="EncryptedSessionKey">AQ==</S></MS></Obj>',
                None,
                None,
            )
        elif answer == "storm":
            for _ in range(100):
                self.write(MessageType.PUBLIC_KEY_REQUEST, "<S></S>", None, None)

    monkeypatch.setattr(PsrpHost, "_take_pool", hostile)
    async with started({"bad": "", "good": ""}, settings=SETTINGS, tls=True) as hosts:
        found = await run(
            targets(hosts),
            "param($s) $s.Length",
            argument_list=[Secret("four")],
            option=option(tmp_path),
        )
    assert found.values("good") == [4]
    assert found.reason("bad") == "Unreachable"
    assert hosts["bad"].counters.commands == 0
    assert {"garbage": "no AES-256 key", "storm": "more than 8 times"}[answer] in found.message("bad")


needs_workers = pytest.mark.skipif(
    sys.platform == "win32", reason="the state directory's files are looked at while open"
)


def stored(home: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


@needs_workers
@in_loop
async def test_a_job_of_a_process_of_its_own_gets_them_through_its_pipe(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    store = compose.open_store(home / "jobs.db")
    try:
        async with started({"web01": ""}, settings=SETTINGS, tls=True) as hosts:
            job = await invoke_command(
                targets(hosts),
                "param($c) $c.UserName; $c.Password.Length; $c",
                argument_list=[OPS],
                credential=SIM,
                authentication="Basic",
                session_option=SessionOption(ca_file=ca_file(tmp_path)),
                as_job=True,
                store=store,
            )
            await job.wait()
            values = [record.value async for record in job.stream()]
        assert values[:2] == ["CORP\\ops", len(PASSWORD)]
        with pytest.raises(UsageError):
            values[2].Password.reveal()  # the key was the worker's
        lying = stored(home)
        assert b"ArgumentList[0]" in lying
        assert not [form for form in forms(PASSWORD) if form in lying]
    finally:
        store.close()


@asynccontextmanager
async def begun_and_left(
    folder: Path, *arguments: Any
) -> AsyncIterator[tuple[RemoteJob, dict[str, SimulatedHost], JobStore]]:
    """A job whose process was killed when its first host had begun, and the second had not; an hour ago.

    In the end none of PASSWORD lies in its state directory.
    """
    home, held = folder / "home", Held()
    home.mkdir(mode=0o700)
    store = compose.open_store(home / "jobs.db")
    try:
        async with started(
            {"web01": "", "web02": ""}, settings=SETTINGS, tls=True, interpreter=Writes(held.write)
        ) as hosts:
            job = await invoke_command(
                targets(hosts),
                "param($s) 'held'",
                argument_list=arguments,
                credential=SIM,
                authentication="Basic",
                throttle_limit=1,
                session_option=SessionOption(ca_file=ca_file(folder), operation_timeout=5),
                as_job=True,
                store=store,
            )
            while not job.row.children[0].seq:
                await store.wait_change(job.id, store.version(job.id))
            worker = detach._started[-1]
            worker.kill()
            await asyncio.to_thread(worker.wait)
            with sqlite3.connect(home / "jobs.db", timeout=30) as file:  # as if it had been an hour ago
                file.execute("UPDATE job SET lease_seen = lease_seen - 3600 WHERE id = ?", (job.id,))
            file.close()
            held.go.set()
            yield job, hosts, store
    finally:
        store.close()
    lying = stored(home)
    assert not [form for form in forms(PASSWORD) if form in lying]


@needs_workers
@in_loop
async def test_after_a_crash_what_had_begun_goes_on_and_the_rest_is_not_begun(tmp_path: Path) -> None:
    """The process that had the secrets is gone; one host is found again without them, the other never began."""
    async with begun_and_left(tmp_path, Secret(PASSWORD)) as (job, hosts, store):
        await connect_job(job.id, credential=SIM, store=store)
        await job.wait()
        ends = {end.computer_name: end.outcome for end in job.outcomes}
        assert ends["web01"].reason is EndReason.Completed
        assert ends["web02"].reason is EndReason.NotStarted
        assert "takes ArgumentList[0], which is a secret" in ends["web02"].message
        assert [record.value async for record in job.stream()] == ["began", "done"]
        assert [host.counters.commands for host in hosts.values()] == [1, 0]
        with pytest.raises(ConfigurationError, match="Give all arguments again"):
            await retry_job(job.id, credential=SIM, store=store)
        again = await retry_job(job.id, argument_list=[Secret(PASSWORD)], credential=SIM, store=store, as_job=True)
        await again.wait()
        assert [record.value async for record in again.stream()] == ["began", "done"]


@needs_workers
@in_loop
async def test_after_a_crash_the_rest_is_begun_where_the_secrets_are_given_again(tmp_path: Path) -> None:
    async with begun_and_left(tmp_path, "x", OPS) as (job, hosts, store):
        assert job.secret_names == {"ArgumentList[1]=CORP%5Cops": r"CORP\ops"}
        sim = Credential(SIM[0], Secret(SIM[1]))
        await connect_job(job.id, credential={"": sim, **dict.fromkeys(job.secret_names, OPS)}, store=store)
        assert job.secret_names == {}  # whoever runs it has them
        await job.wait()
        assert [end.outcome.reason for end in job.outcomes] == [EndReason.Completed] * 2
        assert [host.counters.commands for host in hosts.values()] == [1, 1]
