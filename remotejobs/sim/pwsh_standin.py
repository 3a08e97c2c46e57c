"""A stand-in for `pwsh -s`: a simulated PSRP server behind stdio (`python -m remotejobs.sim.pwsh_standin`).

Knows the packets and their rules. Must not know WS-Man. It is not kind: what PowerShell loses or dies of, it loses or
dies of, and a second Data for a guid whose first is not acknowledged ends it, where PowerShell might survive by luck.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import threading
import uuid

from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.packets import POOL, Packet, parse_packet
from remotejobs.sim.psrp_host import CTRL_C, PsrpHost
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.records import payload, state
from remotejobs.sim.shells import HostInfo

_EXIT = 160  # what PowerShell's 4000 is on POSIX


class Standin:
    """The server end of one conversation; also the sink of its shell."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._host = PsrpHost(Dialect(), HostInfo(os.environ.get("COMPUTERNAME", "localhost")), self)
        self._reserved: set[uuid.UUID] = set()  # Command came
        self._running: set[uuid.UUID] = set()  # CREATE_PIPELINE came
        self._unclosed: set[uuid.UUID] = set()  # no Close yet
        self._acknowledge: dict[uuid.UUID, list[str]] = {}  # what is said once a pipeline has ended
        self._unpaid: set[uuid.UUID] = set()  # Data not acknowledged yet
        self._closing = False

    # The sink

    def output(self, stream: str, data: bytes, command_id: str | None, end: bool = False) -> None:  # noqa: ARG002
        """Send fragments to the client."""
        self._write(Packet("Data", uuid.UUID(command_id) if command_id else POOL, data))

    def cut(self, command_id: str | None) -> None:
        """Packets are never joined here."""

    @property
    def full(self) -> bool:
        """Nothing waits here: the pipe holds the writer up."""
        return False

    def command_state(self, command_id: str, state: str, exit_code: int | None) -> None:  # noqa: ARG002
        """When a pipeline has ended, say what waited for that."""
        if state == "Done":
            guid = uuid.UUID(command_id)
            self._running.discard(guid)
            for kind in self._acknowledge.pop(guid, ()):
                self._write(Packet(kind, guid))
            self._close_pool()

    # Lines

    def lines(self, lines: list[str]) -> None:
        """Take the lines that came together; their Data are acknowledged afterwards."""
        for line in lines:
            try:
                packet = parse_packet(line)
                self._take(packet)
            except ValueError as error:
                self.die(str(error))
                return
        for guid in list(self._unpaid):
            asyncio.get_running_loop().call_soon(self._pay, guid)

    def die(self, reason: str) -> None:
        """Write to stderr and end, as PowerShell does on what it does not understand, and on the end of its input."""
        sys.stderr.write(f"{reason}\n")
        self._host.close()
        self.ended.set()

    def _pay(self, guid: uuid.UUID) -> None:
        if guid in self._unpaid:
            self._unpaid.discard(guid)
            self._write(Packet("DataAck", guid))

    def _take(self, packet: Packet) -> None:
        guid = packet.guid
        if packet.kind == "Data":
            if guid in self._unpaid:
                raise ValueError(f"Data for {guid} before the one before it was acknowledged")
            self._unpaid.add(guid)
            self._take_data(packet)
        elif packet.kind == "Command":
            if guid in self._reserved:
                raise ValueError(f"Command for {guid}, which is in use")
            self._reserved.add(guid)
            self._write(Packet("CommandAck", guid))
        elif packet.kind == "Signal" and guid != POOL:
            self._end(guid, "SignalAck")
        elif packet.kind == "Close" and guid == POOL:
            self._closing = True
            self._close_pool()
        elif packet.kind == "Close":
            self._unclosed.discard(guid)
            self._reserved.discard(guid)
            self._end(guid, "CloseAck")
        else:
            raise ValueError(f"An unknown element {packet.kind} was received.")

    def _take_data(self, packet: Packet) -> None:
        guid, command_id = packet.guid, str(packet.guid).upper()
        if guid == POOL:
            self._host.send("stdin", packet.data, None, False)
        elif guid in self._running:
            self._host.send("stdin", packet.data, command_id, False)
        elif guid in self._reserved and self._host.opened and guid not in self._unclosed:
            self._running.add(guid)
            self._unclosed.add(guid)
            self._host.command(command_id, "", [base64.b64encode(packet.data).decode()], {})
        # else: acknowledged and dropped, silently: PowerShell lost the race

    def _end(self, guid: uuid.UUID, kind: str) -> None:
        if guid in self._running:
            self._acknowledge.setdefault(guid, []).append(kind)
            self._host.signal(str(guid).upper(), CTRL_C)
        else:
            self._write(Packet(kind, guid))
        self._close_pool()

    def _close_pool(self) -> None:
        if self._closing and not self._unclosed and not self._running:
            self._closing = False
            for number in (4, 3):
                self._host.write(MessageType.RUNSPACEPOOL_STATE, payload(state("RunspaceState", number)), None, None)
            self._write(Packet("CloseAck", POOL))

    def _write(self, packet: Packet) -> None:
        sys.stdout.buffer.write(packet.line())
        sys.stdout.buffer.flush()


async def serve() -> int:
    """Serve stdin and stdout until the input ends; the exit code is PowerShell's."""
    standin = Standin()
    loop = asyncio.get_running_loop()

    def read() -> None:
        rest = b""
        while chunk := os.read(0, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                loop.call_soon_threadsafe(standin.lines, [line.decode("utf-8", "replace") for line in lines])
        loop.call_soon_threadsafe(standin.die, 'An unknown element "" was received.')

    threading.Thread(target=read, daemon=True).start()
    await standin.ended.wait()
    return _EXIT


if __name__ == "__main__":
    os._exit(asyncio.run(serve()))  # the reading thread may sit in read(): nothing is left to clean up
