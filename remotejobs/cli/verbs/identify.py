"""`remotejob identify`, PowerShell's Test-WSMan: the part of `remotejob test` that asks a host who it is.

Knows that. Must not know how.
"""

from __future__ import annotations

from remotejobs.cli.binder import Bound
from remotejobs.cli.verbs import test


def run(bound: Bound) -> int:
    """Run the verb; 3 where something failed at a host."""
    return test.run(bound, identify_only=True)
