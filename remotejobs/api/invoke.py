"""Starting jobs: Invoke-Command, and a job run again.

Knows PowerShell's parameters and turns them into a JobSpec. Must not know how a job is run: compose does that.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remotejobs.api.answers import Given, with_answers
from remotejobs.api.commandlines import command_again, command_of
from remotejobs.api.common import Credentials, Seconds, credentials_of, home_of, manager_of, store_of, taking_over
from remotejobs.api.inputs import Source, with_input
from remotejobs.api.pipeline import Pipeline
from remotejobs.auth.credentials import Credential
from remotejobs.errors import ConfigurationError, TargetError, UsageError
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.manager import JobName
from remotejobs.jobs.retry import retry, targets_of_job
from remotejobs.jobs.scripts import read_script as read_script
from remotejobs.model import (
    DEFAULT_CONFIGURATION,
    DEFAULT_THROTTLE_LIMIT,
    SHELLS,
    Clocks,
    InvocationSettings,
    JobSpec,
    Limits,
    SessionOption,
    Target,
    seconds_of,
)
from remotejobs.ports import JobStore
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.targets.uris import targets_of as targets_of


async def invoke_command(
    computer_name: str | Sequence[str | Target] | None = None,
    script_block: str | Pipeline | None = None,
    *,
    file_path: str | Path | None = None,
    connection_uri: str | Sequence[str] | None = None,
    argument_list: Sequence[Any] = (),
    parameters: Mapping[str, Any] | None = None,
    using: Mapping[str, Any] | None = None,
    input_object: Any = None,
    answers: Given | None = None,
    credential: Credentials = None,
    authentication: str = "Default",
    use_ssl: bool = False,
    port: int | None = None,
    application_name: str = "wsman",
    configuration_name: str = DEFAULT_CONFIGURATION,
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT,
    session_option: SessionOption | None = None,
    invocation_settings: InvocationSettings | None = None,
    job_name: str = "",
    hide_computer_name: bool = False,
    connect_timeout: Seconds = 30.0,
    auth_timeout: Seconds = 30.0,
    silence_timeout: Seconds = None,
    timeout: Seconds = None,
    deadline: Seconds = None,
    limits: Limits | None = None,
    as_job: bool = False,
    in_disconnected_session: bool = False,
    session_name: str | Sequence[str] = (),
    engine: str = "native",
    shell: str = SHELLS[0],
    code_page: int | None = None,
    store: JobStore | None = None,
) -> RemoteJob:
    """Run a script block on many hosts (Invoke-Command). Returns at once; the job runs on the current event loop.

    With as_job a process of its own runs it, which goes on when this one ends; `get_job` finds it from anywhere.

    Args:
        computer_name: Names, ranges (`web[01-20]`), lists (`@file`), exclusions (`!name`), or Targets. A name that
            comes twice runs twice. None is `localhost`, an empty list an error.
        script_block: The script's text, without the braces; or a Pipeline of commands with parameters of their own.
        file_path: A local .ps1 file to run instead.
        connection_uri: Endpoints by URI instead of computer_name.
        argument_list: Positional arguments: None, bool, int, float, str, bytes, Decimal, datetime, timedelta, UUID,
            lists and dictionaries of them. A Secret arrives as a SecureString and a Credential as a PSCredential; they
            are never stored, and go over https or sealed messages only.
        parameters: Named parameters of the script and their values, which may be what argument_list may hold; a switch
            is True or False (AddParameter of the PowerShell class).
        using: Variables that the script names as `$using:name`, and their values.
        input_object: What the script's `$input` gives: an iterable, or an asynchronous one, of such values, each of
            which every host gets; anything else is one value. None is no input. Up to 1 MiB of a list or tuple is
            stored with the job; the rest is streamed as hosts take it, from a thread of its own where the iterable is
            no asynchronous one. With as_job and in_disconnected_session all of it is read first, and more is refused.
        answers: What the script's prompts are answered with; what no answer fits is refused with PowerShell's error. A
            word is for every choice that has such a label or hot key: `"Yes"` for all confirmations. A mapping, or
            pairs among the words, is by question: the name of a field (`Name` of `Read-Host Name`, of a mandatory
            parameter), the message or caption of a choice, the message of a credential prompt or the user that it asks
            for; `Read-Host`, `Read-Host -AsSecureString`, `Get-Credential`, `ReadKey` where nothing is said. Upper and
            lower case are the same, `*` and `?` stand for any text and any character. Of several values for one
            question each is for the next time, and the last one stays. Secret and Credential answer only the question
            of that very name.
        credential: One for all targets; or by name, `""` for targets that name none.
        authentication: Mechanism: Default (it is Negotiate), Negotiate, Kerberos, Credssp, Basic, Digest.
        use_ssl, port, application_name, configuration_name: How targets are reached that do not say otherwise.
        throttle_limit: Hosts at a time; below 1 means 32.
        session_option: See SessionOption.
        invocation_settings: See InvocationSettings.
        job_name: A name instead of `Job<id>`.
        hide_computer_name: Display only.
        connect_timeout, auth_timeout: Seconds or timedelta for each host; None is off.
        silence_timeout: The longest time without a record from a host that runs the script; None is off.
        timeout: For one host, from its first connection; None is off.
        deadline: For the whole job; None is off.
        limits: What a host may send.
        as_job: Hand it to a process of its own.
        in_disconnected_session: Leave each shell Disconnected on its host once the script runs there.
        engine: What speaks to the hosts: `native`, or the library `pypsrp` or `pywinrm` (extra `compat`). What a
            library cannot do is refused by name.
        session_name: With in_disconnected_session: names of the shells, in the order of the hosts, or one for all.
        shell: `powershell`, or `cmd` (WinRS): script_block is a command line, argument_list its further words, which
            are quoted for cmd; each line that the program writes is a text, or an error, and its exit code is in
            `outcome.details`. Text as input_object is its standard input, line by line; bytes go as they are.
        code_page: What a command line of cmd reads and writes, as Windows numbers it; None is 65001, UTF-8.
        store: Where it is kept. None is memory; with as_job the store of the state directory.

    Returns:
        The job. Read it with `async for record in job.stream()`, or `await job.wait()`.

    Raises:
        UsageError: What was asked for cannot be done as written; nothing was connected.
        JobError: With as_job: no process came up to run it, nothing was begun.
    """
    if computer_name is not None and connection_uri is not None:
        raise UsageError("Give computer_name or connection_uri, not both.", error_id="AmbiguousParameterSet")
    if (script_block is None) == (file_path is None):
        raise UsageError("Give one of script_block and file_path.", error_id="AmbiguousParameterSet")
    if session_name and not in_disconnected_session:
        raise UsageError("session_name needs in_disconnected_session.", error_id="System.InvalidOperationException")
    if invocation_settings is not None and shell == "cmd":
        raise UsageError("invocation_settings are for PowerShell; cmd knows none of them.")
    text = script_block if script_block is not None else read_script(Path(file_path or ""))
    if connection_uri is not None:
        resolved = Resolved(targets_of(connection_uri), ())
    else:
        resolved = targets_named("localhost" if computer_name is None else computer_name, store)
    command, secrets = command_of(text, shell, code_page, arguments=argument_list, parameters=parameters, using=using)
    command, asked = with_answers(command, answers)
    command, source = await with_input(command, input_object, keep=as_job or in_disconnected_session)
    known = credentials_of(credential)
    spec = JobSpec(
        command=command,
        targets=resolved.targets,
        name=job_name,
        throttle_limit=throttle_limit,
        authentication=authentication,
        credential=known[""].username if "" in known else None,  # who takes the job over must ask for it
        port=port,
        use_ssl=use_ssl,
        application_name=application_name,
        configuration_name=configuration_name,
        hide_computer_name=hide_computer_name,
        session_option=session_option or SessionOption(),
        invocation_settings=invocation_settings or InvocationSettings(),
        clocks=Clocks(
            connect=seconds_of(connect_timeout),
            authenticate=seconds_of(auth_timeout),
            silence=seconds_of(silence_timeout),
            total=seconds_of(timeout),
            deadline=seconds_of(deadline),
        ),
        limits=limits or Limits(),
        in_disconnected_session=in_disconnected_session,
        engine=engine,
        session_names=(session_name,) if session_name and isinstance(session_name, str) else tuple(session_name),
    )
    given = {**known, **secrets, **asked}
    return await start(spec, given, notes=resolved.warnings, as_job=as_job, store=store, source=source)


async def start(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    *,
    notes: Sequence[str] = (),
    as_job: bool = False,
    store: JobStore | None = None,
    source: Source | None = None,
) -> RemoteJob:
    """Run a job from a ready JobSpec; what the CLI calls.

    Args:
        spec: What to do.
        credentials: By name; `""` is the one for targets that name none.
        notes: What an admin should know of it.
        as_job: Hand it to a process of its own.
        store: Where it is kept. None is memory; with as_job the store of the state directory.
        source: The pipeline input of a command that has it `streamed`.

    Raises:
        UsageError: It cannot be done as written; nothing was connected.
        JobError: With as_job: no process came up to run it.
    """
    from remotejobs import compose

    if not as_job:
        return await compose.start(spec, credentials, notes=notes, store=store, source=source)
    store = store_of(store)
    home = home_of(store)
    row = await compose.submit(spec, credentials, notes=notes, store=store)
    await compose.start_worker(row.id, credentials, mode="run", home=home, store=store)
    return RemoteJob(store, row.id, take_over=taking_over(store))


async def retry_job(
    job: JobName,
    *,
    state: str | Sequence[str] = (),
    reason: str | Sequence[str] = (),
    argument_list: Sequence[Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    using: Mapping[str, Any] | None = None,
    input_object: Any = None,
    answers: Given | None = None,
    pipeline: Pipeline | None = None,
    credential: Credentials = None,
    as_job: bool = False,
    store: JobStore | None = None,
) -> RemoteJob:
    """Run a job's command again on its targets in some states or end reasons, as a new job linked to it.

    Args:
        job: The job.
        state: States of its children, as `Failed`.
        reason: End reasons, as `Unreachable` or `TimedOut`. Without either: all that failed or was stopped.
        argument_list, parameters, using, pipeline: Instead of the job's own. Each must be given where one of its
            values is a Secret or a Credential: these are not stored.
        input_object: Instead of the job's own. It must be given where that came as a stream, which is not stored.
        answers: Before the job's own; one to a question that has an answer replaces it.
        credential: As for invoke_command.
        as_job: Hand it to a process of its own.
        store: Where the job is, and the new one will be; the state directory's unless given.

    Raises:
        JobError: The job was not found, or no target is in these states.
        ConfigurationError: SecretArgumentMissing.
    """
    store = store_of(store)
    found = manager_of(store).select(job)
    if len(found) != 1 or not isinstance(found[0], RemoteJob):
        raise UsageError(f"Name one job to retry; {job!r} is not one.", error_id="AmbiguousParameterSet")
    again = retry(found[0], _words(state), _words(reason))
    spec, credentials = again.spec, credentials_of(credential)
    command = spec.command
    command, secrets = command_again(command, argument_list, parameters, using, pipeline)
    command, asked = with_answers(command, answers)
    source = None
    if input_object is not None:
        command, source = await with_input(command, input_object, keep=as_job)
    elif command.streamed:
        raise ConfigurationError(
            f"The input of job {found[0].id} came as a stream, and is not stored. No host was asked to run it. Give it "
            "again: input_object of retry_job, or run the script again with -InputObject.",
            error_id="InputMissing",
        )
    spec, credentials = dataclasses.replace(spec, command=command), {**credentials, **secrets, **asked}
    return await start(spec, credentials, notes=again.notes, as_job=as_job, store=store, source=source)


def job_targets(expression: str, store: JobStore | None = None) -> tuple[Target, ...]:
    """Read what follows `@job:` in a target list: `42`, `42/Failed`, `Nightly/Unreachable`.

    Raises:
        JobError: There is no such job.
        UsageError: A word that is neither a job state nor an end reason.
    """
    if store is not None:
        return targets_of_job(expression, store)
    from remotejobs.store.home import open_store

    with contextlib.closing(open_store()) as opened:
        return targets_of_job(expression, opened)


def session_option(**settings: Any) -> SessionOption:
    """Make a SessionOption (New-PSSessionOption); times in seconds.

    Raises:
        UsageError: A name that it does not have.
    """
    known = {field.name for field in dataclasses.fields(SessionOption)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(f"SessionOption has no {unknown[0]!r}; it has {', '.join(sorted(known))}.")
    return SessionOption(**settings)


def targets_named(names: str | Sequence[str | Target], store: JobStore | None) -> Resolved:
    """Read what computer_name was given.

    Raises:
        TargetError: A name, range or list that cannot be read.
    """
    if isinstance(names, str):
        names = [names]
    ready = [name for name in names if isinstance(name, Target)]
    if len(ready) == len(names) and ready:
        return Resolved(tuple(ready), ())
    if ready:
        raise TargetError("Give names or Targets, not both in one list.")
    words = [name for name in names if isinstance(name, str)]
    return resolve(words, read_stdin=_no_stdin, read_job=lambda expression: job_targets(expression, store))


def _no_stdin() -> str:
    raise TargetError("`-` (standard input) is for the command line; give the names.")


def _words(given: str | Sequence[str]) -> Sequence[str]:
    return given.split(",") if isinstance(given, str) and given else given or ()
