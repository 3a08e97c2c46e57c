"""The tables of the verbs that need no job: hosts, simulate, help, and the one that is not for people.

Knows what the command line offers, in words for its users. Must not know how words are bound or what a verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.common import COMMON, NO_PASSWORD
from remotejobs.cli.values import DURATION, INT, PATH, SWITCH, TEXT, TEXTS, enum, many

_MECHANISMS = many(
    enum(
        "AuthenticationMechanism",
        "mechanism",
        {
            name: number
            for number, name in enumerate(("Basic", "Negotiate", "Kerberos", "CredSSP", "Certificate", "Digest"))
        },
    )
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
        Parameter(
            "Authentication",
            _MECHANISMS,
            "How one may log on to the hosts; the server list names the first. Kerberos needs -Keytab.",
            default="Basic, Negotiate, Kerberos",
            not_empty=True,
        ),
        Parameter("Keytab", PATH, "The keys of the hosts' service principals, host/web01 for one.", not_empty=True),
        Parameter("LockoutThreshold", INT, "Lock the user out after so many wrong passwords.", default="0, never"),
        Parameter(
            "ClientCertificateFile",
            PATH,
            "Write a certificate of the user and its key to this file, where Certificate is one of -Authentication.",
            default="sim-client.pem",
            not_empty=True,
        ),
        Parameter("Latency", DURATION, "Answer each request this much later.", default="0"),
        Parameter("Fault", TEXTS, "What goes wrong where: web03=reset@Command.", not_empty=True),
        Parameter("Answers", PATH, "A folder of scripts and the records that they give.", not_empty=True),
        Parameter(
            "PowerShell", TEXT, "What runs scripts: auto, builtin, or the path of pwsh.", default="auto", not_empty=True
        ),
        Parameter(
            "Http",
            SWITCH,
            "Serve http as well, and list that. Messages may be clear where Basic is one of -Authentication (for"
            " -SessionOption AllowUnencrypted), and must be sealed else.",
        ),
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
    refused={"Password": NO_PASSWORD},
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
        Example(
            "remotejob simulate 'web[01-20]' -Http -Authentication Negotiate -LockoutThreshold 3",
            "Hosts with http that want every message sealed, and lock the user out.",
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

WORKER = Command("__worker", "Run a job whose number and credentials come on standard input.", COMMON)
