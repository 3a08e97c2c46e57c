from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from remotejobs.errors import AuthenticationError
from remotejobs.ports import NotSent, Reply
from tests.transport.loopback import (
    BASIC,
    Recorder,
    answer,
    basic,
    connected,
    run,
    serving,
)


class Steps:
    """An authentication context that says `values` in turn and keeps what it is told."""

    mechanism = "Steps"
    every_request = False

    def __init__(self, *values: str, error: AuthenticationError | None = None) -> None:
        self.values, self.error = values, error
        self.told: list[tuple[str, ...]] = []

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:
        assert channel_binding is None
        for value in self.values:
            self.told.append(tuple((yield value)))
        if self.error is not None:
            raise self.error


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
