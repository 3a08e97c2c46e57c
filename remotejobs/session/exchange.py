"""One request, one answer: the only place where a WS-Man object and a Transport meet.

Knows HTTP statuses and what they mean for WinRM. Must not know phases, retries or jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    ProtocolError,
    RemoteJobsError,
    UnreachableError,
)
from remotejobs.ports import Lost, NotSent, Reply, Transport
from remotejobs.wsman.envelopes import Request, read_answer

T = TypeVar("T")
Reader = Callable[[bytes, str], T]


class AnswerLostError(UnreachableError):
    """The request may have arrived; its answer did not."""


async def ask(transport: Transport, request: Request, read: Reader[T]) -> T:
    """Post one request and read its answer.

    Args:
        transport: The connection.
        request: What is asked.
        read: Reads the body of an answer that is no refusal, and knows the id that it must relate to.

    Raises:
        RemoteJobsError: As read_reply() says.
    """
    message_id, posting = request.message_id, transport.post(request.data)
    del request  # thousands of hosts wait for the answer to Create at once, and none needs the question any more
    return read_reply(await posting, message_id, read)


def read_reply(reply: Reply | NotSent | Lost, message_id: str, read: Reader[T]) -> T:
    """Read what came of a request.

    Raises:
        AnswerLostError: It may have arrived.
        UnreachableError: It has not left, or something else than WinRM answered.
        AuthenticationError, AccessDeniedError: 401, 403.
        FaultError: The host's own refusal.
        ProtocolError: The answer cannot be read.
    """
    if isinstance(reply, Reply):
        if reply.status == 200:
            return read(reply.body, message_id)
        raise _refusal(reply, message_id)
    error = reply.error
    if isinstance(reply, NotSent) or isinstance(error, ProtocolError):
        raise error  # an answer that breaks the rules or our limits has come, and would come again
    raise AnswerLostError(error.message, error_id=error.error_id, **error.details)


def _refusal(reply: Reply, message_id: str) -> RemoteJobsError:
    """The error for an answer that is not 200: the SOAP fault in it where there is one."""
    status = reply.status
    if status == 401:
        return AuthenticationError(
            "The host refused the user name or password (HTTP 401). It is not tried again, so that the account is not "
            "locked out. Check the credential; that the mechanism is enabled on the host "
            f"({_offers(reply)}); with Basic, that the account is local to the host; with Kerberos, that the clocks of "
            "both are less than 5 minutes apart.",
            error_id="AccessDenied",
            status=status,
        )
    if status == 403:
        return AccessDeniedError(
            "The host refused the request (HTTP 403): the account has no right to remote shells there, or a filter "
            "stands in between.",
            error_id="AccessDenied",
            status=status,
        )
    if reply.body and "xml" in reply.content_type.lower():
        try:
            read_answer(reply.body, message_id)
        except ProtocolError as error:
            error.details["status"] = status
            return error
    words, error_id = _STATUSES.get(status, (f"The host answered HTTP {status}, which WinRM never does", ""))
    if status == 500 and not reply.body:
        words = (
            "The host answered HTTP 500 and gave no reason. Messages in clear text, which AllowUnencrypted sends over "
            "http, are refused so: here, leave it out and take Negotiate, Kerberos or CredSSP, which encrypt, or give "
            "-UseSSL, which Basic needs. Where nothing was sent in clear, its WinRM service has failed; on the host: "
            "Get-WinEvent Microsoft-Windows-WinRM/Operational -MaxEvents 20"
        )
    page = "; it sent a web page, so a proxy or another service may answer there" if _is_page(reply) else ""
    return UnreachableError(f"{words}{page}.", error_id=error_id, status=status, step="http")


_STATUSES: dict[int, tuple[str, str]] = {
    400: ("The host found the request malformed (HTTP 400)", ""),
    404: (
        "Nothing answers at this path (HTTP 404): give -ApplicationName, or the port is not WinRM's",
        "URLNotAvailable",
    ),
    407: ("A proxy demands a logon (HTTP 407); WinRM is reached without proxies", ""),
    413: ("The host found the request too large (HTTP 413)", ""),
    500: ("The host answered HTTP 500 without a WS-Man fault", "WinRMHttpError"),
    502: ("A gateway could not reach the host (HTTP 502)", "WinRMHttpError"),
    503: ("The WinRM service of the host is not ready (HTTP 503)", "CannotConnectWinRMService"),
    504: ("A gateway got no answer from the host (HTTP 504)", "WinRMHttpError"),
}


def _offers(reply: Reply) -> str:
    names = [c.split(None, 1)[0][:20] for c in reply.challenges[:8] if c.strip()]
    return f"it offers {', '.join(names)}" if names else "it offers none"


def _is_page(reply: Reply) -> bool:
    return "html" in reply.content_type.lower() or reply.body[:200].lstrip().lower().startswith(
        (b"<html", b"<!doctype")
    )
