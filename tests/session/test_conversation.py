from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import UnreachableError
from remotejobs.model import Clocks, JobSpec, ScriptCommand, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Ends, Reply, Resume
from remotejobs.rows import Fresh, Phase
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from tests.session.fakes import FreeControl, ListLedger
from tests.session.scripted import (
    CAPABILITY,
    Answer,
    ScriptedHost,
    fault,
    lost,
    not_sent,
    output,
    pipeline_state,
    psrp,
    received,
)

HOST_CALL = (
    '<Obj RefId="0"><MS><I64 N="ci">{ci}</I64><Obj N="mi" RefId="1"><TN RefId="0"><T>M</T></TN>'
    '<ToString>{name}</ToString><I32>{mi}</I32></Obj><Obj N="mp" RefId="2"><LST>{mp}</LST></Obj></MS></Obj>'
)


class Run:
    """One conversation with one scripted host."""

    def __init__(
        self,
        host: ScriptedHost,
        script: str = "1",
        clocks: Clocks | None = None,
        ends: Ends | None = None,
        *,
        in_disconnected_session: bool = False,
        **option: Any,
    ) -> None:
        self.host, self.clock, self.ledger, self.control = host, ManualClock(), ListLedger(), FreeControl(ends)
        spec = JobSpec(
            ScriptCommand(script),
            (Target("h"),),
            clocks=clocks or Clocks(),
            session_option=SessionOption(**option),
            in_disconnected_session=in_disconnected_session,
        )
        self.begin: Fresh | Resume = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        self.prepared = (spec, host.connect)
        self.attempt: Attempt | None = None

    async def start(self) -> Attempt:
        runner = PsrpRunner(prepare(*self.prepared, asyncio.Semaphore(1)), self.clock)
        self.attempt = await runner.run(ChildTask(0, Target("h"), self.begin), self.ledger, self.control)
        await runner.cleanup(self.attempt)
        return self.attempt

    def finish(self, turn: Callable[[Run], Coroutine[Any, Any, None]] | None = None) -> Attempt:
        """Run to the end; `turn` turns the clock or asks for a stop meanwhile."""

        async def main() -> Attempt:
            task = asyncio.create_task(self.start())
            if turn:
                await turn(self)
            while not task.done():
                self.clock.advance(0.1)
                await asyncio.sleep(0)
            return await task

        return asyncio.run(main())

    @property
    def texts(self) -> list[Any]:
        return [deserialize(r.raw) for r in self.ledger.records if r.stream is Stream.Output]


async def never(_: str) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


def test_the_round_trips_of_one_script() -> None:
    run = Run(ScriptedHost())
    attempt = run.finish()
    assert run.host.asked == ["Create", "Receive", "Command", "Receive+", "Delete"]
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.Completed, Phase.STARTED)
    assert run.ledger.calls == ["starting", "started", "append"]
    assert run.texts == ["hello"]
    assert run.control.entered == [Phase.AUTHENTICATE, Phase.OPEN]
    assert run.host.opened == 1


def test_never_command_before_opened() -> None:
    host = ScriptedHost().on("Receive", received(), fault(2150858793), received())
    Run(host).finish()
    assert host.asked == ["Create", *["Receive"] * 4, "Command", "Receive+", "Delete"]


def test_an_empty_poll_is_no_news() -> None:
    host = ScriptedHost().on("Receive+", fault(2150858793), received(), received(output("a", 3)), fault(2150858793))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == ["a"]  # what the good host then says has object id 3 too: a repeat


def test_a_batch_repeated_after_a_loss_is_kept_once() -> None:
    first = received(output("a", 3), output("b", 4))
    host = ScriptedHost().on("Receive+", first, lost(), first, received(output("c", 5), pipeline_state(4, 6)))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == ["a", "b", "c"]
    assert [r.seq for r in run.ledger.records] == [1, 2, 3]
    assert host.opened == 2


def test_a_lost_command_is_looked_for_and_not_sent_again() -> None:
    run = Run(ScriptedHost().on("Command", lost()))
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.host.asked.count("Command") == 1


def test_a_lost_command_that_the_host_does_not_know_is_unknown() -> None:
    attempt = Run(ScriptedHost().on("Command", lost()).on("Receive+", fault(2150858843))).finish()
    assert attempt.outcome.reason is EndReason.Unknown
    assert "may have run" in attempt.outcome.message


def test_a_command_of_which_no_byte_left_is_sent() -> None:
    run = Run(ScriptedHost().on("Command", not_sent()))
    assert run.finish().outcome.reason is EndReason.Completed


@pytest.mark.parametrize(
    ("code", "reason"),
    [(2150859174, EndReason.QuotaExceeded), (5, EndReason.AccessDenied), (2150858817, EndReason.Unreachable)],
)
def test_a_refused_command_has_not_run(code: int, reason: EndReason) -> None:
    attempt = Run(ScriptedHost().on("Command", fault(code))).finish()
    assert attempt.outcome.reason is reason
    assert attempt.phase is Phase.STARTING


@pytest.mark.parametrize("code", [2150858843, 995, 2150859212, 5])
def test_a_shell_that_is_gone_means_unknown(code: int) -> None:
    run = Run(ScriptedHost().on("Receive+", received(output("a", 3)), fault(code)))
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Unknown
    assert run.texts == ["a"]
    assert run.host.asked[-1] == "Delete"


def test_a_script_whose_connection_does_not_come_back_goes_on_without_us() -> None:
    host = ScriptedHost().on("Receive+", lost())
    host.on("Receive+", *[lost()] * 9)
    attempt = Run(host, max_connection_retry_count=3, idle_timeout=900).finish()
    assert attempt.outcome.reason is EndReason.Disconnected
    assert "3 tries" in attempt.outcome.message
    assert "900 s" in attempt.outcome.message
    assert attempt.outcome.error_id == "PowerShellNetworkFailedStartDisconnect"
    assert "Delete" not in host.asked
    assert host.asked.count("Receive+") == 4
    assert host.asked.count("Command") == 1


def test_a_shell_of_2008_r2_does_not_outlive_its_connection() -> None:
    capability = psrp(0x10002, CAPABILITY.replace("2.3", "2.1"), 1)
    opened = psrp(0x21005, '<Obj RefId="0"><MS><I32 N="RunspaceState">2</I32></MS></Obj>', 2)
    host = ScriptedHost().on("Receive", received(capability, opened)).on("Receive+", *[lost()] * 9)
    assert Run(host, max_connection_retry_count=1).finish().outcome.reason is EndReason.Unknown


def test_losses_count_from_the_last_success() -> None:
    host = ScriptedHost()
    for n in range(6):
        host.on("Receive+", lost(), received(output(str(n), 10 + n)))
    host.on("Receive+", received(pipeline_state(4, 20)))
    run = Run(host, max_connection_retry_count=1)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == list("012345")


@pytest.mark.parametrize("kind", ["Create", "Receive"])
def test_a_loss_before_the_start_leaves_it_to_the_engine(kind: str) -> None:
    run = Run(ScriptedHost().on(kind, lost()))
    attempt = run.finish()
    assert attempt.phase < Phase.STARTING
    assert isinstance(attempt.error, UnreachableError)
    assert "starting" not in run.ledger.calls
    assert run.host.asked[-1] == "Delete"  # the shell may be there


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(401, b"", challenges=("Negotiate", 'Basic realm="WSMAN"')), EndReason.AuthenticationFailed),
        (Reply(403, b""), EndReason.AccessDenied),
        (Reply(404, b"<html>", "text/html"), EndReason.Unreachable),
        (Reply(500, b""), EndReason.Unreachable),
        (Reply(503, b"busy", "text/plain"), EndReason.Unreachable),
        (Reply(200, b"<html><body>proxy</body></html>", "text/html"), EndReason.Unreachable),
        (Reply(301, b""), EndReason.Unreachable),
    ],
)
def test_http_answers_to_create(reply: Reply, reason: EndReason) -> None:
    attempt = Run(ScriptedHost().on("Create", reply)).finish()
    assert attempt.outcome.reason is reason
    assert attempt.outcome.message
    assert attempt.outcome.error_id.endswith("PSSessionStateBroken")


def test_only_a_refusal_leaves_the_gate_shut() -> None:
    for reply, entered in ((Reply(401, b""), 1), (Reply(403, b""), 2), (fault(2150858811), 2)):
        run = Run(ScriptedHost().on("Create", reply))
        run.finish()
        assert len(run.control.entered) == entered


def test_a_broken_pool_says_why() -> None:
    state = (
        '<Obj RefId="0"><MS><I32 N="RunspaceState">5</I32><Obj N="ExceptionAsErrorRecord" RefId="1">'
        "<ToString>no such module</ToString></Obj></MS></Obj>"
    )
    attempt = Run(ScriptedHost().on("Receive", received(psrp(0x21005, state, 1)))).finish()
    assert attempt.outcome.reason is EndReason.Unreachable
    assert "no such module" in attempt.outcome.message


def test_a_large_script_goes_in_pieces() -> None:
    run = Run(ScriptedHost(), script="#" + "x" * 1_000_000)
    assert run.finish().outcome.reason is EndReason.Completed
    asked = run.host.asked
    assert asked[2:-2] == ["Command", *["Send"] * (len(asked) - 5)]
    assert len(asked) > 6
    assert all(len(body) <= 512_000 for body in run.host.bodies)
    assert run.ledger.calls[0] == "starting"


def test_a_busy_send_is_sent_again() -> None:
    host = ScriptedHost().on("Send", fault(170), fault(170))
    run = Run(host, script="#" + "x" * 450_000)
    assert run.finish().outcome.reason is EndReason.Completed
    sends = [body for kind, body in zip(host.asked, host.bodies, strict=True) if kind == "Send"]
    payloads = [body.partition("<rsp:Send>")[2] for body in sends]
    assert payloads[0] == payloads[1] == payloads[2]


def test_prompts_are_refused_and_the_script_goes_on() -> None:
    call = HOST_CALL.format(ci=1, mi=11, name="ReadLine", mp="")
    host = ScriptedHost().on("Receive+", received(psrp(0x41100, call, 3)))
    assert Run(host).finish().outcome.reason is EndReason.Completed
    assert host.asked == ["Create", "Receive", "Command", "Receive+", "Send", "Receive+", "Delete"]
    assert 'Name="pr"' in host.bodies[4]


def test_a_record_is_not_kept_twice_for_its_host_call() -> None:
    record = (
        '<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.WarningRecord</T></TN><ToString>w</ToString><MS>'
        '<S N="InformationalRecord_Message">w</S><B N="InformationalRecord_SerializeInvocationInfo">false</B></MS>'
        "</Obj>"
    )
    shown = HOST_CALL.format(ci=-100, mi=22, name="WriteWarningLine", mp="<S>w</S>")
    written = HOST_CALL.format(ci=-100, mi=16, name="WriteLine2", mp="<S>plain</S>")
    host = ScriptedHost().on(
        "Receive+",
        received(psrp(0x41009, record, 3), psrp(0x41100, shown, 4), psrp(0x41100, shown, 5), psrp(0x41100, written, 6)),
    )
    run = Run(host)
    run.finish()
    kept = [(r.stream.name, r.object_id) for r in run.ledger.records]
    assert kept == [("Warning", 3), ("Warning", -5), ("Information", -6)]


def test_exit_codes_of_the_script_are_told() -> None:
    call = HOST_CALL.format(ci=-100, mi=6, name="SetShouldExit", mp="<I32>7</I32>")
    host = ScriptedHost().on("Receive+", received(psrp(0x41100, call, 3), pipeline_state(4, 4)))
    assert Run(host).finish().outcome.details["exit_code"] == 7


def test_done_without_a_state_is_unknown() -> None:
    attempt = Run(ScriptedHost().on("Receive+", received(output("a", 3), done=True))).finish()
    assert attempt.outcome.reason is EndReason.Unknown


def test_a_record_cut_short_is_said() -> None:
    piece = output("abc", 3)[:-2]
    attempt = Run(ScriptedHost().on("Receive+", received(piece, done=True))).finish()
    assert "in the middle of a record" in attempt.outcome.message


def test_what_comes_after_the_end_does_not_count() -> None:
    host = ScriptedHost().on("Receive+", received(pipeline_state(4, 3), output("late", 4), pipeline_state(5, 5)))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == []


def test_unknown_messages_are_passed_over() -> None:
    odd = received(psrp(0x99999, "<Nil/>", 3), psrp(0x41004, "<S>a</S>", 4), pipeline_state(4, 5))
    run = Run(ScriptedHost().on("Receive+", odd).on("Receive", received(psrp(0x41009, "<S>w</S>", 1))))
    assert run.finish().outcome.reason is EndReason.Completed
    assert run.texts == ["a"]


@pytest.mark.parametrize(
    "answer", ["<x/>", '<rsp:ReceiveResponse><rsp:Stream Name="stdout">?</rsp:Stream></rsp:ReceiveResponse>']
)
def test_garbage_after_the_start_is_unknown(answer: str) -> None:
    run = Run(ScriptedHost().on("Receive+", answer))
    assert run.finish().outcome.reason is EndReason.Unknown
    assert run.host.asked[-1] == "Delete"


def test_a_host_that_says_nothing_at_once_is_asked_slowly() -> None:
    async def turn(run: Run) -> None:
        while run.host.asked.count("Receive+") < 4:
            await asyncio.sleep(0)
        before = run.host.asked.count("Receive+")
        for _ in range(50):
            await asyncio.sleep(0)
        assert run.host.asked.count("Receive+") <= before + 1  # it waits for the clock

    host = ScriptedHost().on("Receive+", *[received()] * 20)
    assert Run(host).finish(turn).outcome.reason is EndReason.Completed


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Create", EndReason.TimedOutAuthenticate),
        ("Receive", EndReason.TimedOutConnect),
        ("Receive+", EndReason.TimedOutSilence),
    ],
)
def test_each_clock_ends_its_own_part(kind: str, reason: EndReason) -> None:
    host = ScriptedHost().on(kind, never)
    attempt = Run(host, clocks=Clocks(authenticate=5, open=6, silence=7)).finish()
    assert attempt.outcome.reason is reason
    assert str(attempt.outcome.details["seconds"]) in attempt.outcome.message


def test_a_record_starts_the_silence_clock_again() -> None:
    async def later(_: str) -> Answer:
        await run.clock.sleep(4)
        return received(output(str(len(run.ledger.records)), 10 + len(run.ledger.records)))

    host = ScriptedHost().on("Receive+", later, later, later, received(pipeline_state(4, 20)))
    run = Run(host, clocks=Clocks(silence=5))
    assert run.finish().outcome.reason is EndReason.Completed
    assert len(run.texts) == 3


@pytest.mark.parametrize("clock", ["total", "deadline"])
def test_the_childs_end_ends_every_wait(clock: str) -> None:
    for kind in ("Create", "Receive", "Command", "Receive+"):
        attempt = Run(ScriptedHost().on(kind, never), ends=Ends(1_000_010.0, clock)).finish()
        assert attempt.outcome.reason.value == f"TimedOut({clock})", kind


def test_an_overdue_answer_is_a_loss() -> None:
    host = ScriptedHost().on("Receive+", never)
    run = Run(host, operation_timeout=20)
    assert run.finish().outcome.reason is EndReason.Completed
    assert host.opened == 2


def test_a_stop_signals_past_the_pending_receive() -> None:
    stopping = asyncio.Event()

    async def signalled(body: str) -> Answer:
        assert "powershell/signal/crtl_c" in body
        stopping.set()
        return "<rsp:SignalResponse/>"

    async def until_stopped(_: str) -> Answer:
        run.control.stop()
        await stopping.wait()
        return received(output("finally", 3), pipeline_state(3, 4), done=True)

    host = ScriptedHost().on("Receive+", until_stopped).on("Signal", signalled)
    run = Run(host)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Stopped
    assert run.texts == ["finally"]
    assert host.asked[-3:] == ["Receive+", "Signal", "Delete"]
    assert host.opened == 2


def test_a_stop_that_the_host_ignores_ends_with_its_time() -> None:
    async def deaf(_: str) -> Answer:
        run.control.stop()
        return await never("")

    host = ScriptedHost().on("Receive+", deaf)
    run = Run(host, cancel_timeout=10)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Stopped
    assert "in order" in attempt.outcome.message
    assert host.asked.count("Receive+") == 1
    assert host.asked[-1] == "Delete"


@pytest.mark.parametrize("kind", ["Create", "Receive"])
def test_a_stop_before_the_start_ends_at_once(kind: str) -> None:
    async def waiting(_: str) -> Answer:
        run.control.stop()
        return await never("")

    host = ScriptedHost().on(kind, waiting)
    run = Run(host)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.Stopped
    assert "Command" not in host.asked
    assert host.asked[-1] == "Delete"


def test_a_stop_while_the_command_is_on_its_way_is_not_forgotten() -> None:
    stopping = asyncio.Event()

    async def slow(_: str) -> Answer:
        run.control.stop()
        return "<rsp:CommandResponse/>"

    async def signalled(_: str) -> Answer:
        stopping.set()
        return "<rsp:SignalResponse/>"

    async def until_stopped(_: str) -> Answer:
        await stopping.wait()
        return received(pipeline_state(3, 3), done=True)

    run = Run(ScriptedHost().on("Command", slow).on("Signal", signalled).on("Receive+", until_stopped))
    assert run.finish().outcome.reason is EndReason.Stopped


def test_too_much_output_ends_the_command() -> None:
    host = ScriptedHost().on("Receive+", *[received(output("x" * 400, 10 + n)) for n in range(9)])
    run = Run(host, maximum_received_data_size_per_command=1000)
    attempt = run.finish()
    assert attempt.outcome.reason is EndReason.CommandFailed
    assert "MaximumReceivedDataSizePerCommand" in attempt.outcome.message
    assert len(run.texts) == 3
    assert host.asked[-1] == "Delete"


def test_an_object_past_the_limit_ends_the_command() -> None:
    host = ScriptedHost().on("Receive+", received(output("x" * 4000, 3)))
    attempt = Run(host, maximum_received_object_size=2000).finish()
    assert attempt.outcome.reason is EndReason.CommandFailed
    assert "MaximumReceivedObjectSize" in attempt.outcome.message


def test_the_hosts_own_ids_count() -> None:
    shell, command = "AAAAAAAA-0000-0000-0000-000000000001", "BBBBBBBB-0000-0000-0000-000000000002"
    host = ScriptedHost()
    host.on("Create", f"<rsp:Shell><rsp:ShellId>{shell}</rsp:ShellId></rsp:Shell>")
    host.on("Command", f"<rsp:CommandResponse><rsp:CommandId>{command}</rsp:CommandId></rsp:CommandResponse>")
    Run(host).finish()
    assert shell in host.bodies[1]
    assert command in host.bodies[3]
    assert shell in host.bodies[4]


def test_a_failed_cleanup_harms_nobody() -> None:
    for answer in (lost(), fault(5), never, Reply(500, b"")):
        host = ScriptedHost().on("Delete", answer, answer)
        assert Run(host).finish().outcome.reason is EndReason.Completed


def test_a_shell_that_a_killed_run_left_is_deleted_and_made_anew() -> None:
    host = ScriptedHost().on("Create", fault(2150859202))
    run = Run(host)
    assert run.finish().outcome.reason is EndReason.Completed
    assert host.asked == ["Create", "Delete", "Create", "Receive", "Command", "Receive+", "Delete"]
    assert run.control.entered == [Phase.AUTHENTICATE, Phase.OPEN, Phase.OPEN]


def test_a_shell_id_that_is_refused_twice_is_refused() -> None:
    host = ScriptedHost().on("Create", fault(2150859202), fault(2150859202))
    attempt = Run(host).finish()
    assert attempt.outcome.reason is EndReason.Unreachable
    assert attempt.outcome.error_id.startswith("SessionCreateFailedInvalidName")
