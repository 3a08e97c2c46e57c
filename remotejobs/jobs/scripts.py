"""A script file on this computer, as -FilePath takes it. Knows files. Must not know jobs or hosts."""

from __future__ import annotations

from pathlib import Path

from remotejobs.errors import UsageError


def read_script(path: Path) -> str:
    """Read a local script for -FilePath, as PowerShell does: `.ps1` only, UTF-8, a last newline dropped.

    Raises:
        UsageError: It is not a .ps1 file, is not there, or cannot be read.
    """
    if path.suffix.lower() != ".ps1":
        raise UsageError(
            f"The file {path} must end in .ps1: -FilePath takes PowerShell scripts.",
            error_id="System.ArgumentException",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"Cannot find path '{path}' because it does not exist.", error_id="PathNotFound") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.", error_id="PathNotFound") from None
    return text.removesuffix("\n").removesuffix("\r")
