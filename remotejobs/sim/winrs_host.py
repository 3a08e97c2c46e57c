r"""A cmd shell of a simulated host: a handful of commands, run as `cmd /c` runs them.

Knows command lines, environment, code pages and exit codes. Must not know WS-Man or PowerShell. Known are cd, cls,
echo, exit, for /l, hostname, ipconfig, more (standard input to standard output), rem, set, timeout, type, ver and
whoami, with `%NAME%`, quotes, `^`, `&`, `&&`, `||`, `1>&2`, `>&2`, `2>&1` and `nul`, and `cmd /c` before all of them.
Everything else is answered as Windows answers what it does not have.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from lxml import etree

from remotejobs.sim.shells import HostInfo, ShellFactory, ShellSink
from remotejobs.sim.soap import SHELL
from remotejobs.sim.wsman_faults import CMD_PROVIDER, WsmanFault

CMD: Final = f"{SHELL}/cmd"
_RSP: Final = f"{{{SHELL}}}"
_STOPPED: Final = 0xC000013A  # STATUS_CONTROL_C_EXIT
_MAX_LINE: Final = 8191
_FILE_NOT_FOUND: Final = 2147942402
_UNKNOWN: Final = "'{}' is not recognized as an internal or external command,\noperable program or batch file.\n"
_CHAIN: Final = re.compile(r"(&&|\|\||&)(?![0-9])")
_REDIRECTION: Final = re.compile(r"(?:(?<!\S)(?P<handle>[12]))?>(?P<to>&[12]|\s*nul\b)", re.IGNORECASE)
_LITERAL: Final = re.compile(r'\^(?P<taken>.)|(?P<quoted>"[^"]*"?)', re.DOTALL)
_SPECIAL: Final = {ord(c): 0xE000 + ord(c) for c in "&|<>^"}  # what means nothing where it stands, until it is read
_PLAIN: Final = {there: here for here, there in _SPECIAL.items()}
_FOR: Final = re.compile(
    r"\s*for\s+/l\s+%(?P<name>\w)\s+in\s*\((?P<numbers>[-\d,\s]+)\)\s*do\s+@?(?P<body>.*)", re.IGNORECASE | re.DOTALL
)
_CMD_C: Final = re.compile(r'\s*"?(?:[a-z]:\\windows\\system32\\)?cmd(?:\.exe)?"?\s+/c\s+(?P<rest>.*)', re.IGNORECASE)
_WORD: Final = re.compile(r'\s*(?P<name>"[^"]*"|[^\s/.]+(?:\.(?:exe|com))?)(?P<rest>.*)', re.DOTALL)


def winrs_shell_factory() -> ShellFactory:
    """Make cmd shells."""
    return WinrsHost


class WinrsHost:
    """One cmd shell (a Shell)."""

    def __init__(self, host: HostInfo, sink: ShellSink) -> None:
        self._host = host
        self._sink = sink
        self._running: dict[str, _Command] = {}
        self._directory = rf"C:\Users\{host.user}"
        self._environment = _environment(host)
        code_page = host.options.get("WINRS_CODEPAGE", "437")
        self._encoding = "utf-8" if code_page == "65001" else f"cp{code_page}"
        try:
            "".encode(self._encoding)
        except LookupError:
            raise WsmanFault(87, f"The code page {code_page[:20]} is not installed. ") from None

    def create(self, creation_xml: bytes) -> None:
        """Take the environment and the working directory from `rsp:Shell`."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        shell = etree.fromstring(creation_xml, parser)
        for variable in shell.iterfind(f"{_RSP}Environment/{_RSP}Variable"):
            self._environment[variable.get("Name", "")] = variable.text or ""
        self._directory = (shell.findtext(f"{_RSP}WorkingDirectory") or self._directory).strip()

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        """Start a command line: the command and its arguments, joined with blanks."""
        line = " ".join([command, *arguments])
        if options.get("WINRS_SKIP_CMD_SHELL", "").upper() == "TRUE" and ":\\" not in command:
            raise WsmanFault(
                _FILE_NOT_FOUND, provider=CMD_PROVIDER
            )  # without cmd a program must be named by its whole path
        if len(line) > _MAX_LINE:
            raise WsmanFault(87, "The command line is too long. ")
        self._host.counters.scripts[line] += 1
        self._sink.command_state(command_id, "Running", None)
        running = _Command(self._host, self._environment, self._directory, self._writer(command_id), self._sink)
        self._running[command_id] = running
        running.task = asyncio.get_running_loop().create_task(self._run(command_id, running, line))

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:  # noqa: ARG002
        """Take standard input."""
        running = self._running.get(command_id or "")
        if running is not None:
            running.stdin.put_nowait(data)
            if end:
                running.stdin.put_nowait(None)

    def signal(self, command_id: str, code: str) -> None:
        """End a command: ctrl_break and Terminate always, ctrl_c one that heeds it."""
        running = self._running.get(command_id)
        if running is None or running.task is None:
            return
        if not (running.deaf and code.lower().endswith("ctrl_c")):
            running.task.cancel()

    def close(self) -> None:
        """End all commands."""
        for command_id in list(self._running):
            self.signal(command_id, "")

    async def _run(self, command_id: str, running: _Command, line: str) -> None:
        try:
            code = await running.run(line)
        except asyncio.CancelledError:
            code = _STOPPED  # the end of the command, not of the task's owner: nobody awaits this task
        finally:
            del self._running[command_id]
        for stream in ("stdout", "stderr"):
            self._sink.output(stream, b"", command_id, end=True)
        self._sink.command_state(command_id, "Done", code & 0xFFFFFFFF)

    def _writer(self, command_id: str) -> Callable[[str, str | bytes], None]:
        def write(stream: str, text: str | bytes) -> None:
            data = text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode(self._encoding, "replace")
            self._sink.output(stream, data, command_id)

        return write


class _Command:
    """One command line that runs."""

    def __init__(
        self,
        host: HostInfo,
        environment: dict[str, str],
        directory: str,
        write: Callable[[str, str | bytes], None],
        sink: ShellSink,
    ) -> None:
        self.stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self._host = host
        self._environment = dict(environment)  # cmd /c has a copy: nothing that it sets outlives it
        self._directory = directory
        self._write = write
        self._sink = sink
        self.deaf = False  # it goes on after ^C
        self._exit: int | None = None
        self._streams = {"1": "stdout", "2": "stderr"}
        self._commands: dict[str, Callable[[str], int | Awaitable[int]]] = {
            "cd": self._cd,
            "chdir": self._cd,
            "cls": self._rem,
            "echo": self._echo,
            "exit": self._exit_now,
            "hostname": self._hostname,
            "ipconfig": self._ipconfig,
            "more": self._more,
            "rem": self._rem,
            "set": self._set,
            "timeout": self._timeout,
            "type": self._type,
            "ver": self._ver,
            "whoami": self._whoami,
        }

    async def run(self, line: str) -> int:
        """Run a whole line and return its exit code."""
        while found := _CMD_C.fullmatch(line):
            line = found["rest"].strip()
            if len(line) > 1 and line[0] == line[-1] == '"':
                line = line[1:-1]
        # Variables come first, wherever they stand; then quotes and ^ take the meaning of what else is special.
        line = _LITERAL.sub(_literal, re.sub(r"%([^%]+)%", self._variable, line))
        parts = _CHAIN.split(line)
        code = await self._simple(parts[0])
        for operator, part in zip(parts[1::2], parts[2::2], strict=True):
            if self._exit is not None:
                break
            if operator == "&" or (operator == "&&") == (code == 0):
                code = await self._simple(part)
        return code if self._exit is None else self._exit

    async def _simple(self, text: str) -> int:
        if found := _FOR.fullmatch(text):
            return await self._for(found)
        text = self._redirected(text).translate(_PLAIN)
        found = _WORD.fullmatch(text)
        if found is None:
            return 0
        name = found["name"].strip('"').lower().removesuffix(".exe").removesuffix(".com")
        rest = found["rest"]
        command = self._commands.get(name)
        if command is None:
            self._put("stderr", _UNKNOWN.format(text.split()[0]))
            return 1
        result = command(rest)
        return result if isinstance(result, int) else await result

    async def _for(self, found: re.Match[str]) -> int:
        first, step, last = (int(number) for number in found["numbers"].split(","))
        code = 0
        for number in range(first, last + (1 if step > 0 else -1), step):
            if number % 1000 == 0:
                await asyncio.sleep(0)
            while self._sink.full:  # noqa: ASYNC110 - what waits is the channel's
                await asyncio.sleep(0.01)
            code = await self._simple(found["body"].replace(f"%{found['name']}", str(number)))
        return code

    def _variable(self, found: re.Match[str]) -> str:
        wanted = found[1].lower()
        return next((value for name, value in self._environment.items() if name.lower() == wanted), found[0])

    def _redirected(self, text: str) -> str:
        self._streams = {"1": "stdout", "2": "stderr"}
        for found in _REDIRECTION.finditer(text):
            to = found["to"].strip().lower()
            self._streams[found["handle"] or "1"] = "" if to == "nul" else self._streams[to[1]]
        return _REDIRECTION.sub("", text)

    def _put(self, stream: str, text: str | bytes) -> None:
        to = self._streams["1" if stream == "stdout" else "2"]
        if to and text:
            self._write(to, text)

    # The commands. What comes in is the rest of the line, its blanks included.

    def _echo(self, rest: str) -> int:
        # One blank after the word is not part of the text; all others are.
        text = rest[1:] if rest[:1] in (" ", ".", ":") else rest
        self._put("stdout", f"{text}\n" if text.strip() else "ECHO is on.\n" if not rest.strip(" ") else "\n")
        return 0

    def _rem(self, rest: str) -> int:  # noqa: ARG002
        return 0

    def _cd(self, rest: str) -> int:
        wanted = rest.strip().removeprefix("/d").strip().strip('"')
        if wanted:
            self._directory = wanted
        else:
            self._put("stdout", f"{self._directory}\n")
        return 0

    def _exit_now(self, rest: str) -> int:
        words = [word for word in rest.split() if word.lower() != "/b"]
        try:
            self._exit = int(words[0]) if words else 0
        except ValueError:
            self._exit = 0
        return self._exit

    def _hostname(self, rest: str) -> int:  # noqa: ARG002
        self._put("stdout", f"{self._host.name}\n")
        return 0

    def _whoami(self, rest: str) -> int:  # noqa: ARG002
        self._put("stdout", f"{self._host.name}\\{self._host.user}\n".lower())
        return 0

    def _ver(self, rest: str) -> int:  # noqa: ARG002
        self._put("stdout", "\nMicrosoft Windows [Version 10.0.20348.2849]\n")
        return 0

    def _set(self, rest: str) -> int:
        name, equals, value = rest.strip().strip('"').partition("=")
        if equals:
            self._environment = {n: v for n, v in self._environment.items() if n.lower() != name.lower()}
            self._environment |= {name: value} if value else {}
            return 0
        shown = sorted(self._environment.items(), key=lambda item: item[0].upper())
        lines = [f"{n}={v}\n" for n, v in shown if n.lower().startswith(name.lower())]
        self._put("stdout", "".join(lines))
        if not lines:
            self._put("stderr", f"Environment variable {name} not defined\n")
        return 0 if lines else 1

    def _type(self, rest: str) -> int:
        if rest.strip().lower() != "nul":
            self._put("stderr", "The system cannot find the file specified.\n")
            return 1
        return 0

    def _ipconfig(self, rest: str) -> int:  # noqa: ARG002
        self._put(
            "stdout",
            "\nWindows IP Configuration\n\n\nEthernet adapter Ethernet:\n\n"
            "   Connection-specific DNS Suffix  . : example.test\n"
            "   IPv4 Address. . . . . . . . . . . : 192.0.2.10\n"
            "   Subnet Mask . . . . . . . . . . . : 255.255.255.0\n"
            "   Default Gateway . . . . . . . . . : 192.0.2.1\n",
        )
        return 0

    async def _timeout(self, rest: str) -> int:
        self.deaf = "/nobreak" in rest.lower()
        found = re.search(r"\d+(?:\.\d+)?", rest)
        await asyncio.sleep(float(found[0]) if found else 0.0)
        return 0

    async def _more(self, rest: str) -> int:  # noqa: ARG002
        while (data := await self.stdin.get()) is not None:
            self._put("stdout", data)
        return 0


def _literal(found: re.Match[str]) -> str:
    return (found["taken"] or found["quoted"]).translate(_SPECIAL)


def _environment(host: HostInfo) -> dict[str, str]:
    profile = rf"C:\Users\{host.user}"
    return {
        "ALLUSERSPROFILE": r"C:\ProgramData",
        "APPDATA": rf"{profile}\AppData\Roaming",
        "COMPUTERNAME": host.name.upper(),
        "ComSpec": r"C:\Windows\system32\cmd.exe",
        "NUMBER_OF_PROCESSORS": "2",
        "OS": "Windows_NT",
        "Path": r"C:\Windows\system32;C:\Windows;C:\Windows\System32\WindowsPowerShell\v1.0\;",
        "PATHEXT": ".COM;.EXE;.BAT;.CMD;.VBS;.JS;.MSC",
        "PROCESSOR_ARCHITECTURE": "AMD64",
        "ProgramFiles": r"C:\Program Files",
        "PROMPT": "$P$G",
        "SystemDrive": "C:",
        "SystemRoot": r"C:\Windows",
        "TEMP": rf"{profile}\AppData\Local\Temp",
        "TMP": rf"{profile}\AppData\Local\Temp",
        "USERDOMAIN": host.name.upper(),
        "USERNAME": host.user,
        "USERPROFILE": profile,
        "windir": r"C:\Windows",
    }
