"""WS-Man faults as a Windows host answers them: codes, subcodes, details and their XML.

Knows the table and the recorded shape. Must not know requests, shells or sockets. The codes are those of wsmerror.h,
decimal and unsigned, or plain Win32 ones; most texts are shortened.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

_ADDRESSING: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_FAULT: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
_ADDRESSING_FAULT: Final = f"{_ADDRESSING}/fault"
_ENUMERATION_FAULT: Final = "http://schemas.xmlsoap.org/ws/2004/08/enumeration/fault"
_DETAIL: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"
_WMI: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"

SHELL_PROVIDER: Final = ("Shell provider", r"%systemroot%\system32\WsmSvc.dll")
CMD_PROVIDER: Final = ("Shell cmd plugin", r"%systemroot%\system32\winrscmd.dll")


class _Kind(NamedTuple):
    subcode: str
    reason: str
    detail: str = ""
    receiver: bool = False
    action: str = _FAULT


_SELECTORS = (
    "The WS-Management service cannot process the request because the request contained invalid selectors for the "
    "resource. "
)
_QUOTA = "The WS-Management service cannot process the request. "

_KINDS: Final[dict[int, _Kind]] = {
    5: _Kind("w:AccessDenied", "Access is denied. "),
    87: _Kind("w:InvalidParameter", "The parameter is incorrect. ", "InvalidValue"),
    170: _Kind("w:Concurrency", "The requested resource is in use. "),
    995: _Kind(
        "w:InternalError",
        "The I/O operation has been aborted because of either a thread exit or an application request. ",
        receiver=True,
    ),
    1115: _Kind("w:InternalError", "A system shutdown is in progress. ", receiver=True),
    2147942402: _Kind("w:InternalError", "The system cannot find the file specified. ", receiver=True),
    2150858752: _Kind(
        "a:DestinationUnreachable", "The service cannot find the resource identified by the resource URI and selectors."
    ),
    2150858753: _Kind("a:ActionNotSupported", "The WS-Addressing action URI is invalid. ", action=_ADDRESSING_FAULT),
    2150858767: _Kind(
        "a:InvalidMessageInformationHeader",
        "The WS-Addressing header or the value of a header is not valid. ",
        action=_ADDRESSING_FAULT,
    ),
    2150858768: _Kind("", "A header that must be understood is not understood. ", action=_ADDRESSING_FAULT),
    2150858769: _Kind("a:MessageInformationHeaderRequired", "A required header is missing. ", action=_ADDRESSING_FAULT),
    2150858779: _Kind(
        "n:InvalidEnumerationContext",
        "The enumeration context is not valid: it is finished, forgotten or another one's. ",
        receiver=True,
        action=_ENUMERATION_FAULT,
    ),
    2150858791: _Kind("w:SchemaValidationError", "The SOAP envelope or its body is not valid. "),
    2150858793: _Kind(
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  ",
        receiver=True,
    ),
    2150858802: _Kind("w:Concurrency", "Another operation on the same resource is in progress. "),
    2150858809: _Kind("w:InvalidOptions", "One or more options are not valid. ", "NotSupported"),
    2150858811: _Kind(
        "a:DestinationUnreachable",
        "The resource URI is missing or is not known to this host. ",
        "InvalidResourceURI",
        action=_ADDRESSING_FAULT,
    ),
    2150858815: _Kind("w:QuotaLimit", f"{_QUOTA}A quota has been exceeded. "),
    2150858817: _Kind("w:SchemaValidationError", "The XML of the request does not match its schema. "),
    2150858818: _Kind("w:UnsupportedFeature", "The service does not support the feature that was asked for. "),
    2150858819: _Kind("w:SchemaValidationError", "The XML of the request is not valid. "),
    2150858824: _Kind(
        "w:EncodingLimit", "The request is longer than MaxEnvelopeSizekb allows. ", "MaxEnvelopeSizeExceeded"
    ),
    2150858842: _Kind("w:InvalidSelectors", _SELECTORS, "InsufficientSelectors"),
    2150858843: _Kind("w:InvalidSelectors", _SELECTORS, "UnexpectedSelectors"),
    2150858845: _Kind("w:InvalidSelectors", _SELECTORS, "InvalidValue"),
    2150858878: _Kind(
        "w:EncodingLimit", "MaxEnvelopeSize is less than the 8192 bytes that are needed. ", "MinimumEnvelopeLimit"
    ),
    2150859173: _Kind(
        "w:QuotaLimit",
        f"{_QUOTA}This user is allowed no more concurrent shells (MaxShellsPerUser). Close existing shells or raise "
        "the quota for this user. ",
    ),
    2150859174: _Kind(
        "w:QuotaLimit",
        f"{_QUOTA}The maximum number of concurrent operations for this user has been exceeded "
        "(MaxConcurrentOperationsPerUser). ",
    ),
    2150859200: _Kind("w:InvalidParameter", "The enumeration of commands needs a filter with a ShellId. "),
    2150859202: _Kind("w:InvalidSelectors", "A shell with this id or name cannot be created. ", "InvalidValue"),
    2150859204: _Kind("w:InvalidParameter", "The shell is disconnected; connect to it first. "),
    2150859206: _Kind("w:InvalidParameter", "The shell belongs to another client session. "),
    2150859213: _Kind("w:Concurrency", "The shell is in use by another client. "),
    2150859216: _Kind("w:InvalidParameter", "The shell cannot be connected in its present state. "),
    2150859230: _Kind(
        "w:InternalError", "The stream of the command was disconnected because its shell was. ", receiver=True
    ),
}
_OTHER: Final = _Kind("w:InternalError", "The WS-Management service cannot process the request. ", receiver=True)


class WsmanFault(Exception):  # noqa: N818 - the word of SOAP
    """What a host answers instead.

    Args:
        code: See the table; one that is not in it is an InternalError.
        message: The text of `f:Message`; None repeats the reason.
        detail: The last word of `w:FaultDetail`; None takes that of the table.
        provider: Name and path of the plugin that speaks (ProviderFault).
        nested: The provider's text is a WSManFault of its own (recorded for unknown shells).
        wmi: The detail is an MSFT_WmiError and no WSManFault, as newer hosts tell of quotas.
    """

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        detail: str | None = None,
        provider: tuple[str, str] | None = None,
        nested: bool = False,
        wmi: bool = False,
    ) -> None:
        self._kind = _KINDS.get(code, _OTHER)
        super().__init__(message or self._kind.reason)
        self.code = code
        self._message = message or self._kind.reason
        self._detail = self._kind.detail if detail is None else detail
        self._provider = provider
        self._nested = nested
        self._wmi = wmi

    @property
    def action(self) -> str:
        """The action of the answer."""
        return self._kind.action

    def render(self, machine: str) -> str:
        """Return `s:Fault` in the prefixes s, a, w and p; `machine` is how the client calls the host."""
        kind = self._kind
        value = "s:MustUnderstand" if self.code == 2150858768 else "s:Receiver" if kind.receiver else "s:Sender"
        subcode = "w:InternalError" if self._wmi else kind.subcode
        subcode = f"<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode>" if subcode else ""
        return (
            f"<s:Fault><s:Code><s:Value>{value}</s:Value>{subcode}</s:Code>"
            f'<s:Reason><s:Text xml:lang="en-US">{escape(kind.reason)}</s:Text></s:Reason>'
            f"<s:Detail>{self._wmi_error() if self._wmi else self._wsman_fault(machine)}</s:Detail></s:Fault>"
        )

    def _wsman_fault(self, machine: str) -> str:
        detail = f"<w:FaultDetail>{_DETAIL}{self._detail}</w:FaultDetail>" if self._detail else ""
        text = escape(self._message)
        if self._nested:
            text = self._element(machine, text)
        if self._provider:
            name, path = self._provider
            text = f"<f:ProviderFault provider={quoteattr(name)} path={quoteattr(path)}>{text}</f:ProviderFault>"
        return detail + self._element(machine, text)

    def _element(self, machine: str, content: str) -> str:
        return (
            '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
            f'Code="{self.code}" Machine={quoteattr(machine)}><f:Message>{content}</f:Message></f:WSManFault>'
        )

    def _wmi_error(self) -> str:
        text, number = escape(self._message), self.code
        return (
            '<p:MSFT_WmiError b:IsCIM_Error="true" xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd" '
            f'xmlns:p="{_WMI}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="p:MSFT_WmiError_Type">'
            '<p:CIMStatusCode xsi:type="cim:cimUnsignedInt" xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common">27'
            f'</p:CIMStatusCode><p:CIMStatusCodeDescription xsi:nil="true"/><p:ErrorSource xsi:nil="true"/>'
            f"<p:ErrorType>10</p:ErrorType><p:Message>{text}</p:Message><p:MessageID>HRESULT 0x{number:08x}"
            f'</p:MessageID><p:OtherErrorType xsi:nil="true"/><p:OwningEntity xsi:nil="true"/>'
            f"<p:PerceivedSeverity>0</p:PerceivedSeverity><p:ProbableCause>0</p:ProbableCause>"
            f"<p:error_Category>30</p:error_Category><p:error_Code>{number}</p:error_Code>"
            f"<p:error_Type>HRESULT</p:error_Type><p:error_WindowsErrorMessage>{text}</p:error_WindowsErrorMessage>"
            "</p:MSFT_WmiError>"
        )
