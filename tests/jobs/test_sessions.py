"""Which child job a session on a host belongs to."""

from __future__ import annotations

import uuid

from remotejobs.jobs.sessions import PSSession, owners
from remotejobs.rows import LEASE_SECONDS
from tests.jobs.scene import Scene, run


async def _never() -> bool:
    raise AssertionError


def listed(instance_id: str, run_time: float | None = 5.0) -> PSSession:
    return PSSession("h", instance_id, "", "", "", "", None, (), "", "", None, None, run_time, "", _never)


def test_a_session_is_of_the_child_with_its_shell_id() -> None:
    async def main() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.job("web01")
        await scene.write(job, 1)
        first, replaced = (str(child.start.shell_id) for child in job.row.children)
        now = scene.clock.time()
        sessions = [listed(each) for each in (first, "shell", replaced, str(uuid.uuid4()))]
        found = owners(scene.store, sessions, now)
        assert {key: str(owner) for key, owner in found.items()} == {
            first: f"{job.id}/web01",
            "shell": f"{job.id}/web02",  # the id that the host gave it counts
        }
        assert found["shell"].state.name == "Running"
        later = owners(scene.store, [listed("shell")], now + LEASE_SECONDS)
        assert later["shell"].state.name == "Disconnected"
        assert owners(scene.store, [], now) == {}

    run(main())


def test_jobs_that_ended_before_a_session_was_made_are_passed_over() -> None:
    async def main() -> None:
        scene = Scene()
        job = await scene.job("web01")
        shell = str(job.row.children[0].start.shell_id)
        await scene.end(job, 0)
        tomorrow = scene.clock.time() + 86400
        ages = {age: bool(owners(scene.store, [listed(shell, age)], tomorrow)) for age in (5.0, 86400.0, None)}
        assert ages == {5.0: False, 86400.0: True, None: True}

    run(main())
