"""The steps that need no credential: name, port, TLS, listener, mechanisms, clock, Identify.

Knows what to ask, and what an answer says. Must not know what helps (diagnoses), nor the order of the steps (doctor).
A step returns what it has found, or raises the error that ended it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from remotejobs.doctor import certificates
from remotejobs.doctor.diagnoses import About, diagnose, look_up
from remotejobs.doctor.findings import Finding
from remotejobs.doctor.patient import Patient, failed, not_tried, passed, warning
from remotejobs.doctor.probes import dialled, identify, speaks_tls, without_length, without_logon
from remotejobs.errors import ProtocolError, RemoteJobsError, UnreachableError
from remotejobs.ports import Reply
from remotejobs.session.exchange import read_reply
from remotejobs.transport.certificates import packed_address
from remotejobs.wsman.about import read_identity
from remotejobs.wsman.envelopes import read_answer

USUAL = (5985, 5986)  # WinRM's ports for http and https
KERBEROS_SKEW = 300.0  # seconds that Kerberos allows (RFC 4120 1.6)
_DAY = 86400.0
_SECOND_LOOK = 3.0  # seconds
_SOON = 14 * _DAY
_MOST_SHOWN = 8
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
# TLS that stands, but for the certificate: what is public can still be asked for.
_OF_THE_CERTIFICATE = ("expired", "not-yet-valid", "unknown-issuer", "certificate", "name")

# The schemes of WWW-Authenticate that a mechanism can use.
SCHEMES = {
    "Default": ("Negotiate",),
    "Negotiate": ("Negotiate",),
    "NegotiateWithImplicitCredential": ("Negotiate",),
    "Kerberos": ("Kerberos", "Negotiate"),
    "Credssp": ("CredSSP",),
    "Basic": ("Basic",),
    "Digest": ("Digest",),
}


def about(patient: Patient, **more: Any) -> About:
    """What the sentences of a diagnosis may name."""
    endpoint = patient.endpoint
    return About(
        patient.target.name, endpoint.host, endpoint.port, endpoint.ssl, patient.mechanism, patient.user, **more
    )


async def name(patient: Patient) -> Finding:
    """The name to its addresses, and the first of these back to a name."""
    endpoint, tools = patient.endpoint, patient.tools
    patient.addresses = await tools.names.addresses(endpoint.host, endpoint.port)
    shown = [str(address.sockaddr[0]) for address in patient.addresses]
    back = ""
    with contextlib.suppress(TimeoutError), tools.clock.timeout(_SECOND_LOOK):  # many networks have no reverse zone
        back = await tools.name_of(patient.addresses[0])
    text = ", ".join(shown[:_MOST_SHOWN])
    if endpoint.host != endpoint.server_name:
        text += f" (address of {endpoint.server_name} as given)"
    text += f", and back: {back}" if back else ", and back: no name"
    facts = {"addresses": shown, "reverse": back}
    if patient.kerberos and packed_address(endpoint.server_name):
        return failed(text, look_up(about(patient), "ip-address", error_id="CannotUseIPAddress"), **facts)
    if patient.kerberos and back and not _is_same(back, endpoint.server_name):
        return warning(text, look_up(about(patient), "reverse"), **facts)
    return passed(text, **facts)


def _is_same(one: str, other: str) -> bool:
    """The same name, one of them without its domain or not."""
    one, other = one.lower().rstrip("."), other.lower().rstrip(".")
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


async def port(patient: Patient) -> Finding:
    """TCP to one of the addresses; where it is refused, whether WinRM's other port is open."""
    endpoint = patient.endpoint
    began = patient.tools.clock.monotonic()
    try:
        async with dialled(endpoint, patient.addresses) as wire:
            milliseconds = 1000 * (patient.tools.clock.monotonic() - began)
            text = f"{wire.address}, port {endpoint.port}, in {milliseconds:.0f} ms"
            return passed(text, address=wire.address, port=endpoint.port, milliseconds=round(milliseconds, 1))
    except UnreachableError as error:
        if error.details.get("reason") != "ECONNREFUSED" or endpoint.port != USUAL[endpoint.ssl]:
            raise
        other = USUAL[not endpoint.ssl]
        addresses = [
            each._replace(sockaddr=(each.sockaddr[0], other, *each.sockaddr[2:])) for each in patient.addresses
        ]
        with contextlib.suppress(UnreachableError):
            async with dialled(dataclasses.replace(endpoint, port=other), addresses):
                text = f"{error.message} Its port {other} ({'http' if endpoint.ssl else 'https'}) is open."
                return failed(text, look_up(about(patient), "Port.other", error_id=error.error_id), open=other)
        raise


async def tls(patient: Patient) -> Finding:
    """The handshake, verified as by default; then, where only the certificate is at fault, what is in it."""
    if not patient.endpoint.ssl:
        return not_tried("http: nothing is encrypted by the transport.")
    error = None
    try:
        async with dialled(patient.endpoint, patient.addresses, patient.tools.strict) as wire:
            der, version = wire.peer()
    except UnreachableError as strict:
        if strict.details.get("reason") not in _OF_THE_CERTIFICATE:
            raise
        error = strict
        async with dialled(patient.endpoint, patient.addresses, patient.tools.lenient) as wire:
            der, version = wire.peer()
    try:
        certificate = certificates.read(der)
    except ValueError:
        text = f"{version}. {patient.place} has a certificate that cannot be read."
        return failed(text, look_up(about(patient), "tls"), version=version)
    now = patient.tools.clock.time()
    facts = {"version": version, "certificate": certificate.facts(), "verified": error is None}
    text = f"{version}, {_shown(certificate, now)}"
    if error is None:
        if certificate.not_after - now < _SOON:
            return warning(f"{text} It expires soon.", look_up(about(patient), "tls.expired"), **facts)
        return passed(text, **facts)
    facts["reason"] = error.details["reason"]
    offered = next((each for each in certificate.names if _SAFE_NAME.fullmatch(each)), "")
    diagnosis = diagnose("TLS", error, about(patient, offered=offered))
    if _is_skipped(patient, error):
        text += f" It is not verified here (-SessionOption); verified, it would be refused: {error.message}"
        return warning(text, diagnosis, **facts)
    return failed(f"{error.message} {text}", diagnosis, **facts)


def _is_skipped(patient: Patient, error: UnreachableError) -> bool:
    option = patient.tools.job.spec.session_option
    return option.skip_cn_check if error.details["reason"] == "name" else option.skip_ca_check


def _shown(certificate: certificates.Shown, now: float) -> str:
    names = ", ".join(certificate.names[:_MOST_SHOWN]) or "no name"
    issuer = "itself" if certificate.self_signed else certificate.issuer
    days = (certificate.not_after - now) / _DAY
    left = f"{days:.0f} days left" if days >= 0 else f"{-days:.0f} days ago"
    dates = f"valid from {_date(certificate.not_before)} until {_date(certificate.not_after)} ({left})"
    return f"certificate for {names}, issued by {issuer}, {dates}."


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "?"


async def listener(patient: Patient) -> Finding:
    """Whether what listens is WinRM: a POST without a length, then an empty one without a logon."""
    clock = patient.tools.clock
    try:
        async with dialled(patient.endpoint, patient.addresses, patient.tls) as wire:
            unsized = (await wire.ask(without_length(patient.endpoint))).reply
        async with dialled(patient.endpoint, patient.addresses, patient.tls) as wire:
            answer = await wire.ask(without_logon(patient.endpoint))
    except (UnreachableError, ProtocolError) as error:
        return await _no_http(patient, error)
    reply = patient.reply = answer.reply
    patient.date = (answer.date, clock.time())
    facts = {"status": reply.status, "server": answer.server, "length_required": unsized.status == 411}
    if reply.status == 401:
        proof = "HTTP 411 without a length, " if unsized.status == 411 else ""
        server = f" ({answer.server})" if answer.server else ""
        return passed(f"{proof}HTTP 401 without a logon{server}", **facts)
    if _is_page(reply):
        text = f"{patient.place} answers with a web page (HTTP {reply.status}), not as WinRM does."
        keys = [f"http.{reply.status}"] if reply.status in (404, 407, 503) else []
        return failed(text, look_up(about(patient), *keys, "Listener.page"), **facts)
    if reply.status == 200:
        # Some hosts ask for no logon before they have read what is wanted.
        text = "HTTP 200 to an empty request without a logon, which WinRM never answers"
        return warning(text, look_up(about(patient), "Listener.page"), **facts)
    try:
        read_reply(reply, "", read_answer)
    except RemoteJobsError as error:
        return failed(error.message, diagnose("Listener", error, about(patient)), **facts)
    raise AssertionError("an answer that is not 200 is an error")


async def _no_http(patient: Patient, error: RemoteJobsError) -> Finding:
    """There was no answer, or none in HTTP: what else may it be? http.sys only hangs up where TLS is wanted."""
    tls = error.details.get("reason") == "tls"
    if not patient.endpoint.ssl and isinstance(error, UnreachableError):
        with contextlib.suppress(TimeoutError), patient.tools.clock.timeout(_SECOND_LOOK):
            tls = await speaks_tls(patient.endpoint, patient.addresses, patient.tools.lenient)
    if tls:
        text = f"{patient.place} speaks TLS, and was asked in clear."
        return failed(text, look_up(about(patient), "Listener.tls", error_id=error.error_id))
    key = "Listener.protocol" if isinstance(error, ProtocolError) else ""
    return failed(error.message, look_up(about(patient), key, "http", error_id=error.error_id))


def _is_page(reply: Reply) -> bool:
    body = reply.body[:512].lstrip().lower()
    return "html" in reply.content_type.lower() or body.startswith((b"<html", b"<!doctype html"))


async def mechanisms(patient: Patient) -> Finding:
    """What the host offers, and whether the mechanism that was asked for is among it."""
    reply = patient.reply
    if reply is None or reply.status != 401:
        return not_tried("The host asked for no logon.")
    offered = list(dict.fromkeys(each.split(None, 1)[0][:20] for each in reply.challenges if each.strip()))[
        :_MOST_SHOWN
    ]
    offered = [ascii(each)[1:-1] for each in offered]
    text = ", ".join(offered) or "The host names none."
    wanted = SCHEMES.get(patient.mechanism, ())
    facts = {"offered": offered, "asked": patient.mechanism}
    if not offered or not wanted or {each.lower() for each in offered} & {each.lower() for each in wanted}:
        return passed(text, **facts)
    basic = ". Over http Basic needs AllowUnencrypted too" if wanted == ("Basic",) and not patient.endpoint.ssl else ""
    text = f"The host offers {text or 'none'}, not {wanted[0]}, which {patient.mechanism} needs{basic}."
    return failed(text, look_up(about(patient, scheme=wanted[0]), "not-offered", error_id="AccessDenied"), **facts)


async def clock(patient: Patient) -> Finding:
    """The host's clock by the Date of its answer, which has whole seconds, against ours."""
    stamp, ours = patient.date or ("", 0.0)
    try:
        theirs = parsedate_to_datetime(stamp)
        ahead = (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)).timestamp() + 0.5 - ours
    except (ValueError, OverflowError):
        return not_tried("The host's answers have no date.")
    way = "ahead of" if ahead > 0 else "behind"
    # half a second of the difference is the stamp's
    text = "the same as here" if abs(ahead) < 2 else f"{_length(abs(ahead))} {way} this computer's"
    facts = {"seconds_ahead": round(ahead, 1), "date": theirs.isoformat()}
    if abs(ahead) <= KERBEROS_SKEW:
        return passed(text, **facts)
    text = f"The host's clock is {text}; Kerberos allows 5 minutes."
    if patient.kerberos:
        return failed(text, look_up(about(patient), "clock"), **facts)
    return warning(text, look_up(about(patient), "clock/other"), **facts)


def _length(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{seconds} s" if seconds else ""]
    return " ".join(part for part in parts if part)


async def identity(patient: Patient) -> Finding:
    """Who the host is, as it tells everybody."""
    async with dialled(patient.endpoint, patient.addresses, patient.tls) as wire:
        reply = (await wire.ask(identify(patient.endpoint))).reply
    if reply.status == 401:
        return not_tried("The host tells nobody who it is without a logon.")
    found = read_reply(reply, "", read_identity)
    return passed(f"{found.vendor}, {found.version}", **found._asdict())
