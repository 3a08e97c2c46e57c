"""-LogFile: every step on every host, for a bug report, without secrets.

Knows the standard library's logging. Must not know what the steps are. The one place that writes is the one place that
redacts: by value, in every form that a secret takes on the wire.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Iterable

from remotejobs.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "REMOTEJOBS_LOG"


class RedactingFormatter(logging.Formatter):
    """Formats a log line, then takes every known secret out of it.

    Args:
        secrets: The values in clear; what is shorter than four characters would redact ordinary words and is left out.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._forms = sorted({form for secret in secrets if len(secret) > 3 for form in _forms(secret)}, key=len)[::-1]

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, traceback included, without secrets."""
        text = super().format(record)
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def open_log(path: str | None, secrets: Iterable[str]) -> logging.Handler | None:
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
    handler.setFormatter(RedactingFormatter(secrets))
    logger = logging.getLogger("remotejobs")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    return handler


def close_log(handler: logging.Handler | None) -> None:
    """End logging to `handler`."""
    if handler is not None:
        logging.getLogger("remotejobs").removeHandler(handler)
        handler.close()


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield repr(secret)[1:-1]
    for data in (secret.encode(), secret.encode("utf-16-le")):
        yield data.hex()
        # Base64 of a text in the middle of another begins at one of three places.
        for shift in range(3):
            form = base64.b64encode(b"\0" * shift + data)[4 if shift else 0 : -4].decode()
            if len(form) > 3:
                yield form
