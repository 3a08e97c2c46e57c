"""Command lines on one simulated host, through real sockets: the runner's contract, faults, kills and takeovers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from remotejobs.auth import tokens
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import SystemClock
from remotejobs.errors import UsageError
from remotejobs.model import Clocks, CmdCommand, JobSpec, Limits, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Transport
from remotejobs.rows import Phase
from remotejobs.session.feed import Feed
from remotejobs.session.prepared import PreparedJob, prepare
from remotejobs.session.runner import WinrsRunner
from remotejobs.sim.faults import FaultScript, parse_faults
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostInfo, HostSettings, ShellSink
from remotejobs.sim.winrs_host import CMD, winrs_shell_factory
from remotejobs.states import EndReason
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.pipes import program_input
from tests.session.fakes import FreeControl
from tests.session.test_takeover import Book, Killed


@contextlib.asynccontextmanager
async def host(faults: str = "", factory: Any = None, **settings: Any) -> AsyncIterator[SimulatedHost]:
    made = SimulatedHost(
        "h",
        {CMD: factory or winrs_shell_factory()},
        HostSettings(**{"allow_unencrypted": True, **settings}),
        FaultScript(parse_faults(faults)),
    )
    await made.start(None)
    try:
        yield made
    finally:
        await made.stop()


def job_at(
    where: SimulatedHost,
    command: str | CmdCommand,
    *,
    clocks: Clocks | None = None,
    limits: Limits | None = None,
    feed: Any = None,
    **option: Any,
) -> PreparedJob:
    target = Target(where.name, address="127.0.0.1", port=where.http_port)
    settings = {"allow_unencrypted": True, "max_connection_retry_count": 2, "operation_timeout": 20.0, **option}
    spec = JobSpec(
        command if isinstance(command, CmdCommand) else CmdCommand(command),
        (target,),
        session_option=SessionOption(**settings),
        clocks=clocks or Clocks(),
        limits=limits or Limits(),
    )
    names, block = Names(), shared_block()

    def connect(target: Target) -> Transport:
        context = tokens.BasicContext(Credential("sim", Secret("sim")))
        return HttpTransport(spec.endpoint(target), context, tls=None, names=names, limits=Limits(), block=block)

    prepared = prepare(spec, connect, asyncio.Semaphore(4))
    assert isinstance(spec.command, CmdCommand)
    return prepared if feed is None else prepared._replace(feed=Feed(feed, program_input(spec.command.code_page)))


async def go(job: PreparedJob, book: Book, control: FreeControl | None = None) -> Attempt:
    runner = WinrsRunner(job, SystemClock())
    try:
        attempt = await runner.run(ChildTask(0, job.spec.targets[0], book.next()), book, control or FreeControl())
        await runner.cleanup(attempt)
    finally:
        if job.feed:
            job.feed.close()
    return attempt


def texts(book: Book, stream: Stream = Stream.Output) -> list[str]:
    return [str(from_clixml(r.stream, deserialize(r.raw))) for r in book.records if r.stream is stream]


def ran(command: str | CmdCommand, faults: str = "", factory: Any = None, **more: Any) -> tuple[Attempt, Book]:
    """Run one command line on a host of its own, where no shell is left."""

    async def main() -> tuple[Attempt, Book]:
        book = Book()
        settings = {name: more.pop(name) for name in list(more) if name in HostSettings.__dataclass_fields__}
        async with host(faults, factory, **settings) as there:
            attempt = await go(job_at(there, command, **more), book)
            assert there.counters.shells == 0, "a shell was left"
        assert [r.seq for r in book.records] == list(range(1, len(book.records) + 1))
        return attempt, book

    return asyncio.run(main())


def test_output_errors_and_exit_code() -> None:
    attempt, book = ran("echo out& echo err>&2& exit 3")
    outcome = attempt.outcome
    assert (outcome.reason, outcome.details, outcome.error_count) == (
        EndReason.Completed,
        {"shell": "cmd", "exit_code": 3},
        1,
    )
    assert (texts(book), texts(book, Stream.Error)) == (["out"], ["err"])
    assert book.steps[:2] == ["starting", "started"]
    assert attempt.phase is Phase.STARTED


def test_a_command_that_there_is_not() -> None:
    attempt, book = ran("nothing /x")
    assert attempt.outcome.details == {"shell": "cmd", "exit_code": 1}
    assert texts(book, Stream.Error) == [
        "'nothing' is not recognized as an internal or external command,",
        "operable program or batch file.",
    ]


@pytest.mark.parametrize("code_page", [65001, 850, 1252])
def test_the_code_page_is_asked_for_and_read(code_page: int) -> None:
    _, book = ran(CmdCommand("echo Größe", code_page))
    assert texts(book) == ["Größe"]


def test_large_output_comes_whole() -> None:
    attempt, book = ran("for /l %i in (1,1,20000) do @echo line %i", operation_timeout=5.0)
    assert texts(book) == [f"line {n}" for n in range(1, 20001)]
    assert attempt.outcome.reason is EndReason.Completed


@pytest.mark.parametrize("code", [0, 1, -1, -1073741510])
def test_exit_codes_are_signed(code: int) -> None:
    assert ran(f"exit {code}")[0].outcome.details["exit_code"] == code


def test_standard_input() -> None:
    attempt, book = ran(CmdCommand("more", 850, streamed=True), feed=["Größe", b"raw\n", "x" * 300_000, ["a", "b"]])
    assert texts(book) == ["Größe", "raw", "x" * 300_000, "a", "b"]
    assert attempt.outcome.reason is EndReason.Completed


def test_a_program_that_does_not_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is busy with what was sent before (Win32 error 170), for longer than a Send is tried again."""
    monkeypatch.setattr("remotejobs.session.opening.delays", lambda _: iter([0.001] * 3))
    attempt, book = ran(CmdCommand("more", streamed=True), "fault:170@Send*10", feed=["a", "b"])
    assert (attempt.outcome.reason, texts(book)) == (EndReason.Completed, ["a", "b"])


def test_input_that_the_host_still_works_on_is_not_sent_again() -> None:
    command = CmdCommand("timeout /t 1 & exit 4", streamed=True)
    attempt, _ = ran(command, "fault:2150858793@Send*1", feed=["a"])
    assert (attempt.outcome.reason, attempt.outcome.details) == (EndReason.Completed, {"shell": "cmd", "exit_code": 4})


@pytest.mark.parametrize("feed", [[], [None]])
def test_no_input_is_its_end_at_once(feed: list[None]) -> None:
    assert texts(ran(CmdCommand("more", streamed=True), feed=feed)[1]) == []


def test_a_program_may_end_without_its_input() -> None:
    attempt, _ = ran(CmdCommand("exit 4", streamed=True), feed=["x" * 100_000] * 20)
    assert (attempt.outcome.reason, attempt.outcome.details) == (EndReason.Completed, {"shell": "cmd", "exit_code": 4})


def test_input_that_was_streamed_to_another_process_is_not_here() -> None:
    attempt, book = ran(CmdCommand("more", streamed=True))
    assert (attempt.outcome.reason, book.steps) == (EndReason.NotStarted, [])


def test_input_that_fails_ends_the_command() -> None:
    def failing() -> Any:
        yield "one"
        raise OSError("pulled out")

    attempt, _ = ran(CmdCommand("more", streamed=True), feed=failing())
    assert attempt.outcome.reason is EndReason.Unknown
    assert "pulled out" in attempt.outcome.message


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def stopped(there: SimulatedHost, line: str | CmdCommand, **option: Any) -> tuple[Attempt, Book]:
    book, control = Book(), FreeControl()
    task = asyncio.create_task(go(job_at(there, line, **option), book, control))
    await until(lambda: "append" in book.steps)
    control.stop()
    attempt = await asyncio.wait_for(task, 30)
    assert there.counters.shells == 0
    return attempt, book


def test_a_stop_is_ctrl_c_and_what_was_written_is_kept() -> None:
    async def main() -> None:
        async with host() as there:
            attempt, book = await stopped(there, "echo on& timeout /t 600")
            assert (attempt.outcome.reason, texts(book)) == (EndReason.Stopped, ["on"])
            assert attempt.outcome.details["exit_code"] == -1073741510

    asyncio.run(main())


def test_a_program_that_goes_on_after_ctrl_c_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remotejobs.session.winrs._HEEDED", 0.05)

    async def main() -> None:
        async with host() as there:
            attempt, _ = await stopped(there, "echo on& timeout /t 600 /nobreak")
            assert (attempt.outcome.reason, attempt.outcome.message) == (EndReason.Stopped, "")

    asyncio.run(main())


def test_a_stop_before_the_command_sends_none() -> None:
    async def main() -> None:
        async with host("stall@Create") as there:
            book, control = Book(), FreeControl()
            task = asyncio.create_task(go(job_at(there, "echo x"), book, control))
            await until(lambda: Phase.AUTHENTICATE in control.entered)
            control.stop()
            attempt = await asyncio.wait_for(task, 30)
            assert (attempt.outcome.reason, book.steps) == (EndReason.Stopped, [])
            assert not there.counters.scripts

    asyncio.run(main())


def test_clocks() -> None:
    attempt, _ = ran("timeout /t 600", clocks=Clocks(silence=0.2))
    assert attempt.outcome.reason is EndReason.TimedOutSilence
    attempt, _ = ran("echo x", "stall@Create", clocks=Clocks(authenticate=0.2, cleanup=0.2))
    assert attempt.outcome.reason is EndReason.TimedOutAuthenticate


def test_a_limit_ends_the_command() -> None:
    attempt, book = ran("for /l %i in (1,1,100000) do @echo %i", limits=Limits(records=2500))
    assert (attempt.outcome.reason, attempt.outcome.error_id[:19]) == (EndReason.CommandFailed, "RecordLimitExceeded")
    assert 2500 < len(book.records) <= 3500, "a batch at a time"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refuse", EndReason.Unreachable),
        ("quota", EndReason.QuotaExceeded),
        ("reset@Create", EndReason.Unreachable),
        ("reset@Command", EndReason.Unknown),
        ("wrong-password", EndReason.AuthenticationFailed),
    ],
)
def test_faults_end_as_they_do_for_scripts(fault: str, reason: EndReason) -> None:
    async def main() -> None:
        async with host(fault) as there:
            book = Book()
            attempt = await go(job_at(there, "echo x", max_connection_retry_count=0), book)
            assert attempt.outcome.reason is reason, attempt.outcome

    asyncio.run(main())


LONG = "for /l %i in (1,1,9000) do @echo %i"


@pytest.mark.parametrize(
    "fault", ["reset@Receive*1", "reset-after@Receive#2*2", "truncate@Receive*1", "reset-after@Command*1"]
)
def test_a_connection_that_breaks_is_made_again_and_the_command_runs_once(fault: str) -> None:
    async def main() -> None:
        async with host(fault) as there:
            book = Book()
            attempt = await go(job_at(there, LONG), book)
            assert attempt.outcome.reason is EndReason.Completed
            assert texts(book) == [str(n) for n in range(1, 9001)]
            assert there.counters.scripts == {LONG: 1}

    asyncio.run(main())


def test_a_command_that_did_not_arrive_is_not_sent_again() -> None:
    async def main() -> None:
        async with host("reset@Command*1") as there:
            attempt = await go(job_at(there, LONG), Book())
            assert attempt.outcome.reason is EndReason.Unknown
            assert there.counters.requests["Command"] <= 1
            assert not there.counters.scripts

    asyncio.run(main())


def test_a_host_that_invents_ids() -> None:
    attempt, book = ran("echo x", invents_ids=True)
    assert (attempt.outcome.reason, texts(book)) == (EndReason.Completed, ["x"])
    assert book.command_id != str(book.ids.command_id).upper()


# -- the next run of a job whose process was killed -------------------------------------------------------------------

WAITS = "echo one& timeout /t 1 & echo two& exit 5"


@pytest.mark.parametrize("kill", ["starting:1", "starting:1+", "started:1", "started:1+", "append:1", "append:1+"])
def test_killed_at_any_step_the_command_runs_at_most_once(kill: str) -> None:
    async def main() -> None:
        async with host() as there:
            book = Book(kill=kill)
            job = job_at(there, WAITS, operation_timeout=1.0)
            with pytest.raises(Killed):
                await go(job, book)
            book.kill = ""
            attempt = await go(job, book)
            outcome = attempt.outcome
            assert there.counters.scripts[WAITS] <= 1
            if kill == "starting:1":
                assert (outcome.reason, texts(book)) == (EndReason.Completed, ["one", "two"])
            elif kill == "starting:1+":
                assert outcome.reason is EndReason.Unknown
            else:
                assert (outcome.reason, outcome.details["exit_code"]) == (EndReason.Completed, 5)
                assert outcome.details["incomplete"]
                assert "missing" in outcome.message
                assert texts(book)[-1] == "two"
            assert there.counters.shells == 0

    asyncio.run(main())


def test_a_shell_that_is_gone_is_said_to_be() -> None:
    async def main() -> None:
        async with host() as there:
            book = Book(kill="append:1+")
            job = job_at(there, WAITS)
            with pytest.raises(Killed):
                await go(job, book)
            there.reboot(0)
            book.kill = ""
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert "shell of the script is not on the host" in attempt.outcome.message

    asyncio.run(main())


def test_streamed_input_is_not_given_a_second_time() -> None:
    async def main() -> None:
        async with host() as there:
            book = Book(kill="append:1+")
            with pytest.raises(Killed):
                await go(job_at(there, CmdCommand("more", streamed=True), feed=["a", "b"]), book)
            book.kill = ""
            attempt = await go(job_at(there, CmdCommand("more", streamed=True)), book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert "may not have got all of its input" in attempt.outcome.message

    asyncio.run(main())


def test_a_process_that_departs_leaves_the_command_and_another_finds_it() -> None:
    async def main() -> None:
        async with host() as there:
            book, control = Book(), FreeControl()
            task = asyncio.create_task(go(job_at(there, WAITS, operation_timeout=1.0), book, control))
            await until(lambda: "append" in book.steps)
            control.disconnect()
            attempt = await asyncio.wait_for(task, 30)
            assert attempt.outcome.reason is EndReason.Disconnected
            attempt = await go(job_at(there, WAITS, operation_timeout=1.0), book)
            assert (attempt.outcome.reason, texts(book)) == (EndReason.Completed, ["one", "two"])
            assert there.counters.scripts == {WAITS: 1}

    asyncio.run(main())


# -- hosts that send what they should not -----------------------------------------------------------------------------


class Tireless:
    """A cmd shell whose command writes for ever, as fast as it is asked."""

    def __init__(self, host: HostInfo, sink: ShellSink) -> None:
        self.sink = sink
        self.task: asyncio.Task[None] | None = None

    def create(self, creation_xml: bytes) -> None: ...

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        async def write() -> None:
            while True:
                while self.sink.full:
                    await asyncio.sleep(0.001)
                self.sink.output("stdout", b"\xff" * 60_000 + b"\r", command_id)
                await asyncio.sleep(0)

        self.task = asyncio.get_running_loop().create_task(write())

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None: ...

    def signal(self, command_id: str, code: str) -> None: ...

    def close(self) -> None:
        if self.task:
            self.task.cancel()


class Prompting(Tireless):
    """A cmd shell whose command asks something, on both of its streams, and waits."""

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        self.sink.output("stdout", b"done\r\nName: ", command_id)
        self.sink.output("stderr", b"why", command_id)


@pytest.mark.parametrize("end", ["stop", "disconnect", "silence"])
def test_the_beginning_of_a_line_is_not_lost(end: str) -> None:
    async def main() -> None:
        async with host(factory=Prompting) as there:
            book, control = Book(), FreeControl()
            clocks = Clocks(silence=0.3 if end == "silence" else None)
            job = job_at(there, "set /p name=Name:", clocks=clocks, cancel_timeout=0.2)
            task = asyncio.create_task(go(job, book, control))
            await until(lambda: "append" in book.steps)
            if end != "silence":
                getattr(control, end)()
            attempt = await asyncio.wait_for(task, 30)
            assert (texts(book), texts(book, Stream.Error)) == (["done", "Name: "], ["why"])
            assert attempt.outcome.error_count == 1
            assert attempt.outcome.reason.name.lower().endswith(
                {"disconnect": "disconnected", "stop": "stopped"}.get(end, end)
            )

    asyncio.run(main())


def test_endless_output_ends_at_the_limit() -> None:
    attempt, book = ran("type \\\\.\\zero", factory=Tireless, maximum_received_data_size_per_command=1_000_000)
    assert attempt.outcome.error_id.startswith("ReceivedDataSizeExceededMaximum")
    assert sum(len(record.raw) for record in book.records) < 20_000_000


def test_what_cannot_be_run_is_refused_before_anything_is_sent() -> None:
    spec = JobSpec(CmdCommand("dir\ncd"), (Target("h"),))

    def connect(_: Target) -> Transport:
        raise AssertionError

    with pytest.raises(UsageError, match="several"):
        prepare(spec, connect, asyncio.Semaphore(1))
    with pytest.raises(UsageError, match="code page"):
        prepare(JobSpec(CmdCommand("dir", 1), (Target("h"),)), connect, asyncio.Semaphore(1))


@pytest.mark.parametrize(
    "fault",
    [f"{name}@Receive*1" for name in ("bad-base64", "entity-bomb", "wrong-relatesto", "html", "garbage", "endless")],
)
def test_a_hostile_answer_ends_the_child_and_its_shell(fault: str) -> None:
    attempt, _ = ran("echo x", fault, max_connection_retry_count=0)
    assert attempt.outcome.reason in (EndReason.Unknown, EndReason.Disconnected), attempt.outcome
    assert attempt.outcome.message


def test_a_receive_of_a_lost_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remotejobs.session.winrs._AGAIN", 0.05)

    async def main() -> None:
        async with host("linger") as there:
            book = Book(kill="append:1+")
            job = job_at(there, WAITS, operation_timeout=1.0)
            with pytest.raises(Killed):
                await go(job, book)
            book.kill = ""
            attempt = await go(job, book)
            assert (attempt.outcome.reason, texts(book)) == (EndReason.Completed, ["one", "two"])

    asyncio.run(main())


def test_an_end_that_was_lost_is_not_made_up() -> None:
    attempt, _ = ran("exit 3", "no-replay,reset-after@Receive*1")
    assert attempt.outcome.reason is EndReason.Unknown
    assert "how it ended went to" in attempt.outcome.message


def test_a_stop_while_input_is_given() -> None:
    def endless() -> Any:
        while True:
            yield "x" * 1000

    async def main() -> None:
        async with host() as there:
            attempt, book = await stopped(there, CmdCommand("more", streamed=True), feed=endless())
            assert attempt.outcome.reason is EndReason.Stopped
            assert set(texts(book)) == {"x" * 1000}

    asyncio.run(main())
