from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from remotejobs.errors import LimitError, ProtocolError, UnreachableError
from remotejobs.model import Endpoint, Limits, SessionOption
from remotejobs.ports import Lost, NotSent, Reply
from remotejobs.transport.http import HttpTransport
from remotejobs.transport.names import Address, Names
from remotejobs.transport.tls import client_context
from tests.transport.loopback import (
    BASIC,
    Recorder,
    answer,
    basic,
    connected,
    echo,
    header,
    read_request,
    run,
    saying,
    serving,
    settled,
    until,
)


async def posted(handler: Callable[..., Awaitable[None]], limits: Limits | None = None) -> Reply | NotSent | Lost:
    """One post to a server that does `handler`; another connection to a good server goes on beside it."""
    async with (
        serving(handler) as bad,
        serving(echo) as good,
        connected(bad, limits=limits, server_name="web01") as transport,
        connected(good) as other,
    ):
        assert await other.post(b"before") == Reply(200, b"before")
        result = await transport.post(b"request")
        assert await other.post(b"after") == Reply(200, b"after")
        return result


def lost(result: Reply | NotSent | Lost) -> str:
    assert isinstance(result, Lost), result
    assert result.error.message.startswith("web01:")
    return result.error.message


# requests


def test_request_as_it_goes_out() -> None:
    async def main() -> None:
        server = Recorder(answer(b"one"), answer(b"two"))
        async with (
            serving(server) as endpoint,
            connected(endpoint, basic(), server_name="Web01.corp.local.") as transport,
        ):
            assert not transport.closed
            assert await transport.post(b"<a/>") == Reply(200, b"one")
            assert await transport.post(b"") == Reply(200, b"two")
        ((first, second),) = server.connections
        assert first == (
            b"POST /wsman HTTP/1.1\r\n"
            b"Host: Web01.corp.local:%d\r\n"
            b"User-Agent: remotejobs\r\n"
            b"Content-Type: application/soap+xml;charset=UTF-8\r\n"
            b"Accept-Encoding: identity\r\n"
            b"Connection: Keep-Alive\r\n"
            b"Authorization: %b\r\n"
            b"Content-Length: 4\r\n\r\n" % (endpoint.port, BASIC.encode()),
            b"<a/>",
        )
        assert second == (first[0].replace(b"Length: 4", b"Length: 0"), b"")

    run(main())


@pytest.mark.parametrize(
    ("path", "name", "line", "host"),
    [
        ("/wsman", "::1", "/wsman", "[::1]"),
        ("/wsman", "fe80::1%eth0", "/wsman", "[fe80::1]"),
        ("/PowerShell?PSVersion=5.1", "ex01", "/PowerShell?PSVersion=5.1", "ex01"),
        ("/my app/ü\r\nX: y", "müller", "/my%20app/%C3%BC%0D%0AX:%20y", "xn--mller-kva"),
    ],
)
def test_path_and_host_are_made_fit_for_a_head(path: str, name: str, line: str, host: str) -> None:
    async def main() -> None:
        server = Recorder(answer())
        async with serving(server) as at:
            endpoint = Endpoint(at.host, at.port, False, path)
            async with connected(endpoint, server_name=name) as transport:
                assert isinstance(await transport.post(b""), Reply)
        ((head, _),) = server.connections[0]
        assert head.startswith(f"POST {line} HTTP/1.1\r\n".encode())
        assert header(head, "Host") == f"{host}:{at.port}"

    run(main())


@pytest.mark.parametrize(
    "name", ["web 01", "a\r\nX: y", "a/b", "a@b", "a" * 64 + "ü", "a..ü", ".", "..", ".a", "a" * 64, "a." * 130, "a\0"]
)
def test_what_cannot_be_a_host_name(name: str) -> None:
    transport = HttpTransport(
        Endpoint("127.0.0.1", 9, False, server_name=name), None, tls=None, names=Names(), limits=Limits()
    )
    with pytest.raises(UnreachableError, match="cannot be a host name") as caught:
        run(transport.open())
    assert caught.value.details["step"] == "name"


def test_large_request_and_large_answer() -> None:
    async def main() -> None:
        body = os.urandom(3_000_000)
        async with serving(echo) as endpoint, connected(endpoint) as transport:
            for _ in range(2):
                reply = await transport.post(body)
                assert isinstance(reply, Reply)
                assert reply.body == body

    run(main())


def test_answer_byte_by_byte() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            for byte in answer(body, "200 OK", "Server: slow"):
                writer.write(bytes([byte]))
                await settled()

    async def main() -> None:
        async with serving(handler) as endpoint, connected(endpoint) as transport:
            assert await transport.post(b"trickle") == Reply(200, b"trickle")
            assert await transport.post(b"again") == Reply(200, b"again")

    run(main())


def test_one_request_at_a_time() -> None:
    async def main() -> None:
        async with serving(echo) as endpoint, connected(endpoint) as transport:
            first = asyncio.ensure_future(transport.post(b"1"))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one request"):
                await transport.post(b"2")
            assert await first == Reply(200, b"1")

    run(main())


# ends of connections


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ((), "without an answer"),
        ((b"HTTP/1.1 200",), "in the middle of its answer"),
        ((answer(b"hello")[:-1],), "in the middle of its answer"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",), "in the middle of its answer"),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_closed_or_reset_before_the_end_is_lost(blocks: tuple[bytes, ...], words: str, reset: bool) -> None:
    message = lost(run(posted(saying(*blocks, reset=reset))))
    # a reset may overtake the bytes before it
    assert words in message or (reset and "reset the connection" in message)


def test_half_closed_without_an_answer_is_lost() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write_eof()
        assert await reader.read() == b""  # the client closes its side

    assert "without an answer" in lost(run(posted(handler)))


def test_body_that_ends_with_the_connection() -> None:
    assert run(posted(saying(b"HTTP/1.0 200 OK\r\n\r\n", b"to the ", b"end"))) == Reply(200, b"to the end")


def test_body_that_ends_with_a_reset_is_lost() -> None:
    lost(run(posted(saying(b"HTTP/1.0 200 OK\r\n\r\n", b"to the end", reset=True))))


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000, LimitError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000, LimitError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 300_000, LimitError),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, LimitError),
    ],
)
def test_hostile_answer_is_lost_and_ends_the_connection(block: bytes, kind: type[ProtocolError]) -> None:
    async def main() -> None:
        async with (
            serving(saying(block)) as endpoint,
            connected(endpoint, limits=Limits(body_bytes=100_000), server_name="web01") as transport,
        ):
            result = await transport.post(b"x")
            lost(result)
            assert isinstance(result, Lost)
            assert type(result.error) is kind
            assert transport.closed
            assert await transport.post(b"x") == NotSent(result.error)

    run(main())


def test_junk_after_the_answer_keeps_the_answer_and_ends_the_connection() -> None:
    async def main() -> None:
        server = Recorder(answer(b"good") + answer(b"evil"))
        async with serving(server) as endpoint, connected(endpoint) as transport:
            assert await transport.post(b"x") == Reply(200, b"good")
            assert transport.closed
            assert isinstance(await transport.post(b"x"), NotSent)
        assert len(server.connections[0]) == 1

    run(main())


def test_idle_connection_that_ends_is_noticed() -> None:
    async def main() -> None:
        for handler, words in [
            (saying(answer(b"one")), "while it was idle"),
            (saying(answer(b"one", "200 OK", "Connection: close")), "after its last answer"),
        ]:
            async with serving(handler) as endpoint, connected(endpoint, server_name="web01") as transport:
                assert await transport.post(b"x") == Reply(200, b"one")
                await until(lambda: transport.closed)
                result = await transport.post(b"x")
                assert isinstance(result, NotSent)
                assert words in result.error.message

    run(main())


def test_idle_connection_that_is_spoken_to_is_dropped() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer(b"one"))
            await go.wait()
            writer.write(answer(b"evil"))
            assert await reader.read() == b""

        async with serving(handler) as endpoint, connected(endpoint, server_name="web01") as transport:
            assert await transport.post(b"x") == Reply(200, b"one")
            go.set()
            await until(lambda: transport.closed)
            result = await transport.post(b"x")
            assert isinstance(result, NotSent)
            assert "nobody asked for" in result.error.message

    run(main())


def test_cancelled_post_drops_the_connection() -> None:
    async def main() -> None:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            asked.set()
            await reader.read()
            gone.set()

        async with serving(handler) as endpoint, connected(endpoint) as transport:
            post = asyncio.ensure_future(transport.post(b"x"))
            await asked.wait()
            post.cancel()
            with pytest.raises(asyncio.CancelledError):
                await post
            assert transport.closed
            assert isinstance(await transport.post(b"x"), NotSent)
            await gone.wait()

    run(main())


def test_cancelled_when_the_answer_is_there_already() -> None:
    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with serving(handler) as endpoint, connected(endpoint) as transport:
            post = asyncio.ensure_future(transport.post(b"x"))
            await settled()
            data = answer(b"x")
            transport.get_buffer(-1)[: len(data)] = data
            transport.buffer_updated(len(data))  # within a task, so that the one who waits goes on later
            post.cancel()
            with pytest.raises(asyncio.CancelledError):
                await post
            assert transport.closed

    run(main())


def test_close_while_waiting_is_lost_and_may_be_repeated() -> None:
    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with serving(handler) as endpoint, connected(endpoint) as transport:
            post = asyncio.ensure_future(transport.post(b"x"))
            await settled()
            transport.close()
            transport.close()
            assert isinstance(await post, Lost)
            assert isinstance(await transport.post(b"x"), NotSent)

    run(main())


def test_before_it_is_open() -> None:
    async def main() -> None:
        transport = HttpTransport(Endpoint("127.0.0.1", 9, False), None, tls=None, names=Names(), limits=Limits())
        assert transport.closed
        result = await transport.post(b"x")
        assert isinstance(result, NotSent)
        assert "is not connected" in result.error.message
        transport.close()

    run(main())


def test_https_needs_a_context() -> None:
    with pytest.raises(ValueError, match="TLS context"):
        HttpTransport(Endpoint("web01", 5986, True), None, tls=None, names=Names(), limits=Limits())


# opening


def test_refused() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        endpoint = Endpoint("127.0.0.1", port, False, server_name="web01")
        transport = HttpTransport(endpoint, None, tls=None, names=Names(), limits=Limits())
        with pytest.raises(UnreachableError) as caught:
            await transport.open()
        error = caught.value
        assert error.message.startswith(f"web01:{port} (at 127.0.0.1) refused the connection")
        assert error.error_id == "CannotConnect"
        assert error.details == {"step": "tcp", "reason": "ECONNREFUSED"}
        assert transport.closed

    run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no descriptor limit to lower")
def test_out_of_descriptors() -> None:
    import resource

    async def main() -> None:
        transport = HttpTransport(
            Endpoint("127.0.0.1", 5985, False, server_name="web01"), None, tls=None, names=Names(), limits=Limits()
        )
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(UnreachableError) as caught:
                await transport.open()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.details["reason"] == errno.errorcode[errno.EMFILE]
        assert f"the limit is {lowest}" in caught.value.message
        assert "-ThrottleLimit" in caught.value.message

    run(main())


def test_cancelled_open() -> None:
    async def main() -> None:
        release = threading.Event()

        def look_up(host: str) -> list[Address]:
            release.wait()
            return []

        transport = HttpTransport(Endpoint("web01", 9, False), None, tls=None, names=Names(look_up), limits=Limits())
        opening = asyncio.ensure_future(transport.open())
        await settled()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert transport.closed
        release.set()

    run(main())


def test_addresses_that_nobody_answers_at_are_looked_up_again() -> None:
    async def main() -> None:
        async with serving(echo) as endpoint:
            with socket.create_server(("127.0.0.1", 0)) as sock:
                dead = sock.getsockname()[1]
            asked: list[str] = []

            def look_up(host: str) -> list[Address]:
                asked.append(host)
                return [Address(socket.AF_INET, ("127.0.0.1", 0))]

            names = Names(look_up)
            for port in (dead, endpoint.port, endpoint.port):
                transport = HttpTransport(Endpoint("web01", port, False), None, tls=None, names=names, limits=Limits())
                try:
                    await transport.open()
                    assert await transport.post(b"x") == Reply(200, b"x")
                except UnreachableError:
                    assert port == dead
                transport.close()
            await settled()
            assert asked == ["web01", "web01"]

    run(main())


def test_closed_while_it_opens() -> None:
    """A stop must end an attempt to connect at once, wherever it waits."""

    async def main() -> None:
        hanging = threading.Event()

        def look_up(host: str) -> list[Address]:
            hanging.wait(10)
            return []

        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        slow = Endpoint("no-such-name.invalid", 5985, False)
        mute = Endpoint("127.0.0.1", silent.getsockname()[1], True, server_name="web01")
        context = client_context(SessionOption())
        for endpoint, names in ((slow, Names(look_up)), (mute, Names())):
            transport = HttpTransport(
                endpoint, None, tls=context if endpoint.ssl else None, names=names, limits=Limits()
            )
            opening = asyncio.create_task(transport.open())
            for _ in range(20):
                await asyncio.sleep(0)
            assert not opening.done()
            transport.close()
            with pytest.raises(UnreachableError, match="closed here"):
                await opening
            assert isinstance(await transport.post(b""), NotSent)
        hanging.set()
        silent.close()
        await settled()

    run(main())
