"""The table of `sessions`: parameters, parameter sets, examples.

Knows what the command line offers, in words for its users. Must not know how words are bound or what the verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.common import COMMON, JOB_FORMAT, NO_PASSWORD, WHAT_IF
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.values import CLOCK, GUIDS, SWITCH, TEXT, TEXTS, enum

_AS_INVOKE = {parameter.name: parameter._replace(sets=within()) for parameter in INVOKE.parameters}
_STATE = enum("SessionFilterState", "state", {"All": 0, "Connected": 1, "Disconnected": 2})
_CONNECTION = (
    "ThrottleLimit", "Credential", "PasswordFile", "Authentication", "UseSSL", "Port", "ApplicationName",
    "SessionOption", "ConnectTimeout",
)  # fmt: skip

SESSIONS = Command(
    "sessions",
    "List the PowerShell sessions that hosts hold, and the jobs that they belong to; delete or connect these.",
    (
        _AS_INVOKE["ComputerName"]._replace(sets=within(position=0, mandatory=True), default=""),
        Parameter("Name", TEXTS, "Only sessions with these names; * and ? stand for any characters.", not_empty=True),
        Parameter("InstanceId", GUIDS, "Only these sessions.", not_empty=True),
        Parameter("ConfigurationName", TEXT, "Only those in this session configuration; * and ? work.", not_empty=True),
        Parameter("State", _STATE, "Only those in this state.", default="All"),
        Parameter(
            "All",
            SWITCH,
            "Everybody's, as far as the host shows them: to administrators. Without it those of the user who asks.",
            within("List"),
        ),
        Parameter(
            "Remove",
            SWITCH,
            "Delete them, with all that runs in them: those that jobs of this store have left behind, and others only"
            " where -InstanceId names them.",
            within("Remove", mandatory=True),
        ),
        Parameter(
            "Force", SWITCH, "With -Remove: also those of jobs that have not ended.", within("Remove"), aliases=("F",)
        ),
        WHAT_IF._replace(sets=within("Remove")),
        Parameter(
            "Connect",
            SWITCH,
            "Take up the jobs that they belong to, as remotejob connect does.",
            within("Connect", mandatory=True),
        ),
        *map(_AS_INVOKE.__getitem__, _CONNECTION),
        Parameter("Timeout", CLOCK, "For the answers of one host. 0 or off: no limit.", default="60"),
        Parameter("OutputFormat", JOB_FORMAT, "How sessions, or with -Connect jobs, are printed.", default="Table"),
        *COMMON,
    ),
    cmdlet="Get-PSSession",
    aliases=("gsn",),
    default_set="List",
    refused={
        "Password": NO_PASSWORD,
        "Id": "Sessions have no numbers here: name them with -InstanceId.",
        "ConnectionUri": "Name the hosts with -ComputerName.",
    },
    examples=(
        Example(
            "remotejob sessions '@servers.txt' -Credential ops -Authentication Basic -UseSSL",
            "Every session of this user on these hosts, and the job that each belongs to.",
        ),
        Example(
            "remotejob sessions '@servers.txt' -Credential ops -State Disconnected -All",
            "What waits for a client, whoever has left it there.",
        ),
        Example(
            "remotejob sessions '@job:42' -Credential ops -Remove -WhatIf",
            "What ended jobs have left on the hosts of job 42, and would be deleted.",
        ),
        Example("remotejob sessions web01 -Credential ops -Name Nightly -Connect", "Take up the job of a session."),
    ),
)
