"""What the tables of several verbs share: enumerations, common parameters, how jobs are named, credentials.

Knows parameters and their words. Must not know how words are bound or what a verb does, and must stay cheap to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remotejobs.cli.parameters import Membership, Parameter, within
from remotejobs.cli.values import GUIDS, INT, INTS, PATH, SWITCH, TEXT, TEXTS, enum
from remotejobs.errors import UsageError
from remotejobs.states import JobState

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
ERROR_VIEW = enum(
    "System.Management.Automation.ErrorView",
    "view",
    {"NormalView": 0, "CategoryView": 1, "ConciseView": 2, "DetailedView": 3},
)
ENGINE = enum("Engine", "engine", {"native": 0, "pypsrp": 1, "pywinrm": 2})
JOB_FORMAT = enum("OutputFormat", "format", {"Table": 1, "List": 2, "Json": 3, "Jsonl": 4, "Csv": 5})
STATE = enum("System.Management.Automation.JobState", "state", {state.name: int(state) for state in JobState})

COMMON = (
    Parameter("Debug", SWITCH, "Print the traceback of an error that should not happen.", aliases=("db",), common=True),
)

SOURCES = "-PasswordFile FILE, the environment variable REMOTEJOBS_PASSWORD, the keyring, or the prompt on a terminal"
NO_PASSWORD = (
    "A password is never an argument: everybody on this computer could read it in the list of processes. Use"
    f" {SOURCES}."
)
PASSWORD_FILE = Parameter(
    "PasswordFile", PATH, "A file that holds the password and that only you can read.", not_empty=True
)
JOBS_AS = Parameter("OutputFormat", JOB_FORMAT, "How jobs are printed.", default="Table")
RECORDS_AS = Parameter("OutputFormat", OUTPUT_FORMAT, "How records are printed.", default="Text")
DEPTH = Parameter(
    "Depth",
    INT,
    "With -OutputFormat Json or Jsonl: how many levels of an object are written out below its first; what is deeper is"
    " one text.",
    default="2",
    minimum=0,
    maximum=100,
)
ERRORS_AS = Parameter(
    "ErrorView",
    ERROR_VIEW,
    "How errors are printed: Concise (what happened and where), Normal (category and error id too, as in Windows"
    " PowerShell), Category (one line), Detailed (everything that the host sent).",
    default="ConciseView",
)
WHAT_IF = Parameter("WhatIf", SWITCH, "Say what would be done, and do nothing.", aliases=("wi",))

BY_ID, BY_NAME, BY_INSTANCE = "SessionIdParameterSet", "NameParameterSet", "InstanceIdParameterSet"
BY_STATE, BY_COMMAND = "StateParameterSet", "CommandParameterSet"

REFUSED = {
    "Job": "There are no job objects on a command line: give the id (remotejob get lists them), or -Name.",
    "Filter": "PowerShell's -Filter finds no job of Invoke-Command either: use -Name, -State or -Command.",
    "Password": NO_PASSWORD,
}


def jobs(*, children: bool = True, mandatory: bool = True) -> tuple[Parameter, ...]:
    """The ways to name jobs that all verbs have: by id, name and instance id, each at position 0.

    Args:
        children: Whether a name finds child jobs too.
        mandatory: Whether a job must be named.
    """
    too = ", child jobs too" if children else ""
    return (
        Parameter("Id", INTS, f"Ids of jobs{too}: 5 or 5,7.", {BY_ID: Membership(0, mandatory)}, not_empty=True),
        Parameter(
            "Name",
            TEXTS,
            f"Names of jobs{too}; * and ? stand for any characters. A name that is a number needs -Name.",
            within(BY_NAME, position=0, mandatory=True),
            not_empty=True,
        ),
        Parameter(
            "InstanceId", GUIDS, "Instance ids.", within(BY_INSTANCE, position=0, mandatory=True), not_empty=True
        ),
    )


def by_state(doing: str) -> Parameter:
    """-State, at position 0 of a set of its own."""
    return Parameter("State", STATE, f"{doing} all jobs in this state.", within(BY_STATE, position=0, mandatory=True))


def by_command(doing: str) -> Parameter:
    """-Command, which is never positional."""
    return Parameter(
        "Command", TEXTS, f"{doing} the jobs with such a script; * and ? work.", within(BY_COMMAND), not_empty=True
    )


def credentials(when: str) -> tuple[Parameter, ...]:
    """-Credential and -PasswordFile of a verb that may have to reach the hosts itself.

    Args:
        when: When they are needed, as a sentence.
    """
    return (
        Parameter(
            "Credential",
            TEXT,
            f"A [credential.NAME] of the configuration, or a user, where it is not the one of the job. {when} A user's"
            f" password comes from {SOURCES}.",
            not_empty=True,
        ),
        PASSWORD_FILE,
    )


def check_depth(values: Mapping[str, Any]) -> None:
    """-Depth is ConvertTo-Json's, and no other format has it."""
    if "Depth" in values and not str(values.get("OutputFormat")).startswith("Json"):
        raise UsageError("-Depth needs -OutputFormat Json or Jsonl.")
