from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from remotejobs.errors import UnreachableError
from remotejobs.transport.names import Address, Names, system_look_up
from tests.transport.loopback import run, settled

V4, V6 = socket.AF_INET, socket.AF_INET6


class Resolver:
    """A resolver that knows every name but those that begin with `dead`: these hang until `release` is called."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._released = threading.Event()

    def __call__(self, host: str) -> list[Address]:
        with self._lock:
            self.asked[host] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if host.startswith("dead"):
            self._released.wait()
        with self._lock:
            self.at_once -= 1
        return [Address(V6, ("fd00::1", 0, 0, 7)), Address(V4, ("10.0.0.1", 0))]

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    resolver = Resolver()
    yield resolver
    resolver.release()


def unreachable(look_up: object) -> UnreachableError:
    names = Names(look_up)  # type: ignore[arg-type]
    with pytest.raises(UnreachableError) as caught:
        run(names.addresses("web01", 5985))
    assert caught.value.details == {"step": "name", "host": "web01"}
    assert caught.value.error_id == "ComputerNotFound"
    return caught.value


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("10.1.2.3", [Address(V4, ("10.1.2.3", 5985))]),
        ("::1", [Address(V6, ("::1", 5985, 0, 0))]),
        ("LocalHost", [Address(V4, ("127.0.0.1", 5985)), Address(V6, ("::1", 5985))]),
    ],
)
def test_literals_ask_nobody(host: str, addresses: list[Address], resolver: Resolver) -> None:
    assert run(Names(resolver).addresses(host, 5985)) == addresses
    assert not resolver.asked


def test_found_in_the_resolvers_order_and_remembered(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        assert await names.addresses("web01", 5985) == [
            Address(V6, ("fd00::1", 5985, 0, 7)),
            Address(V4, ("10.0.0.1", 5985)),
        ]
        assert [a.sockaddr[1] for a in await names.addresses("WEB01", 5986)] == [5986, 5986]
        assert resolver.asked == {"web01": 1}
        names.forget("Web01")
        await names.addresses("web01", 5985)
        assert resolver.asked == {"web01": 2}

    run(main())


def test_asked_once_by_many_and_given_up_by_one(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver)
        waiting = [asyncio.ensure_future(names.addresses("dead01", port)) for port in range(1, 6)]
        await settled()
        waiting[0].cancel()
        await settled()
        resolver.release()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert [(await w)[0].sockaddr[1] for w in waiting[1:]] == [2, 3, 4, 5]
        assert resolver.asked == {"dead01": 1}

    run(main())


def test_names_that_hang_hold_back_nobody(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, threads=2, most=50, patience=0.01)
        dead = [asyncio.ensure_future(names.addresses(f"dead{n}", 1)) for n in range(20)]
        await settled()
        found = await asyncio.gather(*(names.addresses(f"web{n}", 1) for n in range(100)))
        assert all(found)
        assert not any(d.done() for d in dead)
        resolver.release()
        assert all(await asyncio.gather(*dead))

    run(main())


def test_never_more_look_ups_at_a_time_than_threads(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, threads=3, patience=1000)
        await asyncio.gather(*(names.addresses(f"web{n}", 1) for n in range(200)))
        assert sum(resolver.asked.values()) == 200
        assert resolver.most_at_once <= 3

    run(main())


def test_never_more_threads_than_the_most(resolver: Resolver) -> None:
    async def main() -> None:
        names = Names(resolver, threads=1, most=4, patience=0.001)
        waiting = [asyncio.ensure_future(names.addresses(f"dead{n}", 1)) for n in range(12)]
        while resolver.at_once < 4 or names._turn < 30:
            await asyncio.sleep(0)
        waiting.append(asyncio.ensure_future(names.addresses("web01", 1)))
        await settled()
        resolver.release()
        assert all(await asyncio.gather(*waiting))
        assert resolver.most_at_once == 4

    run(main())


def test_unknown_name() -> None:
    def look_up(host: str) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    message = unreachable(look_up).message
    assert message.startswith("The name web01 cannot be resolved: no name server knows it.")
    assert "spelling" in message


def test_silent_name_server() -> None:
    def look_up(host: str) -> list[Address]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert "the name server does not answer" in unreachable(look_up).message


def test_name_without_an_address() -> None:
    assert "no IP address" in unreachable(lambda host: []).message


def test_failures_are_not_remembered() -> None:
    answers: list[list[Address]] = [[], [Address(V4, ("10.0.0.1", 0))]]

    async def main() -> None:
        names = Names(lambda host: answers.pop(0))
        with pytest.raises(UnreachableError):
            await names.addresses("web01", 1)
        assert await names.addresses("web01", 1) == [Address(V4, ("10.0.0.1", 1))]

    run(main())


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".x", "nul\0", "::zz"])
def test_what_cannot_be_a_name(host: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        run(Names().addresses(host, 1))
    assert caught.value.details["step"] == "name"


def test_system_resolver_knows_this_computer() -> None:
    addresses = system_look_up("localhost")
    assert addresses
    assert len(addresses) == len(set(addresses))
    assert {a.family for a in addresses} <= {V4, V6}


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch, resolver: Resolver) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        names = Names(resolver)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(UnreachableError, match="gives no thread"):
                await names.addresses("web01", 1)
        assert await names.addresses("web01", 1)

    run(main())


def test_loop_that_is_gone_ends_the_threads(resolver: Resolver) -> None:
    before = threading.active_count()

    async def main() -> None:
        asyncio.ensure_future(Names(resolver, threads=1).addresses("dead01", 1)).add_done_callback(lambda _: None)
        await settled()

    run(main())
    resolver.release()
    for thread in threading.enumerate():
        if thread.name == "remotejobs-names":
            thread.join(10)
    assert threading.active_count() <= before
