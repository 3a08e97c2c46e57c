"""What we send for a call is what the real client sent: arguments, parameters, `$using:`, input.

Compared decoded, after masking session keys: member by member, for every script that a recorded call has sent. Known
differences, all of them (DIFFERENT): the real client's job commands add to the history and its API asks for invocation
info with each record, ours do neither (both cost the host, and nobody reads them); members of 2.2 and later that say
`no merging` are left out, for what is not there is not merged; type names differ in the assemblies of .NET.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from remotejobs.api.arguments import with_values
from remotejobs.auth.credentials import Secret
from remotejobs.model import ScriptCommand
from remotejobs.session.prepared import pipelines
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject, SecureString
from remotejobs.wsman.psrp.messages import pipeline_input
from tests.recorded import recorded
from tests.wsman.psrp_recordings import POOL, Conversation, Sent, walk
from tests.wsman.psrp_recordings import recorded as conversations

CREATE, INPUT, END = 0x21006, 0x41002, 0x41003
DIFFERENT = {"AddToHistory", "RemoteStreamOptions", "MergeError", "MergeWarning", "MergeVerbose", "MergeDebug"}
DIFFERENT |= {"MergeInformation"}
_ASSEMBLY = re.compile(r", [\w.]+, Version=[^\]]*")
_USING = re.compile(r"\$(?:\{using:([^}]+)\}|using:(\w+(?::\w+)?))(.*)", re.IGNORECASE | re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(-?\d+)\]")


def scripts(conversation: Conversation) -> Iterator[list[Sent]]:
    """The messages of each pipeline that is one script of the caller's."""
    for guid, stream in conversation.requests.items():
        sent = list(walk(stream))
        if guid != POOL and sent and sent[0].type == CREATE:
            shell = deserialize(sent[0].data)["PowerShell"]
            command = shell["Cmds"][0]
            several = len(shell["Cmds"]) > 1 or shell.get("ExtraCmds")
            if command["IsScript"] and not several and not command["UseLocalScope"] and not shell["IsNested"]:
                yield sent


def calls() -> dict[str, list[list[Sent]]]:
    found: dict[str, list[list[Sent]]] = {}
    for conversation in conversations("calls"):
        if sent := list(scripts(conversation)):
            found.setdefault(conversation.name, []).extend(sent)
    return found


def variables(told: dict[str, Any]) -> dict[str, Any]:
    """Variables of which a dictionary of expressions can be made."""
    made: dict[str, Any] = {}
    matches = [(_USING.fullmatch(text), value) for text, value in told.items()]
    for match, value in sorted(matches, key=lambda pair: bool(pair[0] and pair[0][3])):
        assert match is not None
        name, steps = (match[1] or match[2]).lower(), _STEP.findall(match[3])
        if not steps:
            made[name] = value
        elif name not in made or isinstance(made[name], dict):
            inner = made.setdefault(name, {})
            for word, index in steps[:-1]:
                inner = inner.setdefault(word or int(index), {})
            word, index = steps[-1]
            inner.setdefault(word or int(index), value)
    return made


def given(value: Any) -> Any:
    """What a caller would have given."""
    return Secret("masked") if isinstance(value, SecureString) else value


def same(theirs: Any, ours: Any, where: str = "") -> None:
    if isinstance(theirs, SecureString):
        assert isinstance(ours, SecureString), where
    elif isinstance(theirs, PSObject) and isinstance(ours, PSObject):
        assert (
            [_ASSEMBLY.sub("", name) for name in theirs.type_names] == [*ours.type_names]
            or not ours.type_names
            or (isinstance(theirs.base, list) and isinstance(ours.base, list))
        ), where
        assert theirs.to_string == ours.to_string, where
        same(theirs.base, ours.base, where)
        same(theirs.adapted, ours.adapted, where)
        same(theirs.extended, ours.extended, where)
    elif isinstance(theirs, dict):
        kept = {name: value for name, value in theirs.items() if name not in DIFFERENT}
        assert kept.keys() == ours.keys() - DIFFERENT, where
        for name, value in kept.items():
            same(value, ours[name], f"{where}.{name}")
    elif isinstance(plain(theirs), list):
        for n, (one, other) in enumerate(zip(plain(theirs), plain(ours), strict=True)):
            same(one, other, f"{where}[{n}]")
    else:
        assert (type(theirs), theirs) == (type(ours), ours), where


def plain(value: Any) -> Any:
    return value.base if isinstance(value, PSObject) and isinstance(value.base, list) else value


CALLS = calls()


@recorded("calls", CALLS, str)
def test_what_we_send_is_what_the_real_client_sent(case: str) -> None:
    for sent in CALLS[case]:
        theirs = deserialize(sent[0].data)
        command = theirs["PowerShell"]["Cmds"][0]
        arguments = [(one["N"], one["V"]) for one in plain(command["Args"])]
        told: Any = next((value for name, value in arguments if name == "--%"), {})
        told = getattr(told, "base", told)
        named = {name: given(value) for name, value in arguments if name not in (None, "--%")}
        using = variables({base64.b64decode(key).decode("utf-16-le"): value for key, value in told.items()})
        inputs = [one.data for one in sent[1:] if one.type == INPUT]
        ours, _ = with_values(
            ScriptCommand(command["Cmd"], streamed=not theirs["NoInput"]),
            [given(value) for name, value in arguments if name is None],
            named,
            using,
        )
        same(theirs, deserialize(pipelines(ours)[0]))
        assert [one.type for one in sent[1:]] == [INPUT] * len(inputs) + [END] * (not theirs["NoInput"])
        assert [pipeline_input(deserialize(data) if data else None) for data in inputs] == inputs
