"""Scripts that prompt, over the whole way: answered from -Answer, refused with PowerShell's error, secrets by name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose, detach
from remotejobs.api.invoke import invoke_command, retry_job
from remotejobs.api.jobs import connect_job
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.model import SessionOption
from remotejobs.sim.interpreter import HostMethod, Streams
from remotejobs.sim.records import ARRAY_LIST
from remotejobs.sim.shells import HostSettings
from remotejobs.sim.values import PSObject
from tests.e2e.hosts import SIM, Result, Writes, ca_file, run, started, targets
from tests.e2e.test_secrets import PASSWORD, forms, option, stored
from tests.sim.psrp_conversation import in_loop

SETTINGS = HostSettings()
SECURE = "System.Security.SecureString"
SQL = Credential("CORP\\sql", Secret(PASSWORD))
RESTART = "Restart-Service Spooler, WinRM -Confirm -PassThru | ForEach-Object Name"
ASKING = "$n = Read-Host 'Name'; \"name=$n\"; $Host.UI.PromptForChoice('Go on', 'Really?', @('&Go', '&Stay'), 1)"


def notes(result: Result, name: str = "web01") -> list[str]:
    return [str(r.value) for r in result.records if r.computer_name == name and r.stream.name == "Verbose"]


async def on_two(script: str, answers: Any = None, **more: Any) -> Result:
    async with started({"web01": "", "web02": ""}) as hosts:
        return await run(targets(hosts), script, answers=answers, **more)


@in_loop
async def test_questions_are_answered_by_name_on_every_host() -> None:
    result = await on_two(ASKING, ["g", ("NAME", "x")])
    assert result.values("web01") == result.values("web02") == ["name=x", 0]
    assert notes(result) == ["Answered by -Answer: Name: x", "Answered by -Answer: Go, to: Really?"]


@pytest.mark.parametrize(
    ("word", "restarted", "asked"),
    [("Yes", ["Spooler", "WinRM"], 2), ("a", ["Spooler", "WinRM"], 1), ("N", [], 2), ("No to All", [], 1)],
)
@in_loop
async def test_confirmations(word: str, restarted: list[str], asked: int) -> None:
    result = await on_two(RESTART, word)
    assert result.values("web01") == restarted
    assert len(notes(result)) == asked


@in_loop
async def test_one_confirmation_by_its_message() -> None:
    result = await on_two(RESTART, [("*(Spooler)*", "Yes"), "No"])
    assert result.values("web01") == ["Spooler"]


@in_loop
async def test_what_is_not_answered_is_an_error_that_says_how() -> None:
    result = await on_two(f"try {{ Read-Host 'Reason' }} catch {{ \"$_\" }}; {RESTART}; 'never'", {"Name": "x"})
    (said,) = result.values("web01")
    assert said.endswith("message: Reason (to answer it: -Answer 'Reason=...')")
    end = result.ends["web01"].outcome
    assert (end.reason, end.error_id) == ("CommandFailed", "HostFunctionNotImplemented")
    assert "(to answer it: -Answer LABEL, one of Yes, Yes to All, No, No to All)" in end.message


# -- secrets ---------------------------------------------------------------------------------------------------------

SECRETS = (
    "$c = Get-Credential 'CORP\\sql'; $c.UserName; $c.GetNetworkCredential().Password; "
    "$p = Read-Host -AsSecureString 'Pin'; $p.GetType().Name; $p.Length"
)


@in_loop
async def test_secrets_by_name(tmp_path: Path) -> None:
    async with started({"web01": "", "web02": ""}, settings=SETTINGS, tls=True) as hosts:
        answers = {"corp\\SQL": SQL, "Pin": Secret(PASSWORD)}
        result = await run(targets(hosts), SECRETS, answers=answers, option=option(tmp_path))
    for name in hosts:
        assert result.values(name) == ["CORP\\sql", PASSWORD, "SecureString", len(PASSWORD)]
    assert PASSWORD not in str(notes(result))


@pytest.mark.parametrize("asked", ["Password", "Pi", "*", "", "PIN CODE"])
@pytest.mark.parametrize("kind", ["System.String", "System.Security.SecureString"])
@in_loop
async def test_a_hostile_host_gets_no_secret_that_is_not_for_its_question(
    tmp_path: Path, asked: str, kind: str
) -> None:
    taken: list[Any] = []

    async def write(streams: Streams) -> None:
        field = PSObject((), extended={"name": asked, "label": "", "parameterTypeFullName": kind})
        taken.append(await streams.host_call(HostMethod.Prompt, "Pin", "Pin", PSObject(ARRAY_LIST, value=[field])))

    async with started({"web01": ""}, settings=SETTINGS, tls=True, interpreter=Writes(write)) as hosts:
        result = await run(targets(hosts), "x", answers=[("Pin", Secret(PASSWORD)), "Pin"], option=option(tmp_path))
    assert result.reason("web01") == "CommandFailed"
    assert taken == []


@in_loop
async def test_the_very_name_for_plain_text_gets_none_either(tmp_path: Path) -> None:
    async with started({"web01": ""}, settings=SETTINGS, tls=True) as hosts:
        result = await run(targets(hosts), "Read-Host 'Pin'", answers={"Pin": SQL}, option=option(tmp_path))
    assert result.values("web01") == []


@in_loop
async def test_secrets_do_not_go_over_clear_http() -> None:
    with pytest.raises(ConfigurationError, match="over http://"):
        await on_two("1", {"Pin": Secret(PASSWORD)})


@pytest.mark.parametrize(
    "answers",
    [[("", SQL)], {"*": SQL}, [("Pin", SQL), ("pin", "x")], [("Pin", "x"), ("Pin", SQL)], {"Pin": Credential("u")},
     {"n": object()}],
)  # fmt: skip
@in_loop
async def test_answers_that_cannot_be(answers: Any) -> None:
    with pytest.raises(UsageError):
        await on_two("1", answers)


# -- other prompts ---------------------------------------------------------------------------------------------------


@in_loop
async def test_keys_several_choices_and_lines() -> None:
    taken: list[Any] = []

    async def write(streams: Streams) -> None:
        labels = [PSObject((), extended={"label": label, "helpMessage": ""}) for label in ("&Red", "&Blue")]
        several = PSObject(ARRAY_LIST, value=labels)
        method = HostMethod.PromptForChoiceMultipleSelection
        taken.append((await streams.host_call(method, "c", "Colours", several, PSObject(ARRAY_LIST, value=[0]))).value)
        taken.append((await streams.host_call(HostMethod.ReadKey, 4)).get("virtualKeyCode"))
        taken.append(await streams.host_call(HostMethod.ReadLine))

    async with started({"web01": ""}, interpreter=Writes(write)) as hosts:
        answers = {"Colours": ["b", "Red"], "ReadKey": "Enter", "Read-Host": "line"}
        result = await run(targets(hosts), "x", answers=answers)
    assert result.reason("web01") == "Completed"
    assert taken == [[1, 0], 13, "line"]


@in_loop
async def test_a_host_that_asks_a_million_times_meets_a_limit() -> None:
    async def write(streams: Streams) -> None:
        for _ in range(1_000_000):
            with contextlib.suppress(Exception):
                await streams.host_call(HostMethod.ReadLine)

    from remotejobs.wsman.psrp import runspace

    most, runspace._MOST_QUESTIONS = runspace._MOST_QUESTIONS, 50
    try:
        async with started({"bad": ""}, interpreter=Writes(write)) as hosts:
            result = await run(targets(hosts), "x", answers={"Read-Host": "x"})
    finally:
        runspace._MOST_QUESTIONS = most
    assert result.ends["bad"].outcome.error_id.startswith("HostCallLimitExceeded,")
    assert len(notes(result, "bad")) <= 50


# -- stored ----------------------------------------------------------------------------------------------------------

needs_workers = pytest.mark.skipif(sys.platform == "win32", reason="files are looked at while open")


@needs_workers
@in_loop
async def test_a_job_of_a_process_of_its_own_and_its_retry_have_the_answers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    store = compose.open_store(home / "jobs.db")
    script = f"{SECRETS}; Read-Host 'Reason'; {RESTART}; throw 'again'"
    try:
        async with started({"web01": ""}, settings=SETTINGS, tls=True) as hosts:
            job = await invoke_command(
                targets(hosts),
                script,
                answers=["Yes", ("Reason", "first"), ("CORP\\sql", SQL), ("Pin", SQL)],
                credential=SIM,
                authentication="Basic",
                session_option=SessionOption(ca_file=ca_file(tmp_path)),
                as_job=True,
                store=store,
            )
            await job.wait()
            assert [r.value async for r in job.stream() if r.stream.name == "Output"][-3:] == [
                "first",
                "Spooler",
                "WinRM",
            ]
            with pytest.raises(ConfigurationError) as caught:
                await retry_job(job.id, credential=SIM, store=store)
            assert caught.value.error_id == "SecretArgumentMissing"
            names = caught.value.details["secrets"]
            assert names == {"Answers[CORP%5Csql]=CORP%5Csql": "CORP\\sql", "Answers[Pin]=CORP%5Csql": "CORP\\sql"}
            sim = Credential(SIM[0], Secret(SIM[1]))
            again = await retry_job(
                job.id,
                answers={"reason": "second", "": "No"},
                credential={"": sim, **dict.fromkeys(names, SQL)},
                as_job=True,
                store=store,
            )
            await again.wait()
            values = [r.value async for r in again.stream() if r.stream.name == "Output"]
            assert values[-1:] == ["second"]
            assert values[:2] == ["CORP\\sql", PASSWORD]
    finally:
        store.close()
    lying = stored(home)
    assert b"Answers[Pin]" in lying
    assert lying.count(PASSWORD.encode()) == 2  # what the script itself wrote


@needs_workers
@in_loop
async def test_a_script_that_is_taken_over_gets_its_answers_from_the_new_process(tmp_path: Path) -> None:
    """The process that had the secrets was killed before the script asked; whoever connects gives them again."""
    home, go, taken = tmp_path / "home", asyncio.Event(), list[Any]()
    home.mkdir(mode=0o700)

    async def write(streams: Streams) -> None:
        await streams.output("began")
        await go.wait()
        field = PSObject((), extended={"name": "Pin", "label": "", "parameterTypeFullName": SECURE})
        answer = await streams.host_call(HostMethod.Prompt, "", "", PSObject(ARRAY_LIST, value=[field]))
        taken.append("".join(answer.value.get("Pin")))
        await streams.output("done")

    store = compose.open_store(home / "jobs.db")
    try:
        async with started({"web01": ""}, settings=SETTINGS, tls=True, interpreter=Writes(write)) as hosts:
            job = await invoke_command(
                targets(hosts),
                "x",
                answers={"Pin": SQL},
                credential=SIM,
                authentication="Basic",
                session_option=SessionOption(ca_file=ca_file(tmp_path), operation_timeout=5),
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
            assert job.secret_names == {"Answers[Pin]=CORP%5Csql": "CORP\\sql"}
            sim = Credential(SIM[0], Secret(SIM[1]))
            await connect_job(job.id, credential={"": sim, **dict.fromkeys(job.secret_names, SQL)}, store=store)
            go.set()
            await job.wait()
            said = [str(record.value) async for record in job.stream()]
    finally:
        store.close()
    assert taken == [PASSWORD]
    assert said == ["began", "Answered by -Answer: Pin: the password of CORP\\sql", "done"]
    assert not [form for form in forms(PASSWORD) if form in stored(home)]


@needs_workers
@in_loop
async def test_a_script_left_on_its_host_waits_with_its_question(tmp_path: Path) -> None:
    home, go = tmp_path / "home", asyncio.Event()
    home.mkdir(mode=0o700)

    async def write(streams: Streams) -> None:
        await go.wait()
        await streams.output(await streams.host_call(HostMethod.ReadLine))

    store = compose.open_store(home / "jobs.db")
    try:
        async with started({"web01": ""}, interpreter=Writes(write)) as hosts:
            job = await invoke_command(
                targets(hosts),
                "x",
                answers={"Read-Host": "line"},
                credential=SIM,
                authentication="Basic",
                session_option=SessionOption(allow_unencrypted=True, operation_timeout=5),
                in_disconnected_session=True,
                store=store,
            )
            await job.wait()
            assert job.state.name == "Disconnected"
            go.set()
            await connect_job(job.id, credential=SIM, store=store)
            await job.wait()
            said = [str(record.value) async for record in job.stream()]
    finally:
        store.close()
    assert said == ["Answered by -Answer: Read-Host: line", "line"]


# -- the command line ------------------------------------------------------------------------------------------------


@in_loop
async def test_the_command_line(tmp_path: Path) -> None:
    home, password = tmp_path / "home", tmp_path / "sql.password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    config = tmp_path / "config.toml"
    config.write_text(f"[credential.sql]\nusername = 'CORP\\sql'\nprovider = 'file'\npath = '{password}'\n")
    config.chmod(0o600)

    async def cli(*words: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "remotejobs", *words),
            env={
                **os.environ,
                "REMOTEJOBS_HOME": str(home),
                "REMOTEJOBS_PASSWORD": "sim",
                "REMOTEJOBS_CONFIG": str(config),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async with started({"web01": ""}, settings=SETTINGS, tls=True) as hosts:
        (host,) = targets(hosts)
        servers = tmp_path / "servers.txt"
        servers.write_text(f"{host.name} address={host.address} port={host.port}\n")
        way = [f"@{servers}", "-Credential", "sim", "-Authentication", "Basic", "-UseSSL"]
        way += ["-SessionOption", f"CAFile={ca_file(tmp_path)}", "-ScriptBlock"]
        code, out, err = await cli("invoke", *way, ASKING, "-Answer", "Go,'Name'='a, b'", "-ErrorView", "Normal")
        assert (code, out) == (0, "web01: name=a, b\nweb01: 0\n"), err
        assert "VERBOSE: [web01] Answered by -Answer: Name: a, b\n" in err

        code, out, err = await cli("invoke", *way, ASKING, "-Answer", "Go")
        assert (code, out) == (0, "web01: name=\nweb01: 0\n"), err
        assert "to answer it: -Answer 'Name=...'" in err

        code, out, err = await cli(
            "invoke", *way, f"{SECRETS}; throw 1", "-AnswerCredential", "'CORP\\sql'=sql,Pin=sql"
        )
        assert out.splitlines()[:2] == ["web01: CORP\\sql", f"web01: {PASSWORD}"], err
        assert "Answered by -Answer: Pin: the password of sql" in err
        code, out, err = await cli("retry", "5", "-Answer", "Y")
        assert code == 0, err
        code, out, err = await cli("receive", "7", "-Wait")
        assert out.splitlines()[0] == "web01: CORP\\sql", err
