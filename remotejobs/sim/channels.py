"""What waits between a shell and the client's Receives: one channel for each command, and one for the pool.

Knows output, acknowledgement and long polls. Must not know envelopes' heads, sockets or what the bytes mean.

A batch that was answered is kept until the next Receive says that it has come. It is answered again where it cannot
have come: its connection broke while it was sent, the same request is posted again (same MessageID), or the client has
connected to the shell anew in between (recorded: the first Receive after Connect repeats the last batch).
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from typing import Final, NamedTuple

from remotejobs.sim.soap import SHELL
from remotejobs.sim.wsman_faults import WsmanFault

MAX_BATCH: Final = 177_000
"""Characters of base64 in one answer, at most; recorded: four streams of 32,768 bytes and two small ones."""

ABORTED: Final = 995
STREAM_DISCONNECTED: Final = 2150859230


class _Piece(NamedTuple):
    stream: str
    text: str
    end: bool


_CUT: Final = _Piece("", "", end=False)  # what is behind it goes in another answer


class Channel:
    """The output of one command, or of the pool where `command_id` is None.

    Args:
        command_id: Upper case.
        replays_end: The batch with Done is kept until it is acknowledged.
    """

    def __init__(self, command_id: str | None, *, replays_end: bool = True) -> None:
        self.command_id = command_id
        self._replays_end = replays_end
        self.done = False
        self.pending = 0  # characters of base64 that no Receive has taken
        self._state = ""
        self._exit_code: int | None = None
        self._waiting: deque[_Piece] = deque()
        self._batch = ""  # answered last, not acknowledged
        self._batch_for = ""  # the MessageID of the Receive that it answered
        self._came = True  # as far as the host can know, the batch has reached the client
        self._poll: asyncio.Future[None] | None = None

    @property
    def polled(self) -> bool:
        """True while a Receive waits."""
        return self._poll is not None

    def put(self, stream: str, data: bytes, end: bool) -> None:
        """Queue the bytes of one Stream element."""
        if not self.done:
            text = b64encode(data).decode("ascii")
            self._waiting.append(_Piece(stream, text, end))
            self.pending += len(text)
            self._wake()

    def drop(self, room: int) -> None:
        """Lose the oldest output, what was answered and not acknowledged first, until no more than `room` waits."""
        if self.pending > room:
            self._batch = ""
        while self.pending > room:
            self.pending -= len(self._waiting.popleft().text)

    def cut(self) -> None:
        """What comes from now on goes in another answer than what is queued."""
        if self._waiting and self._waiting[-1] is not _CUT:
            self._waiting.append(_CUT)

    def set_state(self, state: str, exit_code: int | None) -> None:
        """Note the command's state; Done is the last word, Pending wakes nobody up."""
        if self.done:
            return
        self.done = state == "Done"
        if self.done:
            self._exit_code = exit_code
            self._wake()
        else:
            self._state = state

    def abort(self, fault: WsmanFault) -> None:
        """End a waiting Receive with a fault."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_exception(fault)

    def undelivered(self) -> None:
        """The batch answered last may not have reached the client: the next Receive brings it again."""
        self._came = not self._batch

    async def receive(self, message_id: str, timeout: float, limit: int) -> str:
        """Wait for output and return the body of the answer.

        Args:
            message_id: Of the request; the same one again asks for the same batch again.
            timeout: Seconds to wait at most.
            limit: Characters of base64 that the client takes.

        Raises:
            WsmanFault: Nothing came in time (2150858793), another Receive waits, the command is over, or the shell was
                closed or disconnected meanwhile.
        """
        if self.polled:
            raise WsmanFault(2150858802)
        if self._batch and (not self._came or message_id == self._batch_for):
            self._batch_for, self._came = message_id, True
            return self._batch
        self._batch = ""
        if self.done and not self._waiting and self._state == "Done":
            raise WsmanFault(2150858843)  # Done has been answered and acknowledged
        if not self._ready:
            await self._wait(timeout)
        batch = self._take(min(limit, MAX_BATCH))
        forgets = self._state == "Done" and not self._replays_end
        self._batch, self._batch_for, self._came = "" if forgets else batch, message_id, True
        return batch

    @property
    def _ready(self) -> bool:
        return bool(self._waiting) or self.done

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    async def _wait(self, timeout: float) -> None:
        self._poll = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._poll
        except TimeoutError:
            raise WsmanFault(2150858793) from None
        finally:
            self._poll = None

    def _take(self, limit: int) -> str:
        pieces: list[str] = []
        size = 0
        of = f' CommandId="{self.command_id}"' if self.command_id else ""
        while self._waiting:
            piece = self._waiting[0]
            size += len(piece.text)
            if pieces and size > limit:
                break
            self._waiting.popleft()
            self.pending -= len(piece.text)
            if piece is _CUT:
                break
            end = ' End="true"' if piece.end else ""
            pieces.append(f'<rsp:Stream Name="{piece.stream}"{of}{end}>{piece.text}</rsp:Stream>')
        if self.done and not self._waiting:
            self._state = "Done"
        if self._state and self.command_id:
            code = self._exit_code if self._state == "Done" else None
            exit_code = "" if code is None else f"<rsp:ExitCode>{code}</rsp:ExitCode>"
            pieces.append(
                f'<rsp:CommandState{of} State="{SHELL}/CommandState/{self._state}">{exit_code}</rsp:CommandState>'
            )
        return f"<rsp:ReceiveResponse>{''.join(pieces)}</rsp:ReceiveResponse>"
