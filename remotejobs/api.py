"""What users of the library call, async first; `remotejobs.sync` has the same names without await.

Knows PowerShell's parameters and turns them into a JobSpec. Must not know how a job is run: compose does that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import TargetError, UsageError
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import (
    DEFAULT_CONFIGURATION,
    DEFAULT_THROTTLE_LIMIT,
    Clocks,
    JobSpec,
    Limits,
    ScriptCommand,
    SessionOption,
    Target,
    seconds_of,
)
from remotejobs.targets.resolve import Resolved, resolve

Seconds = float | timedelta | None


async def invoke_command(
    computer_name: str | Sequence[str | Target] | None = None,
    script_block: str | None = None,
    *,
    file_path: str | Path | None = None,
    connection_uri: str | Sequence[str] | None = None,
    argument_list: Sequence[Any] = (),
    credential: Credential | tuple[str, str] | Mapping[str, Credential] | None = None,
    authentication: str = "Default",
    use_ssl: bool = False,
    port: int | None = None,
    application_name: str = "wsman",
    configuration_name: str = DEFAULT_CONFIGURATION,
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT,
    session_option: SessionOption | None = None,
    job_name: str = "",
    hide_computer_name: bool = False,
    connect_timeout: Seconds = 30.0,
    auth_timeout: Seconds = 30.0,
    silence_timeout: Seconds = None,
    timeout: Seconds = None,
    deadline: Seconds = None,
    limits: Limits | None = None,
) -> RemoteJob:
    """Run a script block on many hosts (Invoke-Command). Returns at once; the job runs on the current event loop.

    Args:
        computer_name: Names, ranges (`web[01-20]`), lists (`@file`), exclusions (`!name`), or Targets. A name that
            comes twice runs twice. None is `localhost`, an empty list an error.
        script_block: The script's text, without the braces.
        file_path: A local .ps1 file to run instead.
        connection_uri: Endpoints by URI instead of computer_name.
        argument_list: Positional arguments: None, bool, int, float, str, bytes, Decimal, datetime, timedelta, UUID,
            lists and dictionaries of them.
        credential: One for all targets; or by name, `""` for targets that name none.
        authentication: Mechanism: Basic for now.
        use_ssl, port, application_name, configuration_name: How targets are reached that do not say otherwise.
        throttle_limit: Hosts at a time; below 1 means 32.
        session_option: See SessionOption.
        job_name: A name instead of `Job<id>`.
        hide_computer_name: Display only.
        connect_timeout, auth_timeout: Seconds or timedelta for each host; None is off.
        silence_timeout: The longest time without a record from a host that runs the script; None is off.
        timeout: For one host, from its first connection; None is off.
        deadline: For the whole job; None is off.
        limits: What a host may send.

    Returns:
        The job. Read it with `async for record in job.stream()`, or `await job.wait()`.

    Raises:
        UsageError: What was asked for cannot be done as written; nothing was connected.
    """
    if computer_name is not None and connection_uri is not None:
        raise UsageError("Give computer_name or connection_uri, not both.", error_id="AmbiguousParameterSet")
    if (script_block is None) == (file_path is None):
        raise UsageError("Give one of script_block and file_path.", error_id="AmbiguousParameterSet")
    text = script_block if script_block is not None else read_script(Path(file_path or ""))
    if connection_uri is not None:
        resolved = Resolved(targets_of(connection_uri), ())
    else:
        resolved = _resolved("localhost" if computer_name is None else computer_name)
    spec = JobSpec(
        command=ScriptCommand(text, tuple(argument_list)),
        targets=resolved.targets,
        name=job_name,
        throttle_limit=throttle_limit,
        authentication=authentication,
        port=port,
        use_ssl=use_ssl,
        application_name=application_name,
        configuration_name=configuration_name,
        hide_computer_name=hide_computer_name,
        session_option=session_option or SessionOption(),
        clocks=Clocks(
            connect=seconds_of(connect_timeout),
            authenticate=seconds_of(auth_timeout),
            silence=seconds_of(silence_timeout),
            total=seconds_of(timeout),
            deadline=seconds_of(deadline),
        ),
        limits=limits or Limits(),
    )
    job = await start(spec, _credentials(credential))
    job.notes.extend(resolved.warnings)
    return job


async def start(spec: JobSpec, credentials: Mapping[str, Credential]) -> RemoteJob:
    """Run a job from a ready JobSpec; what the CLI calls.

    Args:
        spec: What to do.
        credentials: By name; `""` is the one for targets that name none.

    Raises:
        UsageError: It cannot be done as written; nothing was connected.
    """
    from remotejobs import compose

    return await compose.start(spec, credentials)


def read_script(path: Path) -> str:
    """Read a local script for -FilePath, as PowerShell does: `.ps1` only, UTF-8, a last newline dropped.

    Raises:
        UsageError: It is not a .ps1 file, is not there, or cannot be read.
    """
    if path.suffix.lower() != ".ps1":
        raise UsageError(
            f"The file {path} must end in .ps1: -FilePath takes PowerShell scripts.",
            error_id="System.ArgumentException",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"Cannot find path '{path}' because it does not exist.", error_id="PathNotFound") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.", error_id="PathNotFound") from None
    return text.removesuffix("\n").removesuffix("\r")


def targets_of(uris: str | Sequence[str]) -> tuple[Target, ...]:
    """Turn -ConnectionUri into targets.

    Raises:
        TargetError: A URI is relative or not http or https.
    """
    targets = []
    for uri in [uris] if isinstance(uris, str) else uris:
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise TargetError(
                f"{uri!r} is not an endpoint: write it as https://web01:5986/wsman, without a user name.",
                error_id="CreateRemoteRunspaceFailed",
            )
        ssl = parts.scheme.lower() == "https"
        path = (parts.path.lstrip("/") or "wsman") + (f"?{parts.query}" if parts.query else "")
        targets.append(Target(parts.hostname, port=port or (5986 if ssl else 5985), ssl=ssl, application=path))
    if not targets:
        raise TargetError("No target is named: the list of URIs is empty.")
    return tuple(targets)


def _resolved(names: str | Sequence[str | Target]) -> Resolved:
    if isinstance(names, str):
        names = [names]
    ready = [name for name in names if isinstance(name, Target)]
    if len(ready) == len(names) and ready:
        return Resolved(tuple(ready), ())
    if ready:
        raise TargetError("Give names or Targets, not both in one list.")
    return resolve([name for name in names if isinstance(name, str)], read_stdin=_no_stdin)


def _no_stdin() -> str:
    raise TargetError("`-` (standard input) is for the command line; give the names.")


def _credentials(given: Credential | tuple[str, str] | Mapping[str, Credential] | None) -> Mapping[str, Credential]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple):
        given = Credential(given[0], Secret(given[1]))
    return {"": given}


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
