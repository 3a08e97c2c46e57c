"""The engines by name: what each library cannot do, which is refused before anything is sent, and one job's run of it.

Knows tables, and imports a library only when a job asks for it. Must not know how a library works.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from remotejobs.auth.tokens import canonical
from remotejobs.compat.attempt import ThreadedAttempt
from remotejobs.compat.peer import EngineJob, Manners, PeerOf
from remotejobs.errors import ConfigurationError
from remotejobs.model import DEFAULT_CONFIGURATION, CmdCommand, InvocationSettings, JobSpec, Target
from remotejobs.ports import ChildLedger, ChildTask, Clock, Control
from remotejobs.transport.connector import Connector
from remotejobs.transport.names import Names
from remotejobs.transport.tls import ClientContext

_Cannot = Mapping[str, Callable[[JobSpec], object]]


def _beyond(*fields: str) -> Callable[[JobSpec], list[str]]:
    """What a command has that is none of these fields, as the command line calls it."""

    def found(spec: JobSpec) -> list[str]:
        command: Any = spec.command
        more = [f for f in dataclasses.fields(command) if f.name not in ("text", *fields)]
        return [_FLAGS.get(f.name, f.name) for f in more if getattr(command, f.name) != f.default]

    return found


_FLAGS: Final = {
    "arguments": "-ArgumentList",
    "parameters": "-Parameter",
    "using": "-Using",
    "input": "-InputObject",
    "streamed": "-InputObject as a stream",
    "answers": "-Answer",
    "commands": "a pipeline of commands",
}
_ALWAYS: Final[_Cannot] = {
    "-InDisconnectedSession": lambda spec: spec.in_disconnected_session,
    "-SessionOption OutputBufferingMode": lambda spec: spec.session_option.output_buffering_mode != "None",
}
_PYPSRP: Final[_Cannot] = {
    **_ALWAYS,
    "-Shell cmd": lambda spec: isinstance(spec.command, CmdCommand),
    "{}": _beyond("arguments", "parameters", "using", "input", "answers", "commands"),
}
_PYWINRM: Final[_Cannot] = {
    **_ALWAYS,
    "{}": _beyond("code_page"),
    "settings of the invocation": lambda spec: spec.invocation_settings != InvocationSettings(),
    "-ConfigurationName": lambda spec: (
        {t.configuration or spec.configuration_name for t in spec.targets} != {DEFAULT_CONFIGURATION}
    ),
    "-SessionOption Culture or UICulture": lambda spec: (
        {spec.session_option.culture, spec.session_option.ui_culture} != {"en-US"}
    ),
}


class Engine(NamedTuple):
    """One library.

    Attributes:
        name: As -Engine has it.
        cannot: What it cannot do, and whether a job asks for it; `{}` stands for what was found.
        auth: Its names of mechanisms.
        implicit: Its mechanisms for the current user.
        tickets: Its mechanisms for the current user alone.
        peer_of: Makes a Peer.
        check: Refuses a job that is beyond it in another way.
    """

    name: str
    cannot: _Cannot
    auth: Mapping[str, str]
    implicit: frozenset[str]
    tickets: frozenset[str]
    peer_of: PeerOf
    check: Callable[[JobSpec], object]


def _engine(name: str) -> Engine:
    try:
        if name == "pypsrp":
            from remotejobs.compat import psrp

            implicit = frozenset(psrp.AUTH) - {"Basic"}
            return Engine(name, _PYPSRP, psrp.AUTH, implicit, frozenset(), psrp.PsrpPeer, lambda _: None)
        if name == "pywinrm":
            from remotejobs.compat import winrs

            tickets = frozenset({"Kerberos"})
            implicit = tickets | {"Certificate"}
            return Engine(
                name, _PYWINRM, winrs.AUTH, implicit, tickets, winrs.WinrsPeer, lambda spec: winrs.line_of(spec.command)
            )
    except ImportError as error:
        if (error.name or "").startswith("remotejobs"):
            raise
        raise ConfigurationError(
            f"-Engine {name} needs {error.name or 'a library'}, which is not installed here. Nothing was sent. Install"
            " it: pip install 'remotejobs[compat]'; or leave -Engine out.",
            error_id="EngineMissing",
        ) from None
    raise ConfigurationError(f"There is no engine {name!r}. They are native, pypsrp and pywinrm.", engine=name)


class EngineRun:
    """One job's run with a library: its threads, and what makes its attempts.

    Args:
        spec: The job.
        targets: Those that will be asked for something; mechanisms and credentials are there.
        connect: Knows them.
        slots: Hosts at a time.
        secrets: Names of secrets among the values that go up.
        manners: What every engine does alike.

    Raises:
        UsageError: The library is missing, or cannot do what the job asks for.
    """

    def __init__(
        self,
        spec: JobSpec,
        targets: Iterable[Target],
        connect: Connector,
        slots: int,
        secrets: object,
        manners: Manners,
    ) -> None:
        engine = self._engine = _engine(spec.engine)
        for what, asked in engine.cannot.items():
            if found := asked(spec):
                refuse(engine, what.format(", ".join(found)) if isinstance(found, list) else what)
        if secrets:
            refuse(engine, "a Secret or a Credential for the script")
        targets = list(targets)
        for target in {(t.authentication, t.credential, t.ssl): t for t in targets}.values():
            _check(engine, spec, connect, target)
        engine.check(spec)
        tls: ClientContext | None = next(
            (found for t in targets if (found := connect.encryption(spec.endpoint(t)))), None
        )

        def mechanism(target: Target) -> str:
            return _mechanism(spec, connect, target)

        self._job = EngineJob(spec, engine.name, mechanism, connect.credential, tls, Names(), manners)
        # One for each host at a time, and one for what has to pass it (Signal) or comes when its slot is given back
        # (Delete). They come when they are needed, and none is left when the job is over.
        self._threads = ThreadPoolExecutor(2 * slots, f"remotejobs-{engine.name}")
        self._room = asyncio.Semaphore(slots)

    def begin(self, child: ChildTask, ledger: ChildLedger, control: Control, clock: Clock) -> ThreadedAttempt:
        """Make an attempt at one target."""
        engine = self._engine
        return ThreadedAttempt(self._job, engine.peer_of, self._threads, self._room, child, ledger, control, clock)

    def close(self) -> None:
        """Let the threads go; nothing of the job runs any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def refuse(engine: Engine, what: str) -> None:
    """Refuse what an engine cannot do.

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        f"-Engine {engine.name} cannot do {what}. Nothing was sent. Leave one of them out: the native engine can.",
        error_id="EngineCannot",
    )


def _mechanism(spec: JobSpec, connect: Connector, target: Target) -> str:
    name = canonical(connect.mechanism(target))
    if name == "Default" and connect.credential(target) is None and spec.session_option.certificate_file:
        return "Certificate"
    return name


def _check(engine: Engine, spec: JobSpec, connect: Connector, target: Target) -> None:
    name, credential = _mechanism(spec, connect, target), connect.credential(target)
    if name not in engine.auth:
        refuse(engine, f"-Authentication {name}")
    if credential is None and name not in engine.implicit:
        refuse(engine, f"-Authentication {name} for the current user, without -Credential")
    if credential is not None and not credential.secret:
        refuse(engine, "a credential of Kerberos tickets or keys")
    if credential is not None and name in engine.tickets:
        refuse(engine, f"-Authentication {name} with -Credential, only with the tickets of kinit")
