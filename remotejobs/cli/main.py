"""The entry point of the CLI: finds the verb, binds its words, runs it, and turns what goes wrong into a line.

Knows the tables, the standard streams and exit codes. Must not know what a verb does; its module is imported only when
it runs, so that help and mistakes are quick.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from remotejobs.cli.binder import bind
from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.defaults import with_defaults
from remotejobs.cli.lines import error_line, one_line
from remotejobs.cli.words import Name, read
from remotejobs.errors import BindingError, ConfigurationError, RemoteJobsError

_FAILED = 1
_INTERRUPTED = 130
_HELP = frozenset({"?", "h", "help"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `remotejob help VERB` lists them.

    Args:
        argv: The words after `remotejob`; those of this process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # what a host sends may hold anything, half a surrogate pair too: it must not end the program
            stream.reconfigure(encoding="utf-8" if sys.platform == "win32" else None, errors="backslashreplace")
    line = _Line(list(sys.argv[1:] if argv is None else argv))
    try:
        code = line.run()
        sys.stdout.flush()  # here, where a closed pipe is still ours to handle
    except RemoteJobsError as error:
        line.say(error)
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        # the reader has had enough, or the disk is full: the interpreter's own flush at the end must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            line.say(ConfigurationError(f"The output cannot be written: {error.strerror or error}."))
        return _FAILED
    except Exception as error:  # noqa: BLE001 - the last resort: a line for the user, a traceback when asked for
        line.say_unexpected(error)
        return _FAILED
    return code


class _Line:
    """One command line, and how far it has been understood when something goes wrong."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.called = "remotejob"
        self.see = "remotejob help"
        self.debug = bool(os.environ.get("REMOTEJOBS_DEBUG"))

    def run(self) -> int:
        first = _names(self.words[:1])
        if not self.words or first & _HELP:
            from remotejobs.cli.help import overview

            print(overview(COMMANDS))
            return 0
        if "version" in first:
            from remotejobs import __version__

            print(f"remotejob {__version__}")
            return 0
        command = find_command(self.words[0])
        self.called, self.see = f"remotejob {command.name}", f"remotejob help {command.name}"
        if _names(self.words[1:]) & _HELP:
            from remotejobs.cli.help import verb_help

            print(verb_help(command))
            return 0
        bound = bind(command, self.words[1:])
        self.debug = self.debug or bool(bound.values.get("Debug"))
        if command.check:
            command.check(bound.values)
        bound = with_defaults(command, bound)
        module = importlib.import_module(f"remotejobs.cli.verbs.{command.name.lstrip('_')}")
        code: int = module.run(bound)
        return code

    def say(self, error: RemoteJobsError) -> None:
        """One line: what happened, PowerShell's error id where there is one, where to read on after a mistake."""
        see = f" See: {self.see}" if isinstance(error, BindingError) else ""
        _write(error_line(self.called, error) + see)

    def say_unexpected(self, error: Exception) -> None:
        """A mistake of this program: the traceback only when it was asked for."""
        if self.debug:
            import traceback

            _write("".join(traceback.format_exception(error)).rstrip())
        _write(
            f"{self.called}: internal error, {type(error).__name__}: {one_line(str(error))}"
            f"{'' if self.debug else ' (-Debug, or REMOTEJOBS_DEBUG=1, prints the traceback for a bug report)'}"
        )


def _write(text: str) -> None:
    """To stderr, without any password that is known."""
    from remotejobs.auth.redaction import redact

    print(redact(text), file=sys.stderr)


def _names(words: Sequence[str]) -> set[str]:
    return {word.name.lower() for word in read(words) if isinstance(word, Name)}
