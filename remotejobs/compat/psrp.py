"""A host over pypsrp: its HTTP, its envelopes, its shell and its pipeline; raw records come out.

Knows pypsrp. Must not know phases, ledgers or threads. What pypsrp would make of a record is not looked at: a record is
stored as the host has sent it, and the meaning of messages (which are records, which host calls repeat one, which are
refused) is that of wsman.psrp.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from pypsrp.complex_objects import ApartmentState, Color, Coordinates, RunspacePoolState, Size
from pypsrp.exceptions import InvalidPSRPOperation, WSManFaultError
from pypsrp.host import PSHost, PSHostRawUserInterface, PSHostUserInterface
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import CommandState
from pypsrp.wsman import SelectorSet, WSMan

from remotejobs.compat.lines import Lines
from remotejobs.compat.peer import ANSWER_GRACE, EngineJob, Intake
from remotejobs.errors import ProtocolError
from remotejobs.model import HostInfo, Outcome, PipelineCommand, ScriptCommand, Target
from remotejobs.rows import Fresh
from remotejobs.transport.http import server_name
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.envelopes import POWERSHELL
from remotejobs.wsman.faults import OPERATION_TIMED_OUT
from remotejobs.wsman.psrp.prompts import Answers
from remotejobs.wsman.psrp.runspace import RecordData, Runspace
from remotejobs.wsman.psrp.using import expressions, rewritten, values
from remotejobs.wsman.shells import STOP

AUTH: Final = {
    "Default": "negotiate",
    "Negotiate": "negotiate",
    "NegotiateWithImplicitCredential": "negotiate",
    "Kerberos": "kerberos",
    "Basic": "basic",
    "Certificate": "certificate",
}
_RSP: Final = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
_APART: Final = 1_000_000  # between the reference ids of one argument and those of the next


class PsrpPeer:
    """One runspace pool with one pipeline (a Peer)."""

    replays = True

    def __init__(self, job: EngineJob, target: Target, ids: Fresh, lines: Lines) -> None:
        self._job, self._target, self._ids = job, target, ids
        option, command = job.spec.session_option, job.spec.command
        assert isinstance(command, ScriptCommand)
        self._command, self._settings = command, job.spec.invocation_settings
        self._wsman = self._connection(lines)
        self._pool = RunspacePool(
            self._wsman,
            apartment_state=getattr(ApartmentState, self._settings.apartment_state.upper()),
            host=_host(self._settings.host) if self._settings.host else None,
            no_profile=option.no_machine_profile,
            idle_timeout=None if option.idle_timeout is None else int(option.idle_timeout),
        )
        self._pool.id = self._pool.shell.id = self.shell_id = str(ids.shell_id).upper()
        name = target.configuration or job.spec.configuration_name
        self._pool.shell.resource_uri = name if "://" in name else f"{POWERSHELL}/{name}"
        # A client that takes a pipeline over has object ids far from those of the one before; so have our replies.
        self._runspace = Runspace(
            ids.shell_id,
            ids.command_id,
            b"",
            b"",
            max_object=option.maximum_received_object_size,
            after=0,
            answers=Answers(command.answers, begun=False) if command.answers else None,
        )
        self._done = False

    @property
    def commanded(self) -> bool:
        """The host has taken the command."""
        return bool(self._wsman.command_id)

    @property
    def ended(self) -> bool:
        """Nothing more will come of the pipeline."""
        return self._done or self._runspace.ended

    @property
    def asked(self) -> bool:
        """The script waits for its user's host."""
        return bool(self._runspace.replies)

    def open(self) -> None:
        """Create the shell, open the runspace pool, and put the pipeline together: what can fail here fails before it.

        Raises:
            ProtocolError: The host could not open the pool.
        """
        given = self._settings.application_arguments
        try:
            self._pool.open(
                None if given is None else {name: _element(value, n) for n, (name, value) in enumerate(given.items())}
            )
        except InvalidPSRPOperation as error:
            raise ProtocolError(f"The host could not open a runspace{_reason(error)}.") from None
        if self._pool.state != RunspacePoolState.OPENED:
            raise ProtocolError("The host could not open a runspace and did not say why.")
        self._wsman.patient = False
        self.shell_id = str(self._pool.shell.id)
        self._shell = self._pipeline()

    def begin(self) -> str:
        """Start the pipeline, give it its input."""
        command, settings = self._command, self._settings
        self._shell.begin_invoke(
            None if command.input is None else _input(command.input),
            add_to_history=settings.add_to_history,
            redirect_shell_error_to_out=True,
            remote_stream_options=int(settings.remote_stream_options),
        )
        self._runspace.resume()
        return self._wsman.command_id

    def receive(self) -> list[RecordData] | None:
        """Wait for messages of the pipeline."""
        shell, command_id = self._pool.shell, self._wsman.command_id
        try:
            state, _, streams = shell.receive("stdout", command_id=command_id)
        except WSManFaultError as fault:
            if not _nothing_yet(fault):
                raise
            return None
        self._done = state == CommandState.DONE
        data = streams["stdout"]
        return self._runspace.feed_pipeline(data) if data else None

    def reply(self) -> list[RecordData]:
        """Answer the calls of the host."""
        runspace, notes = self._runspace, []
        for reply in runspace.take_replies():
            for packet in runspace.replying(reply, reply.payload, self._wsman.max_payload_size):
                self._pool.shell.send("pr", packet, command_id=self._wsman.command_id)
            notes += [reply.note] if reply.note else []
        return notes

    def outcome(self, intake: Intake, *, stopped: bool) -> Outcome:
        """How the pipeline has ended.

        Raises:
            ProtocolError: It did not say.
        """
        if self._runspace.failure:
            intake.look(self._runspace.failure)
        return self._job.manners.outcomes.ended_as(
            self._runspace, intake.errors, stopped=stopped, second_hop=intake.second_hop
        )

    def move(self, lines: Lines) -> None:
        """Go on over other connections, as the same client."""
        before, self._wsman = self._wsman, self._connection(lines)
        self._wsman.patient, self._wsman.command_id = before.patient, before.command_id
        self._wsman.update_max_payload_size(before.max_envelope_size)
        self._pool.connection = self._pool.shell.wsman = self._wsman

    def stop(self, shell_id: str, command_id: str) -> None:
        """Signal the pipeline."""
        shell = copy.copy(self._pool.shell)
        shell._selector_set = _selectors(shell_id)  # noqa: SLF001 - set by open(), which another client has called
        shell.signal(STOP, command_id)

    def delete(self, shell_id: str) -> None:
        """Delete the shell."""
        self._wsman.delete(self._pool.shell.resource_uri, selector_set=_selectors(shell_id))

    def _pipeline(self) -> PowerShell:
        shell = PowerShell(self._pool)
        shell.id = str(self._ids.command_id).upper()
        numbers = count(1)
        for one in self._command.pipeline:
            text, arguments = _form(one, dict(self._command.using))
            (shell.add_script if one.is_script else shell.add_cmdlet)(text, one.use_local_scope)
            for name, value in arguments:
                element = _element(value, next(numbers))
                shell.add_argument(element) if name is None else shell.add_parameter(name, element)
            for stream in one.merged:
                getattr(shell, f"merge_{stream.name.lower()}")("output")
            shell.merge_previous(one.merge_previous_results)
            if one.end_of_statement:
                shell.add_statement()
        return shell

    def _connection(self, lines: Lines) -> _Client:
        target, option = self._target, self._job.spec.session_option
        endpoint, credential = lines.endpoint, self._job.credential(target)
        timeout: Any = option.operation_timeout  # a fraction goes on the wire as it is
        wsman = _Client(
            server_name(endpoint),
            port=endpoint.port,
            ssl=endpoint.ssl,
            path=endpoint.path.lstrip("/"),
            auth=AUTH[self._job.mechanism(target)],
            username=credential.username if credential else None,
            password=credential.secret.reveal() if credential and credential.secret else None,
            # http is sealed, unless it was permitted that it is not
            encryption="auto" if endpoint.ssl or not option.allow_unencrypted else "never",
            operation_timeout=int(timeout) if timeout == int(timeout) else timeout,
            read_timeout=timeout + ANSWER_GRACE,
            locale=option.ui_culture,
            data_locale=option.culture,
            negotiate_service=option.spn_service,
            negotiate_delegate=option.delegate,
            negotiate_hostname_override=option.spn_name or None,
            certificate_pem=option.certificate_file,
            certificate_key_pem=option.certificate_key_file or option.certificate_file,
        )
        wsman.lines = lines
        wsman.session_id = str(self._ids.session_id)
        wsman.transport.session = wsman.transport._build_session()  # noqa: SLF001 - else it is made while it is used
        lines.attach(wsman.transport.session)
        return wsman


class _Client(WSMan):
    """WSMan that waits for a pool as long as that takes, and knows whether the host has taken the command."""

    lines: Lines
    patient = True
    command_id = ""

    def command(self, *args: Any, **kwargs: Any) -> Any:
        """Post Command, note the id that the host gives it."""
        body = super().command(*args, **kwargs)
        given = body.findtext(f"{_RSP}CommandResponse/{_RSP}CommandId")
        self.command_id = given or args[1].get("CommandId")
        return body

    def receive(self, *args: Any, **kwargs: Any) -> Any:
        """Ask again where the host has nothing yet."""
        tries = 0
        while True:
            try:
                return super().receive(*args, **kwargs)
            except WSManFaultError as fault:
                if not _nothing_yet(fault) or not self.patient or self.lines.ended.is_set():
                    raise
            tries += 1
            self.lines.ended.wait(min(0.01 * tries, 0.5))  # for a host that does not hold the request as it should


def _reason(error: InvalidPSRPOperation) -> str:
    """What the host has said of a broken pool, behind pypsrp's own words."""
    said = str(error).partition(": ")[2][:500]
    return ": " + "".join([c for c in said if c.isprintable()]) if said else " and did not say why"


def _nothing_yet(fault: WSManFaultError) -> bool:
    return fault.code == OPERATION_TIMED_OUT or str(fault.code).endswith("TimedOut")  # OMI gives a name in its place


def _selectors(shell_id: str) -> SelectorSet:
    selectors = SelectorSet()
    selectors.add_option("ShellId", shell_id)
    return selectors


def _element(value: Any, number: int = 0) -> Any:
    """A value as XML, which pypsrp takes as it is; its references are its own."""
    if value is None:
        return None
    root = ET.fromstring(serialize(value))  # noqa: S314 - our own writing
    for element in root.iter():
        if "RefId" in element.attrib:
            element.set("RefId", str(int(element.attrib["RefId"]) + (number + 1) * _APART))
    return root


def _form(command: PipelineCommand, using: dict[str, Any]) -> tuple[str, tuple[tuple[str | None, Any], ...]]:
    """A command's text and arguments; `$using:` in the form that PowerShell of every age knows."""
    found = expressions(command.text) if command.is_script else []
    if not found:
        return command.text, command.arguments
    text, more = rewritten(command.text, found, values(command.text, found, using))
    return text, (*command.arguments, *more.items())


def _input(kept: tuple[Any, ...]) -> Iterator[list[Any]]:
    yield [_element(value) for value in kept]


def _host(info: HostInfo) -> PSHost:
    """A host with a screen: Write-Host and prompts come here."""
    (width, height), (columns, lines) = info.window_size, info.buffer_size
    window = Size(width=width, height=height)
    screen = PSHostRawUserInterface(
        window_title=info.window_title,
        cursor_size=info.cursor_size,
        foreground_color=Color(value=info.foreground_color),
        background_color=Color(value=info.background_color),
        cursor_position=Coordinates(x=0, y=0),
        window_position=Coordinates(x=0, y=0),
        buffer_size=Size(width=columns, height=lines),
        max_physical_window_size=window,
        max_window_size=window,
        window_size=window,
    )
    return PSHost(None, None, False, "remotejobs", None, PSHostUserInterface(screen), "1.0")
