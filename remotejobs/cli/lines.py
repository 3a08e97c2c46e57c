"""An error as a line. Knows errors; must not know verbs, and must stay cheap to import."""

from __future__ import annotations

from remotejobs.errors import RemoteJobsError


def error_line(called: str, error: RemoteJobsError, computer_name: str = "") -> str:
    """Return what happened, at which host if it was one, and PowerShell's error id where there is one."""
    host = f"[{computer_name}] " if computer_name else ""
    error_id = f" [{error.error_id}]" if error.error_id else ""
    return f"{called}: {host}{one_line(error.message)}{error_id}"


def one_line(text: str) -> str:
    """Return a message as one line without control characters: part of it may come from a host."""
    return "".join(character if character.isprintable() else " " for character in text)
