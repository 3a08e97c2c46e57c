"""Outputs of every size and shape, through real sockets: none is lost, none grows without bounds, none hangs."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from remotejobs import compose
from remotejobs.api.invoke import invoke_command
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import SystemClock
from remotejobs.errors import JobError, ProtocolError
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import JobSpec, Limits, ScriptCommand, SessionOption, Stream
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import HostMethod, Streams
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.store.memory import MemoryStore
from remotejobs.views.view import FORMATS, view
from tests.e2e.hosts import Result, Writes, run, started, targets

KIB, MIB = 1024, 1024 * 1024
ONE_ANSWER = MIB  # more than the records of one answer


def on_host(script: str, writes: Writes | None = None, **options: Any) -> Result:
    """Run on one good host, which is left without a shell."""

    async def main() -> Result:
        async with started({"web01": ""}, interpreter=writes) as hosts:
            result = await asyncio.wait_for(run(targets(hosts), script, **options), 60)
            assert hosts["web01"].counters.shells == 0
            return result

    return asyncio.run(main())


@dataclass
class Tireless:
    """Writes `pieces` strings of `size` bytes and counts what the host has taken of them."""

    pieces: int
    size: int = 64 * KIB
    taken: int = 0

    async def __call__(self, streams: Streams) -> None:
        piece = f"<S>{'x' * (self.size - 7)}</S>"
        for _ in range(self.pieces):
            await streams.recorded(MessageType.PIPELINE_OUTPUT, piece)
            self.taken += self.size


# -- a lot -----------------------------------------------------------------------------------------------------------


def test_more_than_the_job_allows_ends_the_script() -> None:
    script = Tireless(pieces=5000)  # 312 MiB if it were let
    result = on_host("x", Writes(script), option={"maximum_received_data_size_per_command": MIB})
    outcome = result.ends["web01"].outcome
    assert (outcome.reason, outcome.error_id.split(",")[0]) == ("CommandFailed", "ReceivedDataSizeExceededMaximum")
    assert "MaximumReceivedDataSizePerCommand" in outcome.message
    assert MIB < sum(len(r.record.raw) for r in result.records) < script.taken < 100 * MIB


def test_an_object_that_is_larger_than_the_job_allows_ends_the_script() -> None:
    result = on_host("x", Writes(Tireless(1, 3 * MIB)), option={"maximum_received_object_size": 2 * MIB})
    assert result.ends["web01"].outcome.state.name == "Failed"
    assert result.records == []
    assert "larger than" in result.message("web01") or "more than" in result.message("web01")


@asynccontextmanager
async def bounded(script: Tireless, unread: int) -> AsyncIterator[tuple[RemoteJob, MemoryStore, SimulatedHost]]:
    """A job whose store takes no more once `unread` bytes lie there that nobody has read."""
    async with started({"web01": ""}, interpreter=Writes(script)) as hosts:
        spec = JobSpec(
            ScriptCommand("x"),
            tuple(targets(hosts)),
            authentication="Basic",
            session_option=SessionOption(allow_unencrypted=True),
        )
        clock = SystemClock()
        store = MemoryStore(clock, unread_bytes=unread)
        job = await compose.start(spec, {"": Credential("sim", Secret("sim"))}, store=store, clock=clock)
        yield job, store, hosts["web01"]


def kept(store: MemoryStore, job: RemoteJob) -> int:
    """Bytes of records that the store holds."""
    return sum(len(arrival.record.raw) for arrival in store.read(job.id, 0, 1_000_000))


def test_a_reader_that_reads_bounds_what_is_kept() -> None:
    async def main() -> None:
        script, read, most = Tireless(pieces=1000), 0, 0
        async with bounded(script, unread=MIB) as (job, store, _):
            async for record in job.stream():
                most = max(most, kept(store, job))
                read += len(record.record.raw)
            assert await job.wait()
        assert read == script.taken == 1000 * 64 * KIB
        assert most < MIB + ONE_ANSWER

    asyncio.run(main())


def test_without_a_reader_the_host_is_kept_waiting_and_nothing_is_lost() -> None:
    async def main() -> None:
        script, read = Tireless(pieces=500), 0
        async with bounded(script, unread=MIB) as (job, store, _):
            with pytest.raises(JobError) as blocked:
                await job.wait()
            assert blocked.value.error_id == "BlockedJobsDeadlockWithWaitJob"
            assert MIB <= kept(store, job) < MIB + ONE_ANSWER
            while not job.state.finished:
                read += sum(len(record.record.raw) for record in job.receive())
                try:
                    await job.wait()
                except JobError as again:
                    assert again.error_id == "BlockedJobsDeadlockWithWaitJob"
            read += sum(len(record.record.raw) for record in job.receive())
        assert read == script.taken == 500 * 64 * KIB

    asyncio.run(main())


def test_a_job_that_is_held_can_be_stopped() -> None:
    async def main() -> None:
        async with bounded(Tireless(pieces=5000), unread=MIB) as (job, _, host):
            with pytest.raises(JobError):
                await job.wait()
            job.request_stop()
            job.receive()
            async for _ in job.stream():
                pass
            assert await job.wait()
            assert (job.state.name, host.counters.shells) == ("Stopped", 0)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_very_many_small_records() -> None:
    async def write(streams: Streams) -> None:
        for number in range(100_000):
            await streams.recorded(MessageType.PIPELINE_OUTPUT, f"<I32>{number}</I32>")

    result = on_host("x", Writes(write))
    assert [r.record.raw for r in result.records] == [b"<I32>%d</I32>" % number for number in range(100_000)]
    assert [r.record.seq for r in result.records] == list(range(1, 100_001))


def test_more_records_than_the_job_allows() -> None:
    async def write(streams: Streams) -> None:
        while True:
            await streams.recorded(MessageType.PIPELINE_OUTPUT, "<I32>1</I32>")

    result = on_host("x", Writes(write), limits=Limits(records=1000))
    outcome = result.ends["web01"].outcome
    assert (outcome.reason, outcome.error_id.split(",")[0]) == ("CommandFailed", "RecordLimitExceeded")
    assert len(result.records) > 1000


def test_one_object_of_20_megabytes() -> None:
    async def write(streams: Streams) -> None:
        await streams.output("é" * (10 * MIB))

    (value,) = on_host("x", Writes(write)).values("web01")
    assert value == "é" * (10 * MIB)


def test_a_script_of_a_megabyte() -> None:
    script = "\n".join(f"# {number:06} {'.' * 90}" for number in range(10_500)) + "\n'ran'"
    assert len(script) > MIB
    assert on_host(script).values("web01") == ["ran"]


# -- without end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writing", [True, False], ids=["writing", "silent"])
def test_a_script_without_end_is_stopped(writing: bool) -> None:
    async def write(streams: Streams) -> None:
        await streams.output("begun")
        while writing:
            await streams.recorded(MessageType.PIPELINE_OUTPUT, "<S>more</S>")
        await asyncio.Event().wait()

    async def main() -> None:
        async with started({"web01": ""}, interpreter=Writes(write)) as hosts:
            option = SessionOption(allow_unencrypted=True)
            job = await invoke_command(
                targets(hosts), "x", credential=("sim", "sim"), authentication="Basic", session_option=option
            )
            seen = 0
            async for _ in job.stream():
                seen += 1
                if seen == 1:
                    job.request_stop()
            assert await job.wait()
            (end,) = job.outcomes
            assert (job.state.name, end.outcome.reason) == ("Stopped", "Stopped")
            assert (hosts["web01"].counters.shells, hosts["web01"].counters.commands) == (0, 1)

    asyncio.run(asyncio.wait_for(main(), 60))


# -- host calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        HostMethod.ReadLine,
        HostMethod.ReadLineAsSecureString,
        HostMethod.Prompt,
        HostMethod.PromptForCredential2,
        HostMethod.PromptForChoice,
    ],
)
def test_a_prompt_ends_in_powershells_error(method: HostMethod) -> None:
    async def write(streams: Streams) -> None:
        await streams.output("before")
        await streams.host_call(method, "caption", "message")
        await streams.output("after")

    result = on_host("x", Writes(write))
    outcome = result.ends["web01"].outcome
    assert result.values("web01") == ["before"]
    assert (outcome.reason, outcome.error_id) == ("CommandFailed", "HostFunctionNotImplemented")
    assert "does not support user interaction" in outcome.message


def test_a_host_that_asks_for_ever_is_answered_each_time() -> None:
    async def write(streams: Streams) -> None:
        for _ in range(50):
            with pytest.raises(Exception, match="does not support user interaction"):
                await streams.host_call(HostMethod.ReadLine)
        await streams.output("patient")

    assert on_host("x", Writes(write)).values("web01") == ["patient"]


# -- shapes ----------------------------------------------------------------------------------------------------------

PLAIN = [
    True,
    -1,
    2**31,
    2**63 - 1,
    1.5,
    "text",
    "",
    "\ud83d\ude00 \u0416 _x0041_ \r\n\t\0 \ufeff",
    "\ud800 half",
    b"\0\xff",
    Decimal("7922816251426433759354395.0335"),
    datetime(2026, 11, 20, 3, 4, 5, 678900, UTC),
    datetime(2026, 11, 20, 3, 4, 5),  # noqa: DTZ001 - of kind Unspecified
    timedelta(days=-1, microseconds=1),
    uuid.UUID(int=2**100),
    [1, ["two", None], b"3"],
    {"Name": "C", "Inner": {"a": [1]}},
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_arguments_come_back_as_they_were(value: Any) -> None:
    result = on_host("param($a) ,$a", argument_list=[value])
    (back,) = result.values("web01")
    back = getattr(back, "base", back)
    if isinstance(value, str):
        back = str(back).encode("utf-16", "surrogatepass")
        value = value.encode("utf-16", "surrogatepass")
    assert back == value
    assert type(back) is type(value) or isinstance(back, type(value))


def test_an_integer_past_64_bits_is_a_big_integer() -> None:
    (back,) = on_host("param($a) $a", argument_list=[2**63]).values("web01")
    assert (back.type_names[0], str(back)) == ("Deserialized.System.Numerics.BigInteger", str(2**63))


def test_null_is_a_record_and_nothing_is_none() -> None:
    result = on_host("param($a) $a; $null; @(); 'end'", argument_list=[None])
    assert result.values("web01") == [None, None, "end"]


def test_seven_streams_in_the_order_of_the_script() -> None:
    script = """
        $VerbosePreference = 'Continue'; $DebugPreference = 'Continue'
        'one'; Write-Error 'two'; Write-Warning 'three'; Write-Verbose 'four'; Write-Debug 'five'
        Write-Information 'six'; Write-Progress -Activity 'seven'; 'eight'
    """
    result = on_host(script)
    assert [r.stream.value for r in result.records] == [1, 2, 3, 4, 5, 6, 7, 1]
    assert [str(r.value).split(":")[0] for r in result.records] == [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ]  # fmt: skip
    assert [r.record.seq for r in result.records] == list(range(1, 9))
    ids = [r.record.object_id for r in result.records]
    assert ids == sorted(set(ids))
    assert result.records[0].record.time <= result.records[-1].record.time
    assert result.ends["web01"].outcome.error_count == 1


# -- hostile ---------------------------------------------------------------------------------------------------------

UNREADABLE = {
    "deep": "<LST>" * 10_000 + "</LST>" * 10_000,
    "deep objects": '<Obj RefId="0"><LST>' * 10_000 + "</LST></Obj>" * 10_000,
    "cut": "<Obj><MS><S N='a'>x",
    "not xml": "\x01\x02 & <<<",
    "bad number": "<I32>many</I32>",
    "entities": '<!DOCTYPE a [<!ENTITY b "bb">]><S>&b;</S>',
    "no such reference": '<Ref RefId="77" />',
}


@pytest.mark.parametrize("stream", [Stream.Output, Stream.Error, Stream.Progress])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_harms_its_own_record_only(kind: str, stream: Stream) -> None:
    messages = {
        Stream.Output: MessageType.PIPELINE_OUTPUT,
        Stream.Error: MessageType.ERROR_RECORD,
        Stream.Progress: MessageType.PROGRESS_RECORD,
    }

    async def write(streams: Streams) -> None:
        await streams.recorded(messages[stream], UNREADABLE[kind])
        await streams.output("after")

    result = on_host("x", Writes(write))
    bad, good = result.records
    with pytest.raises(ProtocolError):
        _ = bad.value
    assert good.value == "after"
    assert result.reason("web01") == "Completed"


def test_a_failure_that_cannot_be_read_is_still_one() -> None:
    async def write(streams: Streams) -> None:
        deep = '<Obj N="ExceptionAsErrorRecord" RefId="1"><LST>' + "<LST>" * 9_999 + "</LST>" * 10_000 + "</Obj>"
        state = f'<Obj RefId="0"><MS><I32 N="PipelineState">5</I32>{deep}</MS></Obj>'
        await streams.recorded(MessageType.PIPELINE_STATE, state)

    result = on_host("x", Writes(write))
    assert result.reason("web01") == "CommandFailed"
    assert "cannot be read" in result.message("web01")


def test_origin_is_ours_whatever_the_host_says() -> None:
    forged = "PSComputerName = 'dc01'; RunspaceId = 'mine'; PSShowComputerName = 'no'"
    script = f"[pscustomobject]@{{ {forged}; pscomputername2 = 1 }}"
    result = on_host(script)
    (record,) = result.records
    assert record.value.PSComputerName == "web01"
    assert record.value.RunspaceId == record.runspace_id
    assert record.value.PSShowComputerName is True
    assert list(record.value.properties) == ["pscomputername2", "PSComputerName", "RunspaceId", "PSShowComputerName"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_that_would_never_end_is_shown_as_far_as_it_goes(name: str) -> None:
    """A list of lists that are all the same one, and one that is in itself; what comes after them is shown too."""
    lists = "<S>x</S>"
    for n in range(40):
        again = f'<Ref RefId="{n - 1}"/>' * 5 if n else ""
        lists = f'<Obj RefId="{n}"><LST>{lists}{again}</LST></Obj>'

    async def script(streams: Streams) -> None:
        for piece in (lists, '<Obj RefId="0"><LST><Ref RefId="0"/><Ref RefId="0"/></LST></Obj>', "<S>after</S>"):
            await streams.recorded(MessageType.PIPELINE_OUTPUT, piece)

    result = on_host("x", Writes(script))
    out, err = io.StringIO(), io.StringIO()
    screen = view(name, out, err, depth=100)
    for record in result.records:
        screen.record(record)
    screen.close()
    assert "after" in out.getvalue()
    assert len(out.getvalue()) < 2_000_000
    assert err.getvalue() == ""
