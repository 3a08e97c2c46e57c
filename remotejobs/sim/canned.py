"""Canned hosts: one conversation answered from prebuilt bytes, PSRP or a cmd shell's, cheap to measure clients with.

Knows how to find ids in a request and to put them into an answer, by bytes.find and bytes.replace: nothing is parsed.
Must not know hosts, faults or scripts: whatever is run, the same objects come, in every command with the same object
ids, as is fit for one command in a shell. Any number of connections is one host each.

    python -m remotejobs.sim.canned --objects 200 --latency 0.2 --ssl --ca-file ca.pem

prints `canned hosts listen on 127.0.0.1:PORT` once it does, and runs until it is ended. The account is sim, sim: by
Basic, or by NTLM, Kerberos (with --keytab) and CredSSP as any simulated host takes them, messages sealed or not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import uuid
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final, cast

from remotejobs.sim.accounts import Account
from remotejobs.sim.authentication import Authentication, Channel, Result, check
from remotejobs.sim.canned_answers import (
    COMMAND_MARK,
    MESSAGE_MARK,
    PIPELINE_MARK,
    POOL_MARK,
    SHELL_MARK,
    Answers,
    ids_text,
    prebuild,
)
from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.counters import Counters
from remotejobs.sim.listener import raise_file_limit
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.sealed import is_sealed
from remotejobs.sim.shells import HostSettings

_LOGON: Final = b64encode(b"sim:sim")
_POLL: Final = 20.0  # seconds that a Receive without an answer waits
_MAX_REQUEST: Final = 1 << 20
_NO_ID: Final = bytes(16)
_SOAP: Final = "application/soap+xml;charset=UTF-8"


class _Shell:
    """One shell: how much of the pool's messages and of each command's output has gone out.

    Args:
        pool_id: Of the runspace pool; empty for a cmd shell.
    """

    __slots__ = ("commands", "pool_id", "pool_sent")

    def __init__(self, pool_id: bytes = b"") -> None:
        self.pool_id = pool_id
        self.pool_sent = 0
        self.commands: dict[bytes, int] = {}


class CannedHosts:
    """What all connections share: the answers, and the shells by id.

    Args:
        answers: See prebuild().
        latency: Seconds by which each answer is held back.
        keytab: Keys of the hosts' service principals, for Kerberos.

    Raises:
        ConfigurationError: The keytab cannot be used.
    """

    def __init__(self, answers: Answers, latency: float = 0.0, keytab: Path | None = None) -> None:
        self.latency = latency
        mechanisms = ("Negotiate", "Kerberos", "CredSSP", "Basic")
        self.settings = HostSettings(authentication=mechanisms, keytab=keytab, allow_unencrypted=True)
        check(self.settings)
        self.account = Account(self.settings)
        self._answers = answers
        self._shells: dict[bytes, _Shell] = {}

    def answer(self, body: bytes) -> tuple[int, bytes, float]:
        """Return the answer to one envelope: HTTP status, envelope, and how many seconds it is held back."""
        at = body.find(b"Action")
        end = body.find(b"<", at)
        operation = body[body.rfind(b"/", at, end) + 1 : end]
        at = body.find(b":", body.find(b"MessageID")) - 4  # `uuid:`
        message_id = body[at : at + 41]
        simple = self._answers.simple.get(operation)
        if simple is not None:
            if operation == b"Delete":
                self._shells.pop(_after(body, b'"ShellId">'), None)
            return 200, simple.replace(MESSAGE_MARK, message_id, 1), self.latency
        status, text, delay = 200, self._answers.unknown, self.latency
        if operation == b"Create":
            text = self._create(body)
        else:
            shell = self._shells.get(_after(body, b'"ShellId">'))
            if operation == b"Command" and shell is not None:
                command_id = _after(body, b'CommandId="') if shell.pool_id else _new_id()
                shell.commands[command_id] = 0
                text = self._answers.command.replace(COMMAND_MARK, command_id)
            elif operation == b"Receive" and shell is not None:
                text = self._receive(shell, body)
        if text is self._answers.timed_out or text is self._answers.unknown:
            status = 500
            delay = _POLL if text is self._answers.timed_out else delay
        return status, text.replace(MESSAGE_MARK, message_id, 1), delay

    def _create(self, body: bytes) -> bytes:
        at = body.find(b"creationXml")
        if at < 0:
            shell_id = _new_id()
            self._shells[shell_id] = _Shell()
        else:
            shell_id = _after(body, b'ShellId="')
            at = body.find(b">", at) + 1
            self._shells[shell_id] = _Shell(b64decode(body[at : at + 64])[29:45])
        return self._answers.created.replace(SHELL_MARK, shell_id)

    def _receive(self, shell: _Shell, body: bytes) -> bytes:
        at = body.find(b"CommandId=")
        if at < 0:
            sent, shell.pool_sent = shell.pool_sent, shell.pool_sent + 1
            if sent >= len(self._answers.pool):
                return self._answers.timed_out
            ids = ids_text(MessageType.RUNSPACEPOOL_STATE, shell.pool_id, _NO_ID)
            return self._answers.pool[sent].replace(POOL_MARK, ids)
        command_id = body[at + 11 : at + 47]
        if not shell.pool_id:
            return self._answers.text.replace(COMMAND_MARK, command_id)
        sent = shell.commands.get(command_id, len(self._answers.batches))
        if sent >= len(self._answers.batches):
            return self._answers.unknown
        shell.commands[command_id] = sent + 1
        ids = ids_text(MessageType.PIPELINE_OUTPUT, shell.pool_id, uuid.UUID(command_id.decode("ascii")).bytes_le)
        return self._answers.batches[sent].replace(COMMAND_MARK, command_id).replace(PIPELINE_MARK, ids)


class CannedConnection(asyncio.Protocol):
    """One connection: requests are answered in order, each when its time has come."""

    def __init__(self, hosts: CannedHosts) -> None:
        self._hosts = hosts
        self._buffer = b""
        self._logon: Authentication | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:  # noqa: D102
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        head = buffer[:end].lower() if end > 0 else b""
        at = head.find(b"content-length:")
        if at < 0:
            self._keep(buffer)
            return
        stop = head.find(b"\r", at)
        length = int(head[at + 15 : stop if stop > 0 else end])
        if len(buffer) < end + 4 + length:
            self._keep(buffer)
            return
        self._buffer = buffer[end + 4 + length :]
        body = buffer[end + 4 : end + 4 + length]
        if _LOGON in buffer[:end]:
            status, text, delay = self._hosts.answer(body)
            answer = _http(status, text)
        else:
            answer, delay = self._negotiated(buffer[:end], body)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._write, answer)
        else:
            self._transport.write(answer)

    def _negotiated(self, head: bytes, body: bytes) -> tuple[bytes, float]:
        """Answer a request of a connection that has logged on, or does so with it."""
        logon = self._logon
        if logon is None:
            secure = self._transport.get_extra_info("sslcontext") is not None
            logon = Authentication(self._hosts.settings, self._hosts.account, Counters(), Channel(secure))
            self._logon = logon
        token, more = _header(head, b"authorization"), b""
        if token:
            result, value = logon.take(token)
            if result in (Result.CHALLENGE, Result.REFUSED):
                return _http(401, more=_challenges([value] if value else logon.challenges())), 0.0
            more = _challenges([value] if value else [])
            if not body:
                return _http(200, more=more), 0.0
        elif not logon.logged_on:
            return _http(401, more=_challenges(logon.challenges())), 0.0
        content_type, clear = _SOAP, body
        sealed = is_sealed(_header(head, b"content-type"))
        if sealed:
            opened = logon.unseal(body)
            if opened is None:
                return _http(400), 0.0
            clear = opened
        status, text, delay = self._hosts.answer(clear)
        if sealed:
            content_type, text = logon.seal(text)
        return _http(status, text, content_type, more), delay

    def _keep(self, buffer: bytes) -> None:
        self._buffer = buffer
        if len(buffer) > _MAX_REQUEST:
            self._transport.abort()

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _http(status: int, body: bytes = b"", content_type: str = _SOAP, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d \r\nContent-Type: %b\r\nServer: Microsoft-HTTPAPI/2.0\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        content_type.encode("ascii"),
        more,
        len(body),
        body,
    )


def _challenges(values: list[str]) -> bytes:
    return b"".join(b"WWW-Authenticate: %b\r\n" % value.encode("ascii") for value in values)


def _header(head: bytes, name: bytes) -> str:
    """The value of a header, empty where there is none."""
    at = head.lower().find(b"\r\n%b:" % name)
    if at < 0:
        return ""
    at += len(name) + 3
    end = head.find(b"\r", at)
    return head[at : end if end > 0 else len(head)].decode("latin-1").strip()


def _new_id() -> bytes:
    return str(uuid.uuid4()).upper().encode("ascii")


def _after(body: bytes, mark: bytes) -> bytes:
    at = body.find(mark) + len(mark)
    return body[at : at + 36]


async def serve(hosts: CannedHosts, port: int = 0, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen on loopback; the server's socket says on which port."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: CannedConnection(hosts), "127.0.0.1", port, ssl=tls, backlog=4096)


async def _run(hosts: CannedHosts, port: int, tls: ssl.SSLContext | None) -> None:
    server = await serve(hosts, port, tls)
    print(f"canned hosts listen on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _tls(pem: str | None, ca_file: str | None) -> ssl.SSLContext | None:
    if pem is None:
        return None
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context
    authority = CertificateAuthority()
    if ca_file:
        Path(ca_file).write_text(authority.pem, encoding="ascii")
    return authority.server_context("canned")


def main(words: list[str] | None = None) -> None:
    """Run canned hosts until ended."""
    parser = argparse.ArgumentParser(prog="python -m remotejobs.sim.canned", description="Canned hosts for benchmarks.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--objects", type=int, default=1, help="objects that a pipeline gives")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds by which each answer is held back")
    parser.add_argument("--pool-answers", type=int, choices=(1, 2), default=2, help="answers in which the pool opens")
    parser.add_argument("--keytab", type=Path, help="keys of the hosts' service principals, for Kerberos")
    parser.add_argument("--ssl", nargs="?", const="", metavar="PEM", help="https; a file with certificate and key")
    parser.add_argument("--ca-file", metavar="PEM", help="where the certificate of the authority is written")
    arguments = parser.parse_args(words)
    answers = prebuild(arguments.objects, pool_answers=arguments.pool_answers)
    hosts = CannedHosts(answers, arguments.latency, arguments.keytab)
    raise_file_limit(1 << 16)
    run: Any = asyncio.run
    with contextlib.suppress(ImportError):  # hosts must not be what a client waits for
        from uvloop import run
    with contextlib.suppress(KeyboardInterrupt):
        run(_run(hosts, arguments.port, _tls(arguments.ssl, arguments.ca_file)))


if __name__ == "__main__":
    main()
