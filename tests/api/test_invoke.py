"""What invoke_command takes and refuses: scripts, targets, credentials, settings."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remotejobs import Credential, Secret, SessionOption, Target, invoke_command, session_option
from remotejobs.api.invoke import read_script, targets_of
from remotejobs.errors import ConfigurationError, TargetError, UsageError
from remotejobs.sim.interpreter import Streams
from tests.api.scene import MANY, OPTIONS, server_list, start
from tests.e2e.hosts import SIM, Writes, started, targets

# -- what is refused before anything is connected --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"computer_name": "a", "connection_uri": "http://a"}, UsageError, "not both"),
        ({"computer_name": "a"}, UsageError, "one of script_block and file_path"),
        ({"computer_name": "a", "script_block": "1", "file_path": "x.ps1"}, UsageError, "one of script_block"),
        ({"computer_name": [], "script_block": "1"}, TargetError, "No target is named"),
        ({"computer_name": "", "script_block": "1"}, TargetError, "."),
        ({"connection_uri": [], "script_block": "1"}, TargetError, "No target is named"),
        ({"computer_name": ["a", Target("b")], "script_block": "1"}, TargetError, "not both in one list"),
        ({"computer_name": "-", "script_block": "1"}, TargetError, "standard input"),
        ({"computer_name": "web[3-1", "script_block": "1"}, TargetError, "."),
        ({"computer_name": "web01,!web01", "script_block": "1"}, TargetError, "No target is left"),
        ({"computer_name": "@/no/such/list", "script_block": "1"}, UsageError, "no/such/list"),
        (
            {"computer_name": "a", "script_block": "1", "authentication": "Basic", "use_ssl": True},
            ConfigurationError,
            r"\[a\] needs a credential",
        ),
        (
            {"authentication": "Basic", "script_block": "1", "credential": ("a", "b")},
            ConfigurationError,
            "in clear to http://localhost:5985",
        ),
        (
            {
                "authentication": "Basic",
                "use_ssl": True,
                "credential": SIM,
                "script_block": "1",
                "argument_list": [len],
            },
            UsageError,
            "cannot be given a Python builtin_function",
        ),
    ],
)
def test_what_cannot_be_done_is_said_at_once(given: dict[str, Any], error: type[UsageError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        asyncio.run(invoke_command(**given))
    assert caught.value.to_dict()["message"]


def test_a_password_is_in_no_text() -> None:
    credential = Credential("ops", Secret("s3cr3t!"))
    assert "s3cr3t!" not in repr(credential) + str(credential.secret) + str({"": credential})

    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts), credential=("sim", "s3cr3t!"))
            await job.wait()
            (end,) = job.outcomes
            assert end.outcome.reason == "AuthenticationFailed"
            assert "s3cr3t!" not in repr(end) + repr(job) + repr(job.child_jobs)

    asyncio.run(main())


# -- -FilePath -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"'a'\n'b'\n", "'a'\n'b'"),
        (b"\xef\xbb\xbf'\xc3\xa9'\r\n", "'\u00e9'"),
        (b"'a'", "'a'"),
        (b"\n\n", "\n"),
        (b"", ""),
    ],
)
def test_a_script_file_is_read_as_powershell_reads_it(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "Fix.PS1"
    path.write_bytes(content)
    assert read_script(path) == text


def test_script_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("1")
    (tmp_path / "latin.ps1").write_bytes(b"'\xe9'")
    (tmp_path / "folder.ps1").mkdir()
    for name, error_id in [
        ("run.sh", "System.ArgumentException"),
        ("none.ps1", "PathNotFound"),
        ("latin.ps1", "PathNotFound"),
        ("folder.ps1", "PathNotFound"),
    ]:
        with pytest.raises(UsageError, match=name) as caught:
            read_script(tmp_path / name)
        assert caught.value.error_id == error_id


def test_a_script_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "fix.ps1"
    path.write_text('param($a)\n"got $a"\n')

    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await invoke_command(targets(hosts), file_path=str(path), argument_list=[7], **OPTIONS)
            assert [record.value async for record in job.stream()] == ["got 7"]
            assert job.command == 'param($a)\n"got $a"'

    asyncio.run(main())


# -- targets ---------------------------------------------------------------------------------------------------------


def test_connection_uris() -> None:
    assert targets_of(["https://web01/", "HTTP://web02:80/a/b?PSVersion=5", "http://[::1]"]) == (
        Target("web01", port=5986, ssl=True, application="wsman"),
        Target("web02", port=80, ssl=False, application="a/b?PSVersion=5"),
        Target("::1", port=5985, ssl=False, application="wsman"),
    )
    for bad in ["web01", "ftp://web01", "http://", "http://u:p@web01", "http://web01:99999", "http://web01:x", ""]:
        with pytest.raises(TargetError, match="not an endpoint") as caught:
            targets_of(bad)
        assert caught.value.error_id == "CreateRemoteRunspaceFailed"


def test_a_connection_uri_is_connected_to() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            uri = f"http://127.0.0.1:{hosts['web01'].http_port}/wsman"
            job = await invoke_command(script_block="'here'", connection_uri=uri, **OPTIONS)
            assert [(r.computer_name, r.value) async for r in job.stream()] == [("127.0.0.1", "here")]

    asyncio.run(main())


def test_server_lists_and_what_is_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": "", "web03": "", "db01": ""}) as hosts:
            job = await start([f"@{server_list(tmp_path, hosts)}", "!web[02-03]", "!nobody"])
            seen = [record.computer_name async for record in job.stream()]
            assert sorted(seen) == ["db01", "web01"]
            assert job.location == "web01,db01"
            assert job.notes == ("!nobody leaves nothing out: no such target is named.",)

    asyncio.run(main())


def test_a_name_that_comes_twice_runs_twice_and_is_mentioned(tmp_path: Path) -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": ""}) as hosts:
            listed = f"@{server_list(tmp_path, hosts)}"
            job = await start([listed, listed], "'ran'")
            seen = [record.computer_name async for record in job.stream()]
            assert sorted(seen) == ["web01", "web01", "web02", "web02"]
            assert job.location == "web01,web02,web01,web02"
            assert [host.counters.scripts["'ran'"] for host in hosts.values()] == [2, 2]
            assert job.notes == ("2 targets are named more than once and will run as often: web[01-02]",)
            assert len({child.instance_id for child in job.child_jobs}) == 4

    asyncio.run(main())


def test_credentials_of_every_form() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            (target,) = targets(hosts)
            named = dataclasses.replace(target, name="web02", credential="ops")
            good, bad = Credential("sim", Secret("sim")), Credential("sim", Secret("no"))
            forms: list[tuple[Any, list[Target], list[str]]] = [
                (("sim", "sim"), [target], ["Completed"]),
                (good, [target], ["Completed"]),
                ({"": good}, [target], ["Completed"]),
                ({"": good, "ops": bad}, [target, named], ["Completed", "AuthenticationFailed"]),
                ({"ops": good}, [named], ["Completed"]),
            ]
            for credential, where, reasons in forms:
                job = await start(where, credential=credential)
                await job.wait()
                assert [end.outcome.reason.value for end in job.outcomes] == reasons
            with pytest.raises(ConfigurationError, match="'ops'"):
                await start([named], credential=good)

    asyncio.run(main())


# -- settings --------------------------------------------------------------------------------------------------------


def test_session_option_is_checked_by_name() -> None:
    assert session_option(idle_timeout=120, culture="de-DE") == SessionOption(idle_timeout=120, culture="de-DE")
    with pytest.raises(UsageError, match=r"no 'idle_time'.*idle_timeout"):
        session_option(idle_time=1)


def test_durations_are_seconds_or_timedeltas() -> None:
    async def silent(streams: Streams) -> None:
        await streams.output("begun")
        await asyncio.Event().wait()

    async def main() -> None:
        async with started({"web01": ""}, interpreter=Writes(silent)) as hosts:
            for given in (0.2, timedelta(milliseconds=200)):
                job = await start(targets(hosts), timeout=given)
                assert await job.wait(timedelta(minutes=1))
                (end,) = job.outcomes
                assert end.outcome.reason == "TimedOut(total)"
                assert end.outcome.details["seconds"] == 0.2
                assert end.outcome.seconds >= 0.2

    asyncio.run(main())


class Gate:
    """Scripts that wait at a gate until so many stand there: what the throttle limit lets in."""

    def __init__(self, opens_at: int) -> None:
        self.opens_at = opens_at
        self.inside = self.most = 0
        self.opened = asyncio.Event()

    async def __call__(self, streams: Streams) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self.opens_at:
            self.opened.set()
        await self.opened.wait()
        await streams.output("through")
        self.inside -= 1


@pytest.mark.parametrize(("limit", "slots"), [(1, 1), (3, 3), (0, 32), (-5, 32)])
def test_the_throttle_limit(limit: int, slots: int) -> None:
    async def main() -> None:
        gate = Gate(slots)
        async with started({"web01": ""}, settings=MANY, interpreter=Writes(gate)) as hosts:
            (target,) = targets(hosts)
            names = [f"web{number:02}" for number in range(1, 41)]
            where = [dataclasses.replace(target, name=name) for name in names]
            job = await start(where, throttle_limit=limit)
            seen = [record.computer_name async for record in job.stream()]
            assert gate.most == slots
            assert sorted(seen) == names
            if slots == 1:
                assert seen == names

    asyncio.run(asyncio.wait_for(main(), 60))
