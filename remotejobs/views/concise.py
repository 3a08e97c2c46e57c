"""PowerShell's ConciseView of an error from a remote host.

Knows error records. Must not know hosts, streams or colours.
"""

from __future__ import annotations

from remotejobs.wsman.clixml.records import ErrorCategory, ErrorRecord


def concise(error: ErrorRecord) -> str:
    """Return an error as ConciseView prints one from a remote host: `Get-Item: Cannot find path ...` (semantics 4.13).

    The label is the command, else the category, else the reason; there is no position.
    """
    category = "" if error.category == ErrorCategory.NotSpecified.name else error.category
    label = error.activity or category or error.reason
    return f"{label}: {error.message}" if label else error.message
