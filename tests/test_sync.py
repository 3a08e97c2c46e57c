"""The blocking facade: the same as the asynchronous API, from any thread, beside any loop."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_type_hints

import pytest

from remotejobs import RemoteJob, SessionOption, Target, sync
from remotejobs.api import invoke
from remotejobs.clock import SystemClock
from remotejobs.errors import ConfigurationError, JobError, TargetError, UsageError
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Interpreter, Streams
from remotejobs.store.memory import MemoryStore
from tests.e2e.hosts import SIM, Writes, started, targets

OPTIONS: dict[str, Any] = {
    "credential": SIM,
    "authentication": "Basic",
    "session_option": SessionOption(allow_unencrypted=True, max_connection_retry_count=0),
}


@contextmanager
def hosts_beside(*names: str, interpreter: Interpreter | None = None) -> Iterator[dict[str, SimulatedHost]]:
    """Hosts on a loop of their own in another thread."""
    ready, done = threading.Event(), threading.Event()
    found: dict[str, SimulatedHost] = {}

    async def main() -> None:
        async with started(dict.fromkeys(names, ""), interpreter=interpreter) as hosts:
            found.update(hosts)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found
    finally:
        done.set()
        thread.join()


def endless(when_begun: Callable[[], object] = lambda: None) -> Writes:
    """A script that never ends."""

    async def write(streams: Streams) -> None:
        await streams.output("begun")
        when_begun()
        await asyncio.Event().wait()

    return Writes(write)


def test_a_job_from_beginning_to_end() -> None:
    with hosts_beside("web01", "web02") as hosts:
        job = sync.invoke_command(targets(hosts), "1; 2", **OPTIONS)
        assert isinstance(job, sync.BlockingJob)
        seen = sorted((record.computer_name, record.value) for record in job)
        assert seen == [("web01", 1), ("web01", 2), ("web02", 1), ("web02", 2)]
        assert job.wait(timeout=30)
        assert job.state.name == "Completed"
        assert [end.outcome.reason for end in job.outcomes] == ["Completed", "Completed"]
        assert [(child.location, child.state.name, child.has_more_data) for child in job.child_jobs] == [
            ("web01", "Completed", False),
            ("web02", "Completed", False),
        ]
        assert "2 targets" in repr(job)
        assert "web01" in repr(job.child_jobs[0])


def test_stop_wait_receive_and_events() -> None:
    begun = threading.Event()
    with hosts_beside("web01", interpreter=endless(begun.set)) as hosts:
        job = sync.invoke_command(targets(hosts), "x", **OPTIONS)
        assert begun.wait(30)
        assert not job.wait(0)
        assert next(iter(job.stream())).value == "begun"
        assert job.receive(keep=True)[0].value == "begun"
        job.stop()
        assert job.state.name == "Stopped"
        assert [type(item).__name__ for item in job.events()] == ["ReceivedRecord", "ChildEnd"]
        assert hosts["web01"].counters.shells == 0


def test_it_works_where_a_loop_runs_already() -> None:
    """As in a notebook: the cell is called from a running loop."""

    async def cell() -> list[Any]:
        with hosts_beside("web01") as hosts:
            return [record.value for record in sync.invoke_command(targets(hosts), "'cell'", **OPTIONS)]

    assert asyncio.run(cell()) == ["cell"]


def test_many_threads_share_it() -> None:
    seen: list[Any] = []
    with hosts_beside("web01", "web02") as hosts:

        def work(number: int) -> None:
            job = sync.invoke_command(targets(hosts), "param($n) $n", argument_list=[number], **OPTIONS)
            seen.extend(record.value for record in job)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(seen) == sorted([*range(8), *range(8)])
    assert [thread.name for thread in threading.enumerate()].count("remotejobs") == 1


def test_errors_are_raised_where_the_call_was_made() -> None:
    with pytest.raises(TargetError, match="No target"):
        sync.invoke_command([], "1")
    with pytest.raises(ConfigurationError, match="needs a credential"):
        sync.invoke_command("web01", "1", authentication="Basic", use_ssl=True)
    with pytest.raises(UsageError, match="SessionOption has no"):
        sync.session_option(nonsense=1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        sync.invoke_command("web01", "1", nonsense=1)  # type: ignore[call-arg]
    with hosts_beside("web01") as hosts:
        job = sync.invoke_command(targets(hosts), "1", **OPTIONS)
        with pytest.raises(AttributeError, match="nonsense"):
            _ = job.nonsense
        assert not hasattr(job, "_repr_html_")
        assert job.wait()


def press_ctrl_c() -> None:
    """As the user would: Python's main thread gets it."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Interrupting:
    """An endless script that presses ^C once the main thread is about to wait."""

    def __init__(self) -> None:
        self.armed = threading.Event()

    async def __call__(self, streams: Streams) -> None:
        await streams.output("begun")
        await asyncio.to_thread(self.armed.wait)
        press_ctrl_c()
        await asyncio.Event().wait()

    def during(self, work: Callable[[], object]) -> None:
        """Do `work`, which ^C ends."""
        with pytest.raises(KeyboardInterrupt):
            self.armed.set()
            work()


def test_ctrl_c_ends_the_wait_and_not_the_job() -> None:
    script = Interrupting()
    with hosts_beside("web01", interpreter=Writes(script)) as hosts:
        job = sync.invoke_command(targets(hosts), "x", **OPTIONS)
        script.during(job.wait)
        assert job.state.name == "Running"
        job.stop()
        assert (job.state.name, hosts["web01"].counters.shells) == ("Stopped", 0)


def test_ctrl_c_ends_an_iteration_and_another_can_follow() -> None:
    script = Interrupting()
    with hosts_beside("web01", interpreter=Writes(script)) as hosts:
        job = sync.invoke_command(targets(hosts), "x", **OPTIONS)
        script.during(lambda: list(job))
        job.stop()
        assert [record.value for record in job] in (["begun"], [])
        assert job.state.name == "Stopped"


def test_ctrl_c_while_a_job_is_made_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RemoteJob] = []
    whole = invoke.start

    async def start(*args: Any, **options: Any) -> RemoteJob:
        made.append(await whole(*args, **options))
        press_ctrl_c()  # before the caller can have the job
        return made[0]

    monkeypatch.setattr(invoke, "start", start)
    with hosts_beside("web01", interpreter=endless()) as hosts:
        with pytest.raises(KeyboardInterrupt):
            sync.invoke_command(targets(hosts), "x", **OPTIONS)
        assert sync.BlockingJob(made[0]).wait(30)
        assert (made[0].state.name, hosts["web01"].counters.shells) == ("Stopped", 0)


def test_a_callback_that_waits_for_its_own_job_is_told() -> None:
    with hosts_beside("web01") as hosts:
        job = sync.invoke_command(targets(hosts), "1", **OPTIONS)
        with pytest.raises(UsageError, match="callback"):
            list(job.events(lambda: print(job.state)))
        job.wait()


def test_unreachable_is_an_outcome_and_no_error() -> None:
    with hosts_beside("web01") as hosts:
        port = hosts["web01"].http_port
    job = sync.invoke_command([Target("web01", address="127.0.0.1", port=port)], "1", **OPTIONS)
    assert list(job) == []
    assert [end.outcome.reason for end in job.outcomes] == ["Unreachable"]


def test_the_facade_says_all_that_a_job_has() -> None:
    """What type checkers are told is what there is, with the same words."""
    # what the parts of the job model say to each other
    inside = {"row", "child_now", "read", "reader", "ends", "stop_child"}
    names = ({name for name in dir(RemoteJob) if not name.startswith("_")} | {"id"}) - inside
    told = {name for name in (*dir(sync.BlockingJob), *sync.BlockingJob.__annotations__) if not name.startswith("_")}
    assert told == names
    hints = get_type_hints(sync.BlockingJob)
    for name, member in inspect.getmembers(RemoteJob, lambda found: isinstance(found, property)):
        if name in inside:
            continue
        assert hints[name] == get_type_hints(member.fget)["return"]
    assert sync.invoke_command.__doc__ == invoke.invoke_command.__doc__
    assert sync.BlockingJob.wait.__doc__ == RemoteJob.wait.__doc__


def test_the_job_functions_take_and_give_blocking_jobs() -> None:
    store = MemoryStore(SystemClock())
    with hosts_beside("web01", "web02") as hosts:
        job = sync.invoke_command(targets(hosts), "'x'", store=store, **OPTIONS)
        assert [each.id for each in sync.wait_job([job], store=store)] == [1]
        assert isinstance(sync.get_job(1, store=store)[0], sync.BlockingJob)
        child = sync.get_job(2, store=store)[0]
        assert (child.location, [record.value for record in child.receive()]) == ("web01", ["x"])
        rest = [item for item in sync.receive_job(job, store=store) if isinstance(item, ReceivedRecord)]
        assert [(record.computer_name, record.value) for record in rest] == [("web02", "x")]
        again = sync.retry_job(job, state="Completed", credential=SIM, store=store)
        assert again.retry_of == 1
        assert sorted(record.value for record in again) == ["x", "x"]
        again.wait()
        assert sync.stop_job(again, store=store)[0].state.name == "Completed"
        assert sync.remove_job([job, again.id], store=store) == []
        assert sync.get_job(store=store) == []
        with pytest.raises(JobError, match="job ID 1"):
            sync.get_job(1, store=store)


def test_an_iteration_that_is_left_has_moved_the_cursor() -> None:
    with hosts_beside("web01") as hosts:
        job = sync.invoke_command(targets(hosts), "1; 2; 3", **OPTIONS)
        job.wait()
        stream = job.stream()
        assert [next(stream).value, next(stream).value] == [1, 2]
        stream.close()  # type: ignore[attr-defined]
        assert [record.value for record in job.receive()] == [2, 3]
