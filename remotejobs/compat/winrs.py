"""A host over pywinrm: its HTTP, its envelopes and its cmd shell; a script goes as `powershell -EncodedCommand`.

Knows pywinrm, and the command line that it runs a script with. Must not know phases, ledgers or threads. What comes is
the text of a program's pipes, which wsman.pipes makes records of: there are no objects on this way.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from winrm.exceptions import WinRMOperationTimeoutError
from winrm.protocol import Protocol
from winrm.transport import HAVE_KERBEROS

from remotejobs.compat.lines import Lines
from remotejobs.compat.peer import ANSWER_GRACE, EngineJob, Intake
from remotejobs.errors import UsageError
from remotejobs.model import UTF8, CmdCommand, Command, Endpoint, Outcome, Target
from remotejobs.rows import Fresh
from remotejobs.states import EndReason
from remotejobs.transport.http import server_name
from remotejobs.wsman.pipes import Pipes
from remotejobs.wsman.psrp.runspace import RecordData
from remotejobs.wsman.winrs import LONGEST_LINE, command_line

AUTH: Final = {
    "Default": "ntlm",
    "Negotiate": "ntlm",
    **({"Kerberos": "kerberos"} if HAVE_KERBEROS else {}),
    "Basic": "basic",
    "Certificate": "certificate",
}
_POWERSHELL: Final = "powershell -NoLogo -NoProfile -NonInteractive -EncodedCommand "
_FAILED: Final = 1  # powershell.exe's exit code where an error ended the script, or its last command had one


class WinrsPeer:
    """One cmd shell with one command line (a Peer)."""

    replays = asked = False

    def __init__(self, job: EngineJob, target: Target, ids: Fresh, lines: Lines) -> None:  # noqa: ARG002 - the host chooses
        option, credential, endpoint = job.spec.session_option, job.credential(target), lines.endpoint
        mechanism = job.mechanism(target)
        timeout = max(int(option.operation_timeout), 1)
        self._job, self._lines = job, lines
        self._protocol = Protocol(
            _url(endpoint),
            transport=AUTH[mechanism],  # type: ignore[arg-type]
            username=credential.username if credential else None,
            password=credential.secret.reveal() if credential and credential.secret else None,
            ca_trust_path=None,  # type: ignore[arg-type]  # else one of the environment, with a warning
            service=option.spn_service,
            kerberos_hostname_override=option.spn_name or None,
            kerberos_delegation=option.delegate,
            cert_pem=option.certificate_file,
            cert_key_pem=option.certificate_key_file or option.certificate_file,
            operation_timeout_sec=timeout,
            read_timeout_sec=timeout + ANSWER_GRACE,
            message_encryption="auto" if endpoint.ssl or not option.allow_unencrypted else "never",
            proxy=None,
        )
        self._attach(self._protocol.transport)
        command = job.spec.command
        self._pipes = Pipes(command.code_page if isinstance(command, CmdCommand) else UTF8)
        self._command_id = self.shell_id = ""
        self._exit_code: int | None = None

    @property
    def commanded(self) -> bool:
        """The host has taken the command."""
        return bool(self._command_id)

    @property
    def ended(self) -> bool:
        """The command is over."""
        return self._exit_code is not None

    def open(self) -> None:
        """Create the shell."""
        option, command = self._job.spec.session_option, self._job.spec.command
        idle = option.idle_timeout
        self.shell_id = self._protocol.open_shell(
            noprofile=option.no_machine_profile,
            codepage=command.code_page if isinstance(command, CmdCommand) else UTF8,
            idle_timeout=None if idle is None else f"PT{idle:g}S",
        )

    def begin(self) -> str:
        """Start the command line."""
        self._command_id = self._protocol.run_command(self.shell_id, line_of(self._job.spec.command))
        return self._command_id

    def receive(self) -> list[RecordData] | None:
        """Wait for output."""
        try:
            out, errors, code, done = self._protocol.get_command_output_raw(self.shell_id, self._command_id)
        except WinRMOperationTimeoutError:
            return None
        if done:
            self._exit_code = code
        if not (out or errors or done):
            return None
        return list(self._pipes.feed((("stdout", out), ("stderr", errors)), last=done))

    def reply(self) -> list[RecordData]:
        """Nothing wants an answer here."""
        return []

    def outcome(self, intake: Intake, *, stopped: bool) -> Outcome:
        """How the command has ended: all that is known of a script is its exit code, and whether it wrote errors."""
        code = self._exit_code
        cmd = isinstance(self._job.spec.command, CmdCommand)
        details: dict[str, Any] = {"shell": "cmd", "exit_code": code} if cmd else {"exit_code": code}
        if stopped:
            return Outcome(EndReason.Stopped, error_count=intake.errors, details=details)
        if code == _FAILED and intake.errors and not cmd:
            return Outcome(
                EndReason.CommandFailed,
                f'Program "powershell.exe" ended with non-zero exit code: {code}. Its error stream says why.',
                error_id="ProgramExitedWithNonZeroCode",
                error_count=intake.errors,
                details=details,
            )
        if code == 0 and not cmd:
            details = {}  # a script that has not called exit
        return Outcome(EndReason.Completed, error_count=intake.errors, details=details)

    def move(self, lines: Lines) -> None:
        """Never called: what was lost with a connection does not come again."""
        raise NotImplementedError

    def stop(self, shell_id: str, command_id: str) -> None:
        """Terminate the command."""
        self._protocol.cleanup_command(shell_id, command_id)

    def delete(self, shell_id: str) -> None:
        """Delete the shell."""
        if shell_id:
            self._protocol.close_shell(shell_id)

    def _attach(self, transport: Any) -> None:
        """Have every session of pywinrm's use our connections, from its first request on."""
        build, encrypt = transport.build_session, transport.setup_encryption

        def setup_encryption(session: Any) -> None:
            self._lines.attach(session)
            encrypt(session)

        def build_session() -> Any:
            session = build()
            self._lines.attach(session)
            return session

        transport.setup_encryption, transport.build_session = setup_encryption, build_session


def line_of(command: Command) -> str:
    """The command line that runs a command.

    Raises:
        UsageError: It is longer than cmd takes.
    """
    if isinstance(command, CmdCommand):
        return command_line(command.text)
    line = _POWERSHELL + b64encode(command.text.encode("utf-16-le", "surrogatepass")).decode("ascii")
    if len(line) > LONGEST_LINE:
        most = (LONGEST_LINE - len(_POWERSHELL)) // 4 * 3 // 2
        raise UsageError(
            f"-Engine pywinrm gives a script to powershell.exe on its command line, which takes {most:,} characters of"
            f" it; this has {len(command.text):,}. Leave -Engine out."
        )
    return line


def _url(endpoint: Endpoint) -> str:
    name = server_name(endpoint)
    host = f"[{name}]" if ":" in name else name
    return f"{'https' if endpoint.ssl else 'http'}://{host}:{endpoint.port}{endpoint.path}"
