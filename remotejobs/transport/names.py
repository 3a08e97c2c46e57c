"""Name look-up in threads of our own, so that names that hang hold back nobody.

Knows host names, addresses and the system's resolver. Must not know connections, HTTP or targets.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from remotejobs.errors import UnreachableError

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Address(NamedTuple):
    """One way to a host: the socket family and what connect takes."""

    family: int
    sockaddr: tuple[Any, ...]


LookUp = Callable[[str], list[Address]]


def system_look_up(host: str) -> list[Address]:
    """Ask the system's resolver; ports are 0. Blocks, for many seconds where a name server is silent.

    Raises:
        OSError, ValueError: The name is unknown, or cannot be a name.
    """
    answers = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    wanted = [Address(family, sockaddr) for family, _, _, _, sockaddr in answers]
    return list(dict.fromkeys(a for a in wanted if a.family in (socket.AF_INET, socket.AF_INET6)))


class Names:
    """The look-ups of one job, on one event loop: each name is asked for once, found names are remembered.

    At most `threads` look-ups run at a time, those left aside that have hung for longer than `patience`: for each of
    these one more thread may run, `most` in all. Threads come when they are needed and go when nothing waits. They
    are daemons: a hung look-up never keeps the process.

    Args:
        look_up: Asks the resolver, in a thread; blocks.
        threads: Look-ups at a time; more would make small name servers drop questions.
        most: Threads in all.
        patience: Seconds.
    """

    def __init__(
        self,
        look_up: LookUp = system_look_up,
        *,
        threads: int = 64,
        most: int = 512,
        patience: float = 0.5,
    ) -> None:
        self._look_up = look_up
        self._usual, self._most, self._patience = threads, most, patience
        self._found: dict[str, list[Address]] = {}
        self._asked: dict[str, asyncio.Future[list[Address] | str]] = {}
        self._watching = False
        self._lock = threading.Lock()  # guards what follows
        self._waiting: deque[str] = deque()
        self._running: dict[str, int] = {}  # name -> turn of the watch in which its look-up began
        self._turn = 0
        self._threads = 0
        self._allowed = threads

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses of `host` in the system's order. IP literals and localhost ask nobody.

        Raises:
            UnreachableError: With `details["step"] == "name"`.
        """
        literal = _literal(host, port)
        if literal:
            return literal
        found = self._found.get(host.lower())
        if found is None:
            asked = self._asked.get(host.lower()) or self._ask(host.lower())
            # shielded: who gives up waiting must not take the answer from the others
            answer = await asyncio.shield(asked)
            if isinstance(answer, str):
                raise UnreachableError(answer, error_id="ComputerNotFound", step="name", host=host)
            found = answer
        return [Address(family, (sockaddr[0], port, *sockaddr[2:])) for family, sockaddr in found]

    def forget(self, host: str) -> None:
        """Ask again the next time: nobody answered at the addresses that were found."""
        self._found.pop(host.lower(), None)

    def _ask(self, host: str) -> asyncio.Future[list[Address] | str]:
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[list[Address] | str] = loop.create_future()
        self._asked[host] = asked
        with self._lock:
            self._waiting.append(host)
        self._grow(loop)
        return asked

    def _grow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a thread for each name that waits, as far as allowed; watch over those that still wait."""
        with self._lock:
            new = max(0, min(len(self._waiting), self._allowed - self._threads))
            self._threads += new
        for left in range(new, 0, -1):
            try:
                threading.Thread(target=self._serve, args=(loop,), daemon=True, name="remotejobs-names").start()
            except RuntimeError:  # the system gives no more threads: those that run do the rest
                self._no_thread(loop, left)
                break
        if self._waiting and not self._watching:
            self._watching = True
            loop.call_later(self._patience, self._watch, loop)

    def _no_thread(self, loop: asyncio.AbstractEventLoop, missing: int) -> None:
        with self._lock:
            self._threads -= missing
            lost = list(self._waiting) if not self._threads else []
            if lost:
                self._waiting.clear()
        for host in lost:
            loop.call_soon(self._answered, host, f"The name {host} cannot be looked up: the system gives no thread.")

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """One turn of the watch: look-ups that were there a whole turn ago hang, and are not counted."""
        self._watching = False
        with self._lock:
            hung = sum(began < self._turn for began in self._running.values())
            self._turn += 1
            self._allowed = min(self._most, self._usual + hung)
        self._grow(loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """The life of a thread: one waiting name after the other, until none waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                host = self._waiting.popleft()
                self._running[host] = self._turn
            answer = self._answer(host)
            with self._lock:
                del self._running[host]
            try:
                loop.call_soon_threadsafe(self._answered, host, answer)
            except RuntimeError:  # the loop is closed: nobody waits any more
                with self._lock:
                    self._threads -= 1
                    self._waiting.clear()
                return

    def _answer(self, host: str) -> list[Address] | str:
        try:
            return self._look_up(host) or f"The name {host} has no IP address."
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:
                why = "no name server knows it. Check the spelling, or give the address in the server list"
            elif error.errno == socket.EAI_AGAIN:
                why = "the name server does not answer. Check the DNS settings of this computer"
            else:
                why = error.strerror or str(error)
        except (OSError, ValueError) as error:  # UnicodeError: a label that no name can have
            why = f"it cannot be a host name ({error})"
        return f"The name {host} cannot be resolved: {why}."

    def _answered(self, host: str, answer: list[Address] | str) -> None:
        if not isinstance(answer, str):
            self._found[host] = answer
        asked = self._asked.pop(host)
        if not asked.done():
            asked.set_result(answer)


def _literal(host: str, port: int) -> list[Address] | None:
    """The addresses of an IP literal (a scope after `%` too) or of localhost; None for a name."""
    if host.lower() == "localhost":
        # IPv4 first: WinRM's listener has it by default
        return [Address(family, (ip, port)) for family, ip in _LOOPBACK]
    if ":" in host:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            return None
        return [Address(answers[0][0], answers[0][4])]
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return [Address(socket.AF_INET, (host, port))]
