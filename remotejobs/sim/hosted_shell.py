"""One open shell as the WS-Man service of its host keeps it: facts, channels, and who may use it.

Knows `rsp:Shell`, commands and the rules of disconnecting (MS-WSMV 3.1.4.11 ff., MS-PSRP 3.1.5.3). Must not know
envelopes' heads, sockets or quotas.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from remotejobs.sim.channels import ABORTED, STREAM_DISCONNECTED, Channel
from remotejobs.sim.shells import ConnectableShell, HostInfo, Shell, ShellFactory
from remotejobs.sim.soap import SHELL, Element, SoapRequest, age, duration, new_id, seconds
from remotejobs.sim.wsman_faults import CMD_PROVIDER, WsmanFault

CRTL_C: Final = "powershell/signal/crtl_c"  # the misspelling is PowerShell's own constant
TERMINATE: Final = f"{SHELL}/signal/terminate"
_RSP = f"{{{SHELL}}}"
_process_ids = itertools.count(2000, 4)


class HostedShell:
    """One shell; it is the ShellSink of what runs in it.

    Args:
        shell_id: Upper case.
        host: The host, with the resource URI and the options of this shell.
        factory: Makes what runs in it.
        description: The `rsp:Shell` of Create.
        request: Create.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        shell_id: str,
        host: HostInfo,
        factory: ShellFactory,
        description: Element,
        request: SoapRequest,
        clock: Callable[[], float],
    ) -> None:
        self.id = shell_id
        self.host = host
        self.session_id = request.session_id
        self._started = 0
        self._clock = clock
        self._client = request.client
        self._streams = [(description.findtext(f"{_RSP}{name}") or "").strip() for name in _STREAMS]
        self._directory = (description.findtext(f"{_RSP}WorkingDirectory") or "").strip()
        self._environment = [
            (variable.get("Name", ""), variable.text or "")
            for variable in description.iterfind(f"{_RSP}Environment/{_RSP}Variable")
        ]
        idle = (description.findtext(f"{_RSP}IdleTimeOut") or "").strip()
        self._idle_timeout = seconds(idle) if idle else host.settings.default_idle_timeout
        self._buffer_mode = (description.findtext(f"{_RSP}BufferMode") or "Block").strip()
        self._name = (description.get("Name") or "").strip()
        self._disconnected = False
        self._process_id = next(_process_ids)
        self._born = self._seen = clock()
        self._commands: dict[str, str] = {}  # the command line by id
        self._channels: dict[str | None, Channel] = {}
        self.shell: Shell = factory(host, self)
        self.connectable = isinstance(self.shell, ConnectableShell)  # PowerShell shells are, cmd shells are not
        if self.connectable:
            self._channels[None] = Channel(None)

    # What the shell says (ShellSink)

    def output(self, stream: str, data: bytes, command_id: str | None, end: bool = False) -> None:
        """Queue output; what comes for a command that was closed is dropped."""
        channel = self._channels.get(command_id)
        if channel is not None:
            channel.put(stream, data, end)
            if self._drops:
                channel.drop(self.host.settings.buffer_size)

    @property
    def full(self) -> bool:
        """A script has to wait until a Receive takes what is there."""
        pending = sum(channel.pending for channel in self._channels.values())
        return pending > self.host.settings.buffer_size and not self._drops

    def cut(self, command_id: str | None) -> None:
        """End an answer here."""
        channel = self._channels.get(command_id)
        if channel is not None:
            channel.cut()

    def command_state(self, command_id: str, state: str, exit_code: int | None) -> None:
        """Note the state of a command."""
        channel = self._channels.get(command_id)
        if channel is not None:
            channel.set_state(state, exit_code)

    # Facts

    @property
    def operations(self) -> int:
        """What counts against MaxConcurrentOperationsPerUser; commands of a cmd shell for ever (MS-WSMV, note 118)."""
        if not self.connectable:
            return self._started
        return sum(not channel.done for command_id, channel in self._channels.items() if command_id)

    @property
    def state(self) -> str:
        """Connected or Disconnected; the service itself disconnects a PowerShell shell after silence (recorded)."""
        if not self.connectable or self._busy:
            return "Connected"
        silent = self._clock() - self._seen > self.host.settings.silence_disconnects
        return "Disconnected" if self._disconnected or silent else "Connected"

    @property
    def _drops(self) -> bool:
        """Nobody is there to read, and new output is worth more than old (MS-WSMV: BufferMode Drop)."""
        return self._buffer_mode == "Drop" and self.state == "Disconnected"

    @property
    def expired(self) -> bool:
        """Nobody has asked for it for longer than its IdleTimeOut."""
        return not self._busy and self._clock() - self._seen > self._idle_timeout

    @property
    def _busy(self) -> bool:
        return any(channel.polled for channel in self._channels.values())

    def describe(self, *, with_usage: bool = False) -> str:
        """Return `rsp:Shell`; `with_usage` as in Get and Enumerate."""
        now = self._clock()
        kind = self.host.resource_uri
        owner = escape(f"{self.host.name.upper()}\\{self.host.user}")
        powershell = self.connectable
        parts = [("ShellId", self.id)]
        if self._name:
            parts.append(("Name", escape(self._name)))
        parts += [("ResourceUri", escape(kind)), ("Owner", owner), ("ClientIP", self._client)]
        if powershell:
            parts.append(("ProcessId", str(self._process_id)))
        if self._environment:
            parts.append(("Environment", "".join(_variable(name, value) for name, value in self._environment)))
        if self._directory:
            parts.append(("WorkingDirectory", escape(self._directory)))
        parts.append(("IdleTimeOut", duration(self._idle_timeout)))
        parts += zip(_STREAMS, map(escape, self._streams), strict=True)
        if powershell:
            no_profile = self.host.options.get("WINRS_NOPROFILE", "").upper() == "TRUE"
            parts += [
                ("MaxIdleTimeOut", "PT2147483.647S"),
                ("Locale", "en-US"),
                ("DataLocale", "en-US"),
                ("CompressionMode", "NoCompression"),
                ("ProfileLoaded", "No" if no_profile else "Yes"),
                ("Encoding", "UTF8"),
                ("BufferMode", self._buffer_mode),
                ("State", self.state),
            ]
        parts += [("ShellRunTime", age(now - self._born)), ("ShellInactivity", age(now - self._seen))]
        if with_usage:
            parts += [("MemoryUsed", "46MB"), ("ChildProcesses", "0")]
        return "<rsp:Shell>" + "".join(f"<rsp:{name}>{text}</rsp:{name}>" for name, text in parts) + "</rsp:Shell>"

    def describe_commands(self) -> list[str]:
        """Return an `rsp:Command` for each command that has not ended."""
        return [
            f"<rsp:Command><rsp:CommandId>{command_id}</rsp:CommandId><rsp:CommandLine>{escape(line)}</rsp:CommandLine>"
            "<rsp:CommandState>Running</rsp:CommandState></rsp:Command>"
            for command_id, line in self._commands.items()
            if not self._channels[command_id].done
        ]

    # Operations

    def touch(self) -> None:
        """A client has asked for this shell: its clocks begin anew.

        Raises:
            WsmanFault: It is disconnected.
        """
        if self.state == "Disconnected":
            raise WsmanFault(2150859204)
        self._seen = self._clock()

    def start(self, wanted: str, line: str, arguments: list[str], options: dict[str, str]) -> str:
        """Start a command under the id `wanted`, or one of our own where it is empty; return its id."""
        command_id = new_id() if not wanted or self.host.settings.invents_ids else wanted.upper()
        known = self._channels.get(command_id)
        if known is not None and not known.done:
            raise WsmanFault(2150859202, "A command with this id is running.")
        self._channels[command_id] = Channel(command_id, replays_end=self.host.settings.replays_end)
        self._commands[command_id] = line
        try:
            self.shell.command(command_id, line, arguments, options)
        except WsmanFault:
            del self._channels[command_id], self._commands[command_id]
            raise
        self._started += 1
        self.host.counters.commands += 1
        return command_id

    def channel(self, command_id: str | None) -> Channel:
        """Return the output of a command, or of the pool.

        Raises:
            WsmanFault: There is no such command; a cmd shell has no output of its own.
        """
        if command_id is None and not self.connectable:
            raise WsmanFault(87, provider=CMD_PROVIDER)
        channel = self._channels.get(command_id.upper() if command_id else None)
        if channel is None:
            raise WsmanFault(2150858843, "The command id is not one of this shell's commands. ")
        return channel

    async def receive(self, command_id: str | None, message_id: str, timeout: float, limit: int) -> tuple[Channel, str]:
        """Wait for output: the channel and the body of the answer. See Channel.receive."""
        channel = self.channel(command_id)
        receiving = channel.receive(message_id, timeout, limit)
        try:
            if self.host.settings.lingering:
                return channel, await _outliving(receiving, channel)
            return channel, await receiving
        finally:
            self._seen = self._clock()

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:
        """Pass input on."""
        channel = self.channel(command_id)
        self.shell.send(stream, data, channel.command_id, end)

    def signal(self, command_id: str, code: str) -> None:
        """Pass a signal on. On a PowerShell command every code but crtl_c closes it, on others Terminate does."""
        command_id = self.channel(command_id).command_id or ""
        lower = code.strip().lower()
        closes = lower == TERMINATE if not self.connectable else lower != CRTL_C
        if closes:
            channel = self._channels.pop(command_id)
            channel.abort(WsmanFault(ABORTED))
        self.shell.signal(command_id, code)
        if closes:
            self._commands.pop(command_id, None)

    def disconnect(self, session_id: str, idle_timeout: float | None, buffer_mode: str) -> None:
        """Let the client go; what runs goes on.

        Raises:
            WsmanFault: It is a cmd shell, disconnected already, or another client's.
        """
        if not self.connectable:
            raise WsmanFault(2150858753)
        if self.state != "Disconnected" and session_id != self.session_id:
            raise WsmanFault(2150859206)
        self.touch()
        if idle_timeout is not None:
            self._idle_timeout = idle_timeout
        self._buffer_mode = buffer_mode or self._buffer_mode
        for channel in self._channels.values():
            channel.abort(WsmanFault(STREAM_DISCONNECTED))
            channel.undelivered()
        self._disconnected = True

    def reconnect(self, session_id: str) -> None:
        """Take the same client back."""
        if self.state != "Disconnected":
            raise WsmanFault(2150859216)
        if session_id != self.session_id:
            raise WsmanFault(2150859206)
        self._connected()

    def connect(self, connect_xml: bytes, session_id: str) -> tuple[bytes, list[str]]:
        """Give the shell to another client; return the shell's answer and the names of its streams."""
        if not isinstance(self.shell, ConnectableShell):
            raise WsmanFault(2150858753)
        if self.state != "Disconnected":
            raise WsmanFault(2150859213)
        answer = self.shell.connect(connect_xml)
        self.session_id = session_id
        self._connected()
        return answer, self._streams

    def close(self, code: int = ABORTED) -> None:
        """End it: pending Receives fault with `code`."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.abort(WsmanFault(code))
        self.shell.close()

    def _connected(self) -> None:
        self._disconnected = False
        self._seen = self._clock()
        for channel in self._channels.values():
            channel.undelivered()


_STREAMS: Final = ("InputStreams", "OutputStreams")


async def _outliving(receiving: Coroutine[Any, Any, str], channel: Channel) -> str:
    """Wait for a Receive that goes on when its client goes away: what it then gets reaches nobody."""
    task = asyncio.ensure_future(receiving)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:

        def end(task: asyncio.Future[str]) -> None:
            if task.cancelled() or task.exception() is None:
                channel.undelivered()

        task.add_done_callback(end)
        raise


def _variable(name: str, value: str) -> str:
    return f"<rsp:Variable Name={quoteattr(name)}>{escape(value)}</rsp:Variable>"
