"""The table of `invoke`: parameters, parameter sets, examples.

Knows what the command line offers, in words for its users. Must not know how words are bound or what the verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.answers import ANSWER_PARAMETERS
from remotejobs.cli.tables.common import (
    AUTHENTICATION,
    COMMON,
    DEPTH,
    ENGINE,
    ERRORS_AS,
    NO_PASSWORD,
    PASSWORD_FILE,
    RECORDS_AS,
    SOURCES,
    check_depth,
)
from remotejobs.cli.values import (
    CLOCK,
    INT,
    OBJECTS,
    PAIRS,
    PATH,
    SCRIPT,
    SCRIPT_FILE,
    SESSION_OPTION,
    SWITCH,
    TEXT,
    TEXTS,
    URIS,
    enum,
)
from remotejobs.errors import UsageError
from remotejobs.model import DEFAULT_CONFIGURATION, DEFAULT_THROTTLE_LIMIT, SHELLS, Clocks

_CLOCKS = Clocks()
_BY_NAME = within("ComputerName", "FilePathComputerName")
_INVALID = "System.InvalidOperationException"
# What a command line cannot have, and what helps.
_IN_THE_LINE = "Write it in the line, or give -ArgumentList."
_POWERSHELL = {
    "FilePath": "Give it as -ScriptBlock.",
    "Parameter": _IN_THE_LINE,
    "Using": _IN_THE_LINE,
    "ArgumentCredential": "Give what is secret as -InputObject -, on standard input.",
    "Answer": "Give what it reads as -InputObject.",
    "InDisconnectedSession": "A cmd shell cannot be left on its host; -AsJob goes on without this terminal.",
}


def _check(values: Mapping[str, Any]) -> None:
    """PowerShell's two refusals before anything is connected, and ours of what a detached job cannot do."""
    disconnected = values.get("InDisconnectedSession")
    job = next((f"-{name}" for name in ("AsJob", "JobName") if values.get(name)), "")
    if job and disconnected:
        raise UsageError(
            f"{job} and -InDisconnectedSession cannot be used together: the one has the job watched from here, the"
            " other leaves it to its hosts.",
            error_id=_INVALID,
        )
    if values.get("InputObject") == ["-"] and "-" in (values.get("ComputerName") or ()):
        raise UsageError("Standard input (-) is the names of -ComputerName or the -InputObject, not both.")
    if values.get("SessionName") and not disconnected:
        raise UsageError("-SessionName needs -InDisconnectedSession.", error_id=_INVALID)
    check_depth(values)
    if values.get("Shell") == "cmd":
        for name in _POWERSHELL:
            if values.get(name):
                raise UsageError(f"-{name} is for PowerShell; -Shell cmd runs a command line. {_POWERSHELL[name]}")
    elif values.get("CodePage") is not None:
        raise UsageError("-CodePage is for command lines of cmd (-Shell cmd); PowerShell sends objects.")
    without = job or ("-InDisconnectedSession" if disconnected else "")
    if without and values.get("NoStore"):
        raise UsageError(f"{without} needs the store: later commands find the job there. Leave -NoStore out.")


INVOKE = Command(
    "invoke",
    "Run a script block on many Windows hosts and print what they send, as it comes.",
    (
        Parameter(
            "ComputerName",
            TEXTS,
            "Hosts: names, addresses, ranges (web[01-20]), server lists (@servers.txt, @servers.txt:group), names on"
            " standard input (-), and what to leave out (!web07).",
            within("ComputerName", "FilePathComputerName", position=0),
            aliases=("Cn",),
            default="localhost",
            not_empty=True,
        ),
        Parameter(
            "ScriptBlock",
            SCRIPT,
            "The script: one quoted word, or words between two braces that stand alone.",
            within("ComputerName", "Uri", position=1, mandatory=True),
            aliases=("Command",),
            not_empty=True,
        ),
        Parameter(
            "FilePath",
            SCRIPT_FILE,
            "A .ps1 file of this computer to run on the hosts.",
            within("FilePathComputerName", "FilePathUri", position=1, mandatory=True),
            aliases=("PSPath",),
            not_empty=True,
        ),
        Parameter(
            "ConnectionUri",
            URIS,
            "Whole addresses instead of names: https://web01:5986/wsman.",
            within("Uri", "FilePathUri", position=0, mandatory=True),
            aliases=("URI", "CU"),
            not_empty=True,
        ),
        Parameter(
            "ArgumentList",
            OBJECTS,
            "Values for the script's param() or $args. Numbers, $true, $false and $null become what they are in"
            " PowerShell. A shell's quotes cannot be seen here: for the text 5 write \"'5'\".",
            aliases=("Args", "Argument", "Arg"),
        ),
        Parameter(
            "Parameter",
            PAIRS,
            "Named parameters of the script: Name=value with commas between, a switch as Loud=$true; a value without a"
            " name goes with the one before, so that Name=a,b is an array. Values are read as in -ArgumentList, or as"
            " the type after a colon: Count:int=5, Id:string=007, When:datetime=2026-01-31, Wait:timespan=00:05:00;"
            " also bool, switch, double, decimal, guid.",
        ),
        Parameter(
            "Using",
            PAIRS,
            "Values for $using:name in the script, written as for -Parameter.",
        ),
        Parameter(
            "InputObject",
            OBJECTS,
            "What the script's $input gives: - is the lines of standard input, sent as they come to every host;"
            " anything else one value, a list with commas one array. With -AsJob or -InDisconnectedSession all of it is"
            " read first, 1 MiB at most.",
        ),
        Parameter(
            "ArgumentCredential",
            TEXTS,
            "Credentials for the script, each a PSCredential behind the values of -ArgumentList: what it needs to go"
            " on from the host to the next one (the second hop), where its own logon does not reach. Names as for"
            " -Credential, but -PasswordFile and REMOTEJOBS_PASSWORD are of that user alone: the password of another"
            " one comes from the configuration, the keyring or the prompt. Never stored; over https or sealed"
            " messages only.",
            not_empty=True,
        ),
        *ANSWER_PARAMETERS,
        Parameter(
            "ThrottleLimit",
            INT,
            "Hosts at a time. Below 1 means the default.",
            default=str(DEFAULT_THROTTLE_LIMIT),
            setting=True,
        ),
        Parameter(
            "Credential",
            TEXT,
            "A [credential.NAME] of the configuration (remotejob help config), or a user: user, DOMAIN\\user or"
            f" user@domain, whose password comes from {SOURCES}.",
            not_empty=True,
            setting=True,
        ),
        PASSWORD_FILE,
        Parameter("Authentication", AUTHENTICATION, "The authentication mechanism.", default="Default", setting=True),
        Parameter("UseSSL", SWITCH, "Connect by https.", _BY_NAME, setting=True),
        Parameter(
            "Port",
            INT,
            "TCP port.",
            _BY_NAME,
            default="5985, with -UseSSL 5986",
            minimum=1,
            maximum=65535,
            setting=True,
        ),
        Parameter(
            "ApplicationName", TEXT, "The path of the address.", _BY_NAME, default="wsman", not_empty=True, setting=True
        ),
        Parameter(
            "ConfigurationName",
            TEXT,
            "The session configuration on the hosts.",
            default=DEFAULT_CONFIGURATION,
            not_empty=True,
            setting=True,
        ),
        Parameter(
            "Shell",
            enum("remotejobs.Shell", "name", {name: number for number, name in enumerate(SHELLS)}),
            "What runs the words: powershell, or cmd (WinRS): one command line, as at a prompt. Its -ArgumentList is"
            " quoted for cmd, -InputObject is its standard input, each line that it writes a text or an error.",
            default=SHELLS[0],
        ),
        Parameter(
            "CodePage",
            INT,
            "With -Shell cmd: the code page of what is read and written there, as Windows numbers it.",
            default="65001, which is UTF-8",
            minimum=0,
            maximum=65535,
        ),
        Parameter(
            "SessionOption",
            SESSION_OPTION,
            "Settings of New-PSSessionOption and of TLS, key=value with commas between: CAFile=ca.pem,SkipCNCheck."
            " Times are in seconds here too, not in milliseconds.",
            setting=True,
        ),
        Parameter(
            "AsJob",
            SWITCH,
            "Return at once: a process of its own runs the job, and survives this terminal. See get, receive, wait.",
        ),
        Parameter("JobName", TEXT, "A name for the job; it implies -AsJob.", default="Job<id>"),
        Parameter(
            "InDisconnectedSession",
            SWITCH,
            "Leave each shell Disconnected on its host once the script runs there: remotejob connect collects the"
            " output, from another computer too.",
            aliases=("Disconnected",),
        ),
        Parameter(
            "SessionName",
            TEXTS,
            "With -InDisconnectedSession: what the shells are called on the hosts, where remotejob sessions finds them."
            " Several names go to the hosts in their order; a single one is every host's.",
            _BY_NAME,
            not_empty=True,
        ),
        Parameter(
            "Engine",
            ENGINE,
            "What speaks to the hosts: native, or where an endpoint does not get on with it the library pypsrp or"
            " pywinrm (pip install 'remotejobs[compat]'). They need more of this computer, and cannot do everything.",
            default="native",
        ),
        Parameter("NoStore", SWITCH, "Keep nothing on this disk: no other verb will know of the job."),
        Parameter(
            "HideComputerName", SWITCH, "Do not show which host a line or an object came from.", aliases=("HCN",)
        ),
        RECORDS_AS,
        DEPTH,
        ERRORS_AS,
        Parameter(
            "FailOnError",
            SWITCH,
            "Exit code 2 also when a script completed but wrote errors, or gave an exit code other than 0. A command"
            " line of cmd goes by its exit code alone.",
            setting=True,
        ),
        Parameter(
            "ConnectTimeout",
            CLOCK,
            "For finding and connecting to one host. 0 or off: no limit.",
            default=f"{_CLOCKS.connect:g}",
            setting=True,
        ),
        Parameter(
            "AuthTimeout",
            CLOCK,
            "For authentication at one host. 0 or off: no limit.",
            default=f"{_CLOCKS.authenticate:g}",
            setting=True,
        ),
        Parameter(
            "SilenceTimeout",
            CLOCK,
            "The longest time without a record from a host that runs the script.",
            default="off",
            setting=True,
        ),
        Parameter(
            "Timeout", CLOCK, "For the whole of one host, from its first connection.", default="off", setting=True
        ),
        Parameter(
            "LogFile",
            PATH,
            "Write every step on every host to this file, without secrets, for a bug report. REMOTEJOBS_LOG does the"
            " same.",
            not_empty=True,
        ),
        *COMMON,
    ),
    cmdlet="Invoke-Command",
    aliases=("icm",),
    default_set="ComputerName",
    check=_check,
    refused={
        "Password": NO_PASSWORD,
        "Session": "Sessions are not kept between commands: name the hosts with -ComputerName.",
        "HostName": "Connections over SSH are not offered: -ComputerName connects by WinRM.",
        "CertificateThumbprint": "There is no certificate store here: give a client certificate as files, with"
        " -SessionOption CertificateFile=cert.pem,CertificateKeyFile=key.pem.",
    },
    examples=(
        Example(
            "remotejob invoke -ComputerName 'web[01-20]' -ScriptBlock 'Get-Service WinRM' -ThrottleLimit 5"
            " -Credential ops -Authentication Basic -UseSSL",
            "Twenty hosts, five at a time, over https; the password is asked for.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -FilePath deploy.ps1 -ArgumentList 7,blue -PasswordFile ops.password"
            " -Credential ops",
            "A local script, with two arguments, on every host of a server list.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -FilePath restart.ps1 -Credential ops -Parameter"
            " 'Name=WinRM,Spooler,Count:int=3,Force=$true'",
            "Parameters by name: -Name WinRM,Spooler -Count 3 -Force.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -ScriptBlock 'param($Path, [pscredential]$Cred) Get-ChildItem $Path"
            " -Credential $Cred' -ArgumentList '\\\\files\\share' -ArgumentCredential 'CORP\\sql' -Credential ops",
            "The second hop: the hosts read a share as CORP\\sql, whose password is asked for. $Cred.Password is it as"
            " a SecureString.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -InputObject - -Credential ops -ScriptBlock"
            " '$input | ForEach-Object { Get-LocalUser $_ }'",
            "Behind `cat users.txt |`, or with `< users.txt`: every host gets every line.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -FilePath cleanup.ps1 -Credential ops -Answer Yes,Reason=patch",
            "A script that prompts: every confirmation gets Yes, Read-Host Reason gets patch.",
        ),
        Example(
            "remotejob invoke -ComputerName web01,web02 -Shell cmd -ScriptBlock 'ipconfig /all' -Credential ops",
            "A command line of cmd, on hosts without PowerShell remoting too; its exit code is in the summary.",
        ),
        Example(
            "remotejob icm web01,web02 { Get-Service WinRM } -Credential ops -OutputFormat Jsonl",
            "The braces of PowerShell work for plain words; what has $, |, ; or quotes in it goes in single quotes.",
        ),
        Example(
            "remotejob invoke -ConnectionUri https://web01:5986/wsman -ScriptBlock '$PSVersionTable' -Credential ops"
            " -SessionOption CAFile=ca.pem,OperationTimeout=20",
            "By address, with an authority of your own.",
        ),
        Example(
            "remotejob invoke web07 -ScriptBlock 'Get-HotFix' -Credential ops -UseSSL -Engine pypsrp",
            "Through the library pypsrp, where an odd endpoint refuses or confuses the native engine.",
        ),
        Example(
            "remotejob invoke '@servers.txt' -ScriptBlock 'Get-HotFix' -AsJob -JobName HotFix -Credential ops",
            "A job that goes on after the terminal is closed: remotejob receive HotFix -Wait shows what it sends.",
        ),
    ),
)
