"""TLS over memory: the context of a job, the layer of one connection, and what its errors mean.

Knows ssl, certificates and the session options for them. Must not know sockets, asyncio or HTTP: bytes in, bytes out.

ssl.MemoryBIO in place of asyncio's own TLS, which holds 256 KiB of buffers for each connection.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from remotejobs.errors import ConfigurationError
from remotejobs.model import SessionOption
from remotejobs.transport.certificates import packed_address, read_certificate, server_end_point
from remotejobs.transport.failures import broken, handshake_error, not_tls, unreadable, wrong_name

T = TypeVar("T")

# what goes through the memory at a time: OpenSSL's buffers keep the size that they once had
_SLICE = 8 * 1024
_MOST_OF_RECORD = 16 * 1024
_FIRST_BYTES = (0x15, 0x16)  # alert, handshake: a TLS server begins with nothing else
_CERTIFICATE_SUFFIXES = {".pem", ".crt", ".cer"}


class ClientContext(ssl.SSLContext):
    """The TLS settings of one job. `checks_name`: compare the server's name with its certificate.

    `check_hostname` stays off: where OpenSSL compares the name, it refuses without saying which names the certificate
    has. TlsLayer does it after the handshake, before anything is sent, by the same rules.
    """

    checks_name: bool = True


def client_context(option: SessionOption) -> ClientContext:
    """The TLS context for all connections of a job: verified unless `option` says otherwise.

    Raises:
        ConfigurationError: A certificate or key file that cannot be used.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.checks_name = not option.skip_cn_check
    context.post_handshake_auth = True  # http.sys asks for a client certificate after the handshake
    if option.skip_ca_check:
        context.verify_mode = ssl.CERT_NONE
    elif option.ca_file or option.ca_path:
        # a certificate that was given counts as trusted, whether it signed itself or not
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        for path in _certificate_files(option):
            _trust(context, path)
    else:
        context.load_default_certs()
    if option.certificate_file:
        _present(context, option.certificate_file, option.certificate_key_file)
    elif option.certificate_key_file:
        raise ConfigurationError("CertificateKeyFile is given without CertificateFile.")
    return context


def _certificate_files(option: SessionOption) -> Iterator[Path]:
    if option.ca_file:
        yield Path(option.ca_file)
    if option.ca_path:
        folder = Path(option.ca_path)
        try:
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _CERTIFICATE_SUFFIXES)
        except OSError as error:
            raise ConfigurationError(f"CAPath {folder} cannot be read: {error.strerror}.", path=str(folder)) from None
        if not found:
            raise ConfigurationError(f"CAPath {folder} has no .pem, .crt or .cer file.", path=str(folder))
        yield from found


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        data = path.read_bytes()
        # Windows exports certificates as DER
        context.load_verify_locations(cadata=data.decode("ascii", "replace") if b"-----BEGIN" in data else data)
    except OSError as error:  # ssl.SSLError is one
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"The CA file {path} cannot be used: {why}.", path=str(path)) from None


def _present(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    def no_password() -> NoReturn:
        # else OpenSSL would ask at the terminal
        raise ConfigurationError(f"The key in {key or certificate} is encrypted: give one without a passphrase.")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except OSError as error:
        why = "they are not a certificate and its key" if isinstance(error, ssl.SSLError) else error.strerror
        files = certificate if key is None else f"{certificate} and {key}"
        raise ConfigurationError(f"The client certificate {files} cannot be used: {why}.", path=certificate) from None


class TlsLayer:
    """TLS of one connection, between bytes on the wire and bytes of HTTP.

    After each call send what `outgoing` gives.

    Args:
        context: The job's.
        server_name: For the certificate and for SNI (which has no IP literals): in ASCII.
        place: The host and port as messages name them.
    """

    __slots__ = ("_answered", "_checks_name", "_incoming", "_name", "_outgoing", "_place", "_tls", "ended")

    def __init__(self, context: ClientContext, server_name: str, place: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._checks_name, self._name, self._place = context.checks_name, server_name, place
        indicated = None if packed_address(server_name) else server_name
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=indicated)
        self._answered = False
        self.ended = False  # the server has said that nothing follows (close_notify)

    def handshake(self, data: bytes | memoryview) -> bool:
        """Take `data` of the wire (none to begin); True when the handshake is complete and the server is the one.

        Raises:
            UnreachableError: With `details["step"] == "tls"` and a `reason`.
        """
        if data and not self._answered:
            self._answered = True
            if data[0] not in _FIRST_BYTES:
                raise not_tls(self._place, bytes(data))
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise handshake_error(self._place, error) from None
        if self._checks_name:
            self._check_name()
        return True

    def unseal(self, data: bytes | memoryview) -> Iterator[bytes]:
        """The clear bytes in `data` of the wire; sets `ended` where the server says so.

        Raises:
            UnreachableError: The server broke TLS, or sent an alert.
        """
        view = memoryview(data)
        for at in range(0, len(view), _SLICE):
            self._incoming.write(view[at : at + _SLICE])
            try:
                while not self.ended:
                    clear = self._tls.read(_MOST_OF_RECORD)
                    if clear:
                        yield clear
                    else:
                        self.ended = True
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                raise broken(self._place, error) from None

    def seal(self, data: bytes) -> bytes:
        """`data` as it goes on the wire.

        Raises:
            UnreachableError: The server does not let us write.
        """
        view = memoryview(data)
        sealed = []
        try:
            for at in range(0, len(view), _SLICE):
                self._tls.write(view[at : at + _SLICE])
                sealed.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise broken(self._place, error) from None
        return b"".join(sealed)

    def outgoing(self) -> bytes:
        """What TLS itself has to send."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> bytes:
        """Say that nothing follows: what is to be sent for it."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # it waits for the server's answer, which nobody reads
            self._tls.unwrap()
        return self.outgoing()

    def peer(self) -> tuple[bytes, str]:
        """The server's certificate (DER) and the version of the protocol, as `TLSv1.3`, once the handshake is done."""
        return self._tls.getpeercert(True) or b"", self._tls.version() or ""

    def channel_binding(self) -> bytes:
        """`tls-server-end-point` of RFC 5929: application data for GSS.

        Raises:
            UnreachableError: The certificate cannot be read.
        """
        return self._of_certificate(server_end_point)

    def _of_certificate(self, read: Callable[[bytes], T]) -> T:
        try:
            return read(self._tls.getpeercert(True) or b"")
        except ValueError as error:
            raise unreadable(self._place, error) from None

    def _check_name(self) -> None:
        certificate = self._of_certificate(read_certificate)
        if not certificate.matches(self._name):
            raise wrong_name(self._place, self._name, certificate.names)
