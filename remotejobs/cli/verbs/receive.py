"""`remotejob receive`: print what the hosts of a job sent since it was last received; with -Wait live to its end.

Knows bound parameters, the API and the views. Must not know stores: a page is printed and flushed, and then the cursor
moves, wherever it is kept.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remotejobs.api.jobs import receive_job, remove_job
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, complain, exit_code_of, locations_of, select
from remotejobs.errors import JobError
from remotejobs.jobs.job import ChildEnd, RemoteJob, cannot_remove
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.targets.resolve import resolve
from remotejobs.views.hints import hints
from remotejobs.views.jobtable import job_entry, table_lines
from remotejobs.views.summary import summary
from remotejobs.views.terminal import terminal_width, wants_colour
from remotejobs.views.view import View, view

EVENT_SCHEMA = "remotejobs.event.1"


def run(bound: Bound) -> int:
    """Run the verb; the exit code is that of the hosts' ends, 6 while something runs or is disconnected."""
    return asyncio.run(_receive(bound.values))


async def _receive(values: Mapping[str, Any]) -> int:
    jobs, failed = await select("receive", values)
    if not jobs and failed:
        return FAILED
    given = values.get("Location")
    locations = [target.name for target in resolve(given, read_stdin=sys.stdin.read).targets] if given else None
    shown = _Shown(values, jobs)
    try:
        if values.get("WriteJobInResults"):
            shown.jobs()
        async for item in receive_job(
            jobs,
            keep=bool(values.get("Keep")),
            wait=bool(values.get("Wait")),
            force=bool(values.get("Force")),
            location=locations,
            no_recurse=bool(values.get("NoRecurse")),
            from_start=bool(values.get("FromStart")),
            write_events=bool(values.get("WriteEvents")),
            idle=shown.flush,
            written=shown.written,
        ):
            shown.show(item)
    except asyncio.CancelledError:
        shown.close()
        numbers = ",".join(str(job.id) for job in jobs)
        print(f"Not receiving any more; the job goes on: remotejob receive {numbers} -Wait", file=sys.stderr)
        raise
    finally:
        shown.close()
    names = frozenset(name.casefold() for name in locations or ())
    code = exit_code_of(jobs, locations=names, fail_on_error=bool(values.get("FailOnError")))
    _say_where_they_stand(jobs, names)
    if values.get("AutoRemoveJob") and not await _remove(jobs, children=bool(given)):
        failed = True
    return FAILED if failed else code


class _Shown:
    """The view, made when the first record says whether host names are to be shown, and the events around it."""

    def __init__(self, values: Mapping[str, Any], jobs: Sequence[Job]) -> None:
        self._format = values.get("OutputFormat", "Text")
        self._error_view = values.get("ErrorView", "ConciseView")
        self._depth = values.get("Depth", 2)
        self._jobs = jobs
        self._view: View | None = None
        self._closed = False

    def show(self, item: ReceivedRecord | ChildEnd | JobStateEvent) -> None:
        if isinstance(item, ReceivedRecord):
            self._shown(show_computer_name=item.show_computer_name).record(item)
        elif isinstance(item, ChildEnd):
            self._shown().outcome(item)
        else:
            self._event(item)

    def jobs(self) -> None:
        """-WriteJobInResults: the jobs, before anything else."""
        for job in self._jobs:
            self._shown().aside(job_entry(job), "\n".join(table_lines([job], terminal_width(sys.stderr))))

    def flush(self) -> None:
        if self._view is not None:
            self._view.flush()

    def written(self, then: Callable[[], None]) -> None:
        self._shown().written(then)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._shown().close()

    def _event(self, event: JobStateEvent) -> None:
        before = event.previous_state.name if event.previous_state else None
        entry = {
            "schema": EVENT_SCHEMA,
            "job_id": event.job_id,
            "id": event.id,
            "name": event.name,
            "location": event.location,
            "state": event.state.name,
            "previous_state": before,
        }
        change = f"{before} -> {event.state.name}" if before else event.state.name
        self._shown().aside(entry, f"{event.name} ({event.location}): {change}")

    def _shown(self, *, show_computer_name: bool = True) -> View:
        if self._view is None:
            self._view = view(
                self._format,
                sys.stdout,
                sys.stderr,
                show_computer_name=show_computer_name,
                terminal_width=terminal_width(sys.stdout),
                colour=wants_colour(sys.stderr, os.environ),
                computer_names=[name for job in self._jobs for name in locations_of(job)],
                error_view=self._error_view,
                depth=self._depth,
            )
        return self._view


def _say_where_they_stand(jobs: Sequence[Job], locations: frozenset[str]) -> None:
    for job in jobs:
        if not isinstance(job, RemoteJob) or locations:
            continue
        ends, hosts, state = job.outcomes, len(job.child_jobs), job.state
        if state.finished and job.ps_begin_time and job.ps_end_time:
            said = summary(ends, hosts, (job.ps_end_time - job.ps_begin_time).total_seconds())
            for line in (*said, *hints(ends, stored=True)):
                print(line, file=sys.stderr)
        else:
            how = "connect" if state.persistent else "receive"
            wait = " -Wait" if how == "receive" else ""
            print(
                f"Job {job.id} is {state.name}, {len(ends):,} of {hosts:,} hosts have ended: remotejob {how} {job.id}"
                f"{wait}",
                file=sys.stderr,
            )


async def _remove(jobs: Sequence[Job], *, children: bool) -> bool:
    """-AutoRemoveJob: the jobs that have ended, and that were named as a whole."""
    done = True
    for job in jobs:
        try:
            if children or not isinstance(job, RemoteJob):
                raise JobError(
                    f"{cannot_remove().message} Of job {job.id} only some hosts were received: remotejob remove",
                    error_id="ReceiveJobAutoRemovalError",
                )
            if job.state.finished:
                await remove_job(job)
        except JobError as error:
            complain("receive", error)
            done = False
    return done
