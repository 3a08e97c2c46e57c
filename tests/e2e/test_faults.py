"""A bad host beside a good one: a clear outcome for the one, no effect on the other."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from remotejobs.model import Target
from remotejobs.sim.shells import HostSettings
from remotejobs.states import JobState
from tests.e2e.hosts import Result, ca_file, run, started, targets

SCRIPT = "'one'; 'two'; Get-Service WinRM"

# fault, end reason, words of the message, commands that the host started
CASES = [
    ("refuse", "Unreachable", "refused the connection", 0),
    ("wrong-password", "AuthenticationFailed", "refused the user name or password", 0),
    ("status:403@Create", "AccessDenied", "HTTP 403", 0),
    ("status:404", "Unreachable", "HTTP 404", 0),
    ("status:500@Create", "Unreachable", "HTTP 500", 0),
    ("status:503", "Unreachable", "not ready", 0),
    ("status:503@Create*1", "Completed", "", 1),
    ("html", "Unreachable", "web page", 0),
    ("html@Receive", "Unreachable", "web page", 0),
    ("garbage", "Unreachable", "HTTP", 0),
    ("garbage@Receive#3", "Unknown", "may have run", 1),
    ("reset@Create", "Unreachable", "", 0),
    ("reset@Create*1", "Completed", "", 1),
    ("reset-after@Create*1", "Completed", "", 1),
    ("reset@Receive", "Unreachable", "", 0),
    ("reset@Command", "Unknown", "may have run", 0),
    ("reset-after@Command", "Completed", "", 1),
    ("reset@Receive#3*1", "Completed", "", 1),
    ("reset-after@Receive#3*1", "Completed", "", 1),
    ("reset@Delete", "Completed", "", 1),
    ("truncate@Create", "Unreachable", "middle of its answer", 0),
    ("truncate@Receive#3*1", "Completed", "", 1),
    ("fault:5@Create", "AccessDenied", "", 0),
    ("fault:1326@Create", "AuthenticationFailed", "", 0),
    ("fault:2150858811@Create", "Unreachable", "", 0),
    ("fault:2150859174@Command", "QuotaExceeded", "", 0),
    ("wmi-fault:2150859174@Command", "QuotaExceeded", "", 0),
    ("fault:2150858843@Receive#3", "Unknown", "may have run", 1),
    ("fault:2150858793@Receive#3*2", "Completed", "", 1),
    ("quota*2", "Completed", "", 1),
    ("oversize:9000000@Receive", "Unreachable", "more than", 0),
    ("endless@Receive#3", "Unknown", "more than", 1),
    ("oversize:9000000@Receive#3", "Unknown", "may have run", 1),
    ("entity-bomb@Create", "Unreachable", "document type", 0),
    ("entity-bomb@Receive#3", "Unknown", "document type", 1),
    ("bad-base64@Receive", "Unreachable", "base64", 0),
    ("bad-base64@Receive#3", "Unknown", "base64", 1),
    ("wrong-relatesto@Create", "Unreachable", "another request", 0),
    ("wrong-relatesto@Receive#3", "Unknown", "another request", 1),
    ("duplicate@Receive", "Completed", "", 1),
    ("replay@Receive#3*1", "Completed", "", 1),
]


def by(fault: str, **options: Any) -> tuple[Result, int]:
    async def main() -> tuple[Result, int]:
        async with started({"good": "", "bad": fault, "other": ""}) as hosts:
            result = await asyncio.wait_for(run(targets(hosts), SCRIPT, **options), 60)
            assert hosts["good"].counters.shells == hosts["other"].counters.shells == 0
            return result, hosts["bad"].counters.commands

    return asyncio.run(main())


@pytest.mark.parametrize(("fault", "reason", "words", "commands"), CASES, ids=[c[0] for c in CASES])
def test_a_bad_host_beside_good_ones(fault: str, reason: str, words: str, commands: int) -> None:
    result, ran = by(fault, option={"operation_timeout": 1.0})
    for name in ("good", "other"):
        assert (result.reason(name), result.values(name)[:2]) == ("Completed", ["one", "two"])
    assert result.reason("bad") == reason, result.ends["bad"]
    assert re.search(words, result.message("bad")), result.message("bad")
    assert ran == commands
    if reason == "Completed":
        assert result.values("bad")[:2] == ["one", "two"]
        assert len(result.values("bad")) == 3
    else:
        assert result.ends["bad"].outcome.error_id


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("stall@Create", {"auth_timeout": 0.3}, "TimedOut(authenticate)"),
        ("stall-after@Create", {"auth_timeout": 0.3}, "TimedOut(authenticate)"),
        ("stall@Receive#3", {"silence_timeout": 0.3}, "TimedOut(silence)"),
        ("stall@Command", {"timeout": 0.5}, "TimedOut(total)"),
        ("slow:5", {"deadline": 0.5}, "TimedOut(deadline)"),
    ],
)
def test_a_host_that_hangs_ends_by_its_clock(fault: str, options: dict[str, float], reason: str) -> None:
    result, _ = by(fault, **options)
    assert result.reason("bad") == reason
    assert result.reason("good") == "Completed"


@pytest.mark.parametrize("fault", ["reset@Receive#3", "reboot:30@Receive#3"])
def test_a_host_that_is_lost_in_the_middle_is_left_disconnected(fault: str) -> None:
    result, ran = by(fault, connect_timeout=0.5)
    assert result.job.state is JobState.Disconnected
    assert "bad" not in result.ends
    assert result.reason("good") == "Completed"
    assert ran == 1


def test_a_wrong_password_is_tried_three_times_in_all_and_once_a_host() -> None:
    async def main() -> None:
        faults = {f"h{n}": "" for n in range(12)}
        async with started(faults) as hosts:
            result = await run(targets(hosts), "1", credential=("sim", "wrong"), throttle_limit=6)
            refused = [host.counters.refused for host in hosts.values()]
            assert sum(refused) == 3
            assert max(refused) == 1
            reasons = [result.reason(name) for name in faults]
            assert reasons.count("AuthenticationFailed") == 3
            assert reasons.count("NotStarted(guard)") == 9

    asyncio.run(main())


def test_an_unknown_name_is_said_to_be_one() -> None:
    async def main() -> None:
        async with started({"good": ""}) as hosts:
            result = await run([*targets(hosts), Target("no-such-host.invalid")], "1")
            assert result.reason("no-such-host.invalid") == "Unreachable"
            assert result.ends["no-such-host.invalid"].outcome.error_id.startswith("ComputerNotFound")
            assert result.values("good") == [1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ({}, "good", "CA"),
        ({"ca_file": True}, "wrong-name", "wrong-name"),
        ({"ca_file": True, "skip_cn_check": True}, "wrong-name", ""),
        ({"skip_ca_check": True}, "wrong-name", "wrong-name"),
        ({"skip_ca_check": True, "skip_cn_check": True}, "wrong-name", ""),
        ({"ca_file": True}, "good", ""),
    ],
)
def test_certificates(option: dict[str, object], name: str, words: str, tmp_path: pytest.TempPathFactory) -> None:
    from pathlib import Path

    if "ca_file" in option:
        option = {**option, "ca_file": ca_file(Path(str(tmp_path)))}

    async def main() -> None:
        async with started({"good": ""}, tls=True) as hosts:
            target = Target(name, address="127.0.0.1", port=hosts["good"].https_port, ssl=True)
            result = await run([target], "1", option=option)
            assert result.reason(name) == ("Unreachable" if words else "Completed"), result.message(name)
            assert words in result.message(name)

    asyncio.run(main())


def test_clear_text_is_refused_before_connecting() -> None:
    from remotejobs.errors import ConfigurationError

    async def main() -> None:
        async with started({"good": ""}) as hosts:
            with pytest.raises(ConfigurationError, match="AllowUnencrypted"):
                await run(targets(hosts), "1", option={"allow_unencrypted": False})
            assert hosts["good"].counters.connections == 0

    asyncio.run(main())


@pytest.mark.parametrize("mechanism", ["Default", "Negotiate", "Credssp"])
def test_over_http_every_message_is_sealed(mechanism: str) -> None:
    async def main() -> None:
        settings = HostSettings(authentication=("Negotiate", "CredSSP"))
        async with started({"good": ""}, settings=settings) as hosts:
            result = await run(targets(hosts), "1..3", authentication=mechanism, option={"allow_unencrypted": False})
            assert (result.reason("good"), result.values("good")) == ("Completed", [1, 2, 3])
            clear = await run(targets(hosts), "1", authentication=mechanism)
            assert clear.reason("good") != "Completed"  # the host wants it sealed, and was asked in clear

    asyncio.run(main())


def test_a_shell_quota_is_waited_for() -> None:
    async def main() -> None:
        settings = HostSettings(allow_unencrypted=True, max_shells=2)
        async with started({"one": ""}, settings=settings) as hosts:
            where = targets(hosts) * 6
            result = await run(where, "Start-Sleep -Milliseconds 50; 1")
            assert [end.outcome.reason.value for end in result.job.outcomes] == ["Completed"] * 6
            assert hosts["one"].counters.most_shells == 2
            assert hosts["one"].counters.shells == 0

    asyncio.run(main())
