"""The examination of a host: one step after the other, each bounded in time, later ones only where they can be made.

Knows the order of the steps and which need which. Must not know what they ask. Nothing that a host does ends the
examination of another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import NamedTuple

from remotejobs.doctor import asking, steps
from remotejobs.doctor.diagnoses import diagnose
from remotejobs.doctor.findings import Finding, HostDiagnosis, Verdict
from remotejobs.doctor.patient import Patient, Tools
from remotejobs.errors import RemoteJobsError
from remotejobs.model import Target
from remotejobs.transport.failures import place_of

_log = logging.getLogger(__name__)


class Step(NamedTuple):
    """One step.

    Attributes:
        name: As shown.
        needs: Steps without which this one is impossible.
        run: Does it.
        bounds_itself: It has bounds of its own in it, or tidies up when the time is over.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[Patient], Awaitable[Finding]]
    bounds_itself: bool = False


# A certificate that is not trusted lets public questions through, for they say more about the host; no password.
STEPS = (
    Step("Name", (), steps.name),
    Step("Port", ("Name",), steps.port),
    Step("TLS", ("Port",), steps.tls),
    Step("Listener", ("Port", "TLS handshake"), steps.listener),
    Step("Mechanisms", ("Listener",), steps.mechanisms),
    Step("Clock", ("Listener",), steps.clock),
    Step("Identify", ("Listener",), steps.identity),
    Step("Ticket", ("Name", "Clock"), asking.ticket),
    Step(
        "Authentication",
        ("TLS", "Listener", "Mechanisms", "Clock", "Ticket"),
        asking.authentication,
        bounds_itself=True,
    ),
    Step("Quotas", ("Authentication",), asking.quotas),
    Step("Shell", ("Authentication",), asking.shell, bounds_itself=True),
)
SHELL = "Shell"
IDENTIFY_ONLY = frozenset({"Name", "Port", "TLS", "Listener", "Identify"})
IDENTIFY_AS = IDENTIFY_ONLY | {"Mechanisms", "Clock", "Authentication"}
_GRACE = 15.0  # seconds past the end in which a shell may be deleted


class Doctor:
    """Examines hosts, as many at a time as it has slots.

    Args:
        tools: What the steps use.
        slots: Hosts at a time.
    """

    def __init__(self, tools: Tools, slots: int) -> None:
        self._tools = tools
        self._slots = asyncio.Semaphore(slots)

    def close(self) -> None:
        """Drop what was kept for all hosts: tickets."""
        self._tools.close()

    async def examine(self, target: Target, chosen: Collection[str]) -> HostDiagnosis:
        """Examine one host; what goes wrong there is in what is returned.

        Args:
            target: The host.
            chosen: Names of the steps; they come in their own order.
        """
        async with self._slots:
            spec, clock = self._tools.job.spec, self._tools.clock
            total = spec.clocks.total
            patient = Patient(
                self._tools,
                target,
                endpoint := spec.endpoint(target),
                place_of(endpoint),
                _spelt(target.authentication or spec.authentication),
                self._tools.job.user(target),
                None if total is None else clock.monotonic() + total,
            )
            findings: dict[str, Finding] = {}
            try:
                for step in STEPS:
                    if step.name in chosen:
                        findings[step.name] = await self._made(step, patient, findings)
            finally:
                patient.close()
        return HostDiagnosis(target.name, endpoint.url, patient.mechanism, tuple(findings.values()))

    async def _made(self, step: Step, patient: Patient, before: dict[str, Finding]) -> Finding:
        clock = self._tools.clock
        began = clock.monotonic()
        missing = next((name.partition(" ")[0] for name in step.needs if _is_missing(name, before)), None)
        if missing is not None:
            found = before[missing]
            text = found.text if found.verdict is Verdict.Skipped else f"{missing} failed."
            return Finding(step.name, Verdict.Skipped, text)
        if patient.due is not None and began >= patient.due:
            return Finding(step.name, Verdict.Skipped, "The time for this host was over (-Timeout).")
        try:
            with patient.bounded(_GRACE if step.bounds_itself else None):
                found = await step.run(patient)
        except RemoteJobsError as error:
            diagnosis = diagnose(step.name, error, steps.about(patient))
            found = Finding("", Verdict.Failed, error.message, diagnosis, {**error.details, "kind": error.kind})
        except Exception as error:  # noqa: BLE001 - a mistake of ours, or a host that has found one: its own row only
            _log.info("[%s] %s", patient.target.name, step.name, exc_info=True)
            found = Finding("", Verdict.Failed, f"Internal error, {type(error).__name__}, in this step.")
        return replace(found, step=step.name, seconds=clock.monotonic() - began)


def _is_missing(name: str, before: dict[str, Finding]) -> bool:
    """Whether a step that another needs was made and came to nothing; one that was not chosen is no hindrance."""
    found = before.get(name.partition(" ")[0])
    if found is None:
        return False
    if name == "TLS handshake" and "version" in found.facts:
        return False
    return found.verdict in (Verdict.Failed, Verdict.Skipped)


def _spelt(mechanism: str) -> str:
    """As PowerShell spells it; one that it does not know stays, and is said when it comes to be used."""
    return next((each for each in steps.SCHEMES if each.lower() == mechanism.lower()), mechanism)
