"""The tables of every verb: parameters, aliases, parameter sets, examples. A new verb is one more Command here.

Each verb's work is `run(bound: Bound) -> int` in `remotejobs.cli.verbs.NAME`.

Knows what the command line offers, in words for its users. Must not know how words are bound or what a verb does, and
must stay cheap to import: each start of the CLI reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.values import (
    CLOCK,
    DURATION,
    INT,
    OBJECTS,
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
from remotejobs.cli.words import suggestion
from remotejobs.errors import UsageError
from remotejobs.model import DEFAULT_CONFIGURATION, DEFAULT_THROTTLE_LIMIT, Clocks

AUTHENTICATION = enum(
    "System.Management.Automation.Runspaces.AuthenticationMechanism",
    "mechanism",
    {
        "Default": 0,
        "Basic": 1,
        "Negotiate": 2,
        "NegotiateWithImplicitCredential": 3,
        "Credssp": 4,
        "Digest": 5,
        "Kerberos": 6,
    },
)
OUTPUT_FORMAT = enum(
    "OutputFormat",
    "format",
    {"Text": 0, "Table": 1, "List": 2, "Json": 3, "Jsonl": 4, "Csv": 5, "Clixml": 6},
)

COMMON = (
    Parameter("Debug", SWITCH, "Print the traceback of an error that should not happen.", aliases=("db",), common=True),
)

_SOURCES = "-PasswordFile FILE, the environment variable REMOTEJOBS_PASSWORD, or the prompt on a terminal"
_NO_PASSWORD = (
    "A password is never an argument: everybody on this computer could read it in the list of processes. Use"
    f" {_SOURCES}."
)
_CLOCKS = Clocks()
_BY_NAME = within("ComputerName", "FilePathComputerName")

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
            aliases=("Args",),
        ),
        Parameter(
            "ThrottleLimit",
            INT,
            "Hosts at a time. Below 1 means the default.",
            default=str(DEFAULT_THROTTLE_LIMIT),
        ),
        Parameter(
            "Credential",
            TEXT,
            f"The user: user, DOMAIN\\user or user@domain. The password comes from {_SOURCES}.",
            not_empty=True,
        ),
        Parameter("PasswordFile", PATH, "A file that holds the password and that only you can read.", not_empty=True),
        Parameter("Authentication", AUTHENTICATION, "The authentication mechanism.", default="Default"),
        Parameter("UseSSL", SWITCH, "Connect by https.", _BY_NAME),
        Parameter("Port", INT, "TCP port.", _BY_NAME, default="5985, with -UseSSL 5986", minimum=1, maximum=65535),
        Parameter("ApplicationName", TEXT, "The path of the address.", _BY_NAME, default="wsman", not_empty=True),
        Parameter(
            "ConfigurationName",
            TEXT,
            "The session configuration on the hosts.",
            default=DEFAULT_CONFIGURATION,
            not_empty=True,
        ),
        Parameter(
            "SessionOption",
            SESSION_OPTION,
            "Settings of New-PSSessionOption and of TLS, key=value with commas between: CAFile=ca.pem,SkipCNCheck."
            " Times are in seconds here too, not in milliseconds.",
        ),
        Parameter(
            "HideComputerName", SWITCH, "Do not show which host a line or an object came from.", aliases=("HCN",)
        ),
        Parameter("OutputFormat", OUTPUT_FORMAT, "How records are printed.", default="Text"),
        Parameter("FailOnError", SWITCH, "Exit code 2 also when a script completed but wrote errors."),
        Parameter(
            "ConnectTimeout",
            CLOCK,
            "For finding and connecting to one host. 0 or off: no limit.",
            default=f"{_CLOCKS.connect:g}",
        ),
        Parameter(
            "AuthTimeout",
            CLOCK,
            "For authentication at one host. 0 or off: no limit.",
            default=f"{_CLOCKS.authenticate:g}",
        ),
        Parameter(
            "SilenceTimeout",
            CLOCK,
            "The longest time without a record from a host that runs the script.",
            default="off",
        ),
        Parameter("Timeout", CLOCK, "For the whole of one host, from its first connection.", default="off"),
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
    refused={
        "Password": _NO_PASSWORD,
        "Session": "Sessions are not kept between commands: name the hosts with -ComputerName.",
        "SessionName": "Sessions are not kept between commands, so they have no names.",
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
            "remotejob icm web01,web02 { Get-Service WinRM } -Credential ops -OutputFormat Jsonl",
            "The braces of PowerShell work for plain words; what has $, |, ; or quotes in it goes in single quotes.",
        ),
        Example(
            "remotejob invoke -ConnectionUri https://web01:5986/wsman -ScriptBlock '$PSVersionTable' -Credential ops"
            " -SessionOption CAFile=ca.pem,OperationTimeout=20",
            "By address, with an authority of your own.",
        ),
    ),
)

HOSTS = Command(
    "hosts",
    "Expand, count or fold host names.",
    (
        Parameter(
            "ComputerName",
            TEXTS,
            "What -ComputerName of the other verbs takes: names, ranges, server lists, - for standard input, and"
            " !name to leave out. Give as many words as you like.",
            within(mandatory=True),
            aliases=("Cn",),
            not_empty=True,
            remaining=True,
        ),
        Parameter("Expand", SWITCH, "Print every name.", within("Expand"), default="what happens without a switch"),
        Parameter("Separator", TEXT, "What to print between the names.", within("Expand"), default="a new line"),
        Parameter("Fold", SWITCH, "Print one short expression for all names.", within("Fold", mandatory=True)),
        Parameter("Count", SWITCH, "Print how many names there are.", within("Count", mandatory=True)),
        *COMMON,
    ),
    default_set="Expand",
    examples=(
        Example("remotejob hosts 'web[01-20]' '!web07'", "Nineteen names, a line each."),
        Example("remotejob hosts '@servers.txt:dmz' -Count", "How many hosts a group of a server list has."),
        Example("remotejob hosts - -Fold", "Names from standard input, as one expression."),
    ),
)

SIMULATE = Command(
    "simulate",
    "Start simulated Windows hosts on this computer, for tests, demos and rehearsals.",
    (
        Parameter(
            "ComputerName",
            TEXTS,
            "Names and ranges; each becomes a host on a port of its own.",
            within(position=0, mandatory=True),
            aliases=("Cn",),
            not_empty=True,
        ),
        Parameter(
            "ServerList",
            PATH,
            "Write a server list that -ComputerName '@FILE' takes.",
            default="sim-servers.txt",
            not_empty=True,
        ),
        Parameter("UserName", TEXT, "The user that the hosts know.", default="sim", not_empty=True),
        Parameter(
            "PasswordFile",
            PATH,
            "A file that holds the user's password. REMOTEJOBS_PASSWORD does the same.",
            not_empty=True,
        ),
        Parameter("Latency", DURATION, "Answer each request this much later.", default="0"),
        Parameter("Fault", TEXTS, "What goes wrong where: web03=reset@Command.", not_empty=True),
        Parameter("Answers", PATH, "A folder of scripts and the records that they give.", not_empty=True),
        Parameter(
            "PowerShell", TEXT, "What runs scripts: auto, builtin, or the path of pwsh.", default="auto", not_empty=True
        ),
        Parameter("Http", SWITCH, "Serve clear http as well, and list that: for -SessionOption AllowUnencrypted."),
        Parameter(
            "CAFile",
            PATH,
            "Write the hosts' certificate authority to this file.",
            default="sim-ca.pem",
            not_empty=True,
        ),
        Parameter("Duration", DURATION, "End after this time.", default="none, ends when interrupted"),
        *COMMON,
    ),
    refused={"Password": _NO_PASSWORD},
    examples=(
        Example(
            "remotejob simulate -ComputerName 'web[01-20]' -ServerList sim.txt -PasswordFile sim.password",
            "Twenty hosts with https. In another terminal: remotejob invoke '@sim.txt' -ScriptBlock '1 + 1'"
            " -Credential sim -PasswordFile sim.password -SessionOption CAFile=sim-ca.pem",
        ),
        Example(
            "remotejob simulate 'web[01-05]' -Fault web03=reset@Command -Latency 200ms -Duration 10m",
            "Slow hosts, of which one drops the connection; gone after ten minutes.",
        ),
    ),
)

HELP = Command(
    "help",
    "Show what a verb takes.",
    (Parameter("Name", TEXT, "The verb, by any of its names.", within(position=0)), *COMMON),
    cmdlet="Get-Help",
    examples=(Example("remotejob help invoke", "The same as: remotejob invoke -?"),),
)

COMMANDS = (INVOKE, HOSTS, SIMULATE, HELP)


def find_command(word: str) -> Command:
    """Return the verb called `word`: its name, PowerShell's cmdlet name, an alias, or a unique beginning of one.

    Raises:
        UsageError: No verb has that name, or several begin so.
    """
    wanted = word.casefold()
    found = [each for each in COMMANDS if wanted in _folded(each.names)] or [
        each for each in COMMANDS if wanted and any(name.startswith(wanted) for name in _folded(each.names))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        reason = f"'{word}' may be {' or '.join(each.name for each in found)}: write more of it."
    else:
        verbs = ", ".join(each.name for each in COMMANDS)
        hint = suggestion(word, (name for each in COMMANDS for name in each.names)) or f" The verbs are {verbs}."
        reason = f"There is no verb '{word}'.{hint}"
    raise UsageError(reason, error_id="CommandNotFoundException")


def _folded(names: Iterable[str]) -> list[str]:
    return [name.casefold() for name in names]
