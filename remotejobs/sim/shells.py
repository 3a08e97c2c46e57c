"""The seam inside a simulated host: WS-Man on one side, what runs in its shells on the other.

Knows the two Protocols and the facts about a host. Must not know envelopes, sockets, PSRP or what a command means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from remotejobs.sim.counters import Counters


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How a simulated host behaves; each value is that of a Windows Server of today unless said otherwise.

    Attributes:
        user: The one local account.
        password: Its password.
        password_expired: It must be changed first: every logon with it is refused.
        lockout_threshold: Wrong passwords after which the account is locked, for good and for the right one too; 0 is
            never (the account policy of that name).
        authentication: What the host takes, of Negotiate, Kerberos, CredSSP, Digest, Certificate and Basic. The first
            is what server lists say. Windows' own service refuses Digest, which is IIS's: it is there when named, and
            over https.
        digest_algorithms: Of MD5, MD5-sess, SHA-256 and SHA-256-sess; a challenge for each. IIS has MD5-sess.
        digest_nonce_uses: Requests after which a nonce of Digest is stale; 0 is never.
        keytab: Keys of the host's service principals; without them it is in no domain: Kerberos is not offered, and
            Negotiate is NTLM. A ticket lets in whoever its realm has.
        allow_unencrypted: Clear messages, and with them Basic, are taken over http (WinRM: Service/AllowUnencrypted).
        channel_binding: Over https, `None`, `Relaxed` (looked at when sent) or `Strict` (required):
            Service/Auth/CbtHardeningLevel.
        folds_challenges: All challenges come in one WWW-Authenticate header, as where a proxy has folded them.
        latency: Seconds by which each answer is held back.
        max_timeout: Longest wait for one operation in seconds (MaxTimeoutms).
        max_envelope_size: Bytes of a request (MaxEnvelopeSizekb * 1024).
        max_shells: Shells at a time (MaxShellsPerUser).
        max_operations: Commands in all shells at a time (MaxConcurrentOperationsPerUser).
        quota_as_wmi_error: Quota faults are an MSFT_WmiError and no WSManFault, as some newer hosts answer.
        buffer_size: About how many bytes of output wait for a Receive: then a script waits (BufferMode Block), or the
            oldest are lost while its shell is Disconnected (Drop). Windows' own size is not published.
        max_batch_items: Items in one answer to Enumerate or Pull, whatever the client asks for (MaxBatchItems).
        max_enumerations: Enumerations that wait for a Pull, at a time.
        enumeration_timeout: Seconds until the host forgets one (EnumerationTimeoutms).
        default_idle_timeout: Seconds until a shell that nobody asks for goes away.
        silence_disconnects: Seconds of silence after which a PowerShell shell is Disconnected (recorded: about 60).
        two_step_open: The pool's first messages come in two answers, as recorded; else in one.
        activity_id: Answers carry `p:ActivityId` (2016 and later).
        invents_ids: Shell and command ids that the client asks for are ignored, as 2008 R2 does.
        replays_end: The last batch of a command, with its Done, is kept until it is acknowledged, as every other is.
        lingering: A Receive whose client is gone goes on waiting, as where no reset has reached the host.
    """

    user: str = "sim"
    password: str = field(default="sim", repr=False)
    password_expired: bool = False
    lockout_threshold: int = 0
    authentication: tuple[str, ...] = ("Basic", "Negotiate", "Kerberos")
    keytab: Path | None = None
    allow_unencrypted: bool = False
    digest_algorithms: tuple[str, ...] = ("MD5-sess",)
    digest_nonce_uses: int = 0
    channel_binding: str = "Relaxed"
    folds_challenges: bool = False
    latency: float = 0.0
    max_timeout: float = 60.0
    max_envelope_size: int = 512000
    max_shells: int = 30
    max_operations: int = 1500
    quota_as_wmi_error: bool = False
    buffer_size: int = 4 << 20
    max_batch_items: int = 32_000
    max_enumerations: int = 100
    enumeration_timeout: float = 240.0
    default_idle_timeout: float = 7200.0
    silence_disconnects: float = 60.0
    two_step_open: bool = True
    activity_id: bool = True
    invents_ids: bool = False
    replays_end: bool = True
    lingering: bool = False


@dataclass(frozen=True, slots=True)
class HostInfo:
    """What a shell may know of the host that it runs on.

    Attributes:
        name: The computer name.
        user: The account that owns the shell.
        settings: How the host behaves.
        counters: What the host has done; a shell counts the text of each script that it starts in `scripts`.
        resource_uri: What the shell was created as: a PowerShell URI ends in the configuration name.
        options: The OptionSet of Create (`protocolversion`, `WINRS_NOPROFILE`, `WINRS_CODEPAGE`).
    """

    name: str
    user: str = "sim"
    settings: HostSettings = field(default_factory=HostSettings)
    counters: Counters = field(default_factory=Counters)
    resource_uri: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class ShellSink(Protocol):
    """Where a shell puts what it has to say; the WS-Man side implements it."""

    @property
    def full(self) -> bool:
        """Much output waits for a Receive, and none of it may be lost (BufferMode Block): a script waits too."""
        ...

    def output(self, stream: str, data: bytes, command_id: str | None, end: bool = False) -> None:
        """Queue the bytes of one Stream element (for PSRP whole fragments) until a Receive takes them.

        `command_id` None is the shell itself (PSRP: the pool). `end` marks the last element of the stream (cmd shells).
        """
        ...

    def cut(self, command_id: str | None) -> None:
        """Let what is queued so far go in an answer of its own (real hosts open a pool in two)."""
        ...

    def command_state(self, command_id: str, state: str, exit_code: int | None) -> None:
        """Say that a command is `Running`, `Pending` or `Done`; Done comes after its last output."""
        ...


class Shell(Protocol):
    """What runs in one shell. All calls are short and synchronous; what takes time goes on the event loop.

    Each may raise WsmanFault, which the client reads. Ids are upper case and known to the shell.
    """

    def create(self, creation_xml: bytes) -> None:
        """Begin; `creation_xml` is the decoded content of creationXml, the whole `rsp:Shell` for a cmd shell."""
        ...

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        """Start a command (PSRP: `arguments[0]` is the base64 text of the first fragment)."""
        ...

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:
        """Take input for a command, or for the shell itself."""
        ...

    def signal(self, command_id: str, code: str) -> None:
        """Act on a signal code, as it was written; Terminate has ended the command's output already."""
        ...

    def close(self) -> None:
        """The shell is deleted, or its host goes down: stop everything. Comes once, and nothing after it."""
        ...


@runtime_checkable
class ConnectableShell(Shell, Protocol):
    """A shell that outlives its client: only these can be disconnected (MS-PSRP 3.1.5.3; not cmd shells)."""

    def connect(self, connect_xml: bytes) -> bytes:
        """Answer the decoded content of connectXml with that of connectResponseXml."""
        ...


ShellFactory = Callable[[HostInfo, ShellSink], Shell]
ShellFactories = Mapping[str, ShellFactory]
"""From resource URI to factory; a key that ends in `/` stands for every URI that begins with it."""
