"""PSRP messages (MS-PSRP 2.2.1, 2.2.2): the 40-byte header and the messages that a client sends.

Knows what the server insists on, and sends just that and what it is asked to. Must not know fragments, WS-Man or what
an answer means. GUIDs are in .NET byte order (`bytes_le`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import IntEnum
from itertools import pairwise
from struct import Struct
from typing import Any

from remotejobs.errors import ProtocolError, UsageError
from remotejobs.model import (
    APARTMENT_STATES,
    MERGEABLE,
    HostInfo,
    InvocationSettings,
    PipelineCommand,
    RemoteStreamOptions,
    ScriptCommand,
    Stream,
)
from remotejobs.wsman.clixml.values import BigInteger, PSObject
from remotejobs.wsman.clixml.write import MAX_DEPTH, serialize
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

_RESULT_TYPES = "System.Management.Automation.Runspaces.PipelineResultTypes"
_NONE, _OUTPUT, _ERROR, _PREVIOUS = ("None", 0), ("Output", 1), ("Error", 2), ("Warning", 3)
_PRIMITIVES = (
    "System.Management.Automation.PSPrimitiveDictionary",
    "System.Collections.Hashtable",
    "System.Object",
)
_DEFAULT = InvocationSettings()


def init_runspacepool(settings: InvocationSettings = _DEFAULT) -> bytes:
    """INIT_RUNSPACEPOOL: one runspace, and the host that its scripts are told of.

    Raises:
        UsageError: Application arguments that CLIXML cannot carry, or a secret among them.
    """
    init = _members(
        MinRunspaces=1,
        MaxRunspaces=1,
        PSThreadOptions=_enum("System.Management.Automation.Runspaces.PSThreadOptions", "Default", 0),
        ApartmentState=_apartment(settings),
        HostInfo=_host(settings.host),
        ApplicationArguments=None,
    )
    try:
        init.extended["ApplicationArguments"] = _primitives(settings.application_arguments)
        data = serialize(init)
    except UsageError as error:
        raise UsageError(f"application_arguments: {error.message}", error_id=error.error_id) from None
    if secret_names(data):
        raise UsageError("A secret cannot be an application argument: give it in argument_list or parameters.")
    return data


def create_pipeline(command: ScriptCommand, settings: InvocationSettings = _DEFAULT) -> bytes:
    """CREATE_PIPELINE with all statements of a command.

    SecureStrings are names of secrets, to be `filled` in for each host.

    Raises:
        UsageError: An argument that CLIXML cannot carry, or a SecureString that came from a host.
    """
    statements: list[list[PipelineCommand]] = [[]]
    for before, one in pairwise((PipelineCommand(""), *command.pipeline)):
        if before.end_of_statement:
            statements.append([])
        statements[-1].append(one)
    options = settings.remote_stream_options
    shell = _members(
        IsNested=False,
        Cmds=[_command(one) for one in statements[0]],
        History=None,
        RedirectShellErrorOutputPipe=True,
    )
    if len(statements) > 1:
        # All of them: the server takes the first from Cmds. A list of just one would never end (7.6.5).
        shell.extended["ExtraCmds"] = [_members(Cmds=[_command(one) for one in each]) for each in statements]
    data = serialize(
        _members(
            NoInput=command.input is None and not command.streamed,
            ApartmentState=_apartment(settings),
            RemoteStreamOptions=_enum(
                "System.Management.Automation.RemoteStreamOptions", _flags(options), int(options)
            ),
            AddToHistory=settings.add_to_history,
            # The pool's.
            HostInfo=_members(_isHostNull=True, _isHostUINull=True, _isHostRawUINull=True, _useRunspaceHost=True),
            PowerShell=shell,
            IsNested=False,
        )
    )
    secret_names(data)
    return data


def _command(command: PipelineCommand) -> PSObject:
    """One command, for servers of every age: what they do not know they pass over.

    What is merged is said twice (MS-PSRP 2.2.3.11): by MergeMyResult, the only way before 2.2, for errors, though not
    where all streams are; and by a property for each, which counts where MergeError is there. Without merging these
    are left out.
    """
    errors = Stream.Error in command.merged and not set(MERGEABLE) <= set(command.merged)
    merging = {"MyResult": _ERROR if errors else _NONE, "ToResult": _OUTPUT if errors else _NONE}
    merging["PreviousResults"] = _PREVIOUS if command.merge_previous_results else _NONE
    if command.merged:
        merging |= {stream.name: _OUTPUT if stream in command.merged else _NONE for stream in MERGEABLE}
    return _members(
        Cmd=command.text,
        IsScript=command.is_script,
        UseLocalScope=command.use_local_scope,
        # An object each: one that is written twice becomes a reference, which fewer servers have been seen to take.
        **{f"Merge{which}": _enum(_RESULT_TYPES, *result) for which, result in merging.items()},
        Args=[_members(N=name, V=value) for name, value in command.arguments],
    )


def _host(info: HostInfo | None) -> PSObject:
    null = info is None
    host = _members(_isHostNull=null, _isHostUINull=null, _isHostRawUINull=null, _useRunspaceHost=False)
    if info is not None:
        # Without the defaults of its screen Write-Host fails on the server (NullReferenceException, 7.6.5).
        screen = {key: _members(T=kind, V=value) for key, (kind, value) in enumerate(_screen(info))}
        host.extended["_hostDefaultData"] = _members(data=screen)
    return host


def _screen(info: HostInfo) -> list[tuple[str, Any]]:
    """MS-PSRP 2.2.3.14: colours, cursor and window position, cursor, buffer, window, two largest windows, title."""
    colours = [("System.ConsoleColor", colour) for colour in (info.foreground_color, info.background_color)]
    places = [("System.Management.Automation.Host.Coordinates", _members(x=0, y=0)) for _ in range(2)]
    sizes = [
        ("System.Management.Automation.Host.Size", _members(width=width, height=height))
        for width, height in (info.buffer_size, *[info.window_size] * 3)
    ]
    title = ("System.String", info.window_title)
    return [*colours, *places, ("System.Int32", info.cursor_size), *sizes, title]


def _primitives(value: Any, level: int = 1) -> Any:
    """A PSPrimitiveDictionary of a dictionary, and of those in it: a host that is given another does not answer."""
    if level >= MAX_DEPTH:
        raise UsageError("A dictionary or list is nested too deep, or holds itself.")
    if isinstance(value, PSObject | BigInteger) or (type(value) is int and not -(2**63) <= value < 2**63):
        raise UsageError(f"A {type(value).__name__} of this kind cannot be one; give text or a number of 64 bits.")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise UsageError("The names in a dictionary are text.")
        return PSObject(_PRIMITIVES, base={key: _primitives(item, level + 1) for key, item in value.items()})
    return [_primitives(item, level + 1) for item in value] if isinstance(value, list | tuple) else value


def _apartment(settings: InvocationSettings) -> PSObject:
    state = settings.apartment_state
    return _enum("System.Threading.ApartmentState", state, APARTMENT_STATES.index(state))


def _flags(options: RemoteStreamOptions) -> str:
    """What .NET's ToString() says of flags."""
    named = [name for name, flag in RemoteStreamOptions.__members__.items() if flag == options]
    return named[0] if named else ", ".join(str(flag.name) for flag in options) or "0"


def pipeline_input(value: Any) -> bytes:
    """The payload of one PIPELINE_INPUT; `$null` is an empty one (recorded).

    Raises:
        UsageError: CLIXML cannot carry it, or it is a secret.
    """
    try:
        data = b"" if value is None else serialize(value)
    except UsageError as error:
        raise UsageError(f"Pipeline input: {error.message}", error_id=error.error_id) from None
    if secret_names(data):
        raise UsageError("A secret cannot be pipeline input: give it in argument_list or parameters.")
    return data


def _members(**extended: Any) -> PSObject:
    return PSObject(extended=extended)


def _enum(name: str, text: str, value: int) -> PSObject:
    return PSObject(type_names=(name, "System.Enum", "System.ValueType", "System.Object"), to_string=text, base=value)
