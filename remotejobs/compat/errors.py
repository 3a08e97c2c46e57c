"""From what a library raises to our errors: the same for the same trouble, whichever engine met it.

Knows exceptions of requests, pypsrp and pywinrm by their attributes, and the answer that came before. Must not know
phases or how a child ends. No library's exception is chained to ours: their frames hold passwords and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

import requests.exceptions

from remotejobs.auth.challenges import offered
from remotejobs.auth.failures import explain
from remotejobs.auth.negotiate import not_offered
from remotejobs.compat.lines import Lines
from remotejobs.compat.peer import EngineJob
from remotejobs.errors import ProtocolError, RemoteJobsError, UnreachableError
from remotejobs.model import Target
from remotejobs.transport.failures import cut_off, reset
from remotejobs.wsman.envelopes import read_answer

_NEGOTIATED = ("negotiate", "kerberos", "ntlm")  # what the libraries understand by Negotiate
_OF_AUTHENTICATION = ("spnego", "gssapi", "krb5", "kerberos", "requests_kerberos", "requests_ntlm", "winrm.vendor")


def translated(error: Exception, job: EngineJob, target: Target, lines: Lines) -> RemoteJobsError:
    """An error of ours for what a library has raised.

    Args:
        error: What was raised.
        job, target: Where.
        lines: The connections that it happened on; they have the head of the last answer.
    """
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, RemoteJobsError):
            return each
    reply = lines.reply
    if reply.status == 401:
        schemes = [scheme.lower() for scheme in offered(reply.challenges)]
        mechanism = job.mechanism(target)
        if mechanism not in ("Basic", "Certificate") and schemes and not set(schemes) & set(_NEGOTIATED):
            return not_offered(lines.endpoint.server_name, "Negotiate", offered(reply.challenges))
    if reply.status not in (0, 200):
        kind = "application/soap+xml" if "multipart" in reply.content_type else reply.content_type  # it was sealed
        try:
            job.manners.read_reply(reply._replace(body=_text(chain).encode(), content_type=kind), "", read_answer)
        except RemoteJobsError as found:
            return found
    if any(type(each).__module__.startswith(_OF_AUTHENTICATION) for each in chain):
        return explain(error, job.mechanism(target), lines.endpoint.server_name)
    if any(isinstance(each, requests.exceptions.ReadTimeout) for each in chain):
        return UnreachableError(f"{lines.place} has not answered in time.", error_id="CannotConnect", step="answer")
    where = "in the middle of its answer" if reply.status else "without an answer"
    for each in reversed(chain):  # the first cause
        if isinstance(each, HTTPException) and not isinstance(each, RemoteDisconnected | IncompleteRead):
            return ProtocolError(f"{lines.place} answered with something that is not HTTP.")
        if isinstance(each, ConnectionError) and each.errno:
            return reset(lines.place, each, "before its answer was complete")
        if isinstance(each, OSError | IncompleteRead):  # those of requests are OSErrors too
            return cut_off(lines.place, f"closed the connection {where}")
    return ProtocolError(
        f"{job.library} could not read what {lines.place} sent ({type(error).__name__}). The native engine may."
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came of."""
    found: BaseException | None = error
    for _ in range(12):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _text(chain: list[BaseException]) -> str:
    """The body of a refusal, as both libraries keep it."""
    for each in chain:
        for name in ("response_text", "response"):
            text = getattr(each, name, None)
            if isinstance(text, str):
                return text
    return ""
