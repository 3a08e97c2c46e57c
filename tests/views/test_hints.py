"""What follows the summary, once for a job."""

from __future__ import annotations

from remotejobs.states import EndReason
from remotejobs.views.hints import hints
from tests.views.factory import end


def test_hosts_that_were_not_reached_can_be_tested() -> None:
    ends = [end("web01"), end("web02", EndReason.AccessDenied), end("web03", EndReason.TimedOutConnect)]
    (line,) = hints(ends, stored=True)
    assert "remotejob test '@job:1/TimedOut(connect),@job:1/AccessDenied' -Shell, with" in line


def test_a_logon_that_failed_needs_no_shell_to_be_tested() -> None:
    (line,) = hints([end("web01", EndReason.AuthenticationFailed)], stored=True)
    assert "remotejob test '@job:1/AuthenticationFailed', with" in line


def test_a_job_that_is_not_stored_is_not_named() -> None:
    assert hints([end("web01", EndReason.Unreachable)], stored=False) == []


def test_nothing_to_say() -> None:
    assert hints([], stored=True) == []
    assert hints([end("web01"), end("web02", EndReason.CommandFailed)], stored=True) == []


def test_a_second_hop_names_its_hosts_and_at_most_so_many() -> None:
    (line,) = hints([end("web01"), end("web02", details={"second_hop": True})], stored=False)
    assert line.startswith("Second hop (web02): ")
    many = [end(f"h{number * number}", details={"second_hop": True}) for number in range(300)]
    assert hints(many, stored=True)[0].startswith("Second hop (300 hosts): ")
