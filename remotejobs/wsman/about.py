"""What a host says of itself: Identify (DSP0226 11), and the settings of its WinRM service (winrm/config).

Knows the two requests and their answers. Must not know connections. What a host says is cut to sane lengths and counts.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from remotejobs.errors import ProtocolError
from remotejobs.wsman.envelopes import SOAP, TRANSFER, Element, Request, Requests, read_answer

IDENTITY = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
# The header of a request that needs no logon.
WITHOUT_LOGON = "WSMANIDENTIFY: unauthenticated"

_TEXT_LIMIT = 256
_MAX_SETTINGS = 200
_MAX_ELEMENTS = 2000  # each costs as much as it is deep
_ENVELOPE = (
    f'<s:Envelope xmlns:s="{SOAP}" xmlns:wsmid="{IDENTITY}"><s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>'
)
# Identify has no addressing, hence no id.
IDENTIFY = Request("", _ENVELOPE.encode())


class Identity(NamedTuple):
    """What Test-WSMan shows; empty where the host says nothing.

    Attributes:
        vendor: `Microsoft Corporation`.
        version: `OS: 10.0.20348 SP: 0.0 Stack: 3.0`; Windows says `OS: 0.0.0` to those who are not logged on.
        protocol: The URI of WS-Man's version.
    """

    vendor: str
    version: str
    protocol: str


def read_identity(data: bytes, message_id: str) -> Identity:
    """Read the answer to IDENTIFY.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it identifies nobody.
    """
    answer = read_answer(data, message_id)
    # OMI puts the answer's own element into SOAP's namespace.
    if answer.tag.rpartition("}")[2] != "IdentifyResponse":
        raise ProtocolError("The answer to Identify is not an IdentifyResponse.")
    vendor, version, protocol = (
        _text(answer.find(f"{{*}}{name}")) for name in ("ProductVendor", "ProductVersion", "ProtocolVersion")
    )
    return Identity(vendor, version, protocol)


def get_config(requests: Requests) -> Request:
    """Ask for the service's settings; `requests` are to CONFIG. Windows gives them to administrators."""
    return requests.request(f"{TRANSFER}/Get")


def read_config(data: bytes, message_id: str) -> dict[str, str]:
    """Read the answer to get_config(): settings by their path, as `Service/Auth/Basic`.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it holds no settings.
    """
    answer = read_answer(data, message_id)
    if answer.tag != f"{{{CONFIG}}}Config":
        raise ProtocolError("The answer to Get is not winrm/config.")
    settings: dict[str, str] = {}
    for element in islice(answer.iter(f"{{{CONFIG}}}*"), _MAX_ELEMENTS):
        if not len(element) and len(settings) < _MAX_SETTINGS:
            path = [
                each.tag.rpartition("}")[2] for each in element.iterancestors() if each.tag.startswith("{" + CONFIG)
            ]
            names = [*reversed(path), element.tag.rpartition("}")[2]]
            settings["/".join(names[1:])[:_TEXT_LIMIT]] = _text(element)
    return settings


def _text(element: Element | None) -> str:
    words = "" if element is None else (element.text or "").strip()[:_TEXT_LIMIT]
    return "".join([c if c.isprintable() else " " for c in words])
