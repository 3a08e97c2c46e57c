"""What went wrong on the way to a host, in words: errors of sockets and of TLS become UnreachableError, once, here.

Knows what the system's and OpenSSL's errors mean and what to do about them. Must not know connections: it is given
an error and the place where it happened.
"""

from __future__ import annotations

import errno
import ssl
import sys

from remotejobs.errors import UnreachableError
from remotejobs.model import Endpoint

_SHOWN_BYTES = 40
_SHOWN_NAMES = 8

# PowerShell's ids: the WinRM client's "cannot connect", and WinHTTP's ERROR_WINHTTP_SECURE_FAILURE
_CANNOT_CONNECT, _SECURE_FAILURE = "CannotConnect", "12175"

_SYSTEM = {
    errno.ECONNREFUSED: "refused the connection: nothing listens there. Enable WinRM on it (Enable-PSRemoting, "
    "or winrm quickconfig), or give its port",
    errno.ECONNRESET: "reset the connection",
    errno.ECONNABORTED: "reset the connection",
    errno.EPIPE: "reset the connection",
    errno.ETIMEDOUT: "does not answer: it is off, or a firewall drops the packets",
    errno.EHOSTUNREACH: "cannot be reached: there is no route to it, or it is off",
    errno.ENETUNREACH: "cannot be reached: this computer has no route to its network",
    errno.EADDRNOTAVAIL: "cannot be reached: this computer has no address, or no free local port, for it",
    errno.EACCES: "cannot be reached: this computer's firewall forbids it",
    errno.EPERM: "cannot be reached: this computer's firewall forbids it",
}
# the same where Windows' overlapped sockets say it in numbers of its own
_WINDOWS = {121: errno.ETIMEDOUT, 1225: errno.ECONNREFUSED, 1231: errno.ENETUNREACH, 1232: errno.EHOSTUNREACH}

# X509_V_ERR_*: why OpenSSL does not trust a certificate
_EXPIRED, _NOT_YET_VALID, _UNKNOWN_ISSUER = 10, 9, (2, 18, 19, 20, 21)
# alerts about a certificate: from a server they are about ours
_CLIENT_CERTIFICATE = {
    "TLSV1_ALERT_UNKNOWN_CA",
    *(f"SSLV3_ALERT_{what}" for what in ("BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE")),
    *(f"SSLV3_ALERT_CERTIFICATE_{what}" for what in ("EXPIRED", "REVOKED", "UNKNOWN")),
}
_PROTOCOL_VERSION = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"}


def place_of(endpoint: Endpoint) -> str:
    """The host and port as messages name them, with the address where it is not the name."""
    name = endpoint.server_name or endpoint.host
    shown = f"[{name}]:{endpoint.port}" if ":" in name else f"{name}:{endpoint.port}"
    return shown if name == endpoint.host else f"{shown} (at {endpoint.host})"


def shown(data: bytes) -> str:
    """The begin of what a server sent, harmless on a terminal."""
    return ascii(data[:_SHOWN_BYTES].decode("latin-1")) + ("..." if len(data) > _SHOWN_BYTES else "")


def not_connected(place: str, error: OSError) -> UnreachableError:
    """The host could not be connected to, or this computer could not begin to."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UnreachableError(
            f"{place} was not tried: this process has no free descriptor for another connection{_descriptor_limit()}. "
            "Lower -ThrottleLimit, or raise the limit (ulimit -n).",
            error_id=_CANNOT_CONNECT,
            step="tcp",
            reason="EMFILE",
        )
    words = f"{place} {_system_words(error)}."
    return UnreachableError(words, error_id=_CANNOT_CONNECT, step="tcp", reason=_name(error))


def cut_off(place: str, why: str) -> UnreachableError:
    """The connection ended when it should not have: `why` follows the name of the host."""
    return UnreachableError(f"{place} {why}.", error_id=_CANNOT_CONNECT, step="http", reason="closed")


def reset(place: str, error: OSError, when: str) -> UnreachableError:
    """The system ended the connection: `when` closes the sentence."""
    words = f"{place} {_system_words(error)}, {when}."
    return UnreachableError(words, error_id=_CANNOT_CONNECT, step="http", reason=_name(error))


def not_tls(place: str, data: bytes) -> UnreachableError:
    """The server answers the TLS greeting in clear."""
    what = "plain http" if data.startswith(b"HTTP/") else f"something that is not TLS, beginning with {shown(data)}"
    return _tls(place, f"speaks {what}. Leave out -UseSSL, or give the https port (WinRM's is 5986)", "not-tls")


def no_handshake(place: str, error: OSError | None) -> UnreachableError:
    """The connection ended in the middle of the handshake."""
    return _tls(
        place,
        f"{'reset' if error else 'closed'} the connection in the TLS handshake. It may have no certificate for the "
        "port (winrm enumerate winrm/config/listener), or offer no protocol version that this computer accepts",
        "closed",
    )


def wrong_name(place: str, expected: str, offered: tuple[str, ...]) -> UnreachableError:
    """The certificate is another host's."""
    names = ", ".join(ascii(n)[1:-1] for n in offered[:_SHOWN_NAMES]) + (", ..." if len(offered) > _SHOWN_NAMES else "")
    error = _tls(
        place,
        f"has a certificate for {names or 'no name at all'}, not for {expected}. Use a name that it is for (the server "
        "list can give the address beside it), or -SessionOption SkipCNCheck=true",
        "name",
    )
    error.details.update(expected=expected, offered=list(offered[:_SHOWN_NAMES]))
    return error


def unreadable(place: str, error: ValueError) -> UnreachableError:
    """The certificate breaks its own rules."""
    return _tls(place, f"has a certificate whose names cannot be read ({error})", "certificate")


def handshake_error(place: str, error: ssl.SSLError) -> UnreachableError:
    """OpenSSL gave the handshake up, or the server did."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code, words = error.verify_code, error.verify_message
        if code == _EXPIRED:
            return _tls(place, "has a certificate that has expired. It must be renewed on the host", "expired")
        if code == _NOT_YET_VALID:
            return _tls(place, "has a certificate that is not valid yet. Check the clocks of both", "not-yet-valid")
        if code in _UNKNOWN_ISSUER:
            return _tls(
                place,
                f"has a certificate of an issuer that is not known here ({words}). Give the issuer's certificate with "
                "-SessionOption CAFile=issuer.pem, or SkipCACheck=true",
                "unknown-issuer",
            )
        return _tls(place, f"has a certificate that cannot be trusted ({words})", "certificate")
    if error.reason in _PROTOCOL_VERSION:
        return _tls(
            place,
            "offers no TLS version that this computer accepts (1.2 or later as a rule). Enable TLS 1.2 on the host",
            "protocol-version",
        )
    if error.reason in _CLIENT_CERTIFICATE:
        return _certificate_refused(place, error)
    return _tls(place, f"and this computer found no way to speak TLS ({_reason(error)})", "handshake")


def broken(place: str, error: ssl.SSLError) -> UnreachableError:
    """TLS failed on a connection that had been good; a refused client certificate shows here too (TLS 1.3)."""
    if error.reason in _CLIENT_CERTIFICATE:
        return _certificate_refused(place, error)
    return _tls(place, f"ended the TLS connection ({_reason(error)})", "tls")


def _certificate_refused(place: str, error: ssl.SSLError) -> UnreachableError:
    return _tls(
        place,
        f"refused the client certificate ({_reason(error)}). It must be in date, and the host must trust its issuer: "
        r"import that into Cert:\LocalMachine\Root there",
        "client-certificate",
    )


def _tls(place: str, words: str, reason: str) -> UnreachableError:
    return UnreachableError(f"{place} {words}.", error_id=_SECURE_FAILURE, step="tls", reason=reason)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _system_words(error: OSError) -> str:
    """What follows the name of a host: `refused the connection ...`."""
    return _SYSTEM.get(_number(error)) or f"cannot be reached: {error.strerror or error}"


def _number(error: OSError) -> int:
    if isinstance(error, TimeoutError):  # asyncio's has no number
        return errno.ETIMEDOUT
    return _WINDOWS.get(getattr(error, "winerror", 0) or 0) or error.errno or 0


def _name(error: OSError) -> str:
    """`ECONNREFUSED` and the like, empty where there is none."""
    return errno.errorcode.get(_number(error), "")


def _descriptor_limit() -> str:
    words = ""
    if sys.platform != "win32":
        import resource

        words = f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
    return words
