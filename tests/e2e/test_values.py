"""Everything that goes up with a script, end to end: named parameters, `$using:`, pipeline input."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose
from remotejobs.api.invoke import invoke_command, retry_job
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.model import ScriptCommand, SessionOption
from remotejobs.sim.shells import HostSettings
from remotejobs.wsman.psrp.messages import SESSION_CAPABILITY
from tests.e2e.hosts import ca_file, run, started, targets
from tests.sim.psrp_conversation import in_loop

PLAIN = SessionOption(allow_unencrypted=True, max_connection_retry_count=1)
HOW: dict[str, Any] = {"credential": ("sim", "sim"), "authentication": "Basic", "session_option": PLAIN}
BOTH = {"web01": "", "web02": ""}


@in_loop
async def test_parameters_by_name() -> None:
    script = (
        'param($Name, [int]$Count, [switch]$Loud, [switch]$Not, $Empty = 1) "$Name $Count $Loud $Not"; $null -eq $Empty'
    )
    given = {"-Name": "WinRM", "count": "3", "Loud": True, "Not": False, "Empty": None}
    async with started(BOTH) as hosts:
        found = await run(targets(hosts), script, parameters=given)
        mixed = await run(targets(hosts), 'param($a, $b) "$a $b"; $args', argument_list=[1, 2], parameters={"a": 0})
    assert found.values("web01") == found.values("web02") == ["WinRM 3 True False", True]
    assert mixed.values("web01") == ["0 1", 2]


@in_loop
async def test_secrets_as_parameters_and_variables(tmp_path: Path) -> None:
    script = "param([pscredential]$Cred) $Cred.GetNetworkCredential().Password; $using:s.Length; ($using:s).Length"
    ops, secret = Credential("ops", Secret("pass-1")), Secret("word")
    async with started({"web01": ""}, settings=HostSettings(), tls=True) as hosts:
        option = {"allow_unencrypted": False, "ca_file": ca_file(tmp_path)}
        with pytest.raises(UsageError, match="not known here"):  # a member of a secret is not for here
            await run(targets(hosts), script, parameters={"Cred": ops}, using={"s": secret}, option=option)
        script = script.replace("$using:s.Length; ", "")
        found = await run(targets(hosts), script, parameters={"Cred": ops}, using={"s": secret}, option=option)
    assert found.values("web01") == ["pass-1", 4]
    assert "pass-1" not in repr(found.job.row.spec)


@pytest.mark.parametrize("given", [{"": 1}, {"-": 1}, {"a": 1, "-A": 2}])
@in_loop
async def test_names_that_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await invoke_command("web01", "1", parameters=given, **HOW)


@in_loop
async def test_using_as_the_recorded_scripts_have_it() -> None:
    script = (
        '$using:x; $using:h.k; ($using:h)["k"]; $using:a[1]; $using:s.Length; "$($using:s) in string"; '
        '"$using:s direct"; function f { $Using:X }; f; ${using:x}'
    )
    given = {"x": 1, "h": {"k": "v"}, "a": [10, 20, 30], "$using:s": "text"}
    async with started({"web01": ""}) as hosts:
        found = await run(targets(hosts), script, using=given)
    assert found.values("web01") == [1, "v", "v", 20, 4, "text in string", "text direct", 1, 1]


@in_loop
async def test_hosts_before_powershell_5_get_variables_as_parameters() -> None:
    older = SESSION_CAPABILITY.replace(b"2.3", b"2.2")
    script = 'param($a) "$a $using:x $($using:h.k)"; "$using:X"; $input'
    given: dict[str, Any] = {"argument_list": [1], "using": {"x": 2, "h": {"k": 3}}, "input_object": [4]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("remotejobs.wsman.psrp.runspace.SESSION_CAPABILITY", older)
        async with started({"web01": ""}) as hosts:
            found = await run(targets(hosts), script, **given)
            (ran,) = hosts["web01"].counters.scripts
    assert found.values("web01") == ["1 2 3", "2", 4]
    assert "using:" not in ran


@in_loop
async def test_a_variable_that_is_not_given_is_refused_before_anything_is_sent() -> None:
    async with started({"web01": ""}) as hosts:
        with pytest.raises(UsageError, match=r"\$using:noSuchVariable") as refused:
            await invoke_command(targets(hosts), "$using:noSuchVariable; 'after'", **HOW)
        assert not hosts["web01"].counters.requests
    assert refused.value.error_id == "UsingVariableIsUndefined"


async def lines() -> AsyncIterator[str]:
    for n in range(3):
        await asyncio.sleep(0)
        yield f"line {n}"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ([1, 2], ["b", "p 1", "p 2", "e"]),
        ((n for n in (1, 2)), ["b", "p 1", "p 2", "e"]),
        (lines(), ["b", "p line 0", "p line 1", "p line 2", "e"]),
        ("text", ["b", "p text", "e"]),
        ([None], ["b", "p ", "e"]),
        ([], ["b", "p ", "e"]),
    ],
)
@in_loop
async def test_input_reaches_every_host(given: Any, seen: list[str]) -> None:
    async with started(BOTH) as hosts:
        found = await run(targets(hosts), 'begin { "b" } process { "p $_" } end { "e" }', input_object=given)
    assert found.values("web01") == found.values("web02") == seen


@in_loop
async def test_much_input_is_kept_for_the_host_that_begins_later() -> None:
    source = ("x" * 100 for _ in range(20_000))
    async with started(BOTH) as hosts:
        found = await run(targets(hosts), "$input | Measure-Object | % Count", input_object=source, throttle_limit=1)
    assert found.values("web01") == found.values("web02") == [20_000]
    assert found.job.row.spec.command.streamed


@in_loop
async def test_one_value_larger_than_an_envelope() -> None:
    async with started({"web01": ""}) as hosts:
        found = await run(targets(hosts), "$input | % { $_.Length }", input_object=iter(["x" * 2_000_000, "y"]))
    assert found.values("web01") == [2_000_000, 1]


@in_loop
async def test_output_comes_while_input_is_still_given() -> None:
    seen = asyncio.Event()

    async def given() -> AsyncIterator[int]:
        yield 1
        await asyncio.wait_for(seen.wait(), 20)  # what the script has made of the first
        yield 2

    async with started({"web01": ""}) as hosts:
        job = await invoke_command(targets(hosts), "process { $_ * 10 }", input_object=given(), **HOW)
        values = []
        async for record in job.stream():
            values.append(record.value)
            seen.set()
    assert values == [10, 20]


@in_loop
async def test_a_source_without_end_is_read_no_faster_than_hosts_take_it() -> None:
    pulled = 0

    def endless() -> Iterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield "x" * 1000

    async with started({"web01": ""}) as hosts:
        job = await invoke_command(targets(hosts), "process { throw 'enough' }", input_object=endless(), **HOW)
        await job.wait()
        (end,) = job.outcomes
    assert end.outcome.message == "enough"
    assert pulled < 20_000


@in_loop
async def test_a_script_that_waits_for_input_is_stopped_in_order() -> None:
    hold = threading.Event()

    def given() -> Iterator[int]:
        yield 1
        hold.wait(30)

    async with started({"web01": ""}) as hosts:
        script = "begin { 'b' } process { $_ } end { 'never' }"
        job = await invoke_command(targets(hosts), script, input_object=given(), **HOW)
        values = []
        async for record in job.stream():
            values.append(record.value)
            if record.value == 1:
                job.request_stop()
        hold.set()
    assert (values, job.outcomes[0].outcome.reason.value) == (["b", 1], "Stopped")


@in_loop
async def test_a_source_that_fails_ends_the_script_as_unknown() -> None:
    seen = asyncio.Event()

    async def given() -> AsyncIterator[int]:
        yield 1
        await asyncio.wait_for(seen.wait(), 20)
        raise ValueError("the file is gone")

    async with started({"web01": ""}) as hosts:
        job = await invoke_command(targets(hosts), "process { $_ } end { 'never' }", input_object=given(), **HOW)
        values = []
        async for record in job.stream():
            values.append(record.value)
            seen.set()
        await job.wait()
        assert hosts["web01"].counters.shells == 0
    outcome = job.outcomes[0].outcome
    assert (values, outcome.reason.value) == ([1], "Unknown")
    assert "the file is gone" in outcome.message


@in_loop
async def test_what_goes_up_is_stored_and_goes_up_again(tmp_path: Path) -> None:
    script = 'param($n) "$n $using:x"; $input'
    async with started({"web01": "refuse"}) as hosts:
        store = compose.open_store(tmp_path / "jobs.db")
        up: dict[str, Any] = {"parameters": {"n": 1}, "using": {"x": [2]}, "input_object": ["i"]}
        job = await invoke_command(targets(hosts), script, store=store, **up, **HOW)
        await job.wait()
    async with started({"web01": ""}) as hosts:
        spec = store.job(job.id).spec
        assert isinstance(spec.command, ScriptCommand)
        assert spec.command.parameters == (("n", 1),)
        where = targets(hosts)[0]
        again = await invoke_command([where], script, store=store, **up, **HOW)
        await again.wait()
        retried = await retry_job(again.id, state="Completed", credential=("sim", "sim"), store=store)
        values = [record.value async for record in retried.stream()]
        other = await retry_job(
            *(again.id,),
            state="Completed",
            credential=("sim", "sim"),
            store=store,
            parameters={"n": 9},
            input_object=[],
        )
        others = [record.value async for record in other.stream()]
        streamed = await invoke_command([where], script, store=store, **{**up, "input_object": iter("s")}, **HOW)
        await streamed.wait()
        with pytest.raises(ConfigurationError, match="came as a stream") as refused:
            await retry_job(streamed.id, state="Completed", credential=("sim", "sim"), store=store)
        store.close()
    assert (values, others) == (["1 2", "i"], ["9 2"])
    assert refused.value.error_id == "InputMissing"


@in_loop
async def test_input_that_has_to_go_with_the_job_has_a_limit() -> None:
    kept: list[dict[str, Any]] = [{"as_job": True}, {"in_disconnected_session": True}]
    for how in kept:
        with pytest.raises(UsageError, match="larger than 1 MiB") as refused:
            await invoke_command("web01", "1", input_object=("x" * 1000 for _ in itertools.count()), **how, **HOW)
        assert refused.value.error_id == "InputTooLarge"
    with pytest.raises(UsageError, match=r"secret cannot be pipeline input|argument by itself"):
        await invoke_command("web01", "1", input_object=[Secret("x")], **HOW)
