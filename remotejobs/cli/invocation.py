"""The work of `remotejob invoke`: run a script block on many hosts and print what they send, or hand it to a worker.

Knows bound parameters, the API and the views. Must not know protocols or what is in a store.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remotejobs import detach
from remotejobs.api.answers import with_answers
from remotejobs.api.commandlines import command_of
from remotejobs.api.inputs import LIMIT, with_input
from remotejobs.api.invoke import job_targets, read_script, targets_of
from remotejobs.auth.credentials import Credential
from remotejobs.auth.providers import Credentials, names_of
from remotejobs.cli.answers import answers_of
from remotejobs.cli.logfile import close_log, open_log
from remotejobs.config.load import load
from remotejobs.errors import ConfigurationError, RemoteJobsError, StoreError
from remotejobs.jobs.job import ChildEnd, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import SHELLS, Clocks, JobSpec, Outcome, ScriptCommand, SessionOption, Target
from remotejobs.states import EndReason, JobState
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.views.hints import hints
from remotejobs.views.summary import exit_code, pending, summary
from remotejobs.views.terminal import terminal_width, wants_colour
from remotejobs.views.view import View, view

if TYPE_CHECKING:
    from remotejobs.ports import JobStore

INTERRUPTED = 130
NOT_ENDED = 6
_TIDY_SECONDS = 0.5  # that removing old jobs may hold this command up, once an hour


def invoke(values: Mapping[str, Any], starting: detach.Starting | None) -> int:
    """Run the job, here or in the worker that is `starting`; returns the exit code of design section 6."""
    resolved = _targets(values)
    spec = _spec(values, resolved.targets)
    for warning in resolved.warnings:
        _warn(warning)
    sources = Credentials(load(), user=values.get("Credential"), password_file=values.get("PasswordFile"))
    credentials = credentials_of(values, resolved.targets, sources)
    found = [(name, sources.find(name, argument=True)) for name in values.get("ArgumentCredential") or ()]
    given = values.get("InputObject", [])
    if given == ["-"]:
        keep = starting is not None or spec.in_disconnected_session
        source: Any = _read_ahead(standard_input()) if keep else standard_input()
    elif "InputObject" in values:
        source = [given[0] if given is not None and len(given) == 1 else given]  # a list is one array, as in PowerShell
    else:
        source = None
    command, secrets = command_of(
        spec.command.text,
        values.get("Shell", SHELLS[0]),
        values.get("CodePage"),
        arguments=values.get("ArgumentList") or (),
        parameters=values.get("Parameter"),
        using=values.get("Using"),
        credentials=found,
    )
    command, asked = with_answers(command, answers_of(values, sources.find))
    spec = dataclasses.replace(spec, command=command)
    credentials |= {**secrets, **asked}
    from remotejobs import compose

    if starting is not None:
        try:
            return compose.run_loop(_submit(spec, credentials, starting, source))
        except StoreError as error:
            raise no_job(error) from None
    log = open_log(values.get("LogFile"))
    store = None if values.get("NoStore") else _store(needed=spec.in_disconnected_session)
    try:
        code = compose.run_loop(_invoke(spec, credentials, values, store, source))
        if store is not None:
            compose.tidy(store, _TIDY_SECONDS)
        return code
    finally:
        if store is not None:
            store.close()
        close_log(log)


def standard_input() -> Iterator[str]:
    """The lines of standard input, without their ends.

    Read past sys.stdin: a thread that waits inside of that would hold up the end of the program.
    """
    decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")(errors="replace")
    rest, first = "", True
    while True:
        data = os.read(0, 1 << 16)
        text = decoder.decode(data, final=not data)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
        if not data:
            if rest:
                yield rest
            return


def _read_ahead(lines: Iterator[str]) -> list[str]:
    """What has to go with the job, as far as it may be: here ^C ends the wait for it, in a loop it would not."""
    kept, size = [], 0
    for line in lines:
        kept.append(line)
        size += len(line) + len("<S></S>")
        if size > LIMIT:
            break
    return kept


def no_job(error: RemoteJobsError) -> ConfigurationError:
    """The refusal of -AsJob where nothing can be stored."""
    return ConfigurationError(f"The job was not started, for it cannot be stored. {error.message}")


async def _submit(spec: JobSpec, credentials: Mapping[str, Credential], starting: detach.Starting, given: Any) -> int:
    from remotejobs import compose

    command, _ = await with_input(spec.command, given, keep=True)
    spec = dataclasses.replace(spec, command=command)

    store = compose.open_store()
    try:
        row = await compose.submit(spec, credentials, store=store)
        await compose.start_worker(row.id, credentials, store=store, starting=starting)
        job = RemoteJob(store, row.id)
        _show(job)
        for note in job.notes:
            _warn(note)
    finally:
        store.close()
    return 0


async def _invoke(
    spec: JobSpec, credentials: Mapping[str, Credential], values: Mapping[str, Any], store: JobStore | None, given: Any
) -> int:
    from remotejobs import compose

    began = time.monotonic()
    command, source = await with_input(spec.command, given, keep=spec.in_disconnected_session)
    spec = dataclasses.replace(spec, command=command)
    try:
        job = await compose.start(spec, credentials, store=store, source=source)
    except StoreError as error:
        if spec.in_disconnected_session or store is None:
            raise
        _warn_no_store(error)
        job = await compose.start(spec, credentials, source=source)
    before = job.notes
    for note in before:
        _warn(note)
    shown = _Output(_view(values, spec), job)
    interrupted = _Interrupt(job, shown)
    with interrupted.watching():
        ended = False
        try:
            await shown.all()
            await job.wait()
            ended = True
        except StoreError as error:
            raise StoreError(f"{error.message} Then: remotejob connect {job.id}", **error.details) from error
        finally:
            shown.close()
            ends = _ends(job, EndReason.Disconnected if ended else EndReason.Unknown)
            notes = [note for note in job.notes if note not in before]
            said = summary(ends, len(job.child_jobs), time.monotonic() - began, notes)
            for line in (*said, *hints(ends, stored=job.store.path is not None)):
                print(line, file=sys.stderr)
    if shown.error is not None:
        raise shown.error
    if interrupted.count:
        return INTERRUPTED
    if job.state is JobState.Disconnected:
        _show(job)
    code = exit_code((end.outcome for end in ends), fail_on_error=bool(values.get("FailOnError")))
    return 0 if code == NOT_ENDED and spec.in_disconnected_session else code


def _ends(job: RemoteJob, otherwise: EndReason) -> list[ChildEnd]:
    """How every child stands: what has no end was left on its host, was not begun, or its end could not be stored."""
    stands = {JobState.Disconnected: EndReason.Disconnected, JobState.NotStarted: EndReason.NotStarted}
    return job.outcomes + [
        ChildEnd(job.id, child.id, child.location, Outcome(stands.get(child.state, otherwise)))
        for child in job.child_jobs
        if child.outcome is None
    ]


def _store(*, needed: bool) -> JobStore | None:
    """The store of this user; without one a job in the foreground goes on, but nobody can receive or retry it later."""
    from remotejobs import compose

    try:
        return compose.open_store()
    except (ConfigurationError, StoreError) as error:
        if needed:
            raise
        _warn_no_store(error)
        return None


def _warn_no_store(error: RemoteJobsError) -> None:
    _warn(f"This run is not stored, and cannot be received or retried later. {error.message}")


def _warn(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr)


def _show(job: RemoteJob) -> None:
    """The row of Get-Job."""
    from remotejobs.views.jobtable import write_jobs

    write_jobs("Table", [job], sys.stdout, terminal_width(sys.stdout))


class _Output:
    """The view, until it cannot be written (a full disk, a closed pipe): then the job is stopped in order."""

    def __init__(self, shown: View, job: RemoteJob) -> None:
        self._view = shown
        self._job = job
        self.error: OSError | None = None

    async def all(self) -> None:
        """Show everything, to the end of the job."""
        reader = self._job.reader(written=self.written)
        async for item in self._job.events(self.flush, reader=reader):
            self.show(item)

    def show(self, item: ReceivedRecord | ChildEnd) -> None:
        if isinstance(item, ReceivedRecord):
            self._write(self._view.record, item)
        else:
            self._write(self._view.outcome, item)

    def flush(self) -> None:
        self._write(self._view.flush)

    def written(self, then: Callable[[], None]) -> None:
        self._write(self._view.written, then)

    def close(self) -> None:
        self._write(self._view.close)

    def _write(self, write: Callable[..., None], *items: object) -> None:
        if self.error is None:
            try:
                write(*items)
            except OSError as error:
                self.error = error
                self._job.request_stop()


class _Interrupt:
    """^C: the first says who is pending and stops in order, the second leaves at once."""

    def __init__(self, job: RemoteJob, shown: _Output) -> None:
        self._job = job
        self._output = shown
        self.count = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def pressed() -> None:
            self.count += 1
            if self.count > 1:
                self._output.close()
                sys.stderr.flush()
                os._exit(INTERRUPTED)  # the user has asked twice: nothing may hold this back
            names = [child.location for child in self._job.child_jobs if not child.state.finished]
            print(pending(names, len(self._job.child_jobs)), file=sys.stderr, flush=True)
            self._job.request_stop()

        before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(pressed))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _view(values: Mapping[str, Any], spec: JobSpec) -> View:
    return view(
        values.get("OutputFormat", "Text"),
        sys.stdout,
        sys.stderr,
        show_computer_name=not spec.hide_computer_name,
        terminal_width=terminal_width(sys.stdout),
        colour=wants_colour(sys.stderr, os.environ),
        computer_names=[target.name for target in spec.targets],
        error_view=values.get("ErrorView", "ConciseView"),
        depth=values.get("Depth", 2),
    )


def _targets(values: Mapping[str, Any]) -> Resolved:
    if values.get("ConnectionUri"):
        return Resolved(targets_of(values["ConnectionUri"]), ())
    names = values.get("ComputerName") or ["localhost"]
    return resolve(names, read_stdin=sys.stdin.read, read_job=job_targets)


def _spec(values: Mapping[str, Any], targets: tuple[Target, ...]) -> JobSpec:
    text = values["ScriptBlock"] if "ScriptBlock" in values else read_script(Path(values["FilePath"]))
    default = JobSpec(ScriptCommand(text), targets)
    clocks = Clocks()
    return JobSpec(
        ScriptCommand(text),
        targets,
        name=values.get("JobName") or "",
        throttle_limit=values.get("ThrottleLimit", default.throttle_limit),
        authentication=values.get("Authentication", default.authentication),
        credential=values.get("Credential"),
        port=values.get("Port"),
        use_ssl=bool(values.get("UseSSL")),
        application_name=values.get("ApplicationName", default.application_name),
        configuration_name=values.get("ConfigurationName", default.configuration_name),
        hide_computer_name=bool(values.get("HideComputerName")),
        in_disconnected_session=bool(values.get("InDisconnectedSession")),
        engine=values.get("Engine", default.engine),
        session_names=tuple(values.get("SessionName") or ()),
        session_option=values.get("SessionOption") or SessionOption(),
        clocks=Clocks(
            connect=values.get("ConnectTimeout", clocks.connect),
            authenticate=values.get("AuthTimeout", clocks.authenticate),
            silence=values.get("SilenceTimeout"),
            total=values.get("Timeout"),
        ),
    )


def credentials_of(
    values: Mapping[str, Any], targets: tuple[Target, ...], sources: Credentials | None = None
) -> dict[str, Credential]:
    """The credentials that these targets need, by name; each password is asked for once, and none that is not needed.

    Args:
        values: Bound parameters.
        targets: The targets.
        sources: Where they are found, if more is asked of it.

    Raises:
        ConfigurationError: A name of a server list that means nothing, or a password that is not to be had.
    """
    user = values.get("Credential")
    sources = sources or Credentials(load(), user=user, password_file=values.get("PasswordFile"))
    named = names_of((target.credential, target.name) for target in targets)
    sources.check(named)
    usual = user if any(target.credential is None for target in targets) else None
    return {name: sources.find(name) for name in dict.fromkeys((usual, *named)) if name}
