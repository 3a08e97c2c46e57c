"""What is the same on every host of a job, rendered once: payloads, heads of requests.

Knows a JobSpec and the messages that it becomes. Must not know hosts, connections or the order of things.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from remotejobs.model import CmdCommand, Command, InvocationSettings, JobSpec, Target
from remotejobs.ports import Transport
from remotejobs.session.secrets import Secrets, refuse_clear_secrets
from remotejobs.wsman.envelopes import POWERSHELL, Requests, Template
from remotejobs.wsman.pipes import codec_of
from remotejobs.wsman.psrp.messages import create_pipeline, init_runspacepool, pipeline_input
from remotejobs.wsman.psrp.using import expressions, rewritten, told, values
from remotejobs.wsman.winrs import command_line

if TYPE_CHECKING:
    from remotejobs.session.feed import Feed


class PreparedJob(NamedTuple):
    """What is the same on every host of a job: rendered once.

    Attributes:
        spec: What was asked for.
        init, pipeline: The payloads of INIT_RUNSPACEPOOL and CREATE_PIPELINE.
        requests: Makes the requests of one session with a target: to its PowerShell configuration, or to the resource
            that is named.
        connect: Makes an unopened connection to a target.
        spare: Bounds the second connections, which a stop needs to pass a pending Receive.
        secrets: What is to be filled into the pipeline for each host.
        older: CREATE_PIPELINE for PowerShell before 5, where the script names variables as `$using:`; else empty.
        input: The payloads of PIPELINE_INPUT, where they go up with the script.
        feed: What gives them, where they come as a stream.
        user: The user name that a target is given, for messages; empty for the current user's.
    """

    spec: JobSpec
    init: bytes
    pipeline: bytes
    requests: Callable[[Target, uuid.UUID, str], Requests]
    connect: Callable[[Target], Transport]
    spare: asyncio.Semaphore
    secrets: Secrets
    user: Callable[[Target], str]
    older: bytes = b""
    input: tuple[bytes, ...] | None = None
    feed: Feed | None = None


def pipelines(command: Command, settings: InvocationSettings) -> tuple[bytes, bytes]:
    """The payload of CREATE_PIPELINE, and the one for PowerShell before 5 where it differs; a command line has none."""
    if isinstance(command, CmdCommand):
        command_line(command.text), codec_of(command.code_page)  # what cannot be is refused before anything is sent
        return b"", b""
    newer, older, variables = [], [], 0
    for one in command.pipeline:
        newer.append(one)
        older.append(one)
        if one.is_script and (found := expressions(one.text)):
            using = values(one.text, found, dict(command.using))
            script, more = rewritten(one.text, found, using, variables)
            newer[-1] = replace(one, arguments=(*one.arguments, told(using)))
            older[-1] = replace(one, text=script, arguments=(*one.arguments, *more.items()))
            variables += len(more)
    forms = [replace(command, arguments=(), parameters=(), commands=tuple(form)) for form in (newer, older)]
    return create_pipeline(forms[0], settings), create_pipeline(forms[1], settings) if variables else b""


def _unnamed(_: Target) -> str:
    return ""


def prepare(
    spec: JobSpec,
    connect: Callable[[Target], Transport],
    spare: asyncio.Semaphore,
    secrets: Mapping[str, Callable[[], str]] | None = None,
    user: Callable[[Target], str] = _unnamed,
    feed: Feed | None = None,
) -> PreparedJob:
    """Render what is the same on every host of a job.

    Args:
        spec: What to do.
        connect, spare, user, feed: See PreparedJob.
        secrets: What reveals the secrets that the arguments name.

    Raises:
        UsageError: An argument that CLIXML cannot carry, or a secret one that would go over clear http.
    """
    option = spec.session_option
    templates: dict[str, Template] = {}

    def requests(target: Target, session_id: uuid.UUID, resource: str) -> Requests:
        name = resource or target.configuration or spec.configuration_name
        template = templates.get(name)
        if template is None:
            template = templates[name] = Template(
                name if "://" in name else f"{POWERSHELL}/{name}",
                operation_timeout=option.operation_timeout,
                locale=option.ui_culture,
                data_locale=option.culture,
            )
        return Requests(template, spec.endpoint(target).url, session_id)

    pipeline, older = pipelines(spec.command, spec.invocation_settings)
    init = init_runspacepool(spec.invocation_settings)
    kept = None if isinstance(spec.command, CmdCommand) else spec.command.input
    given = None if kept is None else tuple(map(pipeline_input, kept))
    known = Secrets(pipeline, secrets or {}, spec.command.answers)
    if known.names:
        refuse_clear_secrets(spec)
    return PreparedJob(spec, init, pipeline, requests, connect, spare, known, user, older, given, feed)
