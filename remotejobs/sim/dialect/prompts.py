"""The cmdlets that ask their user: Read-Host, Get-Credential, and -Confirm, as recorded.

Knows how cmdlets are called, and the calls of the client's host that PowerShell makes for each (MS-PSRP 2.2.3.17). Must
not know how they travel or who answers them.
"""

from __future__ import annotations

from typing import Any

from remotejobs.sim.dialect.commands import Cmdlet, cmdlet
from remotejobs.sim.dialect.conversions import plain
from remotejobs.sim.dialect.errors import Failure
from remotejobs.sim.dialect.host import choose
from remotejobs.sim.interpreter import HostMethod, Streams
from remotejobs.sim.records import ARRAY_LIST, STRING_ASSEMBLY, ScriptError
from remotejobs.sim.values import Hashtable, PSObject, items, to_text

_CHOICES = (
    ("&Yes", "Continue with only the next step of the operation."),
    ("Yes to &All", "Continue with all the steps of the operation."),
    ("&No", "Skip this operation and proceed with the next operation."),
    ("No to A&ll", "Skip this operation and all subsequent operations."),
)
_YES, _YES_TO_ALL, _NO_TO_ALL = 0, 1, 3


class _Asking(Cmdlet):
    """A cmdlet that emits what its user answers."""

    async def ask(self, streams: Streams) -> Any:
        raise NotImplementedError

    async def end(self) -> None:
        try:
            await self.emit(await self.ask(self.evaluator.streams))
        except ScriptError as refused:
            record = refused.record
            record.error_id, record.activity = f"{record.error_id},{self.clr}", self.name
            record.command = record.invocation_name = self.name
            record.position = self.position
            raise Failure(record) from None


@cmdlet
class _ReadHost(_Asking):
    name, clr, spec = (
        "Read-Host",
        "Microsoft.PowerShell.Commands.ReadHostCommand",
        "Prompt:object:0 AsSecureString:switch",
    )

    async def ask(self, streams: Streams) -> Any:
        secure = bool(self.p["AsSecureString"])
        if self.p["Prompt"] is None:
            return await streams.host_call(HostMethod.ReadLineAsSecureString if secure else HostMethod.ReadLine)
        prompt = " ".join(to_text(part) for part in items(self.p["Prompt"]))
        kind = "System.Security.SecureString" if secure else "System.String"
        members = {
            "name": prompt, "label": "", "parameterTypeName": kind.rpartition(".")[2], "parameterTypeFullName": kind,
            "parameterAssemblyFullName": STRING_ASSEMBLY.replace("System.String", kind, 1), "helpMessage": "",
            "isMandatory": True, "metadata": PSObject(ARRAY_LIST, value=[]), "modifiedByRemotingProtocol": False,
            "isFromRemoteHost": False,
        }  # fmt: skip
        fields = PSObject(ARRAY_LIST, value=[PSObject((), extended=members)])
        answer = plain(await streams.host_call(HostMethod.Prompt, "", "", fields))
        return answer.get(prompt) if isinstance(answer, Hashtable) else None


@cmdlet
class _GetCredential(_Asking):
    name, clr, spec = (
        "Get-Credential",
        "Microsoft.PowerShell.Commands.GetCredentialCommand",
        "Credential:string:0 UserName:string Message:string",
    )

    async def ask(self, streams: Streams) -> Any:
        user, message = self.p["Credential"] or self.p["UserName"] or "", self.p["Message"] or "Enter your credentials."
        method = HostMethod.PromptForCredential2
        return await streams.host_call(method, "PowerShell credential request", message, user, "", 3, 1)


class Confirmation:
    """-Confirm of one cmdlet: it asks for each target, until an answer is for all."""

    def __init__(self, cmdlet: Cmdlet) -> None:
        self._cmdlet = cmdlet
        self._all: bool | None = None

    async def should_process(self, target: str) -> bool:
        """Ask, if that was asked for; False where the user says no."""
        if not self._cmdlet.p["Confirm"]:
            return True
        if self._all is None:
            message = (
                "Are you sure you want to perform this action?\n"
                f'Performing the operation "{self._cmdlet.name}" on target "{target}".'
            )
            picked = await choose(self._cmdlet.evaluator.streams, "Confirm", message, _CHOICES, _YES)
            if picked not in (_YES_TO_ALL, _NO_TO_ALL):
                return picked == _YES
            self._all = picked == _YES_TO_ALL
        return self._all
