"""Handing a result to the task that waits: at once where that can be, later where a task runs, never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from remotejobs.transport.handoff import Handoff


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def waiting(handoff: Handoff[str], told: list[str]) -> asyncio.Task[None]:
    async def wait() -> None:
        told.append(await handoff)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


def test_from_a_callback_the_task_goes_on_within_the_call() -> None:
    async def main() -> None:
        loop, told = asyncio.get_running_loop(), list[str]()
        handoff = Handoff[str](loop)
        task = await waiting(handoff, told)
        seen = loop.create_future()

        def callback() -> None:
            handoff.set("first")
            handoff.set("second")
            handoff.wake()
            handoff.wake()
            seen.set_result(list(told))

        loop.call_soon(callback)
        assert await seen == ["first"]
        await task

    run(main())


def test_from_a_task_the_other_goes_on_later() -> None:
    async def main() -> None:
        told: list[str] = []
        handoff = Handoff[str](asyncio.get_running_loop())
        task = await waiting(handoff, told)
        handoff.set("x")
        handoff.wake()
        assert told == []
        await task
        assert told == ["x"]

    run(main())


def test_a_result_that_is_there_is_not_waited_for() -> None:
    async def main() -> None:
        handoff = Handoff[str](asyncio.get_running_loop())
        handoff.wake()
        handoff.set("x")
        assert await handoff == "x"

    run(main())


@pytest.mark.parametrize("answered", [False, True])
def test_cancelled_while_it_waits(answered: bool) -> None:
    async def main() -> None:
        told: list[str] = []
        handoff = Handoff[str](asyncio.get_running_loop())
        task = await waiting(handoff, told)
        if answered:
            handoff.set("x")
            handoff.wake()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        handoff.set("late")
        handoff.wake()
        assert told == []

    run(main())


def test_a_timeout_ends_the_wait() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await Handoff[str](asyncio.get_running_loop())

    run(main())


def test_the_task_keeps_its_context() -> None:
    async def main() -> None:
        import contextvars

        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="callback")
        loop, told = asyncio.get_running_loop(), list[str]()
        handoff = Handoff[str](loop)

        async def wait() -> None:
            name.set("task")
            await handoff
            told.append(name.get())

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        handoff.set("x")
        loop.call_soon(handoff.wake)
        await task
        assert told == ["task"]

    run(main())
