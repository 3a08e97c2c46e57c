"""WS-Man faults: what a host says when it will not, and what a client may do about it.

Knows the shapes of a fault (MS-WSMV 2.2.4.43, MSFT_WmiError, OMI's) and the code table. Must not know requests, retries
or time: it says what a code means, never waits.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import islice
from typing import NamedTuple

from lxml import etree

from remotejobs.errors import FaultError

_SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
_FAULT = "{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}"
_TEXT_LIMIT = 2000
_MOST_PIECES = 500  # of one message: faults are nested, and each is read with all that is inside


class Means(Enum):
    """What a fault code says about the request that it answers."""

    NOTHING_YET = auto()  # a long poll ran out: ask again
    GONE = auto()  # the shell or the command is not there
    LEFT = auto()  # the shell is there, disconnected: Reconnect or Connect first
    RETRY_OPEN = auto()  # opening may work later
    QUOTA = auto()  # too much of something: wait
    BUSY = auto()  # a previous Send is still being worked on
    DENIED = auto()  # no right to it
    LOGON = auto()  # the account cannot be used
    FINAL = auto()  # will not get better


class Meaning(NamedTuple):
    """A row of the code table: what it means, PowerShell's error id for it."""

    means: Means
    error_id: str = ""


_OPEN, _QUOTA, _GONE, _FINAL = Means.RETRY_OPEN, Means.QUOTA, Means.GONE, Means.FINAL
OPERATION_TIMED_OUT = 2150858793
UNEXPECTED_SELECTORS = 2150858843
# Another Receive waits for the same output.
CONCURRENCY = 2150858802
# Create is refused: a shell with this id is there.
SHELL_EXISTS = 2150859202
# Reconnect and Connect are refused: another client holds the shell, or the host still believes so.
IN_USE = 2150859213
HELD = frozenset({2150859206, IN_USE, 2150859216})

# Codes: wsmerror.h. Error ids: WSManTransportManager.cs. RETRY_OPEN: what PowerShell tries again when it opens.
CODES: dict[int, Meaning] = {
    5: Meaning(Means.DENIED, "AccessDenied"),
    14: Meaning(_QUOTA, "ServerOutOfMemory"),
    53: Meaning(_OPEN, "NetworkPathNotFound"),
    87: Meaning(_FINAL),
    109: Meaning(_GONE),
    170: Meaning(Means.BUSY),
    232: Meaning(_GONE),
    995: Meaning(_OPEN, "WinRMOperationAborted"),
    1115: Meaning(_OPEN, "ShutDownInProgress"),
    1223: Meaning(Means.LEFT),
    1311: Meaning(Means.LOGON, "AuthenticationFailed"),
    1312: Meaning(Means.LOGON, "AuthenticationFailed"),
    1326: Meaning(Means.LOGON, "LogonFailure"),
    1722: Meaning(_OPEN, "ImproperResponse"),
    1726: Meaning(_OPEN, "ImproperResponse"),
    2150858752: Meaning(_FINAL),
    2150858754: Meaning(_FINAL, "InvalidResourceUri"),
    2150858757: Meaning(_FINAL, "CorruptedWinRMConfig"),
    2150858770: Meaning(_OPEN, "CannotConnect"),
    OPERATION_TIMED_OUT: Meaning(Means.NOTHING_YET),
    2150858797: Meaning(_FINAL, "URIExceedsMaxAllowedSize"),
    CONCURRENCY: Meaning(_QUOTA),
    2150858811: Meaning(_FINAL, "InvalidResourceUri"),
    2150858815: Meaning(_QUOTA),
    UNEXPECTED_SELECTORS: Meaning(_GONE, "CannotConnectTargetSessionDoesNotExist"),
    2150859022: Meaning(Means.LOGON, "InvalidAuthentication"),
    2150859026: Meaning(_OPEN, "CannotConnectWinRMService"),
    2150859027: Meaning(_OPEN, "URLNotAvailable"),
    2150859046: Meaning(_OPEN, "WinRMOperationTimeout"),
    2150859082: Meaning(_GONE),
    2150859087: Meaning(_GONE),
    2150859120: Meaning(_OPEN, "WinRMHttpError"),
    2150859121: Meaning(_OPEN),
    2150859161: Meaning(_FINAL, "RedirectInformationRequired"),
    2150859173: Meaning(_QUOTA),
    2150859174: Meaning(_QUOTA),
    2150859175: Meaning(_QUOTA),
    2150859176: Meaning(_QUOTA),
    2150859179: Meaning(_QUOTA),
    2150859180: Meaning(Means.DENIED, "RemoteSessionDisallowed"),
    2150859193: Meaning(_FINAL, "ComputerNotFound"),
    SHELL_EXISTS: Meaning(_FINAL, "SessionCreateFailedInvalidName"),
    2150859204: Meaning(Means.LEFT),
    2150859206: Meaning(_OPEN, "CannotConnectMismatchSessions"),
    2150859212: Meaning(_GONE),
    IN_USE: Meaning(_FINAL, "CannotConnectAlreadyConnected"),
    2150859216: Meaning(_OPEN, "CannotConnectInvalidOperation"),
    2150859230: Meaning(Means.LEFT),
    2150859231: Meaning(_FINAL, "CannotConnectRunAsFailed"),
    2150859235: Meaning(Means.DENIED, "RemoteConnectionDisallowed"),
    2150859236: Meaning(_QUOTA),
    2150859237: Meaning(_QUOTA),
    2150859238: Meaning(_QUOTA),
    2150859239: Meaning(_QUOTA),
    2150859240: Meaning(_QUOTA),
    2150859241: Meaning(_QUOTA),
    2150859242: Meaning(_QUOTA),
    2152992672: Meaning(_FINAL, "IncorrectProtocolVersion"),
}

# Where a server gives no code (OMI): the subcode of the fault decides.
_SUBCODES: dict[str, int] = {
    "TimedOut": OPERATION_TIMED_OUT,
    "QuotaLimit": 2150858815,
    "AccessDenied": 5,
    "InvalidSelectors": UNEXPECTED_SELECTORS,
    "DestinationUnreachable": 2150858752,
    "Concurrency": CONCURRENCY,
}


def meaning(error: FaultError) -> Meaning:
    """Look a fault up: by its code, else by its subcode."""
    known = CODES.get(error.code)
    if known is None and not error.code:
        known = CODES.get(_SUBCODES.get(error.subcode, 0))
    return known or Meaning(_FINAL)


def normalise(code: int) -> int:
    """Fold the three ways to write a code into one: unsigned, and Win32 codes without their HRESULT dress."""
    code &= 0xFFFFFFFF
    return code & 0xFFFF if code >> 16 == 0x8007 else code


def read_fault(fault: etree._Element) -> FaultError:
    """Read an `s:Fault` element: WSManFault, a nested ProviderFault, MSFT_WmiError or bare SOAP.

    The host's own words go into the message, cut to a sane length and without control characters.
    """
    subcode = (fault.findtext(f"{_SOAP}Code/{_SOAP}Subcode/{_SOAP}Value") or "").rpartition(":")[2].strip()
    reason = _clean(fault.findtext(f"{_SOAP}Reason/{_SOAP}Text"))
    code, text = 0, ""
    # The innermost WSManFault is the cause; the outer one says only that a provider failed.
    for element in fault.iter(f"{_FAULT}WSManFault"):
        code = _number(element.get("Code")) or code
        text = _message(element) or text
    if not code:
        for element in fault.iter("{*}MSFT_WmiError"):
            code = _number(element.findtext("{*}error_Code")) or code
            text = _clean(element.findtext("{*}Message")) or text
            hint = element.findtext("{*}MessageID") or ""
            if not code and hint.upper().startswith("HRESULT 0X"):
                code = _number(hint.split()[1])
    code = normalise(code)
    words = text or reason or "The host gave no reason."
    error = FaultError(words, code=code, subcode=subcode)
    error.error_id = meaning(error).error_id or (str(code) if code else "")
    return error


def _message(element: etree._Element) -> str:
    message = element.find(f"{_FAULT}Message")
    if message is None:
        return ""
    provider = message.find(f"{_FAULT}ProviderFault")
    if provider is not None and provider.find(f"{_FAULT}WSManFault") is None:
        return _clean(
            "".join([str(text)[:_TEXT_LIMIT] for text in islice(provider.itertext(), _MOST_PIECES)])
        ) or _clean(message.text)
    return _clean(message.text)


def _clean(text: str | None) -> str:
    words = " ".join((text or "")[: 4 * _TEXT_LIMIT].split())[:_TEXT_LIMIT]
    return "".join([c for c in words if c.isprintable()])


def _number(text: str | None) -> int:
    try:
        return int((text or "0").strip()[:20], 0)
    except ValueError:
        return 0
