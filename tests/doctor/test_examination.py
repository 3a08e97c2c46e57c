"""Examinations: their order, their bounds in time, what is skipped, and hosts side by side."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from remotejobs import SessionOption, Target, invoke_command
from remotejobs.api import diagnose
from remotejobs.clock import ManualClock
from remotejobs.doctor import steps
from remotejobs.doctor.findings import Finding, HostDiagnosis, Verdict
from tests.doctor.hosts import (
    ALL,
    OFFERS,
    Silent,
    answering_by,
    examine,
    saying,
    served,
    sim,
    unheard,
    winrm,
)
from tests.e2e.hosts import ca_file, started, targets
from tests.transport.loopback import answer, run

pytestmark = pytest.mark.usefixtures("names")


def test_a_silent_port_is_given_up_in_time() -> None:
    async def scene() -> HostDiagnosis:
        clock, handler = ManualClock(time.time()), Silent()
        async with served(handler) as target:
            task = asyncio.create_task(examine(target, clock=clock))
            await handler.asked.wait()
            clock.advance(11)
            return await task

    failure = run(scene()).failure
    assert failure is not None
    assert failure.step == "Listener"
    assert "gave no answer within 10 s (-ConnectTimeout)" in failure.text
    assert "the service behind it hangs" in failure.diagnosis.cause


def test_the_time_of_a_host_is_bounded_as_a_whole() -> None:
    async def scene() -> HostDiagnosis:
        clock = ManualClock(time.time())

        def slow(head: bytes) -> bytes:
            clock.advance(4)  # four seconds for each answer
            return answer(b"", "401 Unauthorized", "WWW-Authenticate: Basic")

        async with served(answering_by(slow)) as target:
            return await examine(target, clock=clock, total=10)

    by_step = steps_of(run(scene()))
    assert by_step["Listener"].verdict is Verdict.Passed  # two answers
    assert by_step["Identify"].verdict is Verdict.Failed
    assert "within 2 s (-Timeout)" in by_step["Identify"].text
    assert by_step["Authentication"].verdict is Verdict.Skipped
    assert by_step["Authentication"].text == "The time for this host was over (-Timeout)."


def steps_of(found: HostDiagnosis) -> dict[str, Finding]:
    return {each.step: each for each in found.findings}


def test_a_good_host_passes_every_step_and_tells_of_itself(tmp_path: Any) -> None:
    async def scene() -> HostDiagnosis:
        async with sim(tls=True) as target:
            return await examine(target, ca_file=ca_file(tmp_path))

    found = run(scene())
    by_step = steps_of(found)
    assert found.passed
    assert {name for name, each in by_step.items() if each.verdict is not Verdict.Passed} == {"Ticket"}
    assert by_step["Name"].facts["addresses"] == ["127.0.0.1"]
    assert by_step["TLS"].facts["version"] in ("TLSv1.2", "TLSv1.3")
    assert by_step["Listener"].facts["length_required"] is True
    assert "Basic" in by_step["Mechanisms"].facts["offered"]
    assert by_step["Identify"].facts["vendor"] == "Microsoft Corporation"
    assert by_step["Identify"].facts["version"].startswith("OS: 0.0.0")
    assert "10.0.20348" in by_step["Authentication"].facts["version"]
    assert by_step["Quotas"].facts["Winrs/MaxShellsPerUser"] == "30"
    assert by_step["Quotas"].facts["shells"] == 0
    assert by_step["Shell"].facts["versions"]["PSVersion"]


def test_negotiate_over_http_with_everything_encrypted() -> None:
    async def scene() -> HostDiagnosis:
        async with sim(allow_unencrypted=False) as target:
            return await examine(target, authentication="Negotiate", allow_unencrypted=False)

    by_step = steps_of(run(scene()))
    assert by_step["Authentication"].text.startswith("Negotiate as sim: accepted")
    assert by_step["Shell"].verdict is Verdict.Passed


def test_negotiate_in_clear_is_what_the_host_does_not_want() -> None:
    async def scene() -> HostDiagnosis:
        async with sim(allow_unencrypted=False) as target:
            return await examine(target, authentication="Negotiate", allow_unencrypted=True)

    failure = run(scene()).failure
    assert failure is not None
    assert failure.step == "Authentication"
    assert "wants messages encrypted" in failure.diagnosis.cause


def test_the_current_user_whom_nobody_has_named_is_no_failure() -> None:
    async def scene() -> HostDiagnosis:
        async with sim() as target:
            return await examine(target, authentication="Default", credentials={})

    found = run(scene())
    assert found.passed
    assert steps_of(found)["Authentication"].verdict is Verdict.NotTried


def test_the_shell_that_was_opened_is_deleted() -> None:
    async def scene() -> tuple[HostDiagnosis, int]:
        async with sim() as target:
            await examine(target)
            # a second one counts what the first has left
            found = await examine(target)
            return found, steps_of(found)["Quotas"].facts["shells"]

    found, left = run(scene())
    assert steps_of(found)["Shell"].verdict is Verdict.Passed
    assert left == 0


def test_what_an_earlier_step_has_made_impossible_is_skipped_and_says_why() -> None:
    async def scene() -> HostDiagnosis:
        async with unheard() as target:
            return await examine(target)

    found = run(scene())
    assert [each.verdict for each in found.findings[:2]] == [Verdict.Passed, Verdict.Failed]
    rest = found.findings[2:]
    assert all(each.verdict is Verdict.Skipped for each in rest if each.step != "Ticket")
    assert {each.text for each in rest if each.verdict is Verdict.Skipped} == {"Port failed."}


def test_public_questions_pass_an_untrusted_certificate_and_a_password_does_not() -> None:
    async def scene() -> HostDiagnosis:
        async with sim(tls=True) as target:
            return await examine(target)

    by_step = steps_of(run(scene()))
    assert by_step["TLS"].verdict is Verdict.Failed
    assert by_step["Identify"].verdict is Verdict.Passed
    assert by_step["Authentication"].verdict is Verdict.Skipped
    assert by_step["Authentication"].text == "TLS failed."
    assert by_step["Shell"].text == "TLS failed."


def test_with_verification_off_it_is_said_what_would_fail() -> None:
    async def scene() -> HostDiagnosis:
        async with sim(tls=True) as target:
            return await examine(target, skip_ca_check=True)

    found = run(scene())
    tls = steps_of(found)["TLS"]
    assert tls.verdict is Verdict.Warning
    assert "would be refused" in tls.text
    assert found.passed


def test_without_a_credential_everything_else_is_examined() -> None:
    async def scene() -> HostDiagnosis:
        async with sim() as target:
            return await examine(target, credentials={})

    found = run(scene())
    assert found.passed
    untried = {each.step for each in found.findings if each.verdict is Verdict.NotTried}
    assert untried == {"TLS", "Ticket", "Authentication", "Quotas", "Shell"}


def test_a_clock_that_is_off_is_a_warning_where_kerberos_was_not_asked_for() -> None:
    async def scene() -> HostDiagnosis:
        async with served(winrm(*OFFERS, ahead=-7200)) as target:
            return await examine(target)

    clock = steps_of(run(scene()))["Clock"]
    assert clock.verdict is Verdict.Warning
    assert "2 h behind" in clock.text
    assert clock.facts["seconds_ahead"] == pytest.approx(-7200, abs=60)


def test_a_reverse_look_up_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> HostDiagnosis:
        clock, asked = ManualClock(time.time()), asyncio.Event()

        async def hangs(*_: Any) -> str:
            asked.set()
            await asyncio.get_running_loop().create_future()
            return ""

        monkeypatch.setattr("remotejobs.doctor.probes.name_of", hangs)
        async with sim() as target:
            task = asyncio.create_task(examine(target, clock=clock))
            await asked.wait()
            clock.advance(4)
            return await task

    found = run(scene())
    assert found.passed
    assert steps_of(found)["Name"].text.endswith("and back: no name")


def test_kerberos_is_not_for_addresses() -> None:
    async def scene() -> HostDiagnosis:
        async with served(winrm(*OFFERS)) as target:
            by_address = type(target)("127.0.0.1", port=target.port)
            return await examine(by_address, authentication="Kerberos")

    failure = run(scene()).failure
    assert failure is not None
    assert (failure.step, failure.diagnosis.error_id) == ("Name", "CannotUseIPAddress")


def test_a_refused_port_says_that_the_other_one_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> HostDiagnosis:
        async with served(winrm(*OFFERS)) as there, unheard(ssl=True) as asked:
            monkeypatch.setattr(steps, "USUAL", (there.port, asked.port))
            return await examine(asked)

    failure = run(scene()).failure
    assert failure is not None
    assert failure.step == "Port"
    assert "(http) is open" in failure.text
    assert "listens for http only" in failure.diagnosis.cause


def test_a_user_who_has_no_shell_left_is_told_so_without_opening_one() -> None:
    async def scene() -> HostDiagnosis:
        async with sim(max_shells=1) as target:
            job = await invoke_command(
                [target],
                "Start-Sleep 60",
                credential=("sim", "sim"),
                authentication="Basic",
                session_option=SessionOption(allow_unencrypted=True),
                in_disconnected_session=True,
            )
            await job.wait()
            return await examine(target, steps=ALL - {"Shell"})

    failure = run(scene()).failure
    assert failure is not None
    assert failure.step == "Quotas"
    assert "1 of 1 are in use" in failure.text
    assert (failure.facts["shells"], failure.diagnosis.error_id) == (1, "2150859173")


def test_hosts_are_examined_side_by_side_and_none_affects_another() -> None:
    async def scene() -> list[HostDiagnosis]:
        async with (
            sim() as good,
            sim("wrong-password") as wrong,
            served(saying(b"garbage\r\n")) as odd,
            unheard() as off,
        ):
            hosts = [off, good, Target("nosuch.invalid"), wrong, odd]
            return await diagnose.test_wsman(
                [replace(host, name=f"web{number}") if host.address else host for number, host in enumerate(hosts)],
                credential=("sim", "sim"),
                authentication="Basic",
                session_option=SessionOption(allow_unencrypted=True),
            )

    found = run(scene())
    assert [each.computer_name for each in found] == ["web0", "web1", "nosuch.invalid", "web3", "web4"]
    assert [each.failure.step if each.failure else "" for each in found] == [
        "Port", "", "Name", "Authentication", "Listener",
    ]  # fmt: skip


def test_a_wrong_password_is_tried_on_three_hosts_and_not_on_ten() -> None:
    async def scene() -> tuple[list[HostDiagnosis], int]:
        async with started({f"web{n}": "wrong-password" for n in range(10)}) as hosts:
            found = await diagnose.test_wsman(
                targets(hosts),
                credential=("sim", "wrong"),
                authentication="Basic",
                session_option=SessionOption(allow_unencrypted=True),
            )
            return found, sum(host.counters.refused for host in hosts.values())

    found, refused = run(scene())
    assert all(each.failure and each.failure.step == "Authentication" for each in found)
    guarded = [each for each in found if each.failure and "Not tried: 3 hosts" in each.failure.text]
    assert (len(guarded), refused) == (7, 3)


def test_identify_alone_asks_for_nothing_else() -> None:
    async def scene() -> list[HostDiagnosis]:
        async with sim() as target:
            return await diagnose.test_wsman([target], identify_only=True)

    (found,) = run(scene())
    assert [each.step for each in found.findings] == ["Name", "Port", "TLS", "Listener", "Identify"]
    assert found.passed


def test_a_mistake_of_ours_is_a_row_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> HostDiagnosis:
        async with sim() as target:
            return await examine(target)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(steps, "parsedate_to_datetime", broken)
    clock = steps_of(run(scene()))["Clock"]
    assert clock.verdict is Verdict.Failed
    assert "ZeroDivisionError" in clock.text
