"""-LogFile: every step on every host, for a bug report, without secrets.

Knows the standard library's logging. Must not know what the steps are, nor what a secret looks like: auth.redaction
does.
"""

from __future__ import annotations

import logging
import os
import time

from remotejobs.auth.redaction import redact
from remotejobs.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "REMOTEJOBS_LOG"


class RedactingFormatter(logging.Formatter):
    """Formats a log line, then takes every secret that this process holds out of it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, traceback included, without secrets."""
        return redact(super().format(record))


def open_log(path: str | None) -> logging.Handler | None:
    """Begin to log to `path`, else to REMOTEJOBS_LOG, else not at all. The file is its owner's alone.

    Raises:
        ConfigurationError: It cannot be written.
    """
    path = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not path:
        return None
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The log file {path} cannot be written: {error.strerror or error}.") from None
    handler.setFormatter(RedactingFormatter())
    logger = logging.getLogger("remotejobs")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    return handler


def close_log(handler: logging.Handler | None) -> None:
    """End logging to `handler`."""
    if handler is not None:
        logging.getLogger("remotejobs").removeHandler(handler)
        handler.close()
