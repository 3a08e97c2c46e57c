"""The commands of transcripts: jobs by our binder and our API, and the few of PowerShell's own that work on them.

A word that is not here, and a parameter that our commands do not have, ends the transcript and says which.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import remotejobs
from remotejobs.cli.binder import bind
from remotejobs.cli.commands import find_command
from remotejobs.cli.jobs import what_if
from remotejobs.errors import JobError, RemoteJobsError
from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.model import Stream
from remotejobs.sim.dialect.commands import Cmdlet
from remotejobs.sim.dialect.errors import Failure, Refusal
from remotejobs.sim.values import NOTHING, PSObject, ScriptBlock, is_array, items, to_text
from remotejobs.states import JobState
from remotejobs.views.console import host_text
from tests.e2e.hosts import SIM
from tests.transcripts import decisions
from tests.transcripts.values import (
    ErrorValue,
    JobValue,
    SessionValue,
    event_value,
    failure_value,
    host_line,
    ours,
    record_value,
)

_USING = re.compile(r"\$using:(\w+)", re.IGNORECASE)
_COMMON = {
    name.lower(): name
    for name in (
        "ErrorAction", "WarningAction", "InformationAction", "ErrorVariable", "WarningVariable", "InformationVariable",
        "OutVariable",
    )
} | {"ea": "ErrorAction", "wa": "WarningAction", "infa": "InformationAction", "ev": "ErrorVariable"} | {
    "wv": "WarningVariable", "iv": "InformationVariable", "ov": "OutVariable"
}  # fmt: skip
_HOSTS = ("hostname", "session")  # what PowerShell off Windows has for -ComputerName


class JobCommand(Cmdlet):
    """A job cmdlet: its arguments become words, which our binder binds as those of a command line."""

    verb: ClassVar[str] = ""
    needs_jobs: ClassVar[bool] = True
    takes_jobs: ClassVar[bool] = True

    def bind(self, arguments: list[tuple[str | None, Any]]) -> None:
        """Keep the arguments; jobs may come through the pipeline too."""
        self.arguments, self.merged = arguments, set[str]()
        self.kept: dict[str, list[Any]] = {}
        self.given: list[JobValue] = []
        self.input: list[Any] = []

    @property
    def client(self) -> Any:
        """The evaluator, which knows the world and the screen."""
        return self.evaluator

    async def process(self, item: Any) -> None:
        self.input.append(item)

    async def end(self) -> None:
        try:
            if self.needs_jobs and (missing := [item for item in self.input if not isinstance(item, JobValue)]):
                raise Refusal(f"{self.name} of {to_text(missing[0])}", self.position)
            self.given += [item for item in self.input if isinstance(item, JobValue)]
            command = find_command(self.verb)
            words = self._words()
            if self.needs_jobs and self.input:
                words = ["-Id", ",".join(str(item.number) for item in self.given), *words]
            values = bind(command, words).values
            if command.check is not None:
                command.check(values)
            await self.work(values)
        except RemoteJobsError as error:
            if decisions.refused(error):
                self.client.screen.say(f"{self.name}: {error.message}", optional=True)
                return
            kind = "PSInvalidOperationException"
            raise self.failed(error.message, error.error_id, "InvalidOperation", kind) from None
        finally:
            for parameter, found in self.kept.items():
                self.client.assign(self.p[parameter], found)

    def keep(self, parameter: str, value: Any) -> None:
        """Add to the variable that -ErrorVariable and its kin name."""
        if parameter in self.kept:
            self.kept[parameter].append(value)

    async def work(self, values: dict[str, Any]) -> None:
        """Do it."""
        raise NotImplementedError

    async def tell(self, errors: list[RemoteJobsError]) -> None:
        """Write what went wrong with some of the jobs."""
        for error in errors:
            record = self.record(error.message, error.error_id, "ObjectNotFound", "PSArgumentException")
            self.keep("ErrorVariable", record)
            await self.error(record)

    def _words(self) -> list[str]:
        words = []
        for name, value in paired(self.arguments, *_COMMON):
            common = _COMMON.get((name or "").lower())
            if common:
                self.p[common] = to_text(value)
                if common.endswith("Variable"):
                    self.kept[common] = []
                continue
            key = name or ""
            found = [item for item in items(value) if isinstance(item, JobValue)] if value is not NOTHING else []
            if found and self.takes_jobs:
                self.given += found
                words += ["-Id", ",".join(str(job.number) for job in found)]
                continue
            if key.lower() in _HOSTS:
                key = "ComputerName"
            if value is NOTHING:
                words.append(f"-{key}")
            elif key and isinstance(value, bool):
                words.append(f"-{key}:{_word(value)}")
            else:
                words += [f"-{key}"] if key else []
                words.append(_word(value))
        return words

    def chosen(self, values: dict[str, Any]) -> list[Any]:
        """What the API is given: the jobs themselves where the script has them, else their ids, names, instance ids."""
        known = {job.number: job.job for job in self.given}
        ids = [known.get(number, self.client.ours(number)) for number in values.get("Id", ())]
        return [*ids, *values.get("Name", ()), *map(uuid.UUID, map(str, values.get("InstanceId", ())))]

    async def selected(self, values: dict[str, Any], errors: list[RemoteJobsError]) -> list[Any]:
        """The same, and what -State and -Command find."""
        found = self.chosen(values)
        wanted = {name.lower(): values[name] for name in ("State", "Command") if name in values}
        if wanted:
            jobs = await remotejobs.get_job(errors=errors, store=self.client.world.store, **wanted)
            found += [self.client.job(job).job for job in jobs]
        return found

    async def show(self, jobs: list[RemoteJob | ChildJob]) -> None:
        """Emit jobs."""
        for job in jobs:
            await self.emit(self.client.job(job))


def paired(arguments: list[tuple[str | None, Any]], *names: str) -> Iterator[tuple[str | None, Any]]:
    """Arguments, with those of these names put together with the values that stand behind them."""
    waiting: str | None = None
    for name, value in arguments:
        if name is not None and value is NOTHING and name.lower() in names:
            waiting = name
            continue
        yield (waiting or name, value)
        waiting = None


def _word(value: Any) -> str:
    if isinstance(value, ScriptBlock):
        return f"{{{value}}}"
    if isinstance(value, bool):
        return f"${value}".lower()
    if is_array(value):
        return ",".join(_word(item) for item in value)
    if isinstance(value, SessionValue):
        return value.host
    text = to_text(value)
    return f"'{text}'" if "," in text or not text else text


class GetJob(JobCommand):
    """Get-Job."""

    name, clr, verb = "Get-Job", "Microsoft.PowerShell.Commands.GetJobCommand", "get"
    takes_jobs = False  # an object is taken for a name, as anything else

    async def work(self, values: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {}
        for name, keyword in _GET.items():
            if name in values:
                wanted[keyword] = values[name]
        if "Id" in values:
            wanted["id"] = [self.client.ours(number) for number in values["Id"]]
        errors: list[RemoteJobsError] = []
        found = await remotejobs.get_job(errors=errors, store=self.client.world.store, **wanted)
        await self.tell(errors)
        await self.show(found)


_GET = {
    "Id": "id", "Name": "name", "InstanceId": "instance_id", "State": "state", "Command": "command",
    "IncludeChildJob": "include_child_job", "ChildJobState": "child_job_state", "HasMoreData": "has_more_data",
    "Before": "before", "After": "after", "Newest": "newest",
}  # fmt: skip


class ReceiveJob(JobCommand):
    """Receive-Job."""

    name, clr, verb = "Receive-Job", "Microsoft.PowerShell.Commands.ReceiveJobCommand", "receive"

    async def work(self, values: dict[str, Any]) -> None:
        errors: list[RemoteJobsError] = []
        client, chosen = self.client, await self.selected(values, [])
        jobs: list[RemoteJob | ChildJob] = await found(client, chosen)
        if values.get("WriteJobInResults"):
            await self.show(jobs)
        stream = remotejobs.receive_job(
            chosen,
            keep=bool(values.get("Keep")),
            wait=bool(values.get("Wait")),
            force=bool(values.get("Force")),
            location=values.get("Location"),
            no_recurse=bool(values.get("NoRecurse")),
            write_events=bool(values.get("WriteEvents")),
            errors=errors,
            store=client.world.store,
        )
        # PowerShell drains a job before it writes: what an early end leaves unwritten is lost there, and here is not
        drained = [] if values.get("Wait") else [item async for item in stream]
        for item in drained:
            await self.received(item)
        children = {child.id: child for job in jobs for child in getattr(job, "child_jobs", [job])}
        while not drained:
            try:
                item = await client.world.until(anext(stream))
            except StopAsyncIteration:
                break
            await self.received(item, children)
        if not values.get("NoRecurse"):
            await self._failures(jobs, {name.casefold() for name in values.get("Location", ())})
        await self.tell(errors)
        if values.get("AutoRemoveJob"):
            places = {name.casefold() for name in values.get("Location", ())}
            asked = [child for child in children.values() if child.location.casefold() in places] if places else jobs
            for job in asked:
                errors = []
                await client.world.until(remotejobs.remove_job(job, errors=errors, store=client.world.store))
                await self.tell(errors)

    async def _failures(self, jobs: list[RemoteJob | ChildJob], places: set[str]) -> None:
        """Why hosts failed: at every look, as the property `failure` says it."""
        for job in jobs:
            for child in [job] if isinstance(job, ChildJob) else job.child_jobs:
                removed = child.parent.removed
                if child.failure and not removed and (not places or child.location.casefold() in places):
                    await self.remote_error(failure_value(child.failure, child.location, self.client.error_view))

    async def received(
        self, item: ReceivedRecord | ChildEnd | JobStateEvent, waited_for: dict[int, ChildJob] | None = None
    ) -> None:
        """One thing that came."""
        if isinstance(item, ChildEnd):
            return
        if isinstance(item, JobStateEvent):
            await self.emit(event_value(item))
            return
        value = record_value(item, self.client.error_view)
        if isinstance(value, ErrorValue):
            await self.remote_error(value)
        elif item.stream is Stream.Output:
            if waited_for and isinstance(value, PSObject):
                decisions.origin(value, waited_for[item.child_id])
            if item.record.raw:
                self.keep("OutVariable", value)
                await self.emit(value)
        elif item.stream is Stream.Information:
            self.keep("InformationVariable", value)
            if self.merged & {"6", "*"}:
                await self.emit(value)
            said = host_text(item.value)
            text, goes_on = said or (str(item.value), False)
            self.client.screen.say(text, optional=said is None, goes_on=goes_on)
        elif item.stream is not Stream.Progress:
            if item.stream is Stream.Warning:
                self.keep("WarningVariable", value)
            self.client.screen.say(host_line(item))

    async def remote_error(self, value: ErrorValue) -> None:
        """An error of a host."""
        self.keep("ErrorVariable", value)
        if self.merged & {"2", "*"}:
            await self.emit(value)
            return
        action = self.p.get("ErrorAction", "Continue").lower()
        if action != "ignore":
            self.client.variable("error").insert(0, value)
        if action == "stop":
            raise Stopped(value)
        if action == "continue":
            self.client.screen.show(value)


class Stopped(Failure):
    """-ErrorAction Stop: the error is thrown here."""

    def __init__(self, value: ErrorValue) -> None:
        super().__init__(value, thrown=True)  # type: ignore[arg-type]


class InvokeCommand(ReceiveJob):
    """Invoke-Command: as a job, or received as it comes."""

    name, clr, verb = "Invoke-Command", "Microsoft.PowerShell.Commands.InvokeCommandCommand", "invoke"
    needs_jobs = False

    async def work(self, values: dict[str, Any]) -> None:
        names = values.get("ComputerName") or ["localhost"]
        as_job = bool(values.get("AsJob") or values.get("JobName"))
        await self.start(names, values, as_job=as_job)

    async def start(self, names: list[str], values: dict[str, Any], *, as_job: bool) -> None:
        """Begin, and receive unless it is a job."""
        world = self.client.world
        options = {keyword: values[name] for name, keyword in _OPTIONS.items() if name in values}
        script = values.get("ScriptBlock") or ""
        job = await remotejobs.invoke_command(
            await world.targets(names),
            values.get("ScriptBlock"),
            using={name: ours(value) for name in _USING.findall(script) if (value := self.client.variable(name))},
            input_object=self.input or None,
            store=world.store if as_job else None,
            **options,
            credential=SIM,
            authentication="Basic",
            session_option=world.option(names),
        )
        world.jobs.append(job)
        if as_job:
            await self.emit(self.client.job(job))
            return
        self.client.burned += 1  # a run without a job takes a number of PowerShell's, and none of the store's
        began = world.clock.time()
        came: list[tuple[float, int, ReceivedRecord | ErrorValue]] = []
        stream = job.events()
        while True:
            try:
                item = await world.until(anext(stream))
            except StopAsyncIteration:
                break
            if isinstance(item, ReceivedRecord):
                came.append((world.clock.time(), len(came), item))
            elif item.outcome.state is JobState.Failed:
                value = failure_value(item.outcome, item.computer_name, self.client.error_view)
                due = began + world.late(item.computer_name)
                came.append((max(world.clock.time(), due), len(came), value))
        for _, _, item in sorted(came, key=lambda each: each[:2]):
            await (self.remote_error(item) if isinstance(item, ErrorValue) else self.received(item))


_OPTIONS = {
    "ThrottleLimit": "throttle_limit", "JobName": "job_name", "HideComputerName": "hide_computer_name",
    "ArgumentList": "argument_list", "FilePath": "file_path",
}  # fmt: skip


class StartJob(InvokeCommand):
    """Start-Job: there are no local jobs, so a host called localhost stands in."""

    name, clr = "Start-Job", "Microsoft.PowerShell.Commands.StartJobCommand"

    async def end(self) -> None:
        values: dict[str, Any] = {"HideComputerName": True}
        for name, value in paired(self.arguments, "name", "argumentlist", "scriptblock"):
            key = {"name": "JobName", "argumentlist": "ArgumentList"}.get((name or "").lower())
            if isinstance(value, ScriptBlock) and (name or "scriptblock").lower() == "scriptblock":
                values["ScriptBlock"] = str(value)
            elif key:
                values[key] = to_text(value) if key == "JobName" else [*items(value)]
            else:
                raise Refusal(f"-{name} of Start-Job", self.position)
        await self.start(["localhost"], values, as_job=True)


class WaitJob(JobCommand):
    """Wait-Job."""

    name, clr, verb = "Wait-Job", "Microsoft.PowerShell.Commands.WaitJobCommand", "wait"

    async def work(self, values: dict[str, Any]) -> None:
        errors: list[RemoteJobsError] = []
        world, seconds = self.client.world, values.get("Timeout", -1)
        chosen = await self.selected(values, errors)
        if not values.get("Any") and decisions.never(await found(self.client, chosen)):
            await world.passes(max(seconds, 0))
            return
        work = remotejobs.wait_job(
            chosen,
            any=bool(values.get("Any")),
            timeout=None if seconds < 0 else seconds,
            force=bool(values.get("Force")),
            errors=errors,
            store=world.store,
        )
        ended = await world.until(work)
        await self.tell(errors)
        await self.show(ended)


class StopJob(JobCommand):
    """Stop-Job."""

    name, clr, verb = "Stop-Job", "Microsoft.PowerShell.Commands.StopJobCommand", "stop"

    async def work(self, values: dict[str, Any]) -> None:
        errors: list[RemoteJobsError] = []
        world = self.client.world
        chosen = await self.selected(values, errors)
        if values.get("WhatIf"):
            for job in await found(self.client, chosen):
                self.client.screen.say(what_if("Stop", job))
            return
        stopped = await world.until(remotejobs.stop_job(chosen, errors=errors, store=world.store))
        await self.tell(errors)
        if values.get("PassThru"):
            await self.show(stopped)


class RemoveJob(JobCommand):
    """Remove-Job."""

    name, clr, verb = "Remove-Job", "Microsoft.PowerShell.Commands.RemoveJobCommand", "remove"

    async def work(self, values: dict[str, Any]) -> None:
        errors: list[RemoteJobsError] = []
        world = self.client.world
        chosen = await self.selected(values, errors)
        if values.get("WhatIf"):
            for job in await found(self.client, chosen):
                self.client.screen.say(what_if("Remove", job))
            return
        force = bool(values.get("Force"))
        await world.until(remotejobs.remove_job(chosen, force=force, errors=errors, store=world.store))
        if not force and {"State", "Command"} & values.keys() and decisions.unfinished(errors):
            # found by -State or -Command, PowerShell removes what runs without being told to
            chosen = [job for job in chosen if not job.removed]
            await world.until(remotejobs.remove_job(chosen, force=True, errors=errors, store=world.store))
        self.client.forget()
        await self.tell(errors)


async def found(client: Any, chosen: list[Any]) -> list[RemoteJob | ChildJob]:
    """The jobs that are named, in this order; what is not there is left out."""
    jobs: list[RemoteJob | ChildJob] = []
    for item in chosen:
        if isinstance(item, RemoteJob | ChildJob):
            jobs.append(item)
            continue
        keyword = "id" if isinstance(item, int) else "name" if isinstance(item, str) else "instance_id"
        try:
            named = await remotejobs.get_job(store=client.world.store, **{keyword: item})
        except JobError:
            continue
        jobs += [client.job(job).job for job in named]
    return jobs


class ShowIds(JobCommand):
    """What the recorder had for showing all jobs with their ids."""

    name, verb = "Show-Ids", "get"

    async def work(self, values: dict[str, Any]) -> None:
        for job in await remotejobs.get_job(include_child_job=True, store=self.client.world.store):
            value = self.client.job(job)
            await self.emit(f"{value.number} {value.name} {job.ps_job_type_name} {len(value.children())}")


# With PowerShell's aliases.
COMMANDS: dict[str, type[Cmdlet]] = {
    "get-job": GetJob, "gjb": GetJob, "receive-job": ReceiveJob, "rcjb": ReceiveJob, "invoke-command": InvokeCommand,
    "icm": InvokeCommand, "start-job": StartJob, "sajb": StartJob, "wait-job": WaitJob, "wjb": WaitJob,
    "stop-job": StopJob, "spjb": StopJob, "remove-job": RemoveJob, "rjb": RemoveJob, "show-ids": ShowIds,
}  # fmt: skip
