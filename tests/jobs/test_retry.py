"""Trying some targets again, and the targets of a job as targets of another."""

from __future__ import annotations

import pytest

from remotejobs.errors import JobError, TargetError, UsageError
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.lookup import has_wildcards, wildcard
from remotejobs.jobs.retry import retry, targets_of_job
from remotejobs.rows import LEASE_SECONDS
from remotejobs.states import EndReason
from remotejobs.targets.resolve import resolve
from tests.jobs.scene import Scene, run

ENDS = {
    "web01": EndReason.Completed,
    "web02": EndReason.CommandFailed,
    "web03": EndReason.Unreachable,
    "web04": EndReason.TimedOutConnect,
    "web05": EndReason.TimedOutTotal,
    "web06": EndReason.Stopped,
    "web07": EndReason.NotStartedGuard,
    "web08": EndReason.Unknown,
}


async def ended(scene: Scene) -> RemoteJob:
    job = await scene.job(*ENDS, name="Nightly", script="Get-Date")
    for index, reason in enumerate(ENDS.values()):
        await scene.end(job, index, reason)
    return job


def numbers(targets: object) -> str:
    return "".join(target.name[-1] for target in targets)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "reason", "chosen"),
    [
        ((), (), "2345678"),
        (("Failed",), (), "23458"),
        (("stopped",), (), "67"),
        (("Completed",), (), "1"),
        ((), ("Unreachable",), "3"),
        ((), ("TimedOut",), "45"),
        ((), ("TimedOut(connect)",), "4"),
        ((), ("NotStarted",), "7"),
        (("Stopped",), ("Unknown",), "678"),
    ],
)
def test_which_targets_are_tried_again(state: tuple[str, ...], reason: tuple[str, ...], chosen: str) -> None:
    async def body() -> None:
        job = await ended(Scene())
        again = retry(job, state, reason)
        assert numbers(again.spec.targets) == chosen
        assert (again.spec.retry_of, again.spec.name, again.spec.command) == (1, "Nightly", job.row.spec.command)
        assert ("already" in "".join(again.notes)) == ("8" in chosen)

    run(body())


def test_what_cannot_be_tried_again() -> None:
    async def body() -> None:
        scene = Scene()
        job = await ended(scene)
        with pytest.raises(JobError, match="no target that is AccessDenied"):
            retry(job, reason=("AccessDenied",))
        with pytest.raises(UsageError, match="neither a job state nor an end reason"):
            retry(job, ("Broken",))
        running = await scene.job("web01")
        await scene.write(running, 0)
        with pytest.raises(JobError, match="Failed or Stopped"):
            retry(running)
        scene.clock.advance(LEASE_SECONDS + 7200)
        assert numbers(retry(scene.seen(running.id)).spec.targets) == "1"  # presumed Unknown

    run(body())


def test_a_jobs_targets_in_a_target_list() -> None:
    async def body() -> None:
        scene = Scene()
        await ended(scene)

        def targets(*items: str) -> str:
            found = resolve(items, read_stdin=str, read_job=lambda e: targets_of_job(e, scene.store, scene.clock))
            return numbers(found.targets)

        assert targets("@job:1") == targets("@job:Nightly") == "12345678"
        assert targets("@job:1/Unreachable") == "3"
        assert targets("@job:1/Failed") == "23458"
        assert targets("@job:Nightly/TimedOut,db09") == "459"
        assert targets("@job:1,!@job:1/Completed,!web02") == "345678"
        with pytest.raises(JobError, match="job ID 99"):
            targets("@job:99")
        with pytest.raises(JobError, match="job name None was not found"):
            targets("@job:None")
        with pytest.raises(UsageError, match="'Odd' is neither"):
            targets("@job:1/Odd")
        with pytest.raises(TargetError, match="No target"):
            targets("@job:1/AccessDenied")
        await scene.job(name="nightly")
        with pytest.raises(JobError, match="2 jobs are called Nightly"):
            targets("@job:Nightly")
        with pytest.raises(TargetError):
            resolve(["@job:1"], read_stdin=str)  # nobody reads jobs: a server list called job

    run(body())


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("web*", "WEB01", True),
        ("web?", "web01", False),
        ("[wd]eb*", "deb", True),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("a`*", "a*", True),
        ("a`*", "ab", False),
        ("a.c", "abc", False),
        ("*", "a\nb", True),
    ],
)
def test_wildcards(pattern: str, name: str, fits: bool) -> None:
    assert bool(wildcard(pattern).fullmatch(name)) is fits


def test_what_has_wildcards() -> None:
    assert [has_wildcards(name) for name in ("a", "a`*", "a*", "a?", "[ab]", "a[")] == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]
