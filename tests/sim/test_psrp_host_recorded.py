"""The requests of recorded clients, odd ones and PowerShell's own, sent to a simulated host."""

from __future__ import annotations

import base64
import json
import re

import pytest

from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.psrp_host import PsrpHost
from remotejobs.sim.shells import HostInfo
from tests.recordings import RECORDINGS, needs_recordings
from tests.sim.psrp_conversation import Sink, in_loop, recorded_requests

NATIVE = sorted((RECORDINGS / "psrp-omi").glob("*.jsonl")) if RECORDINGS else []

EXPECTED: dict[str, list[str]] = {
    "minimal": ["<I32>1</I32>", "", "<S>two</S>"],
    "cut-packets": [],
    "one-byte-fragments": [],
    "arguments": ["<S>a=pos s=True args=7</S>"],
    "input": ["<S>[1]</S>", "<S>null</S>", "<S>[a]</S>", "<S>end</S>"],
    "statements": ["<S>one</S>", "<S>two</S>", "<S>three</S>"],
}


@needs_recordings
@pytest.mark.parametrize("name", EXPECTED)
@in_loop
async def test_recorded_odd_clients_are_served(name: str) -> None:
    assert RECORDINGS
    requests = recorded_requests(RECORDINGS / "pwsh" / "handmade" / f"{name}.wire.jsonl")
    sink = Sink()
    shell = PsrpHost(Dialect(), HostInfo("WEB01"), sink)
    shell.create(requests.pop("00000000-0000-0000-0000-000000000000"))
    for guid, data in requests.items():
        shell.command(guid.upper(), "", [base64.b64encode(data).decode()], {})
        seen = await sink.done(guid.upper())
        assert '"PipelineState">4<' in seen[-1].clixml, seen[-1].clixml[:300]
        if EXPECTED[name]:
            assert [s.clixml for s in seen[:-1]] == EXPECTED[name]


def native_requests(name: str) -> list[tuple[str, str, bytes]]:
    """Create, Command and Send of one conversation of PowerShell's own client: action, command id, fragments."""
    found = []
    assert RECORDINGS
    for row in map(json.loads, (RECORDINGS / "psrp-omi" / f"{name}.jsonl").read_text("utf-8").splitlines()):
        body = row.get("body") or ""
        content = re.search(r"<(?:\w+:)?(creationXml|Arguments|Stream)(?: [^>]*)?>([A-Za-z0-9+/=\s]+)<", body)
        if row["dir"] == "c2s" and content:
            command = re.search(r'CommandId="([^"]+)"', body)
            action = {"creationXml": "Create", "Arguments": "Command", "Stream": "Send"}[content[1]]
            found.append((action, command[1].upper() if command else "", base64.b64decode(content[2] + "==")))
    return found


def of_one_pool(name: str) -> bool:
    """Something was run, in one pool: the others need several hosts."""
    actions = [action for action, *_ in native_requests(name)]
    return actions.count("Create") == 1 and "Command" in actions


@needs_recordings
@pytest.mark.parametrize("name", [path.stem for path in NATIVE if of_one_pool(path.stem)])
@in_loop
async def test_powershells_own_client_is_understood(name: str) -> None:
    requests = native_requests(name)
    sink = Sink()
    shell = PsrpHost(Dialect(), HostInfo("WEB01"), sink)
    for action, command, data in requests:
        if action == "Create":
            shell.create(data)
        elif action == "Command":
            shell.command(command, "", [base64.b64encode(data).decode()], {})
        else:
            shell.send("stdin", data, command or None, False)
    shell.close()
    assert [s.name for s in sink.of(None)][:3] == [
        "SESSION_CAPABILITY",
        "APPLICATION_PRIVATE_DATA",
        "RUNSPACEPOOL_STATE",
    ]
    assert not [s.clixml for s in sink.seen if "refuses a message" in s.clixml]
    asked = {command for action, command, _ in requests if action == "Command"}
    assert {command for command, _ in sink.states} == asked
