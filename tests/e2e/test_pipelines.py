"""Pipelines of commands, end to end: statements, merged streams, settings, the store, secrets, the sync API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose, sync
from remotejobs.api.invoke import invoke_command, retry_job
from remotejobs.api.pipeline import Pipeline
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.model import HostInfo, InvocationSettings, RemoteStreamOptions, SessionOption, Stream
from remotejobs.sim.shells import HostSettings
from remotejobs.store.encoding import decode_spec, encode_spec
from remotejobs.wsman.psrp.messages import SESSION_CAPABILITY
from tests.e2e.hosts import ca_file, run, started, targets
from tests.sim.psrp_conversation import in_loop

PLAIN = SessionOption(allow_unencrypted=True, max_connection_retry_count=1)
HOW: dict[str, Any] = {"credential": ("sim", "sim"), "authentication": "Basic", "session_option": PLAIN}
NUMBERS = Pipeline().add_script("param($n) 1..$n").add_argument(4).add_command("Sort-Object")
NUMBERS = NUMBERS.add_parameter("Descending")


@in_loop
async def test_commands_and_statements() -> None:
    more = NUMBERS.add_statement().add_command("Write-Output").add_parameter("InputObject", "it's $x; `")
    more = more.add_statement().add_script("$using:v").add_command("Write-Output")
    async with started({"web01": "", "web02": ""}) as hosts:
        found = await run(targets(hosts), more, using={"v": [7]})
    assert found.values("web01") == found.values("web02") == [4, 3, 2, 1, "it's $x; `", 7]
    assert found.job.command == "param($n) 1..$n | Sort-Object; Write-Output; $using:v | Write-Output"


@in_loop
async def test_input_goes_to_the_first_command() -> None:
    async with started({"web01": ""}) as hosts:
        found = await run(targets(hosts), Pipeline().add_command("Sort-Object"), input_object=iter([2, 1]))
    assert found.values("web01") == [1, 2]


@in_loop
async def test_merged_streams_are_output() -> None:
    loud = Pipeline().add_script("Write-Warning w; Write-Error e; 1")
    async with started({"web01": ""}) as hosts:
        where = targets(hosts)
        apart, errors, both = [
            [(r.stream, str(r.value)) for r in (await run(where, each)).records]
            for each in (loud, loud.merge_my_results("Error"), loud.merge_my_results())
        ]
    assert apart == [(Stream.Warning, "w"), (Stream.Error, "e"), (Stream.Output, "1")]
    assert errors == [(Stream.Warning, "w"), (Stream.Output, "e"), (Stream.Output, "1")]
    assert both == [(Stream.Output, "w"), (Stream.Output, "e"), (Stream.Output, "1")]


@in_loop
async def test_common_parameters() -> None:
    write = Pipeline().add_command("Write-Error").add_argument("e").add_parameter("ErrorAction", "Stop")
    async with started({"web01": ""}) as hosts:
        found = await run(targets(hosts), write.add_statement().add_script("'never'"))
    assert (found.reason("web01"), found.values("web01")) == ("CommandFailed", [])


@in_loop
async def test_without_a_host_prompts_fail_there_at_once() -> None:
    script = "Write-Host 'shown'; Read-Host"
    async with started({"web01": ""}) as hosts:
        found = await run(targets(hosts), script, invocation_settings=InvocationSettings(host=None))
    assert [(r.stream.name, str(r.value)[:16]) for r in found.records] == [
        ("Information", "shown"),
        ("Error", "The host program"),
    ]
    assert found.reason("web01") == "Completed"


@in_loop
async def test_it_is_stored_and_runs_again(tmp_path: Path) -> None:
    settings = InvocationSettings(
        add_to_history=False,
        remote_stream_options=RemoteStreamOptions.AddInvocationInfo,
        apartment_state="STA",
        host=HostInfo(buffer_size=(200, 100), window_title=""),
        application_arguments={"a": [1, {"b": "c"}]},
    )
    loud = NUMBERS.add_script("process { Write-Warning $_ }").merge_my_results("Warning")
    async with started({"web01": ""}) as hosts:
        store = compose.open_store(tmp_path / "jobs.db")
        how: dict[str, Any] = {**HOW, "store": store}
        job = await invoke_command(targets(hosts), loud, invocation_settings=settings, **how)
        await job.wait()
        assert decode_spec(encode_spec(job.row.spec)) == job.row.spec == store.job(job.id).spec
        assert job.row.spec.invocation_settings == settings
        again = await retry_job(job.id, state="Completed", credential=("sim", "sim"), store=store)
        values = [str(record.value) async for record in again.stream()]
        other = await retry_job(
            *(again.id,), state="Completed", credential=("sim", "sim"), store=store, pipeline=Pipeline().add_script("9")
        )
        others = [record.value async for record in other.stream()]
        with pytest.raises(UsageError, match="no argument_list"):
            await retry_job(job.id, state="Completed", credential=("sim", "sim"), store=store, argument_list=[1])
        assert other.row.spec.invocation_settings == settings
        store.close()
    assert (values, others) == (["4", "3", "2", "1"], [9])


@in_loop
async def test_a_process_of_its_own_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("REMOTEJOBS_HOME", str(home))
    secret = NUMBERS.add_statement().add_script("param($s) $s.Length").add_argument(Secret("Vqx-81-word"))
    option = {"session_option": SessionOption(ca_file=ca_file(tmp_path), max_connection_retry_count=1)}
    async with started({"web01": ""}, settings=HostSettings(), tls=True) as hosts, asyncio.timeout(60):
        job = await invoke_command(targets(hosts), secret, as_job=True, **{**HOW, **option})
        await job.wait()
        assert [record.value async for record in job.stream()] == [4, 3, 2, 1, 11]
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"Vqx-81" in each for each in kept)


@in_loop
async def test_secrets_in_a_pipeline_are_named_and_never_stored(tmp_path: Path) -> None:
    ops = Credential("ops", Secret("pass-1"))
    script = "param([pscredential]$Cred, $s) $Cred.GetNetworkCredential().Password; $s.Length"
    secret = Pipeline().add_script(script).add_parameter("Cred", ops).add_parameter("s", Secret("word"))
    option = {"session_option": SessionOption(ca_file=ca_file(tmp_path), max_connection_retry_count=1)}
    async with started({"web01": ""}, settings=HostSettings(), tls=True) as hosts:
        store = compose.open_store(tmp_path / "jobs.db")
        how: dict[str, Any] = {**HOW, **option, "store": store}
        job = await invoke_command(targets(hosts), secret.add_statement().add_script("'end'"), **how)
        values = [record.value async for record in job.stream()]
        await job.wait()
        with pytest.raises(ConfigurationError, match=r"Commands\[0\]\[Cred\]") as refused:
            await retry_job(job.id, state="Completed", credential=("sim", "sim"), store=store)
        again = await retry_job(*(job.id,), state="Completed", credential=("sim", "sim"), store=store, pipeline=secret)
        more = [record.value async for record in again.stream()]
        text = encode_spec(store.job(job.id).spec)
        store.close()
    assert (values, more) == (["pass-1", 4, "end"], ["pass-1", 4])
    assert refused.value.details["secrets"] == {"Commands[0][Cred]=ops": "ops", "Commands[0][s]": ""}
    assert not {"pass-1", "word"} & set(text.replace('"', ">").replace("<", ">").split(">"))


def test_without_await() -> None:
    async def main() -> list[Any]:
        async with started({"web01": ""}) as hosts:
            return await asyncio.to_thread(
                lambda: [record.value for record in sync.invoke_command(targets(hosts), NUMBERS, **HOW)]
            )

    assert asyncio.run(main()) == [4, 3, 2, 1]


@in_loop
async def test_a_list_is_one_argument_that_the_command_takes_apart() -> None:
    write = Pipeline().add_command("Write-Output").add_argument([1, 2])
    pick = Pipeline().add_command("Get-Service").add_argument(["WinRM"]).add_command("Select-Object")
    async with started({"web01": ""}) as hosts:
        where = targets(hosts)
        assert (await run(where, write)).values("web01") == [1, 2]  # recorded: api-addargument
        (picked,) = (await run(where, pick.add_parameter("Property", ["Name", "Status"]))).values("web01")
    assert [*picked.properties][:2] == ["Name", "Status"]


@in_loop
async def test_a_host_before_powershell_5_gets_its_variables_as_parameters() -> None:
    pipeline = Pipeline().add_script('"$using:x"').add_script('process { "$_ $using:y" }').merge_my_results("Error")
    older = SESSION_CAPABILITY.replace(b"2.3", b"2.2")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("remotejobs.wsman.psrp.runspace.SESSION_CAPABILITY", older)
        async with started({"web01": ""}) as hosts:
            found = await run(targets(hosts), pipeline, using={"x": 1, "y": 2})
            (ran,) = hosts["web01"].counters.scripts
    assert found.values("web01") == ["1 2"]
    assert "using:" not in ran
