"""Runs the script of a transcript: the simulated hosts' dialect, where jobs are ours."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import remotejobs
from remotejobs.jobs.job import ChildJob, RemoteJob
from remotejobs.sim.dialect import nodes as n
from remotejobs.sim.dialect.blocks import BlockStage
from remotejobs.sim.dialect.commands import resolve
from remotejobs.sim.dialect.errors import Failure, Refusal
from remotejobs.sim.dialect.evaluator import Evaluator, collapse, none
from remotejobs.sim.dialect.parser import parse
from remotejobs.sim.dialect.scopes import Emit, Frame, Session, Stage
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.records import ErrorRecord, InformationRecord, Position
from remotejobs.sim.shells import HostInfo
from remotejobs.sim.values import NOTHING, ScriptBlock, to_text
from tests.transcripts.cmdlets import CMDLETS
from tests.transcripts.commands import COMMANDS, JobCommand
from tests.transcripts.screen import Line, Screen, error_line
from tests.transcripts.values import ErrorValue, JobValue, type_of
from tests.transcripts.world import World

_OF_THE_LANGUAGE = (
    "foreach-object", "%", "foreach", "where-object", "where", "?", "select-object", "select", "sort-object", "sort",
    "measure-object", "measure", "write-output", "echo", "write", "out-null", "write-host",
)  # fmt: skip


class Client(Evaluator):
    """One session of PowerShell: its variables, its jobs, its screen."""

    def __init__(self, world: World) -> None:
        self.world, self.screen = world, Screen()
        self.burned = 0
        self._jobs: dict[int, JobValue] = {}
        host = HostInfo("client", "user")
        session = Session(host, {}, {"true": True, "false": False, "null": None, "error": [], "errorview": ""})
        session.variables |= {"erroractionpreference": "Continue"}
        super().__init__(session, cast("Streams", _Streams(self.screen)), _command, BlockStage)

    @property
    def error_view(self) -> str:
        """$ErrorView."""
        return to_text(self.session.variables.get("errorview")) or "ConciseView"

    def job(self, job: RemoteJob | ChildJob) -> JobValue:
        """A job as the script has it, always the same; what was counted before it is counted in its id."""
        parent = job.parent if isinstance(job, ChildJob) else job
        if parent.id not in self._jobs:
            family: list[RemoteJob | ChildJob] = [parent, *parent.child_jobs]
            for each in family:
                self._jobs[each.id] = JobValue(each, each.id + self.burned, self.job)
        return self._jobs[job.id]

    def forget(self) -> None:
        """Jobs are gone: an object of ours knows it where it was the one that removed its job."""
        there = {row.id for row in self.world.store.jobs()}
        for job in self.world.jobs:
            job.removed = job.removed or (job.store is self.world.store and job.id not in there)

    def ours(self, number: int) -> int:
        """Our id of what the script calls so."""
        return next((value.job.id for value in self._jobs.values() if value.number == number), number)

    async def run(self, script: str) -> list[Line]:
        """Run a script and return what it showed."""
        block = parse(script)
        self.frames = [Frame("<ScriptBlock>", block.source, self.session.variables)]
        stage = BlockStage(self, block, [], _shown(self.screen), "<ScriptBlock>")
        stage.variables = self.session.variables
        try:
            await self.pump([stage], None)
        except Refusal:
            raise
        except Failure as failed:
            self.screen.show(failed.record)
        return self.screen.lines

    async def applied(self, block: ScriptBlock, item: Any) -> Any:
        """What a script block gives with `$_`."""
        variables = self.frames[-1].variables
        before, variables["_"] = variables.get("_"), item
        try:
            return collapse(await self.collect(block.block.body))
        finally:
            variables["_"] = before

    def assign(self, name: str, value: Any, scope: str = "") -> None:
        """Set a variable; $ErrorView means something here."""
        if name.lower() == "errorview":
            self.session.variables["errorview"] = value
            return
        super().assign(name, value, scope)

    async def _stage(self, node: n.Command, emit: Emit, *, last: bool) -> Stage:
        merged = {redirection.stream for redirection in node.redirections if redirection.merge}
        if not merged:
            return await super()._stage(node, emit, last=last)
        kept = [redirection for redirection in node.redirections if not redirection.merge]
        stage = await super()._stage(dataclasses.replace(node, redirections=kept), emit, last=last)
        if not isinstance(stage, JobCommand):
            raise Refusal("redirection of other commands than those of jobs")
        stage.merged = merged
        return stage

    async def _member(self, node: n.Member) -> Any:
        if not node.static and node.arguments == [] and to_text(await self.value(node.name)).lower() == "gettype":
            value = none(await self.value(node.target))
            if value is not None and not isinstance(value, ErrorRecord):
                return type_of(value)
        if not node.static and node.arguments is not None:
            target, name = await self.value(node.target), to_text(await self.value(node.name)).lower()
            if isinstance(target, JobValue) and name in ("stopjob", "waitone"):
                given = [await self.value(argument) for argument in node.arguments]
                return await self._called(target, name, *given)
        return await super()._member(node)

    async def _called(self, target: JobValue, name: str, milliseconds: float | None = None) -> Any:
        """StopJob() of a job, WaitOne() of what says that it has finished."""
        store = self.world.store
        if name == "stopjob":
            await self.world.until(remotejobs.stop_job(target.job, store=store))
            return NOTHING
        seconds = None if milliseconds is None else milliseconds / 1000
        await self.world.until(remotejobs.wait_job(target.job, timeout=seconds, store=store))
        return target.job.state.finished


def _command(
    client: Client, name: str, arguments: list[tuple[str | None, Any]], emit: Emit, position: Position, word: Position
) -> Stage:
    kind = {**COMMANDS, **CMDLETS}.get(name.lower())
    if kind is not None:
        stage = kind(client, emit, position)
        stage.bind(arguments)
        return stage
    if name.lower() not in _OF_THE_LANGUAGE:
        raise Refusal(f"the command '{name}'", position)
    return resolve(client, name, arguments, emit, position, word)


def _shown(screen: Screen) -> Emit:
    async def emit(value: Any) -> None:
        screen.show(value)

    return emit


class _Streams:
    """Where a script of the client writes what is no object."""

    interactive = False

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def error(self, record: ErrorRecord | ErrorValue) -> None:
        self._screen.error(record.line if isinstance(record, ErrorValue) else error_line(record))

    async def information(self, record: InformationRecord, shown: str | None) -> None:
        self._screen.say(shown or "")
