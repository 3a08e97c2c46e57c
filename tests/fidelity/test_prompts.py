"""Recorded scripts that a client answered: ours answers the same, and what came after comes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.recorded import read_pipelines
from remotejobs.sim.shells import HostSettings
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.psrp import hostcalls
from remotejobs.wsman.psrp.prompts import Answers, advice
from tests.e2e.hosts import Result, ca_file, run, started, targets
from tests.fidelity.played import RECORDS, Playing, wire_of
from tests.recorded import recorded
from tests.recordings import RECORDINGS
from tests.wsman.psrp_recordings import Conversation, walk
from tests.wsman.psrp_recordings import recorded as conversations
from tests.wsman.test_prompts import CREDENTIAL, as_given

SECRET = Secret("sekrit")
PROMPTS = (11, 12, 23, 24, 25, 26, 46, 56)


def answered() -> list[Conversation]:
    """Conversations with a real server whose client answered every prompt."""
    found = []
    for one in conversations("handmade"):
        calls = {call.call_id for call in calls_of(one)} - {hostcalls.VOID}
        if calls and calls <= {reply["ci"] for reply in replies_of(one) if "mr" in reply}:
            found.append(one)
    return found


def calls_of(one: Conversation) -> list[hostcalls.HostCall]:
    sent = walk(b"".join(b"".join(packets) for packets in one.pipelines.values()))
    return [hostcalls.read(message.data) for message in sent if message.type == MessageType.PIPELINE_HOST_CALL]


def replies_of(one: Conversation) -> list[PSObject]:
    sent = walk(b"".join(data for guid, data in one.requests.items() if guid in one.pipelines))
    return [deserialize(message.data) for message in sent if message.type == MessageType.PIPELINE_HOST_RESPONSE]


def answers_of(one: Conversation) -> list[tuple[str, Any]]:
    """What a user of ours would have given: a secret in the place of each that was recorded."""
    by_id = {reply["ci"]: reply["mr"] for reply in replies_of(one)}
    given = [pair for call in calls_of(one) if call.call_id in by_id for pair in as_given(call, by_id[call.call_id])]
    plain: dict[str, Any] = {}
    for name, value in given:
        if isinstance(value, PSObject):
            plain[name] = Credential(value["UserName"], SECRET)
        elif not isinstance(value, str | int):
            plain[name] = SECRET
        else:
            plain.setdefault(name, value)
    return list(plain.items())


@recorded("answers", answered(), lambda one: one.name)
def test_answers_take_a_script_to_its_recorded_end(case: Conversation, tmp_path: Path) -> None:
    assert RECORDINGS
    recording = read_pipelines(wire_of(RECORDINGS / "pwsh" / "handmade" / f"{case.name}.json"))[-1]

    async def main() -> Result:
        option = {"allow_unencrypted": False, "ca_file": ca_file(tmp_path)}
        async with started({"web01": ""}, settings=HostSettings(), tls=True, interpreter=Playing(recording)) as hosts:
            return await run(targets(hosts), "x", answers=answers_of(case), option=option)

    result = asyncio.run(main())
    came = [r for r in result.records if r.record.object_id > 0]
    assert len(came) == sum(message.type in RECORDS for message in recording.messages)
    assert result.reason("web01") == "Completed"


def prompts() -> list[tuple[str, hostcalls.HostCall]]:
    """Every prompt of a recorded script, with the name of its recording."""
    found = []
    for kind in ("cases", "calls", "handmade"):
        for one in conversations(kind):
            asked = [call for call in calls_of(one) if call.call_id != hostcalls.VOID and call.method in PROMPTS]
            found += [(f"{one.name} {call.call_id}", call) for call in asked]
    return found


@recorded("prompts", prompts(), lambda row: row[0])
def test_a_prompt_is_answered_as_its_refusal_says(case: tuple[str, hostcalls.HostCall]) -> None:
    _, call = case
    words = advice(call)
    label = re.match(r"-Answer LABEL, one of ([^,]+)", words)
    given: list[tuple[str, Any]] = [("", label[1])] if label else []
    for name, listed in re.findall(r"-(Answer|AnswerCredential) '([^']*)'", words):
        answer = CREDENTIAL if name == "AnswerCredential" else "1"
        given += [(each.partition("=")[0], answer) for each in listed.split(",")]
    found = Answers(given).reply(call)
    assert found is not None, words
    assert "mr" in deserialize(hostcalls.respond(call, found[0]))
