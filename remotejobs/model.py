"""The frozen values that every layer passes on: what was asked for, what a host sent, how it ended.

Knows states and plain types. Must not know sockets, XML, stores or the screen, and never holds a secret: a credential
is a name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, IntFlag
from typing import Any, ClassVar, NamedTuple, TypeAlias

from remotejobs.errors import UsageError
from remotejobs.states import EndReason, JobState

DEFAULT_THROTTLE_LIMIT = 32
DEFAULT_CONFIGURATION = "Microsoft.PowerShell"
SHELLS = ("powershell", "cmd")
UTF8 = 65001
"""The code page of UTF-8."""
MECHANISMS = ("Default", "Basic", "Negotiate", "NegotiateWithImplicitCredential", "Credssp", "Digest", "Kerberos")
"""PowerShell's AuthenticationMechanism enumeration, in its order."""
ENGINES = ("native", "pypsrp", "pywinrm")
"""What can speak to hosts: our own engine, and the established libraries behind the same port."""
IMPLICIT_MECHANISMS = frozenset({"Default", "Negotiate", "NegotiateWithImplicitCredential", "Kerberos"})
"""Those that do without a credential: with the tickets, or the Windows logon, of the current user."""


class Stream(IntEnum):
    """The seven streams of a PowerShell pipeline, in PowerShell's numbering (1 is Output, 2 Error, ...)."""

    Output = 1
    Error = 2
    Warning = 3
    Verbose = 4
    Debug = 5
    Information = 6
    Progress = 7


APARTMENT_STATES = ("STA", "MTA", "Unknown")
"""System.Threading.ApartmentState, in its order."""
MERGEABLE = (Stream.Error, Stream.Warning, Stream.Verbose, Stream.Debug, Stream.Information)
"""What a command can send along with its output."""


class RemoteStreamOptions(IntFlag):
    """Which records say where in a script they were written: PowerShell's enumeration, by its names."""

    AddInvocationInfoToErrorRecord = 1
    AddInvocationInfoToWarningRecord = 2
    AddInvocationInfoToDebugRecord = 4
    AddInvocationInfoToVerboseRecord = 8
    AddInvocationInfo = 15


_NO_OPTIONS = RemoteStreamOptions(0)


class Record(NamedTuple):
    """One item of one stream, undecoded.

    Attributes:
        seq: Position in its child, from 1, given by the runner; no gaps.
        stream: The stream that it came on.
        raw: The CLIXML of the item as the host sent it, without a byte order mark; empty for `$null`.
        object_id: PSRP's object id, unique per child, or a negative fixed key for records that we made ourselves.
        time: Seconds since the epoch (UTC) when it arrived here.
    """

    seq: int
    stream: Stream
    raw: bytes
    object_id: int
    time: float


@dataclass(frozen=True, slots=True)
class Target:
    """A host as the user named it. What is None comes from the job.

    Attributes:
        name: As typed; becomes Location and PSComputerName.
        address: What to connect to instead of the name (an address or another name).
        port: TCP port, 1 to 65535.
        ssl: https instead of http.
        application: The URL path without the leading slash.
        configuration: Session configuration name.
        authentication: Mechanism name.
        credential: Name of a credential, never the secret.
        group: Groups that the server list puts it in.
    """

    name: str
    address: str | None = None
    port: int | None = None
    ssl: bool | None = None
    application: str | None = None
    configuration: str | None = None
    authentication: str | None = None
    credential: str | None = None
    group: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one target is reached: a target's own settings over the job's."""

    host: str
    port: int
    ssl: bool
    path: str = "/wsman"
    server_name: str = ""

    @property
    def url(self) -> str:
        """The address for WS-Man's `To` header: an IPv6 host in brackets, its zone escaped (RFC 6874)."""
        host = self.server_name or self.host
        if ":" in host:
            host = f"[{host.replace('%', '%25')}]"
        return f"{'https' if self.ssl else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class SessionOption:
    """What New-PSSessionOption sets, in seconds and bytes; names as in PowerShell, snake_case.

    Attributes:
        operation_timeout: WS-Man's OperationTimeout, seconds: how long one Receive is held open. Not a limit on
            the command.
        cancel_timeout: Seconds for stop and for closing the shell.
        idle_timeout: Seconds that a shell survives without its client; None leaves it to the host. At least 60.
        max_connection_retry_count: More tries of connect and open after the first; never after Command.
        skip_ca_check, skip_cn_check: https only; do not verify the issuer, the name.
        ca_file, ca_path: A PEM file, a folder of them, to verify against in place of the system's.
        certificate_file, certificate_key_file: Client certificate (PEM).
        allow_unencrypted: Permit Basic, and bodies without sealing, over http.
        spn_service: Service class of the name that Kerberos asks a ticket for; with `host`, `http` is tried as well
            where the domain does not know the first.
        spn_name: Host part of that name, where it is not the target's; empty is the target's.
        delegate: Let the host act as the user towards other hosts (Kerberos delegation of the ticket). Needs a
            forwardable ticket.
        no_machine_profile: Do not load the user's profile (WINRS_NOPROFILE).
        maximum_received_object_size: Bytes of one object; more breaks the session.
        maximum_received_data_size_per_command: Bytes of all output of one command; None is unlimited.
        culture, ui_culture: Language tags for DataLocale and Locale.
        output_buffering_mode: What a host does with output while its shell is disconnected: `Block` (the script waits
            when the host's buffer is full), `Drop` (the oldest is lost); `None` leaves it to the host.
    """

    operation_timeout: float = 60.0
    cancel_timeout: float = 60.0
    idle_timeout: float | None = None
    max_connection_retry_count: int = 5
    skip_ca_check: bool = False
    skip_cn_check: bool = False
    ca_file: str | None = None
    ca_path: str | None = None
    certificate_file: str | None = None
    certificate_key_file: str | None = None
    allow_unencrypted: bool = False
    no_machine_profile: bool = False
    maximum_received_object_size: int = 200 * 1024 * 1024
    maximum_received_data_size_per_command: int | None = None
    culture: str = "en-US"
    ui_culture: str = "en-US"
    output_buffering_mode: str = "None"
    spn_service: str = "host"
    spn_name: str = ""
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long each part of one host may take, seconds; None is off.

    Attributes:
        connect: Name look-up, TCP and TLS.
        authenticate: From the first authenticated request to its acceptance.
        open: Creating the shell and opening the runspace pool (PowerShell's OpenTimeout).
        silence: No record from the host.
        total: The whole of one host, from its first connection.
        deadline: The whole job, from its start.
        cleanup: Closing the shell, outside the slot.
    """

    connect: float | None = 30.0
    authenticate: float | None = 30.0
    open: float | None = 180.0
    silence: float | None = None
    total: float | None = None
    deadline: float | None = None
    cleanup: float = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host may send us, in bytes unless said otherwise. Hosts may be hostile."""

    header_bytes: int = 64 * 1024
    header_count: int = 100
    body_bytes: int = 8 * 1024 * 1024
    records: int | None = None


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The user interface that scripts are told of (MS-PSRP 2.2.3.14): what `$Host.UI.RawUI` says there.

    Attributes:
        buffer_size: Columns and lines. Out-String and the Format- cmdlets are as wide as its columns.
        window_size: Columns and lines, the largest possible ones too.
        window_title: Text.
        foreground_color, background_color: ConsoleColor, by number.
        cursor_size: Percent.
    """

    buffer_size: tuple[int, int] = (120, 3000)
    window_size: tuple[int, int] = (120, 50)
    window_title: str = "remotejobs"
    foreground_color: int = 7
    background_color: int = 0
    cursor_size: int = 25


@dataclass(frozen=True, slots=True)
class InvocationSettings:
    """How a command is invoked: PSInvocationSettings, and -ApplicationArguments of New-PSSessionOption.

    Attributes:
        add_to_history: Get-History and `$MyInvocation.HistoryId` count it, as with Invoke-Command.
        remote_stream_options: Which records come with an InvocationInfo, which makes each several times as large.
        apartment_state: `STA`, `MTA` or `Unknown`, which leaves it to the host. Windows only.
        host: The user interface that it is told of; None is none: what asks for one fails on the host at once, and
            what is written to it is not sent a second time.
        application_arguments: What it finds as `$PSSenderInfo.ApplicationArguments`: numbers, texts, times, lists and
            dictionaries of them; no secrets. PowerShell adds a PSVersionTable of its own. We do not: a host takes a
            client that names its version for one that serves a debugger, and lets scripts wait for it.

    Raises:
        UsageError: An apartment state that there is not.
    """

    add_to_history: bool = True
    remote_stream_options: RemoteStreamOptions = _NO_OPTIONS
    apartment_state: str = "Unknown"
    host: HostInfo | None = HostInfo()
    application_arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.apartment_state not in APARTMENT_STATES:
            raise UsageError(
                f"apartment_state is one of {', '.join(APARTMENT_STATES)}, not {self.apartment_state!r}.",
                error_id="CannotConvertArgumentNoMessage",
            )


@dataclass(frozen=True, slots=True)
class PipelineCommand:
    """One command of a pipeline (System.Management.Automation.Runspaces.Command).

    Attributes:
        text: The name of a command, or its path; or a script.
        is_script: Which of the two.
        arguments: Names of parameters and values in their order; a positional argument has no name.
        use_local_scope: Its variables do not outlive it; None leaves that to the host.
        merged: Streams that go where its output goes.
        merge_previous_results: Errors of the commands before it are its input too.
        end_of_statement: The next one begins a statement of its own.
    """

    text: str
    is_script: bool = False
    arguments: tuple[tuple[str | None, Any], ...] = ()
    use_local_scope: bool | None = None
    merged: tuple[Stream, ...] = ()
    merge_previous_results: bool = False
    end_of_statement: bool = False


@dataclass(frozen=True, slots=True)
class ScriptCommand:
    """A PowerShell script to run in a fresh runspace.

    Attributes:
        text: The script, as typed between the braces or read from the file; what a pipeline of commands is listed by.
        arguments: Positional arguments (-ArgumentList): plain Python values that CLIXML can carry.
        parameters: Named parameters and their values, in their order; a switch is True or False.
        using: Variables of this side that the script names as `$using:name`, and their values.
        input: What the script's `$input` gives; None where it has no pipeline input, or it is streamed.
        streamed: Its pipeline input came as a stream to the process that ran it, and is kept nowhere.
        answers: Questions that the script may ask its user, and what they are answered with; see
            wsman.psrp.prompts.Answers.
        commands: A pipeline in place of the one script, each with arguments of its own.

    Raises:
        UsageError: Commands, and arguments or parameters of a script.
    """

    text: str
    arguments: tuple[Any, ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    using: tuple[tuple[str, Any], ...] = ()
    input: tuple[Any, ...] | None = None
    streamed: bool = False
    answers: tuple[tuple[str, Any], ...] = ()
    commands: tuple[PipelineCommand, ...] = ()

    def __post_init__(self) -> None:
        if self.commands and (self.arguments or self.parameters):
            raise UsageError(
                "A pipeline takes no argument_list or parameters: give them to its commands, by add_argument and "
                "add_parameter.",
                error_id="AmbiguousParameterSet",
            )

    @property
    def pipeline(self) -> tuple[PipelineCommand, ...]:
        """The commands; a script is one, with all that it is given but variables."""
        given = (*((None, value) for value in self.arguments), *self.parameters)
        return self.commands or (PipelineCommand(self.text, is_script=True, arguments=given),)

    @property
    def values(self) -> tuple[Any, ...]:
        """All values that it is given, but for its input."""
        given = [pair for command in self.pipeline for pair in command.arguments]
        return tuple(value for _, value in (*given, *self.using, *self.answers))


@dataclass(frozen=True, slots=True)
class CmdCommand:
    """A command line to run by `cmd /c` in a shell of its own (WinRS), which knows no objects.

    Attributes:
        text: The line, as it would be typed at cmd.
        code_page: Of what it reads and writes, Windows' number; 65001 is UTF-8.
        input: Lines of its standard input; None where it has none, or it is streamed.
        streamed: As of a ScriptCommand.
    """

    text: str
    code_page: int = UTF8
    input: tuple[Any, ...] | None = None
    streamed: bool = False
    answers: ClassVar[tuple[tuple[str, Any], ...]] = ()

    @property
    def values(self) -> tuple[Any, ...]:
        """As of a ScriptCommand: none, they are in the line."""
        return ()


Command: TypeAlias = ScriptCommand | CmdCommand


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One Invoke-Command: everything that a worker needs but the secrets.

    Attributes:
        command: What to run.
        targets: Hosts in the order they were named, duplicates kept.
        name: Job name; empty gives `Job<id>`.
        throttle_limit: Hosts at a time; below 1 means 32, as in PowerShell.
        authentication: Mechanism name, `Default` unless asked for.
        credential: Name of the credential that targets use which name none.
        port, use_ssl, application_name, configuration_name: For targets that do not say otherwise.
        hide_computer_name: Display only.
        in_disconnected_session: Leave each shell Disconnected on its host once the script runs there.
        session_names: What the shells are called on their hosts (-SessionName), see shell_name().
        retry_of: Id of the job whose targets this one tries again.
        invocation_settings: What else its hosts are told of the command, and of us.
        engine: What speaks to the hosts, one of ENGINES.
    """

    command: Command
    targets: tuple[Target, ...]
    name: str = ""
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT
    authentication: str = "Default"
    credential: str | None = None
    port: int | None = None
    use_ssl: bool = False
    application_name: str = "wsman"
    configuration_name: str = DEFAULT_CONFIGURATION
    hide_computer_name: bool = False
    session_option: SessionOption = field(default_factory=SessionOption)
    clocks: Clocks = field(default_factory=Clocks)
    limits: Limits = field(default_factory=Limits)
    in_disconnected_session: bool = False
    session_names: tuple[str, ...] = ()
    retry_of: int | None = None
    invocation_settings: InvocationSettings = InvocationSettings()
    engine: str = "native"

    @property
    def slots(self) -> int:
        """The throttle limit that counts: below 1 means the default of 32 (PowerShell's ThrottleManager)."""
        return self.throttle_limit if self.throttle_limit >= 1 else DEFAULT_THROTTLE_LIMIT

    def shell_name(self, index: int) -> str:
        """What the shell of the child at `index` is called: of several names each has its own, a single one is for all.

        PowerShell would give a single name to the first host alone, and invent the others.
        """
        names = self.session_names
        if len(names) == 1:
            return names[0]
        return names[index] if index < len(names) else self.name or "remotejobs"

    def endpoint(self, target: Target) -> Endpoint:
        """Where `target` is reached: its own settings, else the job's, else WinRM's default ports."""
        ssl = self.use_ssl if target.ssl is None else target.ssl
        port = target.port or self.port or (5986 if ssl else 5985)
        path = "/" + (target.application or self.application_name).lstrip("/")
        name = target.name.strip("[]")
        return Endpoint(host=(target.address or name).strip("[]"), port=port, ssl=ssl, path=path, server_name=name)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one child ended.

    Attributes:
        reason: The end reason; the JobState follows from it.
        message: For a person; empty when Completed.
        error_id: PowerShell's FullyQualifiedErrorId, else empty.
        error_count: Records on the Error stream.
        failure: CLIXML that holds the ErrorRecord which ended the script (PSRP's PIPELINE_STATE), where there is one.
        seconds: From the first connection to the end.
        details: What else is known: phase, clock, HTTP status, fault code. Plain values, no secrets.
    """

    reason: EndReason
    message: str = ""
    error_id: str = ""
    error_count: int = 0
    failure: bytes | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> JobState:
        """The PowerShell state of this end."""
        return self.reason.state


def seconds_of(value: float | timedelta | None) -> float | None:
    """Read a duration given as seconds or as a timedelta; None stays None."""
    return value.total_seconds() if isinstance(value, timedelta) else value
