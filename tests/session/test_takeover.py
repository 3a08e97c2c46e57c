"""Runs of a job that are cut off, and the next run that takes up what is on the host: on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from remotejobs.auth import tokens
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import SystemClock
from remotejobs.model import JobSpec, Limits, Outcome, Record, ScriptCommand, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Resume, Transport
from remotejobs.rows import Fresh
from remotejobs.session.feed import Feed
from remotejobs.session.prepared import PreparedJob, prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.session.sessions import HostSessions
from remotejobs.sim.host import SimulatedHost
from remotejobs.states import EndReason
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.wsman.clixml.read import deserialize
from tests.e2e.hosts import started
from tests.session.fakes import FreeControl

NUMBERS = '1..{} | ForEach-Object {{ "$_" }}'


class Killed(BaseException):
    """What ends a run in a test as a kill would: nothing of ours may answer to it."""


@dataclass
class Book:
    """A ledger that outlives the runs of a child; `kill` ends a run at a step, before it is committed or after."""

    ids: Fresh = field(default_factory=lambda: Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4()))
    records: list[Record] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    shell_id: str = ""
    command_id: str = ""
    begun: bool = False
    kill: str = ""  # `append:3` before its commit, `append:3+` after it

    async def _step(self, name: str) -> bool:
        self.steps.append(name)
        which = f"{name}:{self.steps.count(name)}"
        if self.kill == which:
            raise Killed
        return self.kill == f"{which}+"

    async def starting(self) -> None:
        late = await self._step("starting")
        self.begun = True
        if late:
            raise Killed

    async def started(self, shell_id: str, command_id: str) -> None:
        late = await self._step("started")
        self.shell_id, self.command_id = shell_id, command_id
        if late:
            raise Killed

    async def append(self, records: Sequence[Record]) -> None:
        late = await self._step("append")
        self.records += records
        if late:
            raise Killed

    async def disconnected(self, why: Outcome | None = None) -> None: ...

    async def finish(self, outcome: Outcome) -> None: ...

    def next(self) -> Fresh | Resume:
        if not self.begun:
            return self.ids
        last = self.records[-1].seq if self.records else 0
        return Resume(
            self.ids,
            self.shell_id or str(self.ids.shell_id).upper(),
            self.command_id or str(self.ids.command_id).upper(),
            bool(self.shell_id),
            last,
            max((abs(r.object_id) for r in self.records), default=0),
        )

    @property
    def texts(self) -> list[Any]:
        return [deserialize(r.raw) for r in self.records if r.stream is Stream.Output]


def job_at(host: SimulatedHost, script: str, *, up: dict[str, Any] | None = None, **option: Any) -> PreparedJob:
    target = Target(host.name, address="127.0.0.1", port=host.http_port)
    settings = {"allow_unencrypted": True, "max_connection_retry_count": 2, "operation_timeout": 20.0, **option}
    spec = JobSpec(ScriptCommand(script, **(up or {})), (target,), session_option=SessionOption(**settings))
    names, block = Names(), shared_block()

    def connect(target: Target) -> Transport:
        context = tokens.BasicContext(Credential("sim", Secret("sim")))
        return HttpTransport(spec.endpoint(target), context, tls=None, names=names, limits=Limits(), block=block)

    return prepare(spec, connect, asyncio.Semaphore(4))


async def go(job: PreparedJob, book: Book, control: FreeControl | None = None, **start: Any) -> Attempt:
    """One run of the child; it is dropped as it is where a step kills it."""
    runner = PsrpRunner(job, SystemClock())
    begin = book.next()
    if start:
        begin = begin._replace(**start)
    attempt = await runner.run(ChildTask(0, job.spec.targets[0], begin), book, control or FreeControl())
    await runner.cleanup(attempt)
    return attempt


async def killed(job: PreparedJob, book: Book, at: str) -> Attempt | None:
    """A run that is killed at a step; what it came to where it did not get there."""
    book.kill, book.steps = at, []
    try:
        return await go(job, book)
    except Killed:
        return None
    finally:
        book.kill = ""


def alone(fault: str = "", **settings: Any) -> Any:
    return started({"web01": fault}, **settings)


def test_disconnected_while_it_runs_and_received_later() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book, control = hosts["web01"], Book(), FreeControl()
            job = job_at(host, '1..40 | ForEach-Object { "$_"; Start-Sleep -Milliseconds 10 }', idle_timeout=600)
            running = asyncio.create_task(go(job, book, control))
            while len(book.records) < 5:
                await asyncio.sleep(0.005)
            control.disconnect()
            attempt = await running
            assert attempt.outcome.reason is EndReason.Disconnected
            assert host.counters.shells == 1
            sessions = HostSessions(job, SystemClock(), lambda _target: contextlib.nullcontext(), 1)
            (found,) = await sessions.find(job.spec.targets[0], user="sim")
            assert (found.shell.state, found.shell.idle_timeout) == ("Disconnected", 600.0)
            assert [c.command_id for c in found.commands] == [book.command_id]
            before = len(book.records)
            await asyncio.sleep(0.2)  # it goes on meanwhile
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Completed
            assert 5 <= before < 40
            assert book.texts == [str(n) for n in range(1, 41)]
            assert [r.seq for r in book.records] == list(range(1, 41))
            assert list(host.counters.scripts.values()) == [1]
            assert host.counters.shells == 0

    asyncio.run(main())


def test_a_sleeping_script_goes_on_while_nobody_listens() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, "'a'; Start-Sleep -Milliseconds 300; 'b'")
            spec = job.spec
            object.__setattr__(spec, "in_disconnected_session", True)
            assert (await go(job, book)).outcome.reason is EndReason.Disconnected
            while host.counters.records < 2:
                await asyncio.sleep(0.02)
            assert (await go(job, book)).outcome.reason is EndReason.Completed
            assert book.texts == ["a", "b"]

    asyncio.run(main())


KILLS = ["starting:1", "started:1+", "append:1", "append:1+", "append:2", "append:2+", "append:3", "append:3+"]


@pytest.mark.parametrize("at", KILLS)
@pytest.mark.parametrize("fault", ["", "linger"])
def test_killed_at_each_step_and_taken_over_by_the_same_client(at: str, fault: str) -> None:
    async def main() -> None:
        async with alone(fault) as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(2000))
            await killed(job, book, at)
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
            assert book.texts == [str(n) for n in range(1, 2001)]
            assert [r.seq for r in book.records] == list(range(1, 2001))
            assert list(host.counters.scripts.values()) == [1]

    asyncio.run(main())


def test_killed_before_command_leaves_a_shell_without_one() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(5))
            await killed(job, book, "starting:1+")
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert "Most likely the script has not run" in attempt.outcome.message
            assert host.counters.commands == 0
            assert host.counters.shells == 0

    asyncio.run(main())


def test_input_that_went_up_with_the_script_is_not_sent_again() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, "process { $_ } end { 'end' }", up={"input": (1, 2, 3)})
            await killed(job, book, "append:1")
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == [1, 2, 3, "end"]
            assert list(host.counters.scripts.values()) == [1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("up", "at"),
    [({"input": (1, 2)}, "started:1"), ({"streamed": True}, "started:1"), ({"streamed": True}, "append:1")],
)
def test_a_script_that_may_not_have_all_of_its_input_is_ended_as_unknown(up: dict[str, Any], at: str) -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, "begin { 'b' } process { $_ } end { 'never' }", up=up)
            with contextlib.closing(Feed(iter([1, 2]))) as feed:
                await killed(job._replace(feed=feed if up.get("streamed") else None), book, at)
            assert book.begun
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert "may not have got all of its input" in attempt.outcome.message
            assert host.counters.shells == 0
            assert list(host.counters.scripts.values()) == [1]

    asyncio.run(main())


def test_what_has_not_begun_cannot_begin_without_its_stream() -> None:
    async def main() -> None:
        async with alone() as hosts:
            job = job_at(hosts["web01"], "$input", up={"streamed": True})
            attempt = await go(job, Book())
            assert attempt.outcome.reason is EndReason.NotStarted
            assert hosts["web01"].counters.connections == 0

    asyncio.run(main())


def test_a_disconnect_waits_until_the_input_is_given() -> None:
    async def main() -> None:
        async with alone() as hosts:
            more, control, book = asyncio.Event(), FreeControl(), Book()

            async def given() -> AsyncIterator[int]:
                yield 1
                await more.wait()
                yield 2

            job = job_at(
                hosts["web01"], "process { $_ } end { Start-Sleep -Milliseconds 300; 'end' }", up={"streamed": True}
            )
            feed = Feed(given())
            running = asyncio.create_task(go(job._replace(feed=feed), book, control))
            while not book.records:
                await asyncio.sleep(0.005)
            control.disconnect()
            await asyncio.sleep(0.05)
            assert not running.done()
            more.set()
            assert (await running).outcome.reason is EndReason.Disconnected
            feed.close()

    asyncio.run(main())


def test_killed_between_command_and_its_commit_is_found() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(5))
            await killed(job, book, "started:1")
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == ["1", "2", "3", "4", "5"]
            assert list(host.counters.scripts.values()) == [1]

    asyncio.run(main())


def test_killed_again_and_again_nothing_is_lost_or_doubled() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(10_000))
            dice = random.Random(4)
            attempt, kills = None, 0
            while attempt is None:
                attempt = await killed(job, book, f"append:{dice.randint(1, 2)}{dice.choice(['', '+'])}")
                kills += attempt is None
            assert kills > 5
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == [str(n) for n in range(1, 10_001)]
            assert list(host.counters.scripts.values()) == [1]

    asyncio.run(main())


def test_another_client_takes_over_when_the_host_has_noticed() -> None:
    async def main() -> None:
        async with alone("silence:0.3") as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(2000))
            await killed(job, book, "append:2")
            other = book.ids._replace(session_id=uuid.uuid4())
            attempt = await go(job, book, ids=other)
            assert attempt.outcome.reason is EndReason.Completed
            assert host.counters.faults[2150859213] >= 1  # it had to wait
            assert host.counters.requests["Connect"] >= 2
            assert book.texts == [str(n) for n in range(1, 2001)]

    asyncio.run(main())


def test_a_receive_of_a_dead_client_holds_the_shell_for_its_own_time() -> None:
    async def main() -> None:
        async with alone("linger silence:0.2") as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, "'a'; Start-Sleep -Milliseconds 1200; 'b'", operation_timeout=0.5)
            running = asyncio.create_task(go(job, book))
            while host.counters.requests["Receive"] < 4:
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait([running])
            other = book.ids._replace(session_id=uuid.uuid4())
            attempt = await go(job, book, ids=other)
            assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
            assert host.counters.faults[2150859213] >= 1
            assert book.texts == ["a", "b"]

    asyncio.run(main())


def test_a_host_that_does_not_repeat_the_end_is_unknown_and_incomplete() -> None:
    async def main() -> None:
        async with alone("no-replay") as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(10))
            await killed(job, book, "append:1")
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert attempt.outcome.details["incomplete"] is True
            assert "may be incomplete" in attempt.outcome.message
            assert host.counters.shells == 0

    asyncio.run(main())


def test_a_host_that_does_not_repeat_the_end_but_was_heard_is_not() -> None:
    async def main() -> None:
        async with alone("no-replay") as hosts:
            book = Book()
            assert (await go(job_at(hosts["web01"], NUMBERS.format(10)), book)).outcome.reason is EndReason.Completed

    asyncio.run(main())


def test_a_reboot_takes_all_shells() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(2000))
            await killed(job, book, "append:2")
            host.reboot(0.0)
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Unknown
            assert "restarted" in attempt.outcome.message

    asyncio.run(main())


def test_a_connection_that_breaks_while_the_host_is_away_leaves_it_disconnected() -> None:
    async def main() -> None:
        async with alone("reset@Receive#4*5") as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(3000))
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Disconnected
            assert host.counters.shells == 1
            attempt = await go(job, book)
            attempt = await go(job, book) if attempt.outcome.reason is EndReason.Disconnected else attempt
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == [str(n) for n in range(1, 3001)]

    asyncio.run(main())


def test_a_run_that_is_killed_while_it_takes_over_is_repeated() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, NUMBERS.format(2000))
            await killed(job, book, "append:2")
            for at in ("starting:1", "starting:1+", "started:1", "started:1+"):
                await killed(job, book, at)
            attempt = await go(job, book)
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == [str(n) for n in range(1, 2001)]

    asyncio.run(main())


def test_a_stop_of_what_is_found_again() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            job = job_at(host, "try { 'a'; Start-Sleep 60 } finally { 'tidied' }")
            await killed(job, book, "append:1+")
            control = FreeControl()
            control.stop_requested = True
            attempt = await go(job, book, control)
            assert attempt.outcome.reason is EndReason.Stopped
            assert book.texts == ["a", "tidied"]
            assert host.counters.shells == 0

    asyncio.run(main())


def test_ten_thousand_records_come_in_few_answers() -> None:
    async def main() -> None:
        async with alone() as hosts:
            host, book = hosts["web01"], Book()
            attempt = await go(job_at(host, NUMBERS.format(10_000)), book)
            assert attempt.outcome.reason is EndReason.Completed
            assert book.texts == [str(n) for n in range(1, 10_001)]
            assert host.counters.records == 10_000
            assert host.counters.requests["Receive"] < 200

    asyncio.run(main())
