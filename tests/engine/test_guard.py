"""The lock-out guard by itself: what it remembers of an account, whom it lets through, what it says of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from remotejobs.clock import ManualClock
from remotejobs.engine.guard import Guard
from remotejobs.errors import AuthenticationError, StoreError
from remotejobs.rows import REFUSAL_SECONDS
from remotejobs.store.memory import MemoryStore

LOOK = "Look whether the account is locked before the next try."


class Staying:
    stop_requested = False


@dataclass
class Memory:
    """Knows so many refusals of every account, and what it was asked and told."""

    before: int = 0
    calls: list[str] = field(default_factory=list)

    def refusals(self, account: str) -> int:
        self.calls.append(f"refusals {account}")
        return self.before

    def refused(self, account: str) -> None:
        self.calls.append(f"refused {account}")

    def accepted(self, account: str) -> None:
        self.calls.append(f"accepted {account}")


class Broken(Memory):
    def refusals(self, account: str) -> int:
        raise StoreError("the disk is full")

    def refused(self, account: str) -> None:
        raise StoreError("the disk is full")

    def accepted(self, account: str) -> None:
        raise StoreError("the disk is full")


def job(guard: Guard, *verdicts: bool | None, hosts: int = 0, credential: str = "ops") -> list[str]:
    """One host after the other, with these verdicts, then so many that refuse; what the guard said of each."""
    said = []

    async def run() -> None:
        for verdict in (*verdicts, *[False] * hosts):
            try:
                await guard.enter(credential, Staying())
            except AuthenticationError as error:
                said.append(error.message)
            else:
                said.append("")
                guard.leave(credential, accepted=verdict)

    asyncio.run(run())
    return said


def tries(said: list[str]) -> int:
    return said.count("")


@pytest.mark.parametrize(("before", "left"), [(0, 3), (1, 2), (2, 1), (3, 1), (90, 1)])
def test_refusals_before_leave_fewer_tries_and_always_one(before: int, left: int) -> None:
    assert tries(job(Guard(Memory(before)), hosts=10)) == left


def test_few_are_in_flight_after_refusals_until_one_is_accepted() -> None:
    async def run() -> None:
        guard = Guard(Memory(5))
        await guard.enter("ops", Staying())
        second = asyncio.ensure_future(guard.enter("ops", Staying()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not second.done()
        guard.leave("ops", accepted=True)
        await second

    asyncio.run(run())


def test_the_job_after_has_one_try_the_one_after_a_while_has_three() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    assert [tries(job(Guard(store), hosts=9)) for _ in range(3)] == [3, 1, 1]
    clock.advance(REFUSAL_SECONDS)
    assert tries(job(Guard(store), hosts=9)) == 3


def test_the_right_password_clears_the_account() -> None:
    store = MemoryStore(ManualClock())
    job(Guard(store), hosts=9)
    job(Guard(store), True)
    assert tries(job(Guard(store), hosts=9)) == 3


def test_an_account_is_one_under_any_name_and_in_any_case() -> None:
    store = MemoryStore(ManualClock())
    job(Guard(store, {"ops": "CORP\\Ops"}.__getitem__), hosts=9)
    assert tries(job(Guard(store, lambda _: "corp\\OPS"), hosts=9, credential="night")) == 1
    assert tries(job(Guard(store, lambda _: "CORP\\other"), hosts=9)) == 3
    assert tries(job(Guard(store, lambda _: "odd \udcff"), hosts=9)) == 3


def test_a_job_that_goes_well_asks_the_memory_once_and_tells_it_nothing() -> None:
    memory = Memory()
    job(Guard(memory), *[True] * 50, False, None, True)
    assert memory.calls == ["refusals ops"]


def test_the_memory_is_told_until_the_first_acceptance_and_of_that_once() -> None:
    memory = Memory()
    job(Guard(memory), False, None, False, True, False, True)
    assert memory.calls == ["refusals ops", "refused ops", "refused ops", "accepted ops"]
    memory = Memory(4)
    job(Guard(memory), True, True)
    assert memory.calls == ["refusals ops", "accepted ops"]


def test_the_current_user_is_not_remembered() -> None:
    memory = Memory(9)
    guard = Guard(memory, lambda _: "")
    assert (tries(job(guard, hosts=9, credential="")), memory.calls) == (3, [])
    assert guard.notes()[0].startswith("The current user: 3 logons tried")


def test_a_memory_that_fails_is_as_good_as_none() -> None:
    guard = Guard(Broken())
    assert tries(job(guard, False, None, hosts=9)) == 4
    assert guard.notes() == [
        f"Credential ops: 4 logons tried, 3 refused, none accepted; 7 hosts were not asked. {LOOK}"
    ]
    job(guard := Guard(Broken()), False, True)
    assert guard.notes() == ["Credential ops: 2 logons tried, 1 refused, 1 accepted."]


def test_what_was_remembered_is_said_where_it_is_the_reason() -> None:
    (first, *_) = [words for words in job(Guard(Memory()), hosts=4) if words]
    assert first.startswith("Not tried: 3 hosts refused this credential and none accepted it, so its use was ended")
    (first, *_) = [words for words in job(Guard(Memory(5)), hosts=4) if words]
    assert first.startswith(
        "Not tried: 1 host refused this credential and none accepted it, after 5 refusals of its account in the "
        "30 minutes before, so its use was ended"
    )


def test_the_notes_count() -> None:
    store = MemoryStore(ManualClock())
    account = {"ops": "CORP\\ops"}.__getitem__
    guard = Guard(store, account)
    job(guard, hosts=1000)
    assert guard.notes() == [
        f"Credential ops (CORP\\ops): 3 logons tried, 3 refused, none accepted; 997 hosts were not asked. {LOOK}"
    ]
    guard = Guard(store, account)
    job(guard, hosts=2)
    (note,) = guard.notes()
    assert note == (
        "Credential ops (CORP\\ops): 1 logon tried, 1 refused, none accepted; 1 host was not asked. "
        "4 refusals in the last 30 minutes: look whether the account is locked, then try again."
    )
    guard = Guard(store, account)
    job(guard, *[True] * 1200)
    assert guard.notes() == []
