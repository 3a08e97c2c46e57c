from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from remotejobs.errors import RemoteJobsError, UnreachableError
from remotejobs.model import Limits, SessionOption
from remotejobs.ports import Lost, NotSent, Reply
from remotejobs.transport.http import HttpTransport
from remotejobs.transport.names import Names
from remotejobs.transport.tls import ClientContext, TlsLayer, client_context
from tests.transport.loopback import answer, connected, echo, run, serving
from tests.transport.tls_host import CA, OTHER_CA, SKIP_ALL, client_pair, post_to, server_context


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def refused(server: ssl.SSLContext, option: SessionOption, server_name: str = "web01") -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        run(post_to(server, option, server_name))
    assert caught.value.details["step"] == "tls"
    assert caught.value.error_id == "12175"
    assert caught.value.message.startswith(f"{server_name}:")
    return caught.value


# verification


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_verified(ca_file: str, version: ssl.TLSVersion) -> None:
    server = server_context()
    server.minimum_version = server.maximum_version = version
    assert run(post_to(server, SessionOption(ca_file=ca_file))) == Reply(200, b"hello")


@pytest.mark.parametrize("name", ["10.1.2.3", "fd00::1", "web01.corp.local"])
def test_verified_by_address_or_wildcard(ca_file: str, name: str) -> None:
    server = server_context("10.1.2.3", "fd00::1", "*.corp.local")
    assert run(post_to(server, SessionOption(ca_file=ca_file), name)) == Reply(200, b"hello")


def test_another_name(ca_file: str) -> None:
    error = refused(server_context("web02", "web02.corp", "10.0.0.9"), SessionOption(ca_file=ca_file))
    assert "has a certificate for web02, web02.corp, 10.0.0.9, not for web01." in error.message
    assert "SkipCNCheck" in error.message
    assert error.details["reason"] == "name"
    assert error.details["expected"] == "web01"
    assert error.details["offered"] == ["web02", "web02.corp", "10.0.0.9"]


def test_unknown_issuer(ca_file: str) -> None:
    error = refused(server_context(ca=OTHER_CA), SessionOption(ca_file=ca_file))
    assert error.details["reason"] == "unknown-issuer"
    assert "CAFile" in error.message
    assert "SkipCACheck" in error.message


def test_expired(ca_file: str) -> None:
    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=9)
    error = refused(
        server_context(not_before=then, not_after=then + dt.timedelta(days=1)), SessionOption(ca_file=ca_file)
    )
    assert error.details["reason"] == "expired"


def test_not_valid_yet(ca_file: str) -> None:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(days=9)
    error = refused(
        server_context(not_before=then, not_after=then + dt.timedelta(days=1)), SessionOption(ca_file=ca_file)
    )
    assert error.details["reason"] == "not-yet-valid"


def test_skipping_the_issuer_still_compares_the_name() -> None:
    option = SessionOption(skip_ca_check=True)
    assert run(post_to(server_context("web01", ca=OTHER_CA), option)) == Reply(200, b"hello")
    assert refused(server_context("web02", ca=OTHER_CA), option).details["reason"] == "name"


def test_skipping_the_name_still_verifies_the_issuer(ca_file: str) -> None:
    option = SessionOption(ca_file=ca_file, skip_cn_check=True)
    assert run(post_to(server_context("web02"), option)) == Reply(200, b"hello")
    assert refused(server_context("web01", ca=OTHER_CA), option).details["reason"] == "unknown-issuer"


def test_skipping_both() -> None:
    assert run(post_to(server_context("web02", ca=OTHER_CA), SKIP_ALL)) == Reply(200, b"hello")


def test_nothing_is_sent_to_the_wrong_host(ca_file: str) -> None:
    async def main() -> None:
        got: list[bytes] = []

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.read())

        with pytest.raises(UnreachableError):
            await post_to(server_context("web02"), SessionOption(ca_file=ca_file), handler=handler)
        assert b"".join(got) == b""

    run(main())


def test_system_store_by_default() -> None:
    context = client_context(SessionOption())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.checks_name
    assert context.post_handshake_auth
    assert refused(server_context(), SessionOption()).details["reason"] == "unknown-issuer"


# what is no TLS, or no TLS that suits


def test_no_version_in_common() -> None:
    async def main() -> None:
        server = server_context()
        server.maximum_version = ssl.TLSVersion.TLSv1_2
        context = client_context(SKIP_ALL)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(UnreachableError, match="TLS version") as caught:
            await Peer(server).serve(answer(), context)
        assert caught.value.details["reason"] == "protocol-version"

    run(main())


@pytest.mark.parametrize(
    ("banner", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "speaks plain http. Leave out -UseSSL"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", r"not TLS, beginning with 'SSH-2.0-OpenSSH_9.6\r\n'"),
        (b"\0" * 100, r"beginning with '\x00\x00"),
    ],
)
def test_not_tls(banner: bytes, words: str) -> None:
    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(banner)
            await reader.read()

        async with serving(handler) as endpoint:
            with pytest.raises(UnreachableError) as caught:
                async with connected(replace(endpoint, ssl=True), tls=client_context(SKIP_ALL)):
                    pass
        assert words in caught.value.message
        assert caught.value.details["reason"] == "not-tls"

    run(main())


@pytest.mark.parametrize(
    "greeting", [b"\x16" + b"junk" * 100, b"\x15\x03\x03\0\x02\x02\x28", b"\x16\x03\x03\xff\xff" * 9]
)
def test_a_handshake_gone_wrong(greeting: bytes) -> None:
    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(greeting)
            await reader.read()

        async with serving(handler) as endpoint:
            with pytest.raises(UnreachableError) as caught:
                async with connected(replace(endpoint, ssl=True), tls=client_context(SKIP_ALL)):
                    pass
        assert caught.value.details["step"] == "tls"
        assert caught.value.message.isprintable()

    run(main())


@pytest.mark.parametrize("reset", [False, True])
def test_connection_closed_in_the_handshake(reset: bool) -> None:
    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not reset:  # else what was not read makes it a reset
                await reader.read(10_000)

        async with serving(handler) as endpoint:
            with pytest.raises(UnreachableError, match="in the TLS handshake") as caught:
                async with connected(replace(endpoint, ssl=True), tls=client_context(SKIP_ALL)):
                    pass
        assert caught.value.details["reason"] == "closed"

    run(main())


def test_cancelled_handshake_leaves_nothing_behind() -> None:
    async def main() -> None:
        greeted, gone = asyncio.Event(), asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10_000)
            greeted.set()
            await reader.read()
            gone.set()

        async with serving(handler) as endpoint:
            transport = HttpTransport(
                replace(endpoint, ssl=True), None, tls=client_context(SKIP_ALL), names=Names(), limits=Limits()
            )
            opening = asyncio.ensure_future(transport.open())
            await greeted.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert transport.closed
            await gone.wait()

    run(main())


# data


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_requests_and_answers(version: ssl.TLSVersion) -> None:
    async def main() -> None:
        server = server_context()
        server.minimum_version = server.maximum_version = version
        body = bytes(range(256)) * 4_000
        async with serving(echo, server) as endpoint, connected(endpoint, tls=client_context(SKIP_ALL)) as transport:
            for _ in range(3):
                reply = await transport.post(body)
                assert isinstance(reply, Reply)
                assert reply.body == body

    run(main())


def test_channel_binding_of_a_connection(ca_file: str) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = CA.issue_cert("web01")
        issued.configure_cert(context)
        certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        async with (
            serving(echo, context) as endpoint,
            connected(endpoint, tls=client_context(SessionOption(ca_file=ca_file)), server_name="web01") as t,
        ):
            expected = b"tls-server-end-point:" + certificate.fingerprint(hashes.SHA256())
            assert t.channel_binding() == expected
        async with serving(echo) as endpoint, connected(endpoint) as plain:
            assert plain.channel_binding() is None

    run(main())


def test_body_that_ends_with_close_notify() -> None:
    async def main() -> None:
        reply = await Peer(server_context()).serve(b"HTTP/1.0 200 OK\r\n\r\nto the end")
        assert reply == Reply(200, b"to the end")

    run(main())


def test_body_that_is_cut_off_is_not_complete() -> None:
    async def main() -> None:
        reply = await Peer(server_context()).serve(b"HTTP/1.0 200 OK\r\n\r\nto the e", close_notify=False)
        assert isinstance(reply, Lost)
        assert "in the middle of its answer" in reply.error.message

    run(main())


def test_the_end_of_tls_is_said_to_the_host() -> None:
    peer = Peer(server_context())
    assert run(peer.serve(answer(b"hello"), close_notify=False)) == Reply(200, b"hello")
    assert peer.tls.read() == b""  # where it is not said: SSLEOFError


def test_a_refusal_is_said_to_the_host(ca_file: str) -> None:
    peer = Peer(server_context(ca=OTHER_CA))
    with pytest.raises(UnreachableError):
        run(peer.serve(answer(), client_context(SessionOption(ca_file=ca_file))))
    assert peer.refused_by == "TLSV1_ALERT_UNKNOWN_CA"


def test_garbage_among_the_records_is_lost() -> None:
    async def main() -> None:
        reply = await Peer(server_context()).serve(
            answer(b"hello")[:-2], close_notify=False, then=b"\x17\x03\x03\x00\x20" + b"x" * 32
        )
        assert isinstance(reply, Lost)
        assert reply.error.details["step"] == "tls"

    run(main())


class Peer:
    """A TLS server by hand: it ends connections, and says why it refuses one, as asyncio's does not."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.refused_by: str | None = None

    async def serve(
        self,
        data: bytes,
        context: ClientContext | None = None,
        *,
        asks: bool = False,
        close_notify: bool = True,
        then: bytes = b"",
    ) -> Reply | NotSent | Lost:
        """Post to this server, which asks for a certificate or not, answers `data`, ends TLS in order or not, and sends
        `then` as it is.
        """

        done = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._until_done(self.tls.do_handshake, reader, writer)
                await self._until_done(self.tls.read, reader, writer)
                if asks:  # as http.sys does in TLS 1.3
                    self.tls.verify_client_post_handshake()
                    self.tls.do_handshake()
                    while self.tls.getpeercert(True) is None:
                        writer.write(self.outgoing.read())
                        self.incoming.write(await reader.read(100_000))
                        with contextlib.suppress(ssl.SSLWantReadError):
                            self.tls.read()
                self.tls.write(data)
                if close_notify:
                    self.tls.unwrap()
            except ssl.SSLError as error:  # unwrap would wait for the client
                self.refused_by = error.reason
            writer.write(self.outgoing.read() + then)
            writer.write_eof()
            self.incoming.write(await reader.read())
            self.incoming.write_eof()
            done.set()

        async with serving(handler) as endpoint:
            try:
                transport = connected(replace(endpoint, ssl=True), tls=context or client_context(SKIP_ALL))
                async with transport as connection:
                    return await connection.post(b"x")
            finally:
                await done.wait()

    async def _until_done(
        self, step: Callable[[], object], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                writer.write(self.outgoing.read())
                self.incoming.write(await reader.read(100_000))
            else:
                return


def test_layer_byte_by_byte() -> None:
    server_side = Peer(server_context())
    layer = TlsLayer(client_context(SKIP_ALL), "web01", "web01:5986")
    assert not layer.handshake(b"")
    complete = False
    for _ in range(4):
        server_side.incoming.write(layer.outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            server_side.tls.do_handshake()
        for byte in server_side.outgoing.read():
            if complete:
                assert list(layer.unseal(bytes([byte]))) == []
            else:
                complete = layer.handshake(bytes([byte]))
    assert complete
    server_side.incoming.write(layer.seal(b"ping"))
    assert server_side.tls.read() == b"ping"
    server_side.tls.write(b"pong")
    assert b"".join(c for b in server_side.outgoing.read() for c in layer.unseal(bytes([b]))) == b"pong"
    assert not layer.ended
    with pytest.raises(ssl.SSLWantReadError):
        server_side.tls.unwrap()
    assert list(layer.unseal(server_side.outgoing.read())) == []
    assert layer.ended


# client certificates


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_that_is_asked_for(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = server_context()
    server.minimum_version = server.maximum_version = version
    server.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(server)
    assert run(post_to(server, client_pair(tmp_path))) == Reply(200, b"hello")


def test_client_certificate_that_is_missing() -> None:
    server = server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(server)
    result = run(Peer(server).serve(answer()))  # in TLS 1.3 the client is done before the server refuses
    assert isinstance(result, Lost)
    assert result.error.details["step"] == "tls"
    assert "certificate required" in result.error.message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_that_is_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = server_context()
    server.minimum_version = server.maximum_version = version
    server.verify_mode = ssl.CERT_REQUIRED
    OTHER_CA.configure_trust(server)
    serving = Peer(server).serve(answer(), client_context(client_pair(tmp_path)))
    error: RemoteJobsError
    if version is ssl.TLSVersion.TLSv1_2:
        with pytest.raises(UnreachableError) as caught:
            run(serving)
        error = caught.value
    else:
        result = run(serving)
        assert isinstance(result, Lost)
        error = result.error
    assert error.details["reason"] == "client-certificate"
    assert "refused the client certificate (tlsv1 alert unknown ca)" in error.message


def test_client_certificate_that_is_asked_for_before_the_answer(tmp_path: Path) -> None:
    server = server_context()
    server.verify_mode = ssl.CERT_OPTIONAL
    server.post_handshake_auth = True
    CA.configure_trust(server)
    option = client_pair(tmp_path)
    peer = Peer(server)
    assert run(peer.serve(answer(b"hello"), client_context(option), asks=True)) == Reply(200, b"hello")
    assert option.certificate_file is not None
    assert peer.tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(Path(option.certificate_file).read_text())
