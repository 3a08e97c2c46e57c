"""Finding a command again that another run of the job began; leaving one on its host."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from remotejobs.errors import UnreachableError
from remotejobs.ports import Reply, Resume
from remotejobs.rows import Fresh, Phase
from remotejobs.session.attaching import WAIT_SECONDS
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from tests.session.scripted import Answer, ScriptedHost, fault, lost, output, pipeline_state, psrp, received, shell
from tests.session.test_conversation import Run, never

SHELL_ID, COMMAND_ID = "5E110000-0000-0000-0000-000000000001", "C0330000-0000-0000-0000-000000000002"
GONE, LEFT, HELD, MISMATCH, NOT_NOW, TWICE = 2150858843, 2150859204, 2150859213, 2150859206, 2150859216, 2150858802


def resume(*, started: bool = True, seq: int = 0, object_id: int = 0) -> Resume:
    ids = Fresh(uuid.UUID(SHELL_ID), uuid.UUID(COMMAND_ID), uuid.uuid4())
    return Resume(ids, SHELL_ID, COMMAND_ID, started, seq, object_id)


class Again(Run):
    """A conversation that takes up what another began."""

    def __init__(self, host: ScriptedHost, found: Resume | None = None, **options: Any) -> None:
        super().__init__(host, **options)
        self.begin = found or resume()

    @property
    def kinds(self) -> list[str]:
        return self.host.asked


def test_a_shell_still_connected_is_disconnected_and_taken_back() -> None:
    run = Again(ScriptedHost())
    attempt = run.finish()
    assert run.kinds == ["Get", "Disconnect", "Reconnect", "Reconnect", "Receive+", "Delete"]
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.Completed, Phase.STARTED)
    assert run.texts == ["hello"]
    assert run.ledger.calls == ["starting", "started", "append"]  # the first is the fence
    assert run.control.entered == [Phase.AUTHENTICATE, Phase.OPEN]
    for body in run.host.bodies:
        assert SHELL_ID in body
    assert all(COMMAND_ID in body for body in run.host.bodies[3:5])


def test_a_disconnected_shell_is_reconnected() -> None:
    run = Again(ScriptedHost().on("Get", shell("Disconnected")))
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.kinds[:4] == ["Get", "Reconnect", "Reconnect", "Receive+"]


def test_a_host_that_does_not_tell_of_shells_is_asked_all_the_same() -> None:
    run = Again(ScriptedHost().on("Get", fault(2150858753)).on("Disconnect", fault(LEFT)))
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.kinds[:3] == ["Get", "Disconnect", "Reconnect"]


def test_another_clients_shell_is_connected_to() -> None:
    host = ScriptedHost().on("Get", shell("Disconnected")).on("Reconnect", fault(MISMATCH))
    run = Again(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.kinds == ["Get", "Reconnect", "Connect", "Connect", "Receive+", "Delete"]
    pool, command = (body for kind, body in zip(host.asked, host.bodies, strict=True) if kind == "Connect")
    assert "<connectXml" in pool
    assert "protocolversion" in pool
    assert f'<rsp:Connect CommandId="{COMMAND_ID}"/>' in command


def test_a_shell_that_another_client_holds_is_waited_for() -> None:
    host = ScriptedHost().on("Disconnect", fault(MISMATCH)).on("Reconnect", *[fault(NOT_NOW)] * 4, fault(MISMATCH))
    host.on("Connect", *[fault(HELD)] * 4)
    run = Again(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.kinds.count("Connect") == 4 + 2
    assert run.clock.monotonic() > 1_000_003


def test_nobody_waits_for_ever() -> None:
    host = ScriptedHost().on("Disconnect", fault(MISMATCH))
    host.default.update(Reconnect=fault(NOT_NOW), Connect=fault(HELD))
    run = Again(host)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert "another client holds it" in attempt.outcome.message
    assert attempt.phase >= Phase.STARTING  # or the engine would begin the waiting anew
    assert WAIT_SECONDS <= run.clock.monotonic() - 1_000_000 < WAIT_SECONDS + 20
    assert "Delete" not in run.kinds


def test_a_stop_ends_the_waiting_and_the_shell() -> None:
    async def turn(run: Run) -> None:
        while run.host.asked.count("Connect") < 3:
            run.clock.advance(0.5)
            await asyncio.sleep(0)
        run.control.stop()

    host = ScriptedHost().on("Disconnect", fault(MISMATCH))
    host.default.update(Reconnect=fault(NOT_NOW), Connect=fault(HELD))
    run = Again(host)
    attempt = run.finish(turn)
    assert attempt.outcome.reason is EndReason.Stopped
    assert run.kinds[-1] == "Delete"
    assert run.clock.monotonic() < 1_000_100


def test_a_stop_asked_for_before_is_signalled_when_the_command_is_found() -> None:
    signalled = asyncio.Event()

    async def signal(_: str) -> Answer:
        signalled.set()
        return "<rsp:SignalResponse/>"

    async def until(_: str) -> Answer:
        await signalled.wait()
        return received(pipeline_state(3, 9), done=True)

    run = Again(ScriptedHost().on("Signal", signal).on("Receive+", until))
    run.control.stop_requested = True
    assert run.finish().outcome.reason is EndReason.Stopped
    assert "Signal" in run.kinds


def test_what_is_stored_already_is_dropped_and_numbers_go_on() -> None:
    host = ScriptedHost().on(
        "Receive+", received(output("a", 3), output("b", 4), output("c", 5)), received(pipeline_state(4, 6), done=True)
    )
    run = Again(host, resume(seq=7, object_id=4))
    assert run.finish().outcome.reason is EndReason.Completed
    assert [(r.seq, r.object_id) for r in run.ledger.records] == [(8, 5)]
    assert run.texts == ["c"]


def test_an_object_whose_beginning_is_lost_is_passed_over_and_said() -> None:
    from remotejobs.wsman.psrp.fragments import fragments

    message = (1).to_bytes(4, "little") + (0x41004).to_bytes(4, "little") + bytes(32) + b"<S>" + b"x" * 50 + b"</S>"
    cut = list(fragments(5, message, 60))
    host = ScriptedHost().on("Receive+", received(*cut[1:], output("z", 6), pipeline_state(4, 7), done=True))
    run = Again(host, resume(seq=1, object_id=4))
    outcome = run.finish().outcome
    assert outcome.reason is EndReason.Completed
    assert outcome.details["incomplete"] is True
    assert "incomplete" in outcome.message
    assert run.texts == ["z"]


def test_a_repeated_end_of_a_stored_object_is_no_loss() -> None:
    from remotejobs.wsman.psrp.fragments import fragments

    cut = list(fragments(4, output("x" * 60, 4)[21:], 60))
    host = ScriptedHost().on("Receive+", received(*cut[1:], output("z", 6), pipeline_state(4, 7), done=True))
    run = Again(host, resume(seq=1, object_id=4))
    outcome = run.finish().outcome
    assert (outcome.reason, outcome.message, run.texts) == (EndReason.Completed, "", ["z"])


def test_a_host_call_that_shows_the_last_stored_record_is_no_record() -> None:
    call = (
        '<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"><TN RefId="0"><T>M</T></TN>'
        '<ToString>WriteWarningLine</ToString><I32>22</I32></Obj><Obj N="mp" RefId="2"><LST><S>w</S></LST></Obj></MS>'
        "</Obj>"
    )
    host = ScriptedHost().on("Receive+", received(psrp(0x41100, call, 5), pipeline_state(4, 6), done=True))
    run = Again(host, resume(seq=1, object_id=4))
    run.finish()
    assert run.ledger.records == []


@pytest.mark.parametrize("started", [True, False])
def test_a_shell_that_is_gone_is_unknown(started: bool) -> None:
    run = Again(ScriptedHost().on("Get", fault(GONE)), resume(started=started, seq=5))
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Unknown
    assert "not on the host any more" in attempt.outcome.message
    assert "after record 5" in attempt.outcome.message
    assert "may have run" in attempt.outcome.message
    assert run.kinds == ["Get"]


def test_a_command_that_has_ended_and_is_not_repeated_is_unknown_and_says_so() -> None:
    run = Again(ScriptedHost().on("Receive+", fault(GONE)), resume(seq=5))
    outcome = run.finish().outcome
    assert outcome.reason is EndReason.Unknown
    assert "has ended on the host" in outcome.message
    assert "may be incomplete after record 5" in outcome.message
    assert outcome.details["incomplete"] is True
    assert run.kinds[-2:] == ["Get", "Delete"]


def test_done_without_the_end_of_the_pipeline_is_the_same() -> None:
    run = Again(ScriptedHost().on("Receive+", received(output("a", 3), done=True)))
    outcome = run.finish().outcome
    assert outcome.reason is EndReason.Unknown
    assert "has ended on the host" in outcome.message
    assert run.texts == ["a"]


def test_a_command_that_never_came_is_said_to_have_probably_not_run() -> None:
    run = Again(ScriptedHost().on("Receive+", fault(GONE)), resume(started=False))
    attempt = run.finish()
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.Unknown, Phase.STARTING)
    assert "Most likely the script has not run" in attempt.outcome.message
    assert "started" not in run.ledger.calls
    assert "Command" not in run.kinds
    assert run.kinds[-1] == "Delete"


def test_a_command_whose_answer_nobody_heard_is_started_once_it_speaks() -> None:
    host = ScriptedHost().on("Receive+", fault(2150858793))
    run = Again(host, resume(started=False))
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.ledger.calls == ["starting", "started", "append"]


@pytest.mark.parametrize(
    "answer", [Reply(401, b""), Reply(403, b""), Reply(503, b""), lost(), Reply(200, b"<html>", "text/html")]
)
def test_a_host_that_is_not_reached_or_refuses_ends_nothing(answer: Answer) -> None:
    host = ScriptedHost().on("Get", *[answer] * 9)
    attempt = Again(host).finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert attempt.outcome.message
    assert "Delete" not in host.asked


def test_a_host_that_is_down_ends_nothing_and_may_be_tried_again_by_the_engine() -> None:
    host = ScriptedHost()
    host.open_errors.append(UnreachableError("refused", step="tcp"))
    attempt = Again(host).finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert "not known" in attempt.outcome.message
    assert attempt.phase < Phase.STARTING
    assert isinstance(attempt.error, UnreachableError)


@pytest.mark.parametrize("kind", ["Disconnect", "Reconnect", "Connect", "Receive+"])
def test_losses_on_the_way_are_repeated(kind: str) -> None:
    host = ScriptedHost().on(kind, lost())
    if kind == "Connect":
        host.on("Get", shell("Disconnected")).on("Reconnect", *[fault(MISMATCH)] * 2)
    run = Again(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.host.opened == 2


def test_a_host_that_disconnects_a_silent_client_gives_the_shell_back() -> None:
    host = ScriptedHost().on(
        "Receive+", received(output("a", 3)), fault(LEFT), received(output("a", 3), output("b", 4))
    )
    host.on("Receive+", received(pipeline_state(4, 5), done=True))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == ["a", "b"]
    assert host.asked.count("Reconnect") == 2
    assert host.asked.count("Disconnect") == 0


def test_a_receive_that_still_waits_is_ended_by_disconnecting() -> None:
    host = ScriptedHost().on("Receive+", lost(), fault(TWICE))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert host.asked[-6:] == ["Receive+", "Disconnect", "Reconnect", "Reconnect", "Receive+", "Delete"]


def test_a_host_that_disconnects_again_and_again_ends_it() -> None:
    host = ScriptedHost()
    host.default["Receive+"] = fault(LEFT)
    attempt = Run(host).finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert host.asked.count("Receive+") < 10


# -- leaving


def test_a_disconnect_passes_the_pending_receive_and_leaves_the_shell() -> None:
    left = asyncio.Event()

    async def disconnected(body: str) -> Answer:
        assert "<rsp:IdleTimeout>PT600.000S</rsp:IdleTimeout><rsp:BufferMode>Drop</rsp:BufferMode>" in body
        left.set()
        return ""

    async def until_left(_: str) -> Answer:
        run.control.disconnect()
        await left.wait()
        return fault(2150859230)

    host = ScriptedHost().on("Receive+", received(output("a", 3)), until_left).on("Disconnect", disconnected)
    run = Run(host, idle_timeout=600, output_buffering_mode="Drop")
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert attempt.error is None
    assert "600 s" in attempt.outcome.message
    assert "Delete" not in host.asked
    assert host.opened == 2
    assert run.texts == ["a"]
    create = host.bodies[0]
    assert "<rsp:IdleTimeOut>PT600.000S</rsp:IdleTimeOut><rsp:BufferMode>Drop</rsp:BufferMode>" in create


def test_a_disconnect_before_the_start_is_obeyed_right_after_it() -> None:
    host = ScriptedHost()
    run = Run(host)
    run.control.disconnect_requested = True
    assert run.finish().outcome.reason is EndReason.Disconnected
    assert host.asked == ["Create", "Receive", "Command", "Disconnect"]
    assert run.ledger.calls == ["starting", "started"]


def test_a_job_in_disconnected_sessions_is_left_when_it_runs() -> None:
    host = ScriptedHost()
    run = Run(host, in_disconnected_session=True)
    assert run.finish().outcome.reason is EndReason.Disconnected
    assert host.asked == ["Create", "Receive", "Command", "Disconnect"]


def test_a_host_that_does_not_know_disconnect_is_received_from() -> None:
    host = ScriptedHost().on("Disconnect", fault(2150858753))
    run = Run(host, in_disconnected_session=True)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == ["hello"]


def test_an_answer_to_disconnect_that_does_not_come_changes_nothing() -> None:
    async def deaf(_: str) -> Answer:
        run.control.disconnect()
        return await never("")

    host = ScriptedHost().on("Receive+", deaf).on("Disconnect", never)
    run = Run(host, cancel_timeout=10)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert "Delete" not in host.asked


def test_a_stop_outranks_a_disconnect() -> None:
    signalled = asyncio.Event()

    async def signal(_: str) -> Answer:
        signalled.set()
        return "<rsp:SignalResponse/>"

    async def until(_: str) -> Answer:
        run.control.disconnect()
        await asyncio.sleep(0)
        run.control.stop()
        await signalled.wait()
        return received(pipeline_state(3, 3), done=True)

    host = ScriptedHost().on("Receive+", until).on("Signal", signal).on("Disconnect", never)
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Stopped
    assert host.asked[-1] == "Delete"


def test_a_script_that_ends_meanwhile_has_ended() -> None:
    async def until(_: str) -> Answer:
        run.control.disconnect()
        return received(output("x", 3), pipeline_state(4, 4), done=True)

    host = ScriptedHost().on("Receive+", until).on("Disconnect", never)
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert [deserialize(r.raw) for r in run.ledger.records] == ["x"]
