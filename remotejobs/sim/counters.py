"""What a simulated host has seen and done, for tests and for `GET /counters`.

Knows names and numbers only. Each host answers `GET /counters` on its own ports to its own account, so that tests in
other processes can ask; such a request is not counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

PATH: Final = "/counters"


@dataclass(slots=True)
class Counters:
    """The counts of one host since it was started.

    Attributes:
        requests: Authenticated requests by operation (`Create`, `Command`, `Receive` ...).
        faults: Faults that were answered, by code.
        commands: Commands started.
        scripts: How often each script text or command line was started: 2 where something ran twice.
        records: Records that scripts have written, on all streams.
        connections: Connections accepted.
        logons: Logons by account as the client wrote it; a connection is one, however many requests it carries.
        logon_failures: Logons refused, by account; once each, whatever number of requests it took. The account is
            empty where none was named.
        shells: Shells open now.
        most_shells: Shells open at a time, at most.
    """

    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[int] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)
    logons: Counter[str] = field(default_factory=Counter)
    logon_failures: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    records: int = 0
    connections: int = 0
    shells: int = 0
    most_shells: int = 0

    @property
    def refused(self) -> int:
        """Logons refused, of all accounts."""
        return self.logon_failures.total()

    def shell_opened(self) -> None:
        """Count a shell in."""
        self.shells += 1
        self.most_shells = max(self.most_shells, self.shells)

    def shell_closed(self) -> None:
        """Count a shell out."""
        self.shells -= 1

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as plain values for JSON."""
        return {
            "requests": dict(self.requests),
            "faults": {str(code): count for code, count in self.faults.items()},
            "scripts": dict(self.scripts),
            "logons": dict(self.logons),
            "logon_failures": dict(self.logon_failures),
            "commands": self.commands,
            "records": self.records,
            "connections": self.connections,
            "refused": self.refused,
            "shells": self.shells,
            "most_shells": self.most_shells,
        }
