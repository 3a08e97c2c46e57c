"""Screens of PowerShell, made comparable. Used by tests of views only."""

from __future__ import annotations


def plain(text: str) -> list[str]:
    """Without blanks at line ends, and with a plain blank before AM and PM (ICU has U+202F there)."""
    lines = [line.rstrip() for line in text.replace("\u202f", " ").replace("\r\n", "\n").split("\n")]
    return "\n".join(lines).rstrip().split("\n")
