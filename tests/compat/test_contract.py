"""What every engine keeps behind the HostRunner port, through real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import ManualClock
from remotejobs.errors import LeaseLostError
from remotejobs.model import ENGINES, Clocks, Limits, Record, Stream
from remotejobs.ports import Ends
from remotejobs.rows import Phase
from remotejobs.states import EndReason
from tests.compat.attempts import Run, ran, running
from tests.compat.hosts import a_host
from tests.e2e.hosts import authority, ca_file
from tests.kdc import PASSWORD, REALM, Kdc
from tests.session.fakes import ListLedger

each_engine = pytest.mark.parametrize("engine", ENGINES)
with_objects = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "pywinrm"])


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    """Nothing of an engine outlives its job."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(("remotejobs-pypsrp", "remotejobs-pywinrm")):
            thread.join(5)
            assert not thread.is_alive()


@each_engine
def test_a_script(engine: str) -> None:
    run, host, attempt = ran(engine)
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.Completed, Phase.STARTED)
    assert (attempt.outcome.message, dict(attempt.outcome.details)) == ("", {})
    assert run.outputs == ["hello"]
    assert run.ledger.calls == ["starting", "started", "append"]
    assert run.control.entered == [Phase.AUTHENTICATE, Phase.OPEN]
    assert host.counters.scripts == {"'hello'": 1}
    assert (host.counters.shells, host.counters.most_shells) == (0, 1)


@each_engine
def test_many_records(engine: str) -> None:
    run, _, attempt = ran(engine, "1..2000")
    assert attempt.outcome.reason is EndReason.Completed
    assert run.outputs == [str(n) for n in range(1, 2001)]
    assert [record.seq for record in run.ledger.records] == list(range(1, 2001))
    assert len({record.object_id for record in run.ledger.records}) == 2000


@each_engine
@pytest.mark.parametrize("words", ["ä€ 漢字 ñ", "😀", "a'b\"c", " x ", "tab\there"])
def test_any_text(engine: str, words: str) -> None:
    run, _, _ = ran(engine, "'{}'".format(words.replace("'", "''")))
    assert run.outputs == [words]


@each_engine
def test_a_large_output(engine: str) -> None:
    run, _, attempt = ran(engine, "'x' * 700000; 'end'")
    assert attempt.outcome.reason is EndReason.Completed
    assert [len(each) for each in run.outputs] == [700000, 3]


@each_engine
def test_errors(engine: str) -> None:
    run, _, attempt = ran(engine, "Write-Error 'first'; 'between'; Write-Error 'second'; 'after'")
    assert (attempt.outcome.reason, attempt.outcome.error_count) == (EndReason.Completed, 2)
    assert run.outputs == ["between", "after"]
    assert [words for words in run.of(Stream.Error) if "first" in words or "second" in words] == run.of(Stream.Error)


@each_engine
def test_a_script_that_throws(engine: str) -> None:
    run, host, attempt = ran(engine, "'before'; throw 'boom'")
    outcome = attempt.outcome
    assert outcome.reason is EndReason.CommandFailed
    assert run.outputs == ["before"]
    if engine == "pywinrm":
        assert "boom" in run.of(Stream.Error)[0]
    else:
        assert (outcome.message, outcome.error_id) == ("boom", "boom")
        assert outcome.failure
    assert host.counters.shells == 0


@each_engine
def test_an_exit_code(engine: str) -> None:
    _, _, attempt = ran(engine, "'a'; exit 7")
    assert attempt.outcome.reason is EndReason.Completed
    assert attempt.outcome.details["exit_code"] == 7


@each_engine
def test_a_wrong_password(engine: str) -> None:
    run, host, attempt = ran(engine, password="wrong")
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.AuthenticationFailed, Phase.AUTHENTICATE)
    assert attempt.outcome.error_id == "AccessDenied,PSSessionStateBroken"
    assert "HTTP 401" in attempt.outcome.message
    assert run.control.entered == [Phase.AUTHENTICATE]
    assert run.ledger.calls == []
    assert host.counters.refused == 1


@each_engine
def test_a_wrong_password_with_ntlm(engine: str) -> None:
    settings = {"allow_unencrypted": False, "authentication": ("Negotiate",)}
    option = {"allow_unencrypted": False}
    run, host, attempt = ran(engine, password="wrong", settings=settings, option=option, authentication="Negotiate")
    assert (attempt.outcome.reason, attempt.phase) == (EndReason.AuthenticationFailed, Phase.AUTHENTICATE)
    assert run.control.entered == [Phase.AUTHENTICATE]
    assert host.counters.refused == 1


@each_engine
def test_messages_are_sealed_over_http(engine: str) -> None:
    settings = {"allow_unencrypted": False, "authentication": ("Negotiate",)}
    run, host, attempt = ran(
        engine, "'x' * 40000", settings=settings, option={"allow_unencrypted": False}, authentication="Default"
    )
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["x" * 40000]
    assert host.counters.scripts["'x' * 40000"] == 1
    assert host.counters.logons == {"sim": 1}


@each_engine
def test_a_mechanism_that_the_host_does_not_offer(engine: str) -> None:
    _, _, attempt = ran(engine, settings={"authentication": ("Basic",)}, authentication="Negotiate")
    assert attempt.outcome.reason is EndReason.AuthenticationFailed
    assert attempt.outcome.error_id == "InvalidAuthentication,PSSessionStateBroken"
    assert attempt.error is not None
    assert attempt.error.details["refused"] is False
    assert "it offers Basic" in attempt.outcome.message


@each_engine
def test_https(engine: str, tmp_path: Path) -> None:
    run, _, attempt = ran(engine, tls=True, option={"ca_file": ca_file(tmp_path)})
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["hello"]


@each_engine
def test_a_client_certificate(engine: str, tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_bytes(authority().issue_client("sim"))
    option = {"ca_file": ca_file(tmp_path), "certificate_file": str(tmp_path / "client.pem")}
    settings = {"authentication": ("Certificate",)}
    run, host, attempt = ran(
        engine, tls=True, option=option, settings=settings, implicit=True, authentication="Default"
    )
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["hello"]
    assert host.counters.logons == {"sim": 1}


@with_objects
@pytest.mark.parametrize("ssl", [False, True])
def test_kerberos(engine: str, ssl: bool, kdc: Kdc, tmp_path: Path) -> None:
    settings = {"authentication": ("Kerberos", "Negotiate"), "keytab": kdc.keytab, "allow_unencrypted": False}
    option = {"allow_unencrypted": False, **({"ca_file": ca_file(tmp_path)} if ssl else {})}
    alice = Credential(f"alice@{REALM}", Secret(PASSWORD))
    run, host, attempt = ran(
        engine, tls=ssl, option=option, settings=settings, credential=alice, authentication="Kerberos"
    )
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["hello"]
    assert host.counters.logons == {f"alice@{REALM}": 1}


@each_engine
@pytest.mark.parametrize(
    "how",
    [
        {"settings": {"channel_binding": "Strict", "authentication": ("Negotiate",)}, "authentication": "Negotiate"},
        {"option": {"skip_ca_check": True, "skip_cn_check": True}, "name": "other"},
        {"settings": {"invents_ids": True, "two_step_open": False}},
        {"option": {"no_machine_profile": True, "idle_timeout": 120.0, "operation_timeout": 7.5}},
    ],
    ids=["bound to its channel", "not verified", "2008 R2", "options of the session"],
)
def test_ways_in(engine: str, how: dict[str, Any], tmp_path: Path) -> None:
    option = {"ca_file": ca_file(tmp_path), **how.get("option", {})}
    run, host, attempt = ran(engine, tls=True, **{**how, "option": option})
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["hello"]
    assert (host.counters.logons, host.counters.shells) == ({"sim": 1}, 0)


@pytest.mark.parametrize(
    ("how", "reason", "error_id"),
    [
        ({"application_name": "other"}, EndReason.Unreachable, "URLNotAvailable"),
        ({"name": "we b"}, EndReason.Unreachable, "ComputerNotFound"),
        (
            {"script": "1..300", "option": {"maximum_received_data_size_per_command": 1000}},
            EndReason.CommandFailed,
            "ReceivedDataSizeExceededMaximum",
        ),
        ({"script": "1..300", "limits": Limits(records=20)}, EndReason.CommandFailed, "RecordLimitExceeded"),
    ],
    ids=["no such path", "no such name", "much output", "many records"],
)
def test_the_same_words(how: dict[str, Any], reason: EndReason, error_id: str) -> None:
    found = {same(run_.outcome, port=run.target.port) for run, _, run_ in (ran(engine, **how) for engine in ENGINES)}
    ((found_reason, _, found_id),) = found
    assert (found_reason, found_id) == (reason, f"{error_id},PSSessionStateBroken")


def same(outcome: Any, **facts: Any) -> tuple[Any, ...]:
    return outcome.reason, outcome.message.replace(str(facts["port"]), "PORT"), outcome.error_id


@pytest.mark.parametrize(
    "trouble",
    [{}, {"name": "web02", "ca": True}],
    ids=["unknown issuer", "another name"],
)
def test_tls_that_is_not_to_be_trusted(trouble: dict[str, Any], tmp_path: Path) -> None:
    option = {"ca_file": ca_file(tmp_path)} if trouble.get("ca") else {}
    found = set()
    for engine in ENGINES:
        run, _, attempt = ran(engine, tls=True, option=option, name=trouble.get("name", "web01"))
        assert run.ledger.calls == []
        found.add(same(attempt.outcome, port=run.target.port))
    ((reason, message, error_id),) = found
    assert (reason, error_id) == (EndReason.Unreachable, "12175,PSSessionStateBroken")
    assert "certificate" in message


def test_a_port_where_nobody_listens() -> None:
    found = set()
    for engine in ENGINES:
        run, _, attempt = ran(engine, faults="refuse")
        assert attempt.phase is Phase.CONNECT
        found.add(same(attempt.outcome, port=run.target.port))
    ((reason, message, error_id),) = found
    assert (reason, error_id) == (EndReason.Unreachable, "CannotConnect,PSSessionStateBroken")
    assert "refused the connection" in message


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("quota", EndReason.QuotaExceeded),
        ("wmi-fault:2150859174@Create", EndReason.QuotaExceeded),
        ("fault:5@Create", EndReason.AccessDenied),
        ("fault:1326@Create", EndReason.AuthenticationFailed),
        ("fault:2150858811@Create", EndReason.Unreachable),
        ("status:403@Create", EndReason.AccessDenied),
        ("status:404@Create", EndReason.Unreachable),
        ("status:500@Create", EndReason.Unreachable),
        ("status:503@Create", EndReason.Unreachable),
    ],
)
def test_a_refusal_before_the_start(fault: str, reason: EndReason) -> None:
    found = set()
    for engine in ENGINES:
        run, host, attempt = ran(engine, faults=fault)
        assert run.ledger.calls == []
        assert host.counters.shells == 0
        found.add(same(attempt.outcome, port=run.target.port))
    ((found_reason, message, _),) = found
    assert found_reason is reason
    assert message


@each_engine
@pytest.mark.parametrize(
    "fault",
    [
        "reset@Create",
        "reset-after@Create",
        "garbage@Create",
        "html@Create",
        "truncate@Create",
        "oversize:9000000@Create",
    ],
)
def test_no_answer_of_use_before_the_start(engine: str, fault: str) -> None:
    run, host, attempt = ran(engine, faults=fault)
    assert attempt.outcome.reason is EndReason.Unreachable, attempt.outcome
    assert attempt.outcome.message
    assert attempt.phase < Phase.STARTING
    assert run.ledger.calls == []
    assert host.counters.commands == 0


@each_engine
def test_a_redirect_is_not_followed(engine: str) -> None:
    _, _, attempt = ran(engine, faults="status:307@Create")
    assert attempt.outcome.reason is EndReason.Unreachable
    assert "307" in attempt.outcome.message


@each_engine
@pytest.mark.parametrize(("code", "reason"), [(2150859174, EndReason.QuotaExceeded), (5, EndReason.AccessDenied)])
def test_a_command_that_is_refused_has_not_run(engine: str, code: int, reason: EndReason) -> None:
    run, host, attempt = ran(engine, faults=f"fault:{code}@Command")
    assert (attempt.outcome.reason, attempt.phase) == (reason, Phase.STARTING)
    assert run.ledger.calls == ["starting"]
    assert (host.counters.commands, host.counters.shells) == (0, 0)


@each_engine
@pytest.mark.parametrize(
    "fault", ["reset-after@Command*1", "truncate@Command*1", "reset@Command*1", "fault:2150858793@Command*1"]
)
def test_a_script_is_never_sent_twice(engine: str, fault: str) -> None:
    _, host, attempt = ran(engine, faults=fault)
    assert host.counters.scripts["'hello'"] <= 1
    assert host.counters.shells == 0
    if attempt.outcome.reason is not EndReason.Completed:  # the native engine finds the command again
        assert attempt.outcome.reason is EndReason.Unknown
        assert "have run" in attempt.outcome.message


@with_objects
@pytest.mark.parametrize("fault", ["reset-after@Receive#3*1", "truncate@Receive#3*1", "fault:2150858802@Receive#3*1"])
def test_a_connection_that_is_lost_while_it_runs(engine: str, fault: str) -> None:
    run, host, attempt = ran(engine, "1..3", faults=fault)
    assert attempt.outcome.reason is EndReason.Completed, attempt.outcome
    assert run.outputs == ["1", "2", "3"]
    assert host.counters.scripts == {"1..3": 1}


@each_engine
def test_a_shell_that_is_gone(engine: str) -> None:
    _, _, attempt = ran(
        engine,
        "'a'; Start-Sleep 60",
        faults="fault:2150858843@Receive#3" if engine != "pywinrm" else "fault:2150858843@Receive#2",
    )
    assert attempt.outcome.reason is EndReason.Unknown
    assert "after record" in attempt.outcome.message


@each_engine
def test_a_host_that_has_nothing_yet(engine: str) -> None:
    run, host, _ = ran(engine, "Start-Sleep -Milliseconds 300; 'done'", settings={"max_timeout": 0.1})
    assert run.outputs == ["done"]
    assert host.counters.faults[2150858793] >= 1


@each_engine
def test_a_stop(engine: str) -> None:
    async def main() -> None:
        async with running(engine, script="'first'; Start-Sleep 60; 'never'") as (run, host, task):
            while "append" not in run.ledger.calls:
                await asyncio.sleep(0.01)
            run.control.stop()
            await asyncio.wait({task})
            assert task.result().outcome.reason is EndReason.Stopped, task.result()
            assert run.outputs == ["first"]
            assert host.counters.shells == 0

    asyncio.run(main())


@each_engine
@pytest.mark.parametrize("fault", ["stall@Create", "stall@Command"])
def test_a_stop_while_the_library_waits(engine: str, fault: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with running(engine, fault, clock=clock) as (run, _host, task):
            waits = (lambda: "starting" in run.ledger.calls) if "Command" in fault else (lambda: run.control.entered)
            while not waits():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            run.control.stop()
            while not task.done():
                clock.advance(5)
                await asyncio.sleep(0.01)
            outcome = task.result().outcome
            assert outcome.reason is EndReason.Stopped
            assert "started" not in run.ledger.calls

    asyncio.run(main())


@each_engine
@pytest.mark.parametrize(
    ("fault", "clock_name"),
    [("stall@Create", "authenticate"), ("stall@Receive", "silence"), ("stall@Receive", "total")],
)
def test_clocks(engine: str, fault: str, clock_name: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        clocks = Clocks(silence=20.0) if clock_name == "silence" else Clocks()
        if engine != "pywinrm" and clock_name != "authenticate":
            fault_ = "stall@Receive#3"
        else:
            fault_ = fault
        ends = Ends(clock.monotonic() + 40, "total") if clock_name == "total" else None
        async with running(engine, fault_, script="'a'", clock=clock, clocks=clocks, ends=ends) as (run, _host, task):
            while not (run.control.entered if clock_name == "authenticate" else "started" in run.ledger.calls):
                await asyncio.sleep(0.01)
            while not task.done():
                clock.advance(1)
                await asyncio.sleep(0.002)
            outcome = task.result().outcome
            assert outcome.reason is EndReason(f"TimedOut({clock_name})"), outcome

    asyncio.run(main())


@each_engine
def test_more_is_asked_for_when_what_came_is_stored(engine: str) -> None:
    class Slow(ListLedger):
        def __init__(self, asked: Callable[[], int]) -> None:
            super().__init__()
            self.asked, self.seen = asked, list[tuple[int, int]]()

        async def append(self, records: Sequence[Record]) -> None:
            before = self.asked()
            await asyncio.sleep(0.05)
            self.seen.append((before, self.asked()))
            await super().append(records)

    async def main() -> None:
        async with a_host() as host:
            run = Run(engine, host, "1..3 | ForEach-Object { $_; Start-Sleep -Milliseconds 50 }")
            ledger = run.ledger = Slow(lambda: host.counters.requests["Receive"])
            await run.finish()
            assert run.outputs == ["1", "2", "3"]
            assert ledger.seen
            assert all(before == after for before, after in ledger.seen)

    asyncio.run(main())


@each_engine
def test_nothing_is_sent_when_the_job_is_another_process_s(engine: str) -> None:
    class Gone(ListLedger):
        async def starting(self) -> None:
            raise LeaseLostError("gone")

    async def main() -> None:
        async with a_host() as host:
            run = Run(engine, host)
            run.ledger = Gone()
            with pytest.raises(LeaseLostError):
                await run.finish()
            assert host.counters.commands == 0

    asyncio.run(main())


@each_engine
def test_whoever_is_cancelled_leaves_no_thread(engine: str) -> None:
    async def main() -> None:
        async with running(engine) as (run, _host, task):
            while "started" not in run.ledger.calls:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

    asyncio.run(main())
