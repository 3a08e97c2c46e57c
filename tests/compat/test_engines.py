"""-Engine: what is refused before anything is sent, what is stored, what becomes of a job that is taken over."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from pypsrp.exceptions import InvalidPSRPOperation

from remotejobs import compose, sync
from remotejobs.api.invoke import invoke_command, retry_job
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.cli.main import main as command_line
from remotejobs.clock import SystemClock
from remotejobs.errors import ConfigurationError, JobError, UsageError
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import (
    ENGINES,
    CmdCommand,
    HostInfo,
    InvocationSettings,
    JobSpec,
    PipelineCommand,
    ScriptCommand,
    SessionOption,
    Stream,
    Target,
)
from remotejobs.ports import ChildTask, Resume
from remotejobs.rows import Fresh, Phase
from remotejobs.sim.host import SimulatedHost
from remotejobs.states import EndReason
from remotejobs.store.encoding import decode_spec, encode_spec
from remotejobs.store.memory import MemoryStore
from tests.compat.hosts import a_host
from tests.e2e.hosts import SIM, started, targets
from tests.session.fakes import FreeControl, ListLedger

LIBRARIES = [name for name in ENGINES if name != "native"]
each_library = pytest.mark.parametrize("engine", LIBRARIES)
NOWHERE = Target("nowhere.invalid", address="192.0.2.1")
CLEAR = SessionOption(allow_unencrypted=True)


async def refused(engine: str, script: str = "1", **more: Any) -> ConfigurationError:
    settings = {"credential": SIM, "authentication": "Basic", "session_option": CLEAR, **more}
    with pytest.raises(ConfigurationError) as caught:
        await invoke_command([NOWHERE], script, engine=engine, **settings)
    return caught.value


def refusal(engine: str, **more: Any) -> ConfigurationError:
    return asyncio.run(refused(engine, **more))


@each_library
@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"in_disconnected_session": True}, "-InDisconnectedSession"),
        (
            {"session_option": SessionOption(allow_unencrypted=True, output_buffering_mode="Drop")},
            "OutputBufferingMode",
        ),
        ({"input_object": iter("abc")}, "-InputObject as a stream"),
        ({"authentication": "Digest", "use_ssl": True}, "-Authentication Digest"),
        ({"authentication": "Credssp"}, "-Authentication Credssp"),
        ({"authentication": "Kerberos", "credential": Credential("u@R", keytab="k")}, "Kerberos tickets or keys"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_library_does_is_refused_by_name(engine: str, asked: dict[str, Any], named: str) -> None:
    error = refusal(engine, **asked)
    assert f"-Engine {engine} cannot do" in error.message
    assert named in error.message
    assert "Nothing was sent" in error.message
    assert error.error_id == "EngineCannot"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"argument_list": [1]}, "-ArgumentList"),
        ({"parameters": {"a": 1}}, "-Parameter"),
        ({"using": {"a": 1}, "script": "$using:a"}, "-Using"),
        ({"input_object": [1]}, "-InputObject"),
        ({"configuration_name": "JEA"}, "-ConfigurationName"),
        ({"session_option": SessionOption(allow_unencrypted=True, culture="de-DE")}, "Culture"),
        ({"authentication": "Kerberos"}, "-Authentication Kerberos"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_pywinrm_does_not_do(asked: dict[str, Any], named: str) -> None:
    assert named in refusal("pywinrm", **asked).message


def test_secrets_of_a_script_with_pypsrp() -> None:
    assert "a Secret" in refusal("pypsrp", argument_list=[Secret("xyzzy-1")], use_ssl=True).message


def test_a_script_too_long_for_a_command_line() -> None:
    async def main() -> UsageError:
        with pytest.raises(UsageError) as caught:
            await invoke_command(
                [NOWHERE], "#" * 4000, engine="pywinrm", credential=SIM, authentication="Basic", session_option=CLEAR
            )
        return caught.value

    assert "4,000" in asyncio.run(main()).message


@each_library
def test_a_library_that_is_not_there(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library, module = {"pypsrp": ("pypsrp", "psrp"), "pywinrm": ("winrm", "winrs")}[engine]
    for name in [each for each in sys.modules if each.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"remotejobs.compat.{module}", raising=False)
    monkeypatch.delattr(f"remotejobs.compat.{module}", raising=False)
    error = refusal(engine)
    assert "pip install 'remotejobs[compat]'" in error.message
    assert error.error_id == "EngineMissing"


def test_an_engine_that_there_is_not() -> None:
    assert "native, pypsrp and pywinrm" in refusal("winrm").message


def test_the_command_line_knows_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["invoke", "web01", "{", "1", "}", "-Engine", "ssh"]) == 1
    assert "native, pypsrp, pywinrm" in capsys.readouterr().err


def test_the_command_line_completes_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_PASSWORD", "sim")
    line = [
        "invoke",
        "nowhere.invalid",
        "{",
        "1",
        "}",
        "-Credential",
        "sim",
        "-InDisconnectedSession",
        "-Engine",
        "PYP",
    ]
    assert command_line(line) == 1
    assert "-Engine pypsrp cannot do -InDisconnectedSession" in capsys.readouterr().err


def test_the_engine_is_stored_with_the_job() -> None:
    spec = JobSpec(ScriptCommand("1"), (NOWHERE,), engine="pypsrp")
    assert decode_spec(encode_spec(spec)).engine == "pypsrp"
    assert "engine" not in encode_spec(dataclasses.replace(spec, engine="native"))


@each_library
def test_a_job_and_its_retry(engine: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), a_host("fault:2150858811@Create*1") as host:
            store = MemoryStore(SystemClock())
            job = await invoke_command(
                where(host), "'a'", engine=engine, credential=SIM, authentication="Basic", session_option=CLEAR,
                store=store,
            )  # fmt: skip
            await job.wait()
            assert [end.outcome.reason for end in job.outcomes] == [EndReason.Unreachable]
            again = await retry_job(job, credential=SIM, store=store)
            assert store.job(again.id).spec.engine == engine
            await again.wait()
            assert [end.outcome.reason for end in again.outcomes] == [EndReason.Completed]

    asyncio.run(main())


@each_library
def test_what_runs_cannot_be_disconnected(engine: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), a_host() as host:
            job = await invoke_command(
                where(host), "'a'; Start-Sleep 60", engine=engine, credential=SIM, authentication="Basic",
                session_option=CLEAR,
            )  # fmt: skip
            async for _ in job.stream():
                break
            with pytest.raises(JobError, match=f"-Engine {engine} cannot be left"):
                await job.disconnect()
            await job.stop()
            assert [end.outcome.reason for end in job.outcomes] == [EndReason.Stopped]
            assert host.counters.shells == 0

    asyncio.run(main())


@each_library
def test_a_wrong_password_is_not_tried_everywhere(engine: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), started({f"web{n}": "" for n in range(8)}) as hosts:
            job = await invoke_command(
                targets(hosts), "1", engine=engine, credential=("sim", "wrong"), authentication="Basic",
                session_option=CLEAR,
            )  # fmt: skip
            await job.wait()
            reasons = Counter(end.outcome.reason for end in job.outcomes)
            assert reasons == {EndReason.AuthenticationFailed: 3, EndReason.NotStartedGuard: 5}
            assert sum(host.counters.refused for host in hosts.values()) == 3

    asyncio.run(main())


def where(host: SimulatedHost) -> list[Target]:
    return [Target("web01", address="127.0.0.1", port=host.http_port)]


def outputs(script: str, engine: str = "pypsrp", **more: Any) -> list[Any]:
    """What a script gives, through the whole of the API."""

    async def main() -> list[Any]:
        async with asyncio.timeout(30), a_host() as host:
            job = await invoke_command(
                where(host), script, engine=engine, credential=SIM, authentication="Basic", session_option=CLEAR, **more
            )
            found = [r async for r in job.events() if isinstance(r, ReceivedRecord)]
            await job.wait()
            assert job.state.name == "Completed", job.outcomes
            return [record.value for record in found if record.stream is Stream.Output]

    return asyncio.run(main())


def test_all_that_goes_up_with_pypsrp() -> None:
    values: list[Any] = ["text\n<&>\x07", 5, True, None, [1, [2, "x"]], uuid.UUID(int=7), b"abc"]
    script = "$args[0]; $args[1] + 1; $args[2]; $null -eq $args[3]; $args[4]; $args[5]; $args[6].Length"
    assert outputs(script, argument_list=values) == outputs(script, "native", argument_list=values)
    given: Mapping[str, Any] = {"Name": ["a", {"b": [1, 2]}], "Loud": True}
    script = "param($Name, [switch]$Loud) $Name[0]; $Name[1].b; $Loud.IsPresent"
    assert outputs(script, parameters=given) == outputs(script, "native", parameters=given)
    assert outputs("$using:x + 1; $using:y", using={"x": 41, "y": "z"}) == [42, "z"]
    assert outputs("$input | ForEach-Object { $_ * 2 }", input_object=[1, 2, 3]) == [2, 4, 6]
    assert outputs("@($input).Count", input_object=[]) == [0]


def collected(command: Any, engine: str, **more: Any) -> tuple[list[Any], Any]:
    """The records of a job from a ready specification, and its end."""

    async def main() -> tuple[list[Any], Any]:
        async with asyncio.timeout(30), a_host() as host:
            spec = JobSpec(
                command, tuple(where(host)), engine=engine, authentication="Basic", session_option=CLEAR, **more
            )
            job = await compose.start(spec, {"": Credential("sim", Secret("sim"))})
            found = [(r.stream, r.value) async for r in job.events() if isinstance(r, ReceivedRecord)]
            end = job.outcomes[0].outcome
            return found, (end.reason, end.message, end.error_id, end.error_count, dict(end.details))

    return asyncio.run(main())


@pytest.mark.parametrize("line", ["echo hi & echo no 1>&2 & exit 3", "nothing", "hostname"])
def test_a_command_line_of_cmd_with_pywinrm(line: str) -> None:
    theirs, ours = (collected(CmdCommand(line), engine) for engine in ("pywinrm", "native"))
    assert repr(theirs) == repr(ours)


def test_answers_with_pypsrp() -> None:
    command = ScriptCommand('$n = Read-Host Name; "hello $n"', answers=(("Name", "Ann"),))
    assert repr(collected(command, "pypsrp")) == repr(collected(command, "native"))
    (*_, last), _ = collected(command, "pypsrp")
    assert last == (Stream.Output, "hello Ann")


def test_a_pool_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: Any, given: Any) -> None:
        raise InvalidPSRPOperation("Received a broken RunspacePoolState message: no such module")

    monkeypatch.setattr("pypsrp.powershell.RunspacePool.open", opened)
    _, (reason, message, *_) = collected(ScriptCommand("1"), "pypsrp")
    assert (reason, message) == (EndReason.Unreachable, "The host could not open a runspace: no such module.")


def test_a_pipeline_of_commands_with_pypsrp() -> None:
    command = ScriptCommand(
        "1..4 | Select-Object -First 2; 'next'",
        commands=(
            PipelineCommand("1..4", is_script=True),
            PipelineCommand("Select-Object", arguments=(("First", 2),), end_of_statement=True),
            PipelineCommand("'next'", is_script=True),
        ),
    )
    settings = InvocationSettings(host=HostInfo(window_title="x"), apartment_state="MTA")
    records, end = collected(command, "pypsrp", invocation_settings=settings)
    assert [value for _, value in records] == [1, 2, "next"]
    assert end[0] is EndReason.Completed


@each_library
def test_who_takes_a_job_over_says_what_is_not_known(engine: str) -> None:
    async def main() -> None:
        spec = JobSpec(ScriptCommand("1"), (NOWHERE,), engine=engine, authentication="Basic", session_option=CLEAR)
        plan = compose._plan(spec, {"": Credential("sim", Secret("sim"))})
        runner, ledger = compose._runner(plan, SystemClock()), ListLedger()
        ids = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        resume = Resume(ids, "S", "C", started=True, seq=12, object_id=12)
        attempt = await runner.run(ChildTask(0, NOWHERE, resume), ledger, FreeControl())
        await runner.cleanup(attempt)
        plan.close()
        assert attempt.outcome.reason is EndReason.Unknown
        assert "after record 12" in attempt.outcome.message
        assert ledger.calls == []
        assert attempt.phase is Phase.CONNECT

    asyncio.run(main())


def test_passwords_are_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        said = []
        for engine in LIBRARIES:
            for faults in ("wrong-password", "garbage@Create", "reset@Create", "html@Receive"):
                async with asyncio.timeout(30), a_host(faults) as host:
                    job = await invoke_command(
                        where(host), "1", engine=engine, credential=("sim", "xyzzy-secret"), authentication="Basic",
                        session_option=SessionOption(allow_unencrypted=True, max_connection_retry_count=0),
                    )  # fmt: skip
                    await job.wait()
                    said += [repr(job.outcomes), repr(job.store.job(job.id))]
        return said

    caplog.set_level("DEBUG")
    assert not any("xyzzy" in text for text in [*asyncio.run(main()), caplog.text])
    assert not [r for r in caplog.records if r.name.split(".")[0] in ("pypsrp", "winrm", "urllib3", "requests")]


def test_without_await() -> None:
    with pytest.raises(ConfigurationError, match="native, pypsrp and pywinrm"):
        sync.invoke_command("web01", "1", engine="winrm", credential=SIM)
