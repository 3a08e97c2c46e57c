"""The steps that use a credential: ticket, authentication, quotas, shell. All over the product's own connections.

Knows what to ask, and what an answer says. Must not know what helps (diagnoses), nor the order of the steps (doctor).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from remotejobs.doctor.diagnoses import diagnose, look_up
from remotejobs.doctor.findings import Finding
from remotejobs.doctor.patient import Patient, failed, not_tried, passed, warning
from remotejobs.doctor.probes import in_thread
from remotejobs.doctor.steps import about
from remotejobs.errors import ConfigurationError, FaultError, ProtocolError, RemoteJobsError
from remotejobs.model import Outcome, Record, Stream
from remotejobs.ports import ChildTask, Ends, Transport
from remotejobs.rows import Fresh, Phase
from remotejobs.session.exchange import ask
from remotejobs.states import EndReason
from remotejobs.wsman.about import CONFIG, IDENTIFY, get_config, read_config, read_identity
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.discovery import enumerate_all, read_page, shell_of
from remotejobs.wsman.envelopes import SHELL
from remotejobs.wsman.faults import Means, meaning

_MOST_RECORDS = 100
# Of winrm/config: what limits a job.
_QUOTAS = (
    "MaxEnvelopeSizekb", "MaxTimeoutms", "Service/MaxConcurrentOperationsPerUser", "Service/MaxConnections",
    "Service/AllowUnencrypted", "Winrs/AllowRemoteShellAccess", "Winrs/IdleTimeout", "Winrs/MaxShellsPerUser",
    "Winrs/MaxProcessesPerShell", "Winrs/MaxMemoryPerShellMB", "Winrs/MaxConcurrentUsers",
)  # fmt: skip
_SHOWN_QUOTAS = ("MaxEnvelopeSizekb", "Winrs/MaxShellsPerUser", "Winrs/MaxMemoryPerShellMB")
_UNLIMITED = "2147483647"


async def ticket(patient: Patient) -> Finding:
    """A Kerberos ticket for the host, where Kerberos was asked for: the first token of a context, which nobody gets.

    The logon uses the same ticket: it is asked for once.
    """
    option = patient.tools.job.spec.session_option
    host, service = option.spn_name or patient.endpoint.server_name, option.spn_service
    names = [f"{each}/{host}" for each in ((service, "http") if service.lower() == "host" else (service,))]
    if not patient.kerberos:
        return not_tried("Kerberos was not asked for (-Authentication Kerberos).", candidates=names)

    def first_token() -> None:
        steps = patient.tools.context(patient.target).steps(None)
        try:
            next(steps)
        finally:
            steps.close()

    try:
        await in_thread(first_token)
    except RemoteJobsError as error:
        return failed(error.message, diagnose("Ticket", error, about(patient, spn=names[0])), candidates=names)
    return passed(f"given for {' or '.join(names)}", candidates=names)


async def authentication(patient: Patient) -> Finding:
    """Identify again, by the product's own connection with its credential: Windows says its version then."""
    tools, target = patient.tools, patient.target
    unasked = patient.mechanism == "Default" and not patient.user
    try:
        transport = patient.transport = tools.job.connect(target)
        with patient.bounded():
            await transport.open()
        async with tools.admit(target):  # which may wait for other hosts: that is not this one's time
            with patient.bounded():
                found = await ask(transport, IDENTIFY, read_identity)
    except RemoteJobsError as error:
        if error.error_id == "CredentialMissing" or (unasked and _is_ours(error)):
            patient.close()
            patient.transport = None
            return not_tried(f"There is no credential to try, give -Credential USER. {error.message}")
        raise
    who = f" as {patient.user}" if patient.user else ""
    facts = {"mechanism": patient.mechanism, "user": patient.user, **found._asdict()}
    return passed(f"{patient.mechanism}{who}: accepted; {found.vendor}, {found.version}", **facts)


def _is_ours(error: RemoteJobsError) -> bool:
    """Whether what failed is the current user's own logon, which nobody has asked to use, and not the host."""
    refused = error.details.get("refused", True)
    return isinstance(error, ConfigurationError) or error.details.get("step") == "kdc" or not refused


async def quotas(patient: Patient) -> Finding:
    """The limits of the service, which administrators may read, and how many shells the user has."""
    transport = patient.transport
    if transport is None:
        return not_tried("Nobody is logged on.")
    requests = patient.tools.job.requests
    try:
        settings = await ask(transport, get_config(requests(patient.target, patient.session_id, CONFIG)), read_config)
    except FaultError as error:
        denied = meaning(error).means is Means.DENIED
        why = "access denied: only administrators see them" if denied else error.message
        return not_tried(f"The host does not show its settings: {why}.", code=error.code)
    shells = await _shells(patient, transport)
    facts: dict[str, Any] = {each: settings[each] for each in _QUOTAS if each in settings}
    facts["shells"] = shells
    shown = [f"{each.rpartition('/')[2]} {_number(settings[each])}" for each in _SHOWN_QUOTAS if each in settings]
    text = ", ".join(shown) + (f"; shells of this user: {shells}" if shells is not None else "")
    if settings.get("Winrs/AllowRemoteShellAccess", "").lower() == "false":
        text = f"Remote shells are forbidden (AllowRemoteShellAccess); {text}"
        return failed(text, look_up(about(patient), "Quotas.no-shells", error_id="RemoteSessionDisallowed"), **facts)
    most = settings.get("Winrs/MaxShellsPerUser", "")
    if shells is not None and most.isdecimal() and 0 < int(most) <= shells:
        text = f"No shell is left for this user: {shells} of {most} are in use; {text}"
        return failed(text, look_up(about(patient), "Quotas.shells", error_id="2150859173"), **facts)
    return passed(text, **facts)


async def _shells(patient: Patient, transport: Transport) -> int | None:
    """How many shells of the user the host lists, in the first answer; None where it lists none to this user."""
    request = enumerate_all(patient.tools.job.requests(patient.target, patient.session_id, SHELL))
    try:
        page = await ask(transport, request, read_page)
    except ProtocolError:
        return None
    found = [shell for shell in map(shell_of, page.items) if shell is not None]
    return sum(_account(shell.owner) == _account(patient.user) for shell in found) if patient.user else len(found)


def _account(user: str) -> str:
    return user.rpartition("\\")[2].partition("@")[0].lower()


def _number(text: str) -> str:
    return "unlimited" if text == _UNLIMITED else text


async def shell(patient: Patient) -> Finding:
    """A shell in the session configuration, `$PSVersionTable` in it, and its end: as a job does it."""
    if patient.transport is None:
        return not_tried("Nobody is logged on.")
    tools, spec = patient.tools, patient.tools.job.spec
    child = ChildTask(0, patient.target, Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4()))
    ledger = _Book()
    attempt = await tools.runner.run(child, ledger, _Control(patient.due))
    await tools.runner.cleanup(attempt)
    configuration = patient.target.configuration or spec.configuration_name
    outcome = attempt.outcome
    facts: dict[str, Any] = {"configuration": configuration, "reason": outcome.reason.value}
    if outcome.reason is EndReason.Completed:
        versions = _versions(ledger.records)
        shown = ", ".join(f"{name} {value}" for name, value in versions.items())
        return passed(f"{configuration}: {shown or 'opened, and told nothing of itself'}", versions=versions, **facts)
    if outcome.reason is EndReason.CommandFailed:
        text = f"{configuration} opened a shell, and refused the script: {outcome.message}"
        return warning(text, look_up(about(patient), "", error_id=outcome.error_id), **facts)
    error = attempt.error or RemoteJobsError(outcome.message, error_id=outcome.error_id)
    return failed(f"{configuration}: {outcome.message}", diagnose("Shell", error, about(patient)), **facts)


def _versions(records: Sequence[Record]) -> dict[str, str]:
    """What counts of `$PSVersionTable`."""
    for record in records:
        if record.stream is not Stream.Output:
            continue
        try:
            value = deserialize(record.raw)
        except ProtocolError:
            continue
        entries = value.base if isinstance(value, PSObject) else value
        if isinstance(entries, dict):
            wanted = ("PSVersion", "PSEdition", "OS", "BuildVersion", "CLRVersion")
            said = {name: str(entries[name])[:60] for name in wanted if name in entries}
            return {name: "".join(c for c in words if c.isprintable()) for name, words in said.items()}
    return {}


class _Book:
    """A ledger that only remembers, and not much: the shell step's."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def starting(self) -> None:
        """Nothing depends on it."""

    async def started(self, shell_id: str, command_id: str) -> None:
        """Nothing depends on it."""

    async def append(self, records: Sequence[Record]) -> None:
        """Keep the first ones."""
        self.records += records[: _MOST_RECORDS - len(self.records)]

    async def disconnected(self, why: Outcome | None = None) -> None:
        """Nothing depends on it."""

    async def finish(self, outcome: Outcome) -> None:
        """Nothing depends on it."""


class _Control:
    """Nobody stops a shell step but its time. The credential has been accepted already: there is no gate."""

    stop_requested = disconnect_requested = False

    def __init__(self, due: float | None) -> None:
        self.ends = None if due is None else Ends(due, "total")

    def on_request(self, callback: Callable[[], None] | None) -> None:
        """Nobody asks."""

    async def enter(self, phase: Phase) -> None:
        """Nothing waits."""
