"""WS-Man requests out, answers in: SOAP envelopes as bytes, no I/O.

Knows the envelope (DSP0226, MS-WSMV 2.2.4), its namespaces and what a hostile answer looks like. Must not know shells,
PSRP, connections or time. A request's head is rendered once per host; a request is that head and a few short pieces.
"""

from __future__ import annotations

import random
import uuid
from typing import NamedTuple

from lxml import etree

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.faults import read_fault

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
WSMAN_MS = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
POWERSHELL = "http://schemas.microsoft.com/powershell"

# An element of an answer, for those who pass it on without looking inside.
Element = etree._Element  # noqa: SLF001 - the name that lxml gives it

# Windows 2008 R2 and OMI refuse to begin with more; later versions say 500 KiB once they have said who they are.
INITIAL_ENVELOPE_SIZE = 153600
LARGE_ENVELOPE_SIZE = 512000

_RELATES_TO = f"{{{ADDRESSING}}}RelatesTo"
_BODY = f"{{{SOAP}}}Body"
_ENVELOPE = f"{{{SOAP}}}Envelope"
_PROLOG = 4096
_FAULT = f"{{{SOAP}}}Fault"

_HEAD = (
    f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:w="{WSMAN}" xmlns:p="{WSMAN_MS}" xmlns:rsp="{SHELL}">'
    "<s:Header><a:To>{url}</a:To>"
    '<w:ResourceURI s:mustUnderstand="true">{resource}</w:ResourceURI>'
    f'<a:ReplyTo><a:Address s:mustUnderstand="true">{ADDRESSING}/role/anonymous</a:Address></a:ReplyTo>'
    '<w:MaxEnvelopeSize s:mustUnderstand="true">{size}</w:MaxEnvelopeSize>'
    '<w:Locale xml:lang={locale} s:mustUnderstand="false"/>'
    '<p:DataLocale xml:lang={data_locale} s:mustUnderstand="false"/>'
    '<p:SessionId s:mustUnderstand="false">uuid:{session}</p:SessionId>'
    "<w:OperationTimeout>PT{timeout:.3f}S</w:OperationTimeout>"
)


def escape(text: str) -> str:
    """Text for the content of an element. (xml.sax.saxutils has it too, and imports an HTTP client.)"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoteattr(text: str) -> str:
    """Text as the value of an attribute, quotes included."""
    text = escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    return f'"{text}"'


class Request(NamedTuple):
    """One request and the id that its answer must relate to."""

    message_id: str
    data: bytes


class Template:
    """What is the same in the requests of a job to one resource, on whatever host.

    Args:
        resource: The resource URI.
        operation_timeout: Seconds until the host must answer or say that it has nothing yet.
        locale, data_locale: Language tags; hosts answer in their own language where they do not know them.
    """

    __slots__ = ("after_session", "after_size", "after_url", "before_url")

    def __init__(
        self, resource: str, *, operation_timeout: float = 60.0, locale: str = "en-US", data_locale: str = "en-US"
    ) -> None:
        self.before_url, self.after_url, self.after_size, self.after_session = _HEAD.format(
            url="|",
            resource=escape(resource),
            size="|",
            session="|",
            timeout=operation_timeout,
            locale=quoteattr(locale),
            data_locale=quoteattr(data_locale),
        ).split("|")


class Requests:
    """The requests of one client session to one resource of one host.

    Args:
        template: What all hosts of a job share.
        url: The endpoint, for `To`.
        session_id: Constant for the life of the client's logical session (MS-WSMV `SessionId`).
    """

    __slots__ = ("_after_size", "_before_size", "_ids", "_made", "envelope_size")

    def __init__(self, template: Template, url: str, session_id: uuid.UUID) -> None:
        self._before_size = f"{template.before_url}{escape(url)}{template.after_url}"
        self._after_size = f"{template.after_size}{str(session_id).upper()}{template.after_session}"
        # One random number for the session and a count: as unique as a random number for each, at a tenth of the cost.
        number = f"{random.getrandbits(80):020X}"
        self._ids = f"uuid:{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:]}-"
        self._made = 0
        self.envelope_size = INITIAL_ENVELOPE_SIZE  # MaxEnvelopeSize in bytes; may be set anew at any time

    def request(self, action: str, body: str = "", *, selectors: str = "", options: str = "") -> Request:
        """Render one request.

        Args:
            action: The whole action URI.
            body: XML of the body, already escaped.
            selectors: What selector_set() gave.
            options: What option_set() gave.
        """
        self._made += 1
        message_id = f"{self._ids}{self._made:012X}"
        # Microsoft's OMI refuses a Delete whose OptionSet comes before its SelectorSet.
        data = (
            f"{self._before_size}{self.envelope_size}{self._after_size}"
            f'<a:Action s:mustUnderstand="true">{action}</a:Action><a:MessageID>{message_id}</a:MessageID>'
            f"{selectors}{options}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
        return Request(message_id, data.encode())

    @property
    def payload_size(self) -> int:
        """Bytes that fit one request as base64, whatever its action: the rest of the envelope is about 2 KiB."""
        head = len(self._before_size) + len(self._after_size)
        return (self.envelope_size - head - 1536) * 3 // 4


def selector_set(**selectors: str) -> str:
    """Render a `w:SelectorSet`."""
    inner = "".join(f"<w:Selector Name={quoteattr(k)}>{escape(v)}</w:Selector>" for k, v in selectors.items())
    return f"<w:SelectorSet>{inner}</w:SelectorSet>"


def option_set(*options: str) -> str:
    """Render a `w:OptionSet` of what option() gave."""
    return f'<w:OptionSet s:mustUnderstand="true">{"".join(options)}</w:OptionSet>'


def option(name: str, value: str, *, must_comply: bool = False) -> str:
    """Render one `w:Option`."""
    comply = ' MustComply="true"' if must_comply else ""
    return f"<w:Option Name={quoteattr(name)}{comply}>{escape(value)}</w:Option>"


# Shared: lxml locks it, and it keeps nothing of what it has parsed.
_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
)


def read_answer(data: bytes, message_id: str) -> Element:
    """Return the first element of an answer's body, or the empty body itself.

    Args:
        data: The answer.
        message_id: Of the request. Empty for one that had none (Identify, DSP0226 11): its answer names none either.

    Raises:
        FaultError: The answer is a fault.
        LimitError: The XML is nested or declared in a way that only an attack is.
        ProtocolError: It is not SOAP, or answers another request.
    """
    # A document type stands before the root element only; what hides one further on is found after reading.
    if data.find(b"<!DOCTYPE", 0, _PROLOG) >= 0:
        if _is_page(data):
            raise ProtocolError(f"The answer is not SOAP; {_looks_like(data)}.")
        raise _document_type()
    try:
        root = etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        raise ProtocolError(f"The answer is not XML ({_first_line(error)}); {_looks_like(data)}.") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _document_type()
    if root.tag != _ENVELOPE:
        raise ProtocolError(f"The answer is not a SOAP envelope; {_looks_like(data)}.")
    body = next(root.iterchildren(_BODY), None)
    if body is None:
        raise ProtocolError("The answer is a SOAP envelope without a body.")
    relates_to = next(root.iterdescendants(_RELATES_TO), None)
    # OMI leaves RelatesTo out of some faults; a wrong one is never right.
    if message_id and relates_to is not None and (relates_to.text or "").strip().upper() != message_id.upper():
        raise ProtocolError("The answer belongs to another request (wrong RelatesTo).")
    if len(body) and body[0].tag == _FAULT:
        raise read_fault(body[0])
    if message_id and relates_to is None:
        raise ProtocolError("The answer does not say which request it belongs to (no RelatesTo).")
    first: Element = body[0] if len(body) else body
    return first


def prefixes(data: bytes) -> dict[str | None, str]:
    """The namespace of each prefix that the root element of `data` binds; none where it is not XML."""
    try:
        root = etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError:
        return {}
    return dict(root.nsmap)


def _document_type() -> LimitError:
    return LimitError("The answer declares a document type, which WS-Man never does; it was not read.")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]


def _looks_like(data: bytes) -> str:
    if not data.strip():
        return "it is empty"
    if _is_page(data):
        return "it is a web page: a proxy or another service answers on this port"
    return "something else than WinRM answers on this port"


def _is_page(data: bytes) -> bool:
    return data[:512].lstrip().lower().startswith((b"<html", b"<!doctype html"))
