"""What we send for a call is what the real client sent: each pipeline with its input, and the opening of its pool.

From what was sent it is found what the caller must have given; ours is given that, by its public types, and what it
sends is compared decoded, member by member. Masked are session keys, and what differs by decision, all of it here:

- `protocolversion`: 2.3 is offered for 2.4, which encrypts no SecureString.
- ApplicationArguments: the PSVersionTable that PowerShell adds to the caller's. A host takes a client of version 4 or
  later for one that serves a debugger, and lets scripts wait for it.
- MergeError to MergeInformation are left out where nothing is merged: each costs every host, and says nothing.
- The type name of a list, which no server asks for; the assemblies in other type names.

Left out are the commands that the client's debugger sends (nested ones), and messages that are neither of a pipeline
nor the opening of a pool (GET_COMMAND_METADATA; the session key's are in tests/wsman).
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

from remotejobs.api.arguments import with_values
from remotejobs.api.pipeline import Pipeline
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.model import (
    MERGEABLE,
    HostInfo,
    InvocationSettings,
    RemoteStreamOptions,
    ScriptCommand,
)
from remotejobs.session.prepared import pipelines
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject, SecureString, Version
from remotejobs.wsman.psrp.messages import SESSION_CAPABILITY, init_runspacepool, pipeline_input
from remotejobs.wsman.psrp.using import expressions
from tests.recorded import recorded
from tests.recordings import needs_recordings
from tests.wsman.psrp_recordings import POOL, Conversation, Sent, walk
from tests.wsman.psrp_recordings import recorded as conversations

CAPABILITY, INIT, CREATE, INPUT, END = 0x10002, 0x10004, 0x21006, 0x41002, 0x41003
OURS = {"protocolversion": Version("2.3")}
ADDED = {"PSVersionTable"}
NOT_MERGED = PSObject(
    (
        "System.Management.Automation.Runspaces.PipelineResultTypes",
        *("System.Enum", "System.ValueType", "System.Object"),
    ),
    "None",
    0,
)
MERGING = dict.fromkeys((f"Merge{stream.name}" for stream in MERGEABLE), NOT_MERGED)
_ASSEMBLY = re.compile(r", [\w.]+, Version=[^\]]*")


def calls() -> dict[str, list[Conversation]]:
    found: dict[str, list[Conversation]] = {}
    for conversation in conversations("calls"):
        if asked(conversation):
            found.setdefault(conversation.name, []).append(conversation)
    return found


def asked(conversation: Conversation) -> list[list[Sent]]:
    """The messages of each pipeline that is not nested."""
    streams = [[*walk(stream)] for guid, stream in conversation.requests.items() if guid != POOL]
    created = [sent for sent in streams if sent and sent[0].type == CREATE]
    return [sent for sent in created if not deserialize(sent[0].data)["IsNested"]]


def opened(conversation: Conversation) -> tuple[Any, Any]:
    """SESSION_CAPABILITY and INIT_RUNSPACEPOOL."""
    first, second = list(walk(conversation.requests[POOL]))[:2]
    assert (first.type, second.type) == (CAPABILITY, INIT)
    return deserialize(first.data), deserialize(second.data)


def command_of(created: Any) -> tuple[ScriptCommand, dict[str, Any]]:
    """What was run, and the variables that it names."""
    shell = created["PowerShell"]
    statements = [each["Cmds"] for each in plain(shell.get("ExtraCmds") or [])] or [shell["Cmds"]]
    pipeline, told = Pipeline(), dict[str, Any]()
    for statement in statements:
        pipeline = pipeline.add_statement()
        for command in plain(statement):
            add = pipeline.add_script if command["IsScript"] else pipeline.add_command
            pipeline = add(command["Cmd"], use_local_scope=command["UseLocalScope"])
            for argument in plain(command["Args"]):
                name, value = argument["N"], argument["V"]
                if name == "--%":
                    told |= getattr(value, "base", value)
                else:
                    value = given(value)
                    pipeline = pipeline.add_argument(value) if name is None else pipeline.add_parameter(name, value)
            if merged := [stream for stream in MERGEABLE if command[f"Merge{stream.name}"].base == 1]:
                pipeline = pipeline.merge_my_results(*merged)
            if command["MergePreviousResults"].base:
                pipeline = pipeline.merge_previous_results()
    using = variables({base64.b64decode(key).decode("utf-16-le"): value for key, value in told.items()})
    return ScriptCommand(str(pipeline), streamed=not created["NoInput"], commands=pipeline.commands), using


def settings_of(created: Any, init: Any) -> InvocationSettings:
    """What else the host was told."""
    told = {name: value for name, value in (init["ApplicationArguments"] or {}).items() if name not in ADDED}
    return InvocationSettings(
        add_to_history=created["AddToHistory"],
        remote_stream_options=RemoteStreamOptions(created["RemoteStreamOptions"].base),
        apartment_state=created["ApartmentState"].to_string,
        host=host_of(init["HostInfo"]),
        application_arguments=told or None,
    )


def host_of(info: Any) -> HostInfo | None:
    if info["_isHostUINull"]:
        return None
    screen = {key: item["V"] for key, item in info["_hostDefaultData"]["data"].items()}
    sizes = {key: (size["width"], size["height"]) for key, size in screen.items() if 5 <= key <= 8}
    return HostInfo(sizes[5], sizes[6], screen[9], screen[0], screen[1], screen[4])


def variables(told: dict[str, Any]) -> dict[str, Any]:
    """Variables of which a dictionary of expressions can be made."""
    found = [(expressions(text)[0], value) for text, value in told.items()]
    made = {one.name.lower(): value for one, value in found if not one.steps}
    parts: dict[str | int, Any] = {}
    for one, value in found:
        *steps, last = one.name.lower(), *one.steps
        inner = parts
        for step in steps:
            inner = inner.setdefault(step, {})
        if steps and steps[0] not in made:
            inner[last] = value
    return {str(name): value for name, value in parts.items()} | made


def given(value: Any) -> Any:
    """What a caller would have given."""
    if isinstance(value, SecureString):
        return Secret("masked")
    if isinstance(value, PSObject) and value.to_string == "System.Management.Automation.PSCredential":
        return Credential(value["UserName"], Secret("masked"))
    return [given(item) for item in value] if isinstance(value, list) else value


def same(theirs: Any, ours: Any, where: str = "") -> None:
    if isinstance(theirs, SecureString):
        assert isinstance(ours, SecureString), where
    elif isinstance(plain(theirs), list):
        for n, (one, other) in enumerate(zip(plain(theirs), plain(ours), strict=True)):
            same(one, other, f"{where}[{n}]")
    elif isinstance(theirs, PSObject):
        assert isinstance(ours, PSObject), where
        assert [_ASSEMBLY.sub("", name) for name in theirs.type_names] == [*ours.type_names], where
        assert theirs.to_string == ours.to_string, where
        same(theirs.base, ours.base, where)
        same(theirs.adapted, ours.adapted, where)
        same(theirs.extended, ours.extended, where)
    elif isinstance(theirs, dict):
        if "MergeMyResult" in theirs:
            ours = MERGING | ours
        assert theirs.keys() == ours.keys(), where
        for name, value in theirs.items():
            same(value, ours[name], f"{where}.{name}")
    else:
        assert (type(theirs), theirs) == (type(ours), ours), where


def plain(value: Any) -> Any:
    return value.base if isinstance(value, PSObject) and isinstance(value.base, list) else value


CALLS = calls()


def compare(conversation: Conversation) -> None:
    """Compare what was sent in one conversation with what ours sends."""
    capability, init = opened(conversation)
    same(PSObject(extended={**capability.extended, **OURS}), deserialize(SESSION_CAPABILITY))
    for sent in asked(conversation):
        theirs = deserialize(sent[0].data)
        settings = settings_of(theirs, init)
        masked = {**init.extended, "ApplicationArguments": settings.application_arguments}
        same(PSObject(extended=masked), deserialize(init_runspacepool(settings)))
        command, using = command_of(theirs)
        ours, _ = with_values(command, using=using)
        payload, _ = pipelines(ours, settings)
        same(theirs, deserialize(payload))
        inputs = [one.data for one in sent[1:] if one.type == INPUT]
        assert [one.type for one in sent[1:]] == [INPUT] * len(inputs) + [END] * command.streamed
        assert [pipeline_input(deserialize(data) if data else None) for data in inputs] == inputs
        if (script := lone_script(command)) is not None:
            ours, _ = with_values(*script, using)
            assert pipelines(ours, settings)[0].replace(b">ArgumentList[", b">Commands[0][") == payload
            if conversation.case.get("job"):  # as Invoke-Command has it is what we have without being told
                assert replace(settings, host=HostInfo()) == InvocationSettings()


@recorded("calls", CALLS, str)
def test_what_we_send_is_what_the_real_client_sent(case: str) -> None:
    for conversation in CALLS[case]:
        compare(conversation)


@needs_recordings
def test_so_it_is_for_the_recorded_scripts() -> None:
    found = [one for one in conversations("cases") if asked(one)]
    for conversation in found:
        compare(conversation)
    assert found


def lone_script(command: ScriptCommand) -> tuple[ScriptCommand, list[Any], dict[str, Any]] | None:
    """The script, arguments and parameters that stand for a pipeline of one, where they can."""
    script, *others = command.commands
    if others or not script.is_script or script.use_local_scope is not None or script.merged:
        return None
    positional = [value for name, value in script.arguments if name is None]
    named = {name: value for name, value in script.arguments if name is not None}
    return ScriptCommand(script.text, streamed=command.streamed), positional, named
