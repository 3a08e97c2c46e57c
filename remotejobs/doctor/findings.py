"""What an examination finds: a verdict for each step, and for what failed the likely cause and the command that helps.

Knows plain values only. Must not know hosts, sockets or how anything is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """What came of one step.

    Passed, and Warning: it works, and something else will not. Failed. Skipped: an earlier step has made it
    impossible. NotTried: it was not asked for, or does not apply.
    """

    Passed = "Passed"
    Warning = "Warning"
    Failed = "Failed"
    Skipped = "Skipped"
    NotTried = "NotTried"


class Remedy(NamedTuple):
    """One thing to do.

    Attributes:
        where: `host` or `here`.
        command: To be typed there; on a host in an elevated PowerShell.
    """

    where: str
    command: str


class Diagnosis(NamedTuple):
    """Why something fails, most likely, and what helps; `error_id` is PowerShell's where it has one."""

    cause: str = ""
    remedies: tuple[Remedy, ...] = ()
    error_id: str = ""


UNKNOWN = Diagnosis()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step has found at one host.

    Attributes:
        step: Its name.
        verdict: What came of it.
        text: What was seen, a sentence or two. Parts of it may be the host's own words.
        diagnosis: Of Failed and Warning.
        facts: The same for machines: plain values, no secrets.
        seconds: That it took.
    """

    step: str
    verdict: Verdict
    text: str = ""
    diagnosis: Diagnosis = UNKNOWN
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HostDiagnosis:
    """The examination of one host.

    Attributes:
        computer_name: As the user named it.
        url: Where it was looked for.
        authentication: The mechanism that was asked for.
        findings: In the order of the steps, one for each.
    """

    computer_name: str
    url: str
    authentication: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return self.failure is None

    @property
    def failure(self) -> Finding | None:
        """The first step that failed."""
        return next((each for each in self.findings if each.verdict is Verdict.Failed), None)

    def finding(self, step: str) -> Finding | None:
        """What a step has found; None where it is not part of this examination."""
        return next((each for each in self.findings if each.step == step), None)
