"""`remotejob invoke`: run a script block on many hosts in the foreground and print what they send.

Knows bound parameters, the API and the views. Must not know protocols or stores.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from remotejobs import api
from remotejobs.auth.credentials import Credential, find_credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.logfile import close_log, open_log
from remotejobs.jobs.job import ChildEnd, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Clocks, JobSpec, ScriptCommand, SessionOption, Target
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.views.summary import exit_code, pending, summary
from remotejobs.views.terminal import terminal_width, wants_colour
from remotejobs.views.view import View, view

INTERRUPTED = 130


def run(bound: Bound) -> int:
    """Run the verb; returns the exit code of design section 6."""
    values = bound.values
    resolved = _targets(values)
    spec = _spec(values, resolved.targets)
    for warning in resolved.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    credentials = _credentials(values, resolved.targets)
    log = open_log(values.get("LogFile"), [c.secret.reveal() for c in credentials.values()])
    try:
        return _run_loop(_invoke(spec, credentials, values))
    finally:
        close_log(log)


async def _invoke(spec: JobSpec, credentials: Mapping[str, Credential], values: Mapping[str, Any]) -> int:
    began = time.monotonic()
    job = await api.start(spec, credentials)
    for note in job.notes:
        print(f"WARNING: {note}", file=sys.stderr)
    shown = _Output(_view(values.get("OutputFormat", "Text"), spec), job)
    interrupted = _Interrupt(job, shown)
    with interrupted.watching():
        try:
            async for item in job.events(shown.flush):
                shown.show(item)
            await job.wait()
        finally:
            shown.close()
            for line in summary(job.outcomes, len(job.child_jobs), time.monotonic() - began):
                print(line, file=sys.stderr)
    if shown.error is not None:
        raise shown.error
    if interrupted.count:
        return INTERRUPTED
    return exit_code((end.outcome for end in job.outcomes), fail_on_error=bool(values.get("FailOnError")))


class _Output:
    """The view, until it cannot be written (a full disk, a closed pipe): then the job is stopped in order."""

    def __init__(self, shown: View, job: RemoteJob) -> None:
        self._view = shown
        self._job = job
        self.error: OSError | None = None

    def show(self, item: ReceivedRecord | ChildEnd) -> None:
        if isinstance(item, ReceivedRecord):
            self._write(self._view.record, item)
        else:
            self._write(self._view.outcome, item)

    def flush(self) -> None:
        self._write(self._view.flush)

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


def _view(name: str, spec: JobSpec) -> View:
    return view(
        name,
        sys.stdout,
        sys.stderr,
        show_computer_name=not spec.hide_computer_name,
        terminal_width=terminal_width(sys.stdout),
        colour=wants_colour(sys.stderr, os.environ),
        computer_names=[target.name for target in spec.targets],
    )


def _run_loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return int(uvloop.run(work))


def _targets(values: Mapping[str, Any]) -> Resolved:
    if values.get("ConnectionUri"):
        return Resolved(api.targets_of(values["ConnectionUri"]), ())
    return resolve(values.get("ComputerName") or ["localhost"], read_stdin=sys.stdin.read)


def _spec(values: Mapping[str, Any], targets: tuple[Target, ...]) -> JobSpec:
    text = values["ScriptBlock"] if "ScriptBlock" in values else api.read_script(Path(values["FilePath"]))
    default = JobSpec(ScriptCommand(text), targets)
    clocks = Clocks()
    return JobSpec(
        ScriptCommand(text, tuple(values.get("ArgumentList") or ())),
        targets,
        throttle_limit=values.get("ThrottleLimit", default.throttle_limit),
        authentication=values.get("Authentication", default.authentication),
        port=values.get("Port"),
        use_ssl=bool(values.get("UseSSL")),
        application_name=values.get("ApplicationName", default.application_name),
        configuration_name=values.get("ConfigurationName", default.configuration_name),
        hide_computer_name=bool(values.get("HideComputerName")),
        session_option=values.get("SessionOption") or SessionOption(),
        clocks=Clocks(
            connect=values.get("ConnectTimeout", clocks.connect),
            authenticate=values.get("AuthTimeout", clocks.authenticate),
            silence=values.get("SilenceTimeout"),
            total=values.get("Timeout"),
        ),
    )


def _credentials(values: Mapping[str, Any], targets: tuple[Target, ...]) -> dict[str, Credential]:
    """One password source for the user of -Credential and for the users that a server list names."""
    found: dict[str, Credential] = {}
    file, user = values.get("PasswordFile"), values.get("Credential")
    if user:
        found[""] = find_credential(user, file)
    for name in dict.fromkeys(target.credential for target in targets if target.credential):
        found[name] = Credential(name, found[""].secret) if name == user else find_credential(name, file)
    return found
