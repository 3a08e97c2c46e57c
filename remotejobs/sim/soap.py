"""The server's side of a SOAP envelope: a request read, an answer written (DSP0226, MS-WSMV 2.2).

Knows namespaces, headers and what is wrong with a request before anybody acts on it. Must not know shells, sockets or
time. Elements are found by namespace, never by prefix.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from lxml import etree

from remotejobs.sim.wsman_faults import WsmanFault

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
ANONYMOUS: Final = f"{ADDRESSING}/role/anonymous"
TRANSFER: Final = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION: Final = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
WSMAN: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
WSMAN_MS: Final = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
SHELL: Final = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
POWERSHELL: Final = "http://schemas.microsoft.com/powershell"
CONFIG: Final = "http://schemas.microsoft.com/wbem/wsman/1/config"
IDENTITY: Final = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
IDENTITIES: Final = (IDENTITY, "http://schemas.dmtf.org/wbem/wsman/identify/1/wsmanidentity.xsd")  # pypsrp's spelling

OPERATIONS: Final = (
    *("Create", "Command", "Receive", "Send", "Signal", "Delete", "Get", "Enumerate"),
    *("Pull", "Release"),
    *("Disconnect", "Reconnect", "Connect", "Identify"),
)
"""What a host can be asked for."""

Element = etree._Element  # noqa: SLF001 - the only name that lxml has for it

_UNDERSTOOD: Final = {
    *(f"{{{ADDRESSING}}}{n}" for n in ("To", "Action", "MessageID", "ReplyTo", "FaultTo", "From", "RelatesTo")),
    *(f"{{{WSMAN}}}{n}" for n in ("ResourceURI", "MaxEnvelopeSize", "OperationTimeout", "Locale")),
    *(f"{{{WSMAN}}}{n}" for n in ("OptionSet", "SelectorSet")),
    *(f"{{{WSMAN_MS}}}{n}" for n in ("DataLocale", "SessionId", "OperationID", "SequenceId", "ActivityId")),
}
_MAX_HEADERS: Final = 64
_MIN_ENVELOPE_SIZE: Final = 8192
_DURATION = re.compile(r"P(?:(\d{1,6})D)?(?:T(?:(\d{1,8})H)?(?:(\d{1,8})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?")


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """One request, read and checked.

    Attributes:
        message_id: As written; the answer relates to it.
        action, resource_uri, to: URIs, empty where there are none.
        selectors: Values by name, in lower case.
        options: Values by name.
        must_comply: Names of the options that have to be known (MustComply).
        timeout: OperationTimeout in seconds, None where none is given.
        max_envelope_size: Bytes that the client takes, None where it does not say.
        session_id: The client's logical session, upper case, empty where it has none.
        client: The address that the request came from.
        body: The first element of the body, None where it is empty.
    """

    message_id: str
    action: str
    resource_uri: str
    to: str
    selectors: dict[str, str]
    options: dict[str, str]
    must_comply: tuple[str, ...]
    timeout: float | None
    max_envelope_size: int | None
    session_id: str
    client: str
    body: Element | None

    @property
    def operation(self) -> str:
        """The last word of the action, one of OPERATIONS or `Other`; Identify has no action."""
        name = self.action.rsplit("/", 1)[-1] if self.action else "Identify"
        return name if name in OPERATIONS else "Other"

    @property
    def machine(self) -> str:
        """The host as the client calls it, empty where that cannot be read."""
        try:
            return urlsplit(self.to).hostname or ""
        except ValueError:
            return ""


class BadRequest(Exception):  # noqa: N818 - it carries a fault, and the id that the fault must relate to
    """A request that nobody can act on.

    Args:
        fault: What the client is told.
        message_id: Its MessageID, empty where it could not be read.
    """

    def __init__(self, fault: WsmanFault, message_id: str = "") -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.message_id = message_id


def read_request(data: bytes, client: str) -> SoapRequest:
    """Read a request that came from the address `client`.

    Raises:
        BadRequest: It is not SOAP, or a header is missing, wrong or not understood.
    """
    root = _parse(data)
    header, body = root.find(f"{{{SOAP}}}Header"), root.find(f"{{{SOAP}}}Body")
    if header is None or body is None or len(header) > _MAX_HEADERS:
        raise BadRequest(WsmanFault(2150858791))
    content = body[0] if len(body) else None
    if content is not None and content.tag in {f"{{{namespace}}}Identify" for namespace in IDENTITIES}:
        return SoapRequest("", "", "", "", {}, {}, (), None, None, "", client, content)
    message_id = _text(header, ADDRESSING, "MessageID")
    try:
        return _checked(header, content, message_id, client)
    except WsmanFault as fault:
        raise BadRequest(fault, message_id) from None


def _parse(data: bytes) -> Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise BadRequest(WsmanFault(2150858819, "A document type declaration is not allowed."))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise BadRequest(WsmanFault(2150858819)) from None
    if root.tag != f"{{{SOAP}}}Envelope":
        raise BadRequest(WsmanFault(2150858791))
    return root


def _checked(header: Element, content: Element | None, message_id: str, client: str) -> SoapRequest:
    for element in header:
        must = (element.get(f"{{{SOAP}}}mustUnderstand") or "").strip().lower()
        if must in ("true", "1") and element.tag not in _UNDERSTOOD:
            raise WsmanFault(2150858768, f"The header {etree.QName(element).localname} is not understood.")
    action = _text(header, ADDRESSING, "Action")
    if not action or not message_id:
        raise WsmanFault(2150858769)
    timeout = _text(header, WSMAN, "OperationTimeout")
    options = header.findall(f"{{{WSMAN}}}OptionSet/{{{WSMAN}}}Option")
    return SoapRequest(
        message_id=message_id,
        action=action,
        resource_uri=_text(header, WSMAN, "ResourceURI"),
        to=_text(header, ADDRESSING, "To"),
        selectors=selectors(header.find(f"{{{WSMAN}}}SelectorSet")),
        options={option.get("Name", ""): (option.text or "").strip() for option in options},
        must_comply=tuple(o.get("Name", "") for o in options if o.get("MustComply", "").lower() in ("true", "1")),
        timeout=seconds(timeout) if timeout else None,
        max_envelope_size=_envelope_size(_text(header, WSMAN, "MaxEnvelopeSize")),
        session_id=_text(header, WSMAN_MS, "SessionId").upper(),
        client=client,
        body=content,
    )


def selectors(selector_set: Element | None) -> dict[str, str]:
    """Return the values of a SelectorSet by name in lower case.

    Raises:
        WsmanFault: A name is there twice.
    """
    found: dict[str, str] = {}
    for selector in () if selector_set is None else selector_set.iterfind(f"{{{WSMAN}}}Selector"):
        name = selector.get("Name", "").lower()
        if name in found:
            raise WsmanFault(2150858845, detail="DuplicateSelectors")
        found[name] = (selector.text or "").strip()
    return found


def seconds(text: str) -> float:
    """Read an xs:duration of days, hours, minutes and seconds.

    Raises:
        WsmanFault: It is something else; a negative duration is, too (recorded).
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise WsmanFault(2150858767)
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def duration(value: float) -> str:
    """Write a duration of seconds as the settings of a shell have it: `PT7200.000S`."""
    return f"PT{value:.3f}S"


def age(value: float) -> str:
    """Write an age of seconds as `rsp:ShellRunTime` has it: `P0DT0H1M2S`."""
    minutes, second = divmod(int(value), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"P{day}DT{hour}H{minute}M{second}S"


def _envelope_size(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,10}", text):
        raise WsmanFault(2150858767)
    size = int(text)
    if size < _MIN_ENVELOPE_SIZE:
        raise WsmanFault(2150858878)
    return size


def _text(header: Element, namespace: str, name: str) -> str:
    return (header.findtext(f"{{{namespace}}}{name}") or "").strip()


_HEAD: Final = (
    f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:x="{TRANSFER}" '
    f'xmlns:n="{ENUMERATION}" xmlns:w="{WSMAN}" xmlns:rsp="{SHELL}" xmlns:p="{WSMAN_MS}"><s:Header><a:Action>'
)


def envelope(action: str, body: str, relates_to: str, *, activity_id: bool = False) -> bytes:
    """Write an answer: `body` is XML in the prefixes s, a, x, n, w, rsp and p."""
    activity = f"<p:ActivityId>{new_id()}</p:ActivityId>" if activity_id else ""
    related = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        f"{_HEAD}{action}</a:Action><a:MessageID>uuid:{new_id()}</a:MessageID>{activity}<a:To>{ANONYMOUS}</a:To>"
        f"{related}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault_envelope(fault: WsmanFault, relates_to: str, machine: str, *, activity_id: bool = False) -> bytes:
    """Write a fault as an answer."""
    return envelope(fault.action, fault.render(machine), relates_to, activity_id=activity_id)


def new_id() -> str:
    """Return a fresh GUID as it stands on the wire: upper case."""
    return str(uuid.uuid4()).upper()
