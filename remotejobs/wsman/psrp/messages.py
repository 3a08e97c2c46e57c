"""PSRP messages (MS-PSRP 2.2.1, 2.2.2): the 40-byte header and the messages that a client sends.

Knows what the server insists on, and sends just that. Must not know fragments, WS-Man or what an answer means. GUIDs
are in .NET byte order (`bytes_le`).
"""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any

from remotejobs.errors import ProtocolError, UsageError
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp.sessionkey import secret_names

PROTOCOL_VERSION = "2.3"
# 2.4 differs in how a SecureString is sent only; a server should not answer more than it was offered.
ACCEPTED_VERSIONS = ("2.1", "2.2", "2.3", "2.4")
_HEADER = Struct("<II16s16s")
_BOM = b"\xef\xbb\xbf"
_SERVER = 2
_NO_ID = bytes(16)


class MessageType(IntEnum):
    """Message types (MS-PSRP 2.2.1)."""

    SESSION_CAPABILITY = 0x00010002
    INIT_RUNSPACEPOOL = 0x00010004
    PUBLIC_KEY = 0x00010005
    ENCRYPTED_SESSION_KEY = 0x00010006
    PUBLIC_KEY_REQUEST = 0x00010007
    CONNECT_RUNSPACEPOOL = 0x00010008
    RUNSPACEPOOL_STATE = 0x00021005
    CREATE_PIPELINE = 0x00021006
    APPLICATION_PRIVATE_DATA = 0x00021009
    RUNSPACEPOOL_INIT_DATA = 0x0002100B
    RUNSPACEPOOL_HOST_CALL = 0x00021100
    RUNSPACEPOOL_HOST_RESPONSE = 0x00021101
    PIPELINE_INPUT = 0x00041002
    END_OF_PIPELINE_INPUT = 0x00041003
    PIPELINE_OUTPUT = 0x00041004
    ERROR_RECORD = 0x00041005
    PIPELINE_STATE = 0x00041006
    DEBUG_RECORD = 0x00041007
    VERBOSE_RECORD = 0x00041008
    WARNING_RECORD = 0x00041009
    PROGRESS_RECORD = 0x00041010
    INFORMATION_RECORD = 0x00041011
    PIPELINE_HOST_CALL = 0x00041100
    PIPELINE_HOST_RESPONSE = 0x00041101


def read_message(blob: bytes) -> tuple[int, bytes]:
    """Take a message apart: its type, which may be a number that nobody knows, and its CLIXML without the mark.

    The ids in it are not looked at: the stream that it came on says whose it is.
    """
    if len(blob) < 40:
        raise ProtocolError(f"A PSRP message of {len(blob)} bytes is shorter than its header.")
    start = 43 if blob.startswith(_BOM, 40) else 40
    return int.from_bytes(blob[4:8], "little"), blob[start:]


def write_message(kind: MessageType, pool: uuid.UUID, pipeline: uuid.UUID | None, data: bytes) -> bytes:
    """Put a message together."""
    pid = pipeline.bytes_le if pipeline else _NO_ID
    return _HEADER.pack(_SERVER, kind, pool.bytes_le, pid) + data


SESSION_CAPABILITY = (
    f'<Obj RefId="0"><MS><Version N="protocolversion">{PROTOCOL_VERSION}</Version><Version N="PSVersion">2.0</Version>'
    '<Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>'
).encode()

# An empty string in place of the limits of the pool: whatever they are (recorded).
CONNECT_RUNSPACEPOOL = b"<S/>"


def init_runspacepool() -> bytes:
    """INIT_RUNSPACEPOOL: one runspace, and a host, so that Write-Host works and prompts reach us to be refused."""
    return serialize(
        _members(
            MinRunspaces=1,
            MaxRunspaces=1,
            PSThreadOptions=_enum("System.Management.Automation.Runspaces.PSThreadOptions", "Default", 0),
            ApartmentState=_APARTMENT,
            HostInfo=_members(
                _isHostNull=False,
                _isHostUINull=False,
                _isHostRawUINull=False,
                _useRunspaceHost=False,
                # Without the defaults of its screen Write-Host fails on the server (NullReferenceException, 7.6.5).
                _hostDefaultData=_members(data={key: _members(T=kind, V=value) for key, kind, value in _SCREEN}),
            ),
            ApplicationArguments=None,
        )
    )


def create_pipeline(
    script: str,
    arguments: Sequence[Any] = (),
    parameters: Iterable[tuple[str, Any]] = (),
    *,
    using: Mapping[str, Any] | None = None,
    has_input: bool = False,
) -> bytes:
    """CREATE_PIPELINE with one script.

    Without the Merge properties of 2.2 and later it is right for every version: the server goes by their presence.
    SecureStrings are names of secrets, to be `filled` in for each host.

    Args:
        script: Its text.
        arguments: Positional.
        parameters: Named.
        using: Values of `$using:` expressions, by the text of each (psrp.using).
        has_input: Pipeline input will follow, and its end.

    Raises:
        UsageError: An argument that CLIXML cannot carry, or a SecureString that came from a host.
    """
    command = _members(
        Cmd=script,
        IsScript=True,
        UseLocalScope=None,
        # Three objects: one written three times would become references, which fewer servers have been seen to take.
        **{f"Merge{which}": _enum(_RESULT_TYPES, "None", 0) for which in ("MyResult", "ToResult", "PreviousResults")},
        Args=[_members(N=None, V=argument) for argument in arguments]
        + [_members(N=name, V=value) for name, value in (*parameters, *_using(using))],
    )
    data = serialize(
        _members(
            NoInput=not has_input,
            ApartmentState=_APARTMENT,
            RemoteStreamOptions=_enum("System.Management.Automation.RemoteStreamOptions", "0", 0),
            AddToHistory=False,
            HostInfo=_members(_isHostNull=True, _isHostUINull=True, _isHostRawUINull=True, _useRunspaceHost=True),
            PowerShell=_members(IsNested=False, Cmds=[command], History=None, RedirectShellErrorOutputPipe=True),
            IsNested=False,
        )
    )
    secret_names(data)
    return data


def pipeline_input(value: Any) -> bytes:
    """The payload of one PIPELINE_INPUT; `$null` is an empty one (recorded).

    Raises:
        UsageError: CLIXML cannot carry it, or it is a secret.
    """
    data = b"" if value is None else serialize(value)
    if secret_names(data):
        raise UsageError("A secret cannot be pipeline input: give it in argument_list or parameters.")
    return data


def _using(values: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """The parameter that no script can have, with a dictionary: how PowerShell 5 and later are told (recorded)."""
    if not values:
        return []
    keyed = {b64encode(text.encode("utf-16-le", "surrogatepass")).decode(): value for text, value in values.items()}
    return [("--%", PSObject(_DICTIONARY, base=keyed))]


def _members(**extended: Any) -> PSObject:
    return PSObject(extended=extended)


def _enum(name: str, text: str, value: int) -> PSObject:
    return PSObject(type_names=(name, "System.Enum", "System.ValueType", "System.Object"), to_string=text, base=value)


_SCREEN: tuple[tuple[int, str, Any], ...] = (
    (0, "System.ConsoleColor", 7),
    (1, "System.ConsoleColor", 0),
    (2, "System.Management.Automation.Host.Coordinates", _members(x=0, y=0)),
    (3, "System.Management.Automation.Host.Coordinates", _members(x=0, y=0)),
    (4, "System.Int32", 25),
    (5, "System.Management.Automation.Host.Size", _members(width=120, height=3000)),
    (6, "System.Management.Automation.Host.Size", _members(width=120, height=50)),
    (7, "System.Management.Automation.Host.Size", _members(width=120, height=50)),
    (8, "System.Management.Automation.Host.Size", _members(width=120, height=50)),
    (9, "System.String", "remotejobs"),
)
_DICTIONARY = ("System.Collections.Generic.Dictionary`2[[System.String],[System.Object]]", "System.Object")
_RESULT_TYPES = "System.Management.Automation.Runspaces.PipelineResultTypes"
_APARTMENT = _enum("System.Threading.ApartmentState", "Unknown", 2)
