from __future__ import annotations

import threading
from collections.abc import Generator, Sequence

import pytest

from remotejobs.errors import AuthenticationError, ProtocolError
from remotejobs.ports import NotSent, Reply
from remotejobs.transport.sealed import seal, unseal
from tests.transport.loopback import (
    BASIC,
    Recorder,
    answer,
    basic,
    connected,
    header,
    run,
    serving,
)
from tests.transport.sealers import Turned


class Steps:
    """An authentication context that says `values` in turn and keeps what it is told."""

    mechanism = "Steps"
    every_request = False
    anew = False

    def __init__(
        self,
        *values: str,
        error: AuthenticationError | None = None,
        sealer: Turned | None = None,
        waits: bool = False,
    ) -> None:
        self.values, self.error, self._sealer, self.waits = values, error, sealer, waits
        self.told: list[tuple[str, ...]] = []
        self.threads: set[int] = set()

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:
        assert channel_binding is None
        for value in self.values:
            self.threads.add(threading.get_ident())
            self.told.append(tuple((yield value)))
        if self.error is not None:
            raise self.error

    def sealer(self) -> Turned | None:
        return self._sealer


def test_basic_goes_on_every_request_and_its_refusal_is_final() -> None:
    async def main() -> None:
        server = Recorder(answer(), answer(b"", "401 ", "WWW-Authenticate: Negotiate"), answer())
        async with serving(server) as endpoint, connected(endpoint, basic()) as transport:
            statuses = [r.status for r in [await transport.post(b"x") for _ in range(3)] if isinstance(r, Reply)]
        assert statuses == [200, 401, 200]
        assert server.authorizations == [BASIC] * 3

    run(main())


def test_steps_go_on_one_connection_with_the_same_body() -> None:
    async def main() -> None:
        server = Recorder(
            answer(b"", "401 ", "WWW-Authenticate: Negotiate TWO, Basic realm=x"),
            answer(b"done", "200 OK", "WWW-Authenticate: Negotiate FOUR"),
            answer(b"next"),
        )
        auth = Steps("Negotiate ONE", "Negotiate THREE")
        async with serving(server) as endpoint, connected(endpoint, auth) as transport:
            reply = await transport.post(b"body")
            assert reply == Reply(200, b"done", challenges=("Negotiate FOUR",))
            assert await transport.post(b"second") == Reply(200, b"next")
        assert server.authorizations == ["Negotiate ONE", "Negotiate THREE", None]
        assert [body for _, body in server.connections[0]] == [b"body", b"body", b"second"]
        assert auth.told == [("Negotiate TWO", "Basic realm=x"), ("Negotiate FOUR",)]

    run(main())


def test_refused_when_nothing_is_left_to_say() -> None:
    async def main() -> None:
        server = Recorder(*[answer(b"", "401 ", "WWW-Authenticate: Negotiate")] * 9)
        async with serving(server) as endpoint, connected(endpoint, Steps("A", "B")) as transport:
            assert await transport.post(b"x") == Reply(401, b"", challenges=("Negotiate",))
        assert server.authorizations == ["A", "B"]

    run(main())


def test_accepted_early_says_no_more() -> None:
    async def main() -> None:
        server = Recorder(answer(b"ok"), answer(b"ok"))
        async with serving(server) as endpoint, connected(endpoint, Steps("A", "B", "C")) as transport:
            assert await transport.post(b"x") == Reply(200, b"ok")
            assert await transport.post(b"x") == Reply(200, b"ok")
        assert server.authorizations == ["A", None]

    run(main())


def test_a_host_that_asks_for_ever_is_left() -> None:
    async def main() -> None:
        server = Recorder(*[answer(b"", "401 ", "WWW-Authenticate: Negotiate X")] * 999)
        async with serving(server) as endpoint, connected(endpoint, Steps(*["A"] * 999)) as transport:
            reply = await transport.post(b"x")
        assert isinstance(reply, Reply)
        assert reply.status == 401
        assert len(server.connections[0]) < 20

    run(main())


def test_context_that_gives_up() -> None:
    async def main() -> None:
        server = Recorder(answer(b"", "401 ", "WWW-Authenticate: Negotiate BAD"))
        auth = Steps("A", error=AuthenticationError("The host's token is not one."))
        async with serving(server) as endpoint, connected(endpoint, auth) as transport:
            with pytest.raises(AuthenticationError, match="token"):
                await transport.post(b"x")
            assert transport.closed
            assert isinstance(await transport.post(b"x"), NotSent)

    run(main())


def test_connection_closed_between_steps() -> None:
    async def main() -> None:
        server = Recorder(answer(b"", "401 ", "WWW-Authenticate: Negotiate TWO", "Connection: close"))
        async with serving(server) as endpoint, connected(endpoint, Steps("ONE", "THREE")) as transport:
            result = await transport.post(b"x")
        assert isinstance(result, NotSent)
        assert "in the middle of authentication" in result.error.message
        assert server.authorizations == ["ONE"]

    run(main())


SOAP = "application/soap+xml;charset=UTF-8"


def sealed(message: bytes, status: str = "200 OK") -> bytes:
    content_type, body = seal(Turned(), message)
    return answer(body, status, f"Content-Type: {content_type}")


def test_bodies_are_sealed_once_there_is_a_key() -> None:
    async def main() -> None:
        server = Recorder(
            answer(b"", "401 ", "WWW-Authenticate: Negotiate TWO"),
            answer(b"", "200 OK", "WWW-Authenticate: Negotiate FOUR"),
            sealed(b"first answer"),
            sealed(b"a fault", "500 "),
        )
        auth = Steps("Negotiate ONE", "Negotiate THREE", sealer=Turned())
        async with serving(server) as endpoint, connected(endpoint, auth, seals=True) as transport:
            assert await transport.post(b"first") == Reply(200, b"first answer", SOAP)
            assert await transport.post(b"second") == Reply(500, b"a fault", SOAP)
        assert server.authorizations == ["Negotiate ONE", "Negotiate THREE", None, None]
        bodies = [body for _, body in server.connections[0]]
        assert bodies[:2] == [b"", b""]
        assert [unseal(Turned(), body) for body in bodies[2:]] == [b"first", b"second"]
        kinds = [header(head, "Content-Type") for head, _ in server.connections[0]]
        assert kinds == [SOAP, SOAP, *[seal(Turned(), b"")[0]] * 2]

    run(main())


def test_what_comes_in_clear_is_a_status_and_no_more() -> None:
    async def main() -> None:
        for status, content in (("500 ", b"<s:Fault/>"), ("503 ", b"<html/>"), ("401 ", b""), ("400 ", b"x")):
            server = Recorder(answer(), answer(content, status, f"Content-Type: {SOAP}"))
            auth = Steps("ONE", sealer=Turned())
            async with serving(server) as endpoint, connected(endpoint, auth, seals=True) as transport:
                assert await transport.post(b"x") == Reply(int(status), b"", SOAP)

    run(main())


@pytest.mark.parametrize("forged", [answer(b"<Envelope/>"), sealed(b"<Envelope/>").replace(b"Length=11", b"Length=10")])
def test_an_answer_that_was_not_sealed_with_the_key_ends_the_connection(forged: bytes) -> None:
    async def main() -> None:
        server = Recorder(answer(), forged)
        async with serving(server) as endpoint, connected(endpoint, Steps("ONE", sealer=Turned()), seals=True) as t:
            with pytest.raises((ProtocolError, AssertionError)):
                await t.post(b"x")

    run(main())


def test_a_host_that_lost_the_keys_of_a_connection_has_read_nothing() -> None:
    async def main() -> None:
        server = Recorder(answer(), sealed(b"ok"), answer(b"", "400 "))
        auth = Steps("ONE", sealer=Turned())
        async with serving(server) as endpoint, connected(endpoint, auth, seals=True) as transport:
            assert await transport.post(b"x") == Reply(200, b"ok", SOAP)
            assert isinstance(await transport.post(b"y"), NotSent)
            assert transport.closed

    run(main())


def test_a_mechanism_that_cannot_seal_sends_nothing() -> None:
    async def main() -> None:
        server = Recorder(answer())
        async with serving(server) as endpoint, connected(endpoint, Steps("ONE"), seals=True) as transport:
            with pytest.raises(AuthenticationError, match="nothing can be encrypted"):
                await transport.post(b"secret")
        assert [body for _, body in server.connections[0]] == [b""]

    run(main())


def test_steps_that_wait_for_another_server_leave_the_loop_alone() -> None:
    async def main() -> None:
        server = Recorder(answer(b"", "401 ", "WWW-Authenticate: Negotiate X"), answer(b"ok"))
        auth = Steps("ONE", "TWO", waits=True)
        async with serving(server) as endpoint, connected(endpoint, auth) as transport:
            assert await transport.post(b"x") == Reply(200, b"ok")
        assert threading.get_ident() not in auth.threads
        assert len(auth.told) == 2

    run(main())


def test_a_mechanism_that_begins_anew_has_steps_for_each_request() -> None:
    async def main() -> None:
        server = Recorder(answer(b"", "401 ", "WWW-Authenticate: Digest nonce=1"), answer(b"a"), answer(b"b"))
        auth = Steps("", "Digest ONE")
        auth.anew = True
        async with serving(server) as endpoint, connected(endpoint, auth) as transport:
            assert await transport.post(b"x") == Reply(200, b"a")
            auth.values = ("Digest TWO",)
            assert await transport.post(b"y") == Reply(200, b"b")
        assert server.authorizations == [None, "Digest ONE", "Digest TWO"]

    run(main())
