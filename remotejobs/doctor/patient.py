"""What the steps of one examination pass on: the host, how it is to be reached, what was found so far.

Knows plain values and who makes connections. Must not know the steps.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from remotejobs.doctor.findings import Diagnosis, Finding, Verdict
from remotejobs.errors import TimedOutError
from remotejobs.model import Endpoint, Target
from remotejobs.ports import AuthContext, Clock, HostRunner, Reply, Transport
from remotejobs.session.prepared import PreparedJob
from remotejobs.transport.names import Address, Names
from remotejobs.transport.tls import ClientContext

Admit = Callable[[Target], AbstractAsyncContextManager[None]]
Look = Callable[[Address], Coroutine[Any, Any, str]]


class Tools(NamedTuple):
    """What the examinations of all hosts share.

    Attributes:
        job: Endpoints, requests and connections as a job has them; its command is what the shell step runs.
        runner: Runs it.
        clock: Time.
        names: Looks names up.
        name_of: Looks the name of an address up.
        admit: What every authentication passes; an error leaves through it.
        strict: TLS with nothing skipped.
        lenient: TLS that takes any certificate: for looking at one, and for questions without a secret.
        context: Makes a context for a logon to a target; those of the connections share its tickets.
        close: Drops the tickets.
    """

    job: PreparedJob
    runner: HostRunner
    clock: Clock
    names: Names
    name_of: Look
    admit: Admit
    strict: ClientContext
    lenient: ClientContext
    context: Callable[[Target], AuthContext]
    close: Callable[[], None]


@dataclass(slots=True)
class Patient:
    """One host under examination.

    Attributes:
        tools: Shared by all.
        target, endpoint, place: Where, and as messages name it.
        mechanism: As asked for, in PowerShell's spelling.
        user: Of the credential; empty for none and for the current user.
        due: When the examination must be over, monotonic seconds; None for no limit.
        session_id: Of the WS-Man requests.
        addresses: Where the host may be, once the name is known.
        reply: To the request without a logon.
        date: The Date of that answer, and when it came.
        transport: The product's connection; it is authenticated when the step of that name has passed.
    """

    tools: Tools
    target: Target
    endpoint: Endpoint
    place: str
    mechanism: str
    user: str
    due: float | None
    session_id: uuid.UUID = field(default_factory=uuid.uuid4)
    addresses: list[Address] = field(default_factory=list)
    reply: Reply | None = None
    date: tuple[str, float] | None = None
    transport: Transport | None = None

    @property
    def kerberos(self) -> bool:
        """Kerberos was asked for by name."""
        return self.mechanism == "Kerberos"

    @property
    def tls(self) -> ClientContext | None:
        """For questions without a secret; None over http."""
        return self.tools.lenient if self.endpoint.ssl else None

    @contextmanager
    def bounded(self, grace: float | None = None) -> Iterator[None]:
        """Bound a step, or a part of one: by the connect clock and by what is left for the host.

        Args:
            grace: Only by what is left for the host, and so many seconds more.

        Raises:
            TimedOutError: The time was over.
        """
        clock, seconds, option = self.tools.clock, self.tools.job.spec.clocks.connect, "-ConnectTimeout"
        left = None if self.due is None else max(self.due - clock.monotonic(), 0.0)
        if grace is not None or (left is not None and (seconds is None or left < seconds)):
            seconds, option = left, "-Timeout"
        try:
            with clock.timeout(None if seconds is None else seconds + (grace or 0.0)):
                yield
        except TimeoutError:
            words = f"{self.place} gave no answer within {seconds:.3g} s ({option})."
            raise TimedOutError(words, clock="connect", seconds=seconds) from None

    def close(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.close()


def passed(text: str, **facts: Any) -> Finding:
    """It is as it should be."""
    return Finding("", Verdict.Passed, text, facts=facts)


def warning(text: str, diagnosis: Diagnosis, **facts: Any) -> Finding:
    """It works, and something else will not."""
    return Finding("", Verdict.Warning, text, diagnosis, facts)


def failed(text: str, diagnosis: Diagnosis, **facts: Any) -> Finding:
    """It does not work."""
    return Finding("", Verdict.Failed, text, diagnosis, facts)


def not_tried(text: str, **facts: Any) -> Finding:
    """It was not asked for, does not apply, or cannot be seen."""
    return Finding("", Verdict.NotTried, text, facts=facts)
