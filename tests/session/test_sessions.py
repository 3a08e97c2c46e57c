"""Listing and deleting the shells of a host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import LimitError, RemoteJobsError, TimedOutError, UnreachableError
from remotejobs.model import Clocks, JobSpec, ScriptCommand, Target
from remotejobs.session.prepared import prepare
from remotejobs.session.sessions import HostSessions
from tests.session.scripted import ScriptedHost, fault
from tests.session.test_conversation import never

T = TypeVar("T")
HOST = Target("h")
PSH = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
N = 'xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"'
W = 'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"'


def item(shell_id: str, owner: str = "WEB\\bob", uri: str = PSH) -> str:
    return (
        f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:ResourceUri>{uri}</rsp:ResourceUri>"
        f"<rsp:Owner>{owner}</rsp:Owner><rsp:State>Disconnected</rsp:State></rsp:Shell>"
    )


def command(command_id: str) -> str:
    return f"<rsp:Command><rsp:CommandId>{command_id}</rsp:CommandId></rsp:Command>"


def listing(*items: str, more: str = "", kind: str = "Enumerate") -> str:
    end = "" if more else "<w:EndOfSequence/>"
    found = f"<w:Items>{''.join(items)}</w:Items>" if items else ""
    context = f"<n:EnumerationContext>{more}</n:EnumerationContext>"
    return f"<n:{kind}Response {N} {W}>{context}{found}{end}</n:{kind}Response>"


class Gate:
    """Counts who is inside, and what left through it."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.left: list[str] = []

    @asynccontextmanager
    async def admit(self, target: Target) -> AsyncIterator[None]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            yield
            self.left.append("accepted")
        except RemoteJobsError as error:
            self.left.append(error.kind)
            raise
        finally:
            self.inside -= 1


def sessions(
    host: ScriptedHost, clock: ManualClock | None = None, gate: Gate | None = None, slots: int = 2
) -> HostSessions:
    spec = JobSpec(ScriptCommand(""), (HOST,), clocks=Clocks(connect=5, total=6))
    prepared = prepare(spec, host.connect, asyncio.Semaphore(1))
    return HostSessions(prepared, clock or ManualClock(), (gate or Gate()).admit, slots)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_powershell_shells_of_a_user_with_their_commands() -> None:
    host = ScriptedHost().on(
        "Enumerate",
        listing(item("a"), item("b", "bob@corp"), item("c", "WEB\\eve"), item("d", uri="http://x/windows/shell/cmd")),
        listing(command("1"), command("2")),
        fault(2150858843),
    )
    found = run(sessions(host).find(HOST, user="CORP\\Bob"))
    assert [(s.shell.shell_id, [c.command_id for c in s.commands]) for s in found] == [("A", ["1", "2"]), ("B", [])]
    assert found[0].configuration == "Microsoft.PowerShell"
    assert host.opened == 1


def test_what_a_host_says_has_no_control_characters() -> None:
    hostile = item("a").replace("</rsp:Shell>", "<rsp:Name>x\u202ey\x85&#xd;z</rsp:Name></rsp:Shell>")
    host = ScriptedHost().on("Enumerate", listing(hostile), listing())
    (found,) = run(sessions(host).find(HOST))
    assert found.shell.name == "x y  z"


def test_everybodys_shells() -> None:
    host = ScriptedHost().on("Enumerate", listing(item("a"), item("c", "WEB\\eve")), listing(), listing())
    assert len(run(sessions(host).find(HOST))) == 2


def test_long_lists_come_in_pages() -> None:
    host = ScriptedHost().on("Enumerate", listing(item("a"), more="x"), *[listing()] * 3)
    host.on("Pull", listing(item("b"), more="y", kind="Pull"), listing(item("c"), kind="Pull"))
    assert [s.shell.shell_id for s in run(sessions(host).find(HOST))] == ["A", "B", "C"]


def test_a_list_without_an_end() -> None:
    host = ScriptedHost().on("Enumerate", listing(more="x"))
    host.default["Pull"] = listing(more="x", kind="Pull")
    with pytest.raises(LimitError):
        run(sessions(host).find(HOST))


def test_a_shell_is_deleted_under_its_own_configuration() -> None:
    host = ScriptedHost().on("Enumerate", listing(item("a", uri=f"{PSH[:-10]}Other")))
    assert run(sessions(host).delete(HOST, "A")) is True
    assert host.asked == ["Enumerate", "Delete"]
    assert f"{PSH[:-10]}Other" in host.bodies[1]


def test_a_shell_that_is_not_there_or_is_none_of_powershells() -> None:
    host = ScriptedHost().on("Enumerate", listing(), listing(item("a", uri="http://x/cmd")), listing(item("a")))
    host.on("Delete", fault(2150858843))
    assert [run(sessions(host).delete(HOST, "A")) for _ in range(3)] == [False, False, False]
    assert host.asked.count("Delete") == 1


def test_a_host_that_is_down_or_mute() -> None:
    host = ScriptedHost()
    host.open_errors.append(UnreachableError("refused", step="tcp"))
    with pytest.raises(UnreachableError):
        run(sessions(host).find(HOST))

    async def main() -> None:
        clock = ManualClock()
        task = asyncio.create_task(sessions(ScriptedHost().on("Enumerate", never), clock).find(HOST))
        while not task.done():
            clock.advance(0.5)
            await asyncio.sleep(0)
        with pytest.raises(TimedOutError, match="did not answer within 6 s"):
            await task

    run(main())


def test_what_a_host_answers_passes_the_gate_and_a_host_that_is_down_does_not() -> None:
    gate, host = Gate(), ScriptedHost().on("Enumerate", listing(), fault(5))
    host.open_errors.append(UnreachableError("refused", step="tcp"))
    for _ in range(3):
        with contextlib.suppress(RemoteJobsError):
            run(sessions(host, gate=gate).find(HOST))
    assert gate.left == ["accepted", "Fault"]


def test_so_many_hosts_at_a_time() -> None:
    async def main() -> int:
        gate, host = Gate(), ScriptedHost()
        host.default["Enumerate"] = slow
        some = sessions(host, gate=gate, slots=3)
        await asyncio.gather(*[some.find(HOST) for _ in range(10)])
        return gate.most

    async def slow(_body: str) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return listing()

    assert run(main()) == 3
