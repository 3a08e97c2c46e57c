"""What the verbs on jobs share: which jobs are meant, how they are printed, whose password is asked for, exit codes.

Knows bound parameters, the API and the job table. Must not know protocols or stores.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from remotejobs.api.jobs import get_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.lines import error_line
from remotejobs.errors import ConfigurationError, JobError, RemoteJobsError
from remotejobs.jobs.job import ChildJob, RemoteJob
from remotejobs.model import Outcome
from remotejobs.views.jobtable import write_jobs
from remotejobs.views.terminal import terminal_width

if TYPE_CHECKING:
    from remotejobs.auth.providers import Credentials

Job = RemoteJob | ChildJob
FAILED, UNFINISHED = 1, 6
CONCISE = "ConciseView"

_KEYWORDS = {"Id": "id", "Name": "name", "InstanceId": "instance_id", "State": "state", "Command": "command"}
_WHOLE_JOBS = ("remove", "retry", "set")  # Remove-Job finds no child by its name
_ARGUMENT_MISSING = "SecretArgumentMissing"
_Result = TypeVar("_Result")


class Selection(NamedTuple):
    """The jobs that were named, each once, and whether one was not found."""

    jobs: list[Job]
    failed: bool


async def select(verb: str, values: Mapping[str, Any], *, children: bool = True, **filters: Any) -> Selection:
    """Find the jobs that -Id, -Name, -InstanceId, -State or -Command name; all where none is given.

    One that is not found is said on stderr, and the others are still handled, as in PowerShell. They come by rising
    id, those of -Id as they were given.

    Args:
        verb: For the line that says so.
        values: Bound parameters.
        children: Whether a name means child jobs too.
        filters: What else get_job is to be given.
    """
    given = next((name for name in _KEYWORDS if name in values), "")
    wanted: dict[str, Any] = {_KEYWORDS[given]: values[given]} if given else {}
    errors: list[RemoteJobsError] = []
    found = {job.id: job for job in await get_job(errors=errors, **wanted, **filters)}
    jobs = [*found.values()]
    if given == "Id":
        at = {number: index for index, number in reversed([*enumerate(values["Id"])])}
        jobs.sort(key=lambda job: at.get(job.id, len(at)))
    elif given == "Name" and not children:
        jobs = _parents(jobs, values["Name"], errors)
    for error in errors:
        complain(verb, error, values.get("ErrorView", CONCISE))
    return Selection(jobs, bool(errors))


def _parents(jobs: Sequence[Job], names: Sequence[str], errors: list[RemoteJobsError]) -> list[Job]:
    """Leave child jobs out; a name that only they have finds nothing."""
    parents: list[Job] = [job for job in jobs if isinstance(job, RemoteJob)]
    there = {job.name.casefold() for job in jobs} - {job.name.casefold() for job in parents}
    errors += [
        JobError(
            f"The command cannot find the job because the job name {name} was not found. Verify the value of the Name"
            " parameter, and then try the command again.",
            error_id="JobWithSpecifiedNameNotFound",
        )
        for name in names
        if name.casefold() in there
    ]
    return parents


def complain(verb: str, error: RemoteJobsError, error_view: str = CONCISE, computer_name: str = "") -> None:
    """Say what went wrong with one job of several, or with one host, as -ErrorView has it."""
    called = f"remotejob {verb}"
    if error_view == CONCISE:
        said = error_line(called, error, computer_name)
    else:
        from remotejobs.views.errorview import reported
        from remotejobs.views.terminal import harmless

        said = harmless(reported(error, error_view, activity=called, computer_name=computer_name))
    print(said, file=sys.stderr, flush=True)


def print_jobs(jobs: Sequence[Job], values: Mapping[str, Any], *, children_listed: bool = False) -> None:
    """Print jobs as -OutputFormat says; of no jobs only JSON and CSV have something to print."""
    format_name = values.get("OutputFormat", "Table")
    write_jobs(format_name, jobs, sys.stdout, terminal_width(sys.stdout), children_listed=children_listed)


async def each(
    verb: str,
    values: Mapping[str, Any],
    doing: str,
    work: Callable[[Job, Mapping[str, Credential]], Awaitable[None]],
    asked: Passwords | None = None,
) -> tuple[list[Job], bool]:
    """Do something to each job that is named. One that fails is said, and the others are still handled.

    Args:
        verb: For the line that says so.
        values: Bound parameters.
        doing: PowerShell's name of it for -WhatIf.
        work: What to do, with the credentials that it needs.
        asked: Who asks for their passwords, where `work` asks too.

    Returns:
        The jobs that it was done to, and whether something went wrong.
    """
    jobs, failed = await select(verb, values, children=verb not in _WHOLE_JOBS, **ages(values))
    done: list[Job] = []
    asked = asked or Passwords(values)
    for job in jobs:
        if values.get("WhatIf"):
            print(what_if(doing, job))
            continue
        try:
            await asked.given(partial(work, job))
        except RemoteJobsError as error:
            complain(verb, error, values.get("ErrorView", CONCISE))
            failed = True
        else:
            done.append(job)
    return done, failed


def ages(values: Mapping[str, Any]) -> dict[str, Any]:
    """-Before and -After as get_job takes them: with the time zone of this computer."""
    return {name.lower(): values[name].astimezone() for name in ("Before", "After") if name in values}


class Passwords:
    """Asks for passwords when, and only when, a job turns out to need them; each once."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._user: str | None = values.get("Credential")
        self._file: str | None = values.get("PasswordFile")
        self._sources: Credentials | None = None

    async def given(self, work: Callable[[Mapping[str, Credential]], Awaitable[_Result]]) -> _Result:
        """Do `work` without credentials, and again with those that it says it needs, the script's own among them.

        Raises:
            ConfigurationError: CredentialMissing or SecretArgumentMissing, where nobody says which user it is.
        """
        held: dict[str, Credential] = {}
        while True:
            try:
                return await work(held)
            except ConfigurationError as error:
                users, argument = self._users(error), error.error_id == _ARGUMENT_MISSING
                if users.keys() <= held.keys():
                    raise
            held = {**held, **{name: self.find(user, argument=argument) for name, user in users.items()}}

    def _users(self, error: ConfigurationError) -> Mapping[str, str]:
        """Whose passwords `work` lacks, by its names for them; none where nobody says, or it lacks something else."""
        users: Mapping[str, str] = {}
        if error.error_id == _ARGUMENT_MISSING:
            users = error.details["secrets"]
        elif error.error_id == "CredentialMissing":
            names = error.details.get("credentials") or ()
            users = {name: self._user if self._user and (not name or len(names) == 1) else name for name in names}
        return users if all(users.values()) else {}

    def find(self, user: str, *, argument: bool = False) -> Credential:
        """The credential of this name, for who connects or as an argument of a script.

        Raises:
            ConfigurationError: Its password is not to be had.
        """
        if self._sources is None:  # most commands on jobs need no password: they do not wait for these modules
            from remotejobs.auth.providers import Credentials
            from remotejobs.config.load import load

            self._sources = Credentials(load(), user=self._user, password_file=self._file)
        return self._sources.find(user, argument=argument)


def exit_code_of(jobs: Iterable[Job], *, locations: frozenset[str] = frozenset(), fail_on_error: bool = False) -> int:
    """Return the exit code for jobs: 6 while one has not ended, whatever the others came to; else that of their ends.

    Args:
        jobs: Parents and children.
        locations: Count only these hosts, case-folded; all where it is empty.
        fail_on_error: -FailOnError.
    """
    from remotejobs.views.summary import exit_code

    outcomes: list[Outcome] = []
    for job in jobs:
        if isinstance(job, RemoteJob) and not locations:
            if not job.state.finished:
                return UNFINISHED
            outcomes += [end.outcome for end in job.outcomes]
            continue
        for child in children_of(job, locations):
            if child.outcome is None or not child.state.finished:
                return UNFINISHED
            outcomes.append(child.outcome)
    return exit_code(outcomes, fail_on_error=fail_on_error)


def children_of(job: Job, locations: frozenset[str] = frozenset()) -> Iterator[ChildJob]:
    """Yield the children of a job, those at `locations` only where any are given; a child is its own."""
    children = job.child_jobs if isinstance(job, RemoteJob) else [job]
    for child, location in zip(children, locations_of(job), strict=True):
        if not locations or location.casefold() in locations:
            yield child


def locations_of(job: Job) -> list[str]:
    """Return the hosts of a job in the order of its children, by one look at the store."""
    return job.location.split(",")


def what_if(doing: str, job: Job) -> str:
    """What -WhatIf says."""
    article = "a" if doing == "Stop" else "the"
    return (
        f'What if: Performing the operation "{doing}" on target "Remote Command: {job.command}, associated with'
        f' {article} job that has an ID of "{job.id}".".'
    )
