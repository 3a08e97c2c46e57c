"""Servers on loopback that say byte for byte what a test wants, and what tests of connections share."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.tokens import BasicContext
from remotejobs.model import Endpoint, Limits
from remotejobs.ports import AuthContext
from remotejobs.transport.http import HttpTransport
from remotejobs.transport.names import Names
from remotejobs.transport.tls import ClientContext

T = TypeVar("T")
BASIC = "Basic YWRtaW46cMOkc3M="  # admin:päss
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; one that hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await main

    return asyncio.run(bounded())


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """A server that gives each connection to `handler`. An error of the handler's fails the test."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        except BaseException as error:
            failures.append(error)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], ssl=tls is not None)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)
    if failures:
        raise failures[0]


@asynccontextmanager
async def connected(
    endpoint: Endpoint,
    auth: AuthContext | None = None,
    *,
    tls: ClientContext | None = None,
    limits: Limits | None = None,
    server_name: str = "",
    seals: bool = False,
) -> AsyncIterator[HttpTransport]:
    """An open transport, closed at the end."""
    endpoint = replace(endpoint, server_name=server_name)
    transport = HttpTransport(endpoint, auth, tls=tls, names=Names(), limits=limits or Limits(), seals=seals)
    await transport.open()
    try:
        yield transport
    finally:
        transport.close()
        await settled()


async def settled() -> None:
    """Let callbacks that are due run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; `run` bounds the wait."""
    while not condition():
        await asyncio.sleep(0)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head, await reader.readexactly(length)


def header(head: bytes, name: str) -> str | None:
    """The value of one header of a request's head."""
    for line in head.decode("ascii").split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """A well-formed answer."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def saying(*blocks: bytes, reset: bool = False) -> Handler:
    """A handler that reads one request, sends `blocks`, and closes or resets the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for block in blocks:
            writer.write(block)
            await writer.drain()
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.close()
            await writer.wait_closed()

    return handle


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A handler that answers each request with its own body."""
    while True:
        _, body = await read_request(reader)
        writer.write(answer(body))
        await writer.drain()


class Recorder:
    """A handler that answers with `blocks` in turn and keeps the requests, connection by connection."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = list(blocks)
        self.connections: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[tuple[bytes, bytes]] = []
        self.connections.append(requests)
        while True:
            requests.append(await read_request(reader))
            writer.write(self.blocks.pop(0))
            await writer.drain()

    @property
    def authorizations(self) -> list[str | None]:
        (requests,) = self.connections
        return [header(head, "Authorization") for head, _ in requests]


def basic() -> BasicContext:
    return BasicContext(Credential("admin", Secret("päss")))
