"""Answers to prompts in a conversation: what is sent, in which order it is kept, what a hostile host gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from remotejobs.model import ScriptCommand, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Resume
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.clixml.values import PSObject, SecureString
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp import runspace
from remotejobs.wsman.psrp.sessionkey import KeyPair
from tests.session.scripted import ScriptedHost, fault, lost, output, pipeline_state, psrp, received
from tests.session.test_attaching import resume
from tests.session.test_conversation import Run
from tests.session.test_secrets import KEY, OPENED, SEKRIT, sent
from tests.wsman.psrp_recordings import walk
from tests.wsman.test_prompts import SECURE, STRING, field
from tests.wsman.test_sessionkey import RECORDED, recorded_pair

PIN = ("Pin", SecureString.named("Answers[Pin]", "sql"))
HELD = {"Answers[Pin]=sql": lambda: "sekrit"}
DONE = received(pipeline_state(4, 99), done=True)


def asks(object_id: int, name: str, kind: str = STRING, call_id: int = 1) -> bytes:
    number = PSObject(("M",), "Prompt", 23)
    call = PSObject(extended={"ci": call_id, "mi": number, "mp": ["", "", [field(name, kind)]]})
    return psrp(0x41100, serialize(call).decode(), object_id)


class Answering(Run):
    """A conversation whose job has answers."""

    def __init__(
        self,
        host: ScriptedHost,
        *answers: tuple[str, Any],
        found: Resume | None = None,
        held: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        super().__init__(host)
        if found:
            self.begin = found
        spec, connect = self.prepared
        command = ScriptCommand("1", answers=answers)
        self.job = prepare(replace(spec, command=command, use_ssl=True), connect, asyncio.Semaphore(1), held)

    async def start(self) -> Attempt:
        runner = PsrpRunner(self.job, self.clock)
        attempt = await runner.run(ChildTask(0, Target("h"), self.begin), self.ledger, self.control)
        await runner.cleanup(attempt)
        return attempt

    @property
    def notes(self) -> list[tuple[int, str]]:
        return [
            (r.object_id, str(from_clixml(r.stream, deserialize(r.raw))))
            for r in self.ledger.records
            if r.stream is Stream.Verbose
        ]


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[KeyPair]:
    """Key pairs are the recorded one; how many were made."""
    pairs: list[KeyPair] = []

    def generate() -> KeyPair:
        pairs.append(recorded_pair())
        return pairs[-1]

    monkeypatch.setattr(KeyPair, "generate", generate)
    return pairs


def replies(host: ScriptedHost) -> list[PSObject]:
    return [deserialize(one.data) for one in walk(sent(host, "Send")) if one.type == 0x41101]


def test_an_answer_is_sent_then_noted_and_the_script_goes_on() -> None:
    host = ScriptedHost().on(
        "Receive+", received(output("before", 3), asks(4, "Name")), received(output("after", 5)), DONE
    )
    run = Answering(host, ("name", "web01"))
    assert run.finish().outcome.reason is EndReason.Completed
    assert host.asked == ["Create", "Receive", "Command", "Receive+", "Send", "Receive+", "Receive+", "Delete"]
    (reply,) = replies(host)
    assert (reply["ci"], reply["mr"]) == (1, {"Name": "web01"})
    assert run.texts == ["before", "after"]
    assert run.notes == [(-4, "Answered by -Answer: Name: web01")]
    assert [record.seq for record in run.ledger.records] == [1, 2, 3]


def test_what_no_answer_fits_is_refused_and_leaves_no_note() -> None:
    host = ScriptedHost().on("Receive+", received(asks(3, "Reason")), DONE)
    run = Answering(host, ("Name", "web01"))
    run.finish()
    (reply,) = replies(host)
    assert reply["me"]["Exception"]["Message"].endswith("message: Reason (to answer it: -Answer 'Reason=...')")
    assert run.notes == []


def test_an_answer_whose_connection_is_lost_is_sent_again_and_noted_once() -> None:
    host = ScriptedHost().on("Receive+", received(asks(3, "Name")), DONE).on("Send", lost(), lost())
    run = Answering(host, ("Name", "web01"))
    assert run.finish().outcome.reason is EndReason.Completed
    assert host.asked.count("Send") == 3
    assert host.opened == 3
    assert {(reply["ci"], str(reply["mr"])) for reply in replies(host)} == {(1, "{'Name': 'web01'}")}
    assert len({one.object_id for one in walk(sent(host, "Send"))}) == 3
    assert len(run.notes) == 1


def test_a_host_that_asks_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runspace, "_MOST_QUESTIONS", 5)
    host = ScriptedHost()
    for number in range(3, 20):
        host.on("Receive+", received(asks(number, "Name" if number % 2 else "Other", call_id=number)))
    run = Answering(host, ("Name", "x"))
    outcome = run.finish().outcome
    assert outcome.reason is EndReason.CommandFailed
    assert outcome.error_id.startswith("HostCallLimitExceeded,")
    assert "more than 5 questions" in outcome.message
    assert len(replies(host)) == 5
    assert host.asked[-1] == "Delete"


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_is_encrypted_for_its_host() -> None:
    host = ScriptedHost().on("Receive", OPENED, KEY)
    host.on("Receive+", received(asks(3, "Pin", SECURE)), received(asks(4, "PIN:", SECURE, 2)), DONE)
    run = Answering(host, PIN, held=HELD)
    assert run.finish().outcome.reason is EndReason.Completed
    assert sent(host, "Send").count(SEKRIT.encode()) == 2
    assert "sekrit" not in "".join(host.bodies)
    assert [text for _, text in run.notes] == [
        f"Answered by -Answer: {name}: the password of sql" for name in ("Pin", "PIN:")
    ]


@pytest.mark.parametrize("question", [("Pin", STRING), ("Pin2", SECURE), ("*", SECURE), ("", SECURE)], ids=str)
def test_a_host_that_asks_for_it_otherwise_does_not_get_it(question: tuple[str, str]) -> None:
    host = ScriptedHost().on("Receive", OPENED, KEY).on("Receive+", received(asks(3, *question)), DONE)
    Answering(host, PIN, ("", "Pin"), held=HELD).finish()
    assert "me" in replies(host)[0]
    assert SEKRIT.encode() not in sent(host, "Send")


def test_who_takes_the_script_over_exchanges_keys_when_a_secret_is_asked_for(made: list[KeyPair]) -> None:
    host = (
        ScriptedHost()
        .on("Receive", KEY)
        .on("Receive+", received(output("x", 3)), received(asks(4, "Pin", SECURE)), DONE)
    )
    run = Answering(host, PIN, found=resume(), held=HELD)
    assert run.finish().outcome.reason is EndReason.Completed
    assert SEKRIT.encode() in sent(host, "Send")
    assert len(made) == 1
    assert host.asked[-7:] == ["Receive+", "Receive+", "Send", "Receive", "Send", "Receive+", "Delete"]


def test_who_takes_it_over_without_the_secret_refuses() -> None:
    host = ScriptedHost().on("Receive+", received(asks(3, "Pin", SECURE)), DONE)
    run = Answering(host, PIN, found=resume())
    assert run.finish().outcome.reason is EndReason.Completed
    assert "me" in replies(host)[0]


# -- taken over ------------------------------------------------------------------------------------------------------


def test_a_call_that_was_answered_before_is_not_answered_again() -> None:
    """The note is the last record that is stored, and its place is the call's."""
    host = ScriptedHost().on("Receive+", received(asks(7, "Name")), received(asks(8, "Name", call_id=2)), DONE)
    run = Answering(host, ("Name", "x"), found=resume(seq=4, object_id=7))
    assert run.finish().outcome.reason is EndReason.Completed
    assert [reply["ci"] for reply in replies(host)] == [2]
    assert run.notes == [(-8, "Answered by -Answer: Name: x")]


def test_whose_turn_it_is_nobody_knows_then() -> None:
    host = ScriptedHost().on("Receive+", received(asks(8, "Name")), DONE)
    Answering(host, ("Name", "a"), ("Name", "b"), found=resume(seq=4, object_id=7)).finish()
    assert "me" in replies(host)[0]


def test_a_key_for_the_process_before_is_passed_over() -> None:
    """It asked for one and died before it had received it: the host sends that to its successor."""
    old = received(psrp(0x10006, '<Obj RefId="0"><MS><S N="EncryptedSessionKey">AAAA</S></MS></Obj>', 3))
    ours = received(psrp(0x10006, RECORDED["encrypted_session_key"], 4))
    host = ScriptedHost().on("Receive", old, ours).on("Receive+", received(asks(4, "Pin", SECURE)), DONE)
    assert Answering(host, PIN, found=resume(), held=HELD).finish().outcome.reason is EndReason.Completed
    assert SEKRIT.encode() in sent(host, "Send")


@pytest.mark.parametrize("answer", [received(), fault(2150858793)], ids=["empty", "nothing yet"])
def test_a_host_that_gives_no_key_does_not_hold_the_script_for_ever(answer: str) -> None:
    host = ScriptedHost().on("Receive+", received(asks(4, "Pin", SECURE)), DONE)
    host.default["Receive"] = answer
    outcome = Answering(host, PIN, found=resume(), held=HELD).finish().outcome
    assert outcome.message.startswith("The host did not answer the exchange of keys")
    assert SEKRIT.encode() not in sent(host, "Send")
