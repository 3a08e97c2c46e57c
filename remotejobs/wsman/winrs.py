"""Requests and answers of a cmd shell under WS-Man (WinRS; MS-WSMV 2.2.4 and 3.1.4): bodies only.

Knows the `rsp` schema, and how a command line has to be written for cmd. Must not know what a program's bytes mean, nor
connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from pybase64 import b64decode, b64encode_as_string

from remotejobs.errors import ProtocolError, UsageError
from remotejobs.wsman.envelopes import (
    SHELL,
    TRANSFER,
    Request,
    escape,
    option,
    option_set,
    quoteattr,
    read_answer,
)
from remotejobs.wsman.shells import KEEPALIVE, Shell

CMD: Final = f"{SHELL}/cmd"
CTRL_C: Final = f"{SHELL}/signal/ctrl_c"
TERMINATE: Final = f"{SHELL}/signal/Terminate"
LONGEST_LINE: Final = 8191
"""Characters that cmd.exe takes as one command line."""

_RSP = f"{{{SHELL}}}"
_DONE = f"{SHELL}/CommandState/Done"
_NO_EXIT_CODE = -1
_PLAIN = re.compile(r"""[^\s&|<>^()%!"',;=@]+""")
_NOT_SENT = re.compile("[\x00-\x08\n-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SPECIAL = re.compile(r'[&|<>^()%!"]')
_BEFORE_QUOTE = re.compile(r'(\\*)("|$)')


def command_line(text: str, arguments: Iterable[str] = ()) -> str:
    """A command line for cmd: the text as it is, and each argument as a program must see it.

    Raises:
        UsageError: cmd would not run it, or not all of it: it has several lines, or is too long.
    """
    line = " ".join([text.strip("\r\n"), *map(quoted, arguments)])
    if "\n" in line or "\r" in line:
        raise UsageError("cmd runs one line, and this has several: put & between the commands.")
    if _NOT_SENT.search(line):
        raise UsageError("The command line holds a control character, which cmd does not take.")
    if len(line) > LONGEST_LINE:
        raise UsageError(
            f"The command line has {len(line):,} characters; cmd takes {LONGEST_LINE:,}. Give what is long as "
            "-InputObject (standard input)."
        )
    return line


def quoted(argument: str) -> str:
    r"""Write an argument so that cmd passes it on as it is and a program finds it whole.

    In quotes, with `\"` inside, as CommandLineToArgvW reads it; cmd, which reads the line first, takes a `\"` for the
    end of the quotes and `%NAME%` for a variable wherever it stands: where one of these occurs, each character that
    means something to cmd has a `^` before it.
    """
    if _PLAIN.fullmatch(argument):
        return argument
    doubled = _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + (r"\"" if found[2] else ""), argument)
    if '"' in argument or "%" in argument:
        return _SPECIAL.sub(r"^\g<0>", f'"{doubled}"')
    return f'"{doubled}"'


class CmdShell(Shell):
    """One cmd shell: its requests, and the ids that the host answered with."""

    __slots__ = ()

    def create(self, *, code_page: int, no_profile: bool, idle_timeout: float | None) -> Request:
        """Create the shell, under our id where the host takes one (2012 and later do)."""
        idle = f"<rsp:IdleTimeOut>PT{idle_timeout:.3f}S</rsp:IdleTimeOut>" if idle_timeout is not None else ""
        options = [option("WINRS_CODEPAGE", str(code_page))]
        if no_profile:
            options.append(option("WINRS_NOPROFILE", "TRUE"))
        body = (
            f'<rsp:Shell ShellId="{self.shell_id}"><rsp:InputStreams>stdin</rsp:InputStreams>'
            f"<rsp:OutputStreams>stdout stderr</rsp:OutputStreams>{idle}</rsp:Shell>"
        )
        return self._requests.request(f"{TRANSFER}/Create", body, options=option_set(*options))

    def command(self, command_id: str, line: str) -> Request:
        """Run a command line by `cmd /c`; its standard input is a pipe, not a console."""
        body = f'<rsp:CommandLine CommandId="{command_id}"><rsp:Command>{escape(line)}</rsp:Command></rsp:CommandLine>'
        return self._requests.request(f"{SHELL}/Command", body, selectors=self._selectors, options=_OPTIONS)

    def receive(self, command_id: str) -> Request:
        """Ask for output and for the end."""
        body = (
            f"<rsp:Receive><rsp:DesiredStream CommandId={quoteattr(command_id)}>stdout stderr</rsp:DesiredStream>"
            "</rsp:Receive>"
        )
        return self._requests.request(f"{SHELL}/Receive", body, selectors=self._selectors, options=KEEPALIVE)

    def send(self, payload: bytes, command_id: str | None, stream: str = "stdin") -> Request:
        """Send bytes to standard input; none are its end."""
        end = "" if payload else ' End="true"'
        body = (
            f'<rsp:Send><rsp:Stream Name="{stream}" CommandId={quoteattr(command_id or "")}{end}>'
            f"{b64encode_as_string(payload)}</rsp:Stream></rsp:Send>"
        )
        return self._requests.request(f"{SHELL}/Send", body, selectors=self._selectors)


_OPTIONS = option_set(option("WINRS_CONSOLEMODE_STDIN", "FALSE"), option("WINRS_SKIP_CMD_SHELL", "FALSE"))


class Output(NamedTuple):
    """What one Receive brought.

    Attributes:
        pieces: Bytes by the name of their stream, in the order in which they came.
        done: The command is over.
        exit_code: Of a command that is over, as a signed number of 32 bits, as $LASTEXITCODE is.
    """

    pieces: list[tuple[str, bytes]]
    done: bool
    exit_code: int


def read_output(data: bytes, message_id: str) -> Output:
    """Read the answer to Receive.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it is no ReceiveResponse, or not base64.
    """
    answer = read_answer(data, message_id)
    if answer.tag != f"{_RSP}ReceiveResponse":
        raise ProtocolError("The answer to Receive is not a ReceiveResponse.")
    pieces: list[tuple[str, bytes]] = []
    done, exit_code = False, _NO_EXIT_CODE
    for element in answer:
        if element.tag == f"{_RSP}Stream" and element.text:
            pieces.append((element.get("Name", ""), _unbase64(element.text)))
        elif element.tag == f"{_RSP}CommandState" and element.get("State") == _DONE:
            done, exit_code = True, _signed(element.findtext(f"{_RSP}ExitCode"))
    return Output(pieces, done, exit_code)


def _unbase64(text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ProtocolError("A stream of the answer is not base64.") from None


def _signed(text: str | None) -> int:
    """An exit code as Windows sends it, unsigned; -1 where it sends none."""
    try:
        code = int((text or "").strip()[:20]) & 0xFFFFFFFF
    except ValueError:
        return _NO_EXIT_CODE
    return code - (1 << 32) if code >> 31 else code
