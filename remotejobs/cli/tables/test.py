"""The tables of `test` and `identify`: parameters, examples.

Knows what the command line offers, in words for its users. Must not know how words are bound or what the verbs do, and
must stay cheap to import.
"""

from __future__ import annotations

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.common import COMMON, NO_PASSWORD
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.values import CLOCK, SWITCH, enum

_AS_INVOKE = {parameter.name: parameter._replace(sets=within()) for parameter in INVOKE.parameters}
_HOSTS = (
    _AS_INVOKE["ComputerName"]._replace(sets=within(position=0, mandatory=True), default=""),
    *map(
        _AS_INVOKE.__getitem__,
        ("Credential", "PasswordFile", "Authentication", "UseSSL", "Port", "ApplicationName", "SessionOption"),
    ),
)
_REST = (
    _AS_INVOKE["ThrottleLimit"],
    Parameter("ConnectTimeout", CLOCK, "For each step at one host. 0 or off: no limit.", default="10"),
    Parameter("Timeout", CLOCK, "For all steps at one host. 0 or off: no limit.", default="60"),
    Parameter(
        "OutputFormat",
        enum("OutputFormat", "format", {"Table": 0, "List": 1, "Json": 2, "Jsonl": 3}),
        "How findings are printed: a row for each host and what helps (a dot is a step that an earlier one has made"
        " impossible, a dash one that was not tried), all that was found, or for programs.",
        default="List for one host, Table for several",
    ),
    *COMMON,
)

TEST = Command(
    "test",
    "Find out what is wrong between here and hosts, step by step, and what helps.",
    (
        *_HOSTS,
        _AS_INVOKE["ConfigurationName"],
        Parameter(
            "Shell",
            SWITCH,
            "Open a shell too, look at $PSVersionTable in it, and delete it.",
        ),
        *_REST,
    ),
    refused={"Password": NO_PASSWORD},
    examples=(
        Example(
            "remotejob test web01 -Credential ops -Authentication Basic -UseSSL -Shell",
            "Everything about one host: name, port, TLS, listener, mechanisms, clock, logon, quotas, a shell.",
        ),
        Example("remotejob test '@servers.txt'", "Every host of a server list, a row each, without a logon."),
        Example(
            "remotejob test 'web[01-20]' -UseSSL -OutputFormat Jsonl",
            "For a program: a line for each host as soon as it is known.",
        ),
    ),
)

IDENTIFY = Command(
    "identify",
    "Ask hosts who they are: the part of test that Test-WSMan is. With -Credential as that user.",
    (*_HOSTS, *_REST),
    cmdlet="Test-WSMan",
    refused={"Password": NO_PASSWORD},
    examples=(Example("remotejob Test-WSMan web01 -UseSSL", "Vendor and version, which every host tells."),),
)
