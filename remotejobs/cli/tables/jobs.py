"""The tables of the verbs that work on jobs: PowerShell's parameters, sets and positions, and our own beside them.

Knows what the command line offers, in words for its users. Must not know how words are bound or what a verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.answers import ANSWER_PARAMETERS
from remotejobs.cli.tables.common import (
    BY_ID,
    BY_INSTANCE,
    BY_NAME,
    COMMON,
    DEPTH,
    ERRORS_AS,
    JOBS_AS,
    RECORDS_AS,
    REFUSED,
    STATE,
    WHAT_IF,
    by_command,
    by_state,
    check_depth,
    credentials,
    jobs,
)
from remotejobs.cli.values import BOOL, DATETIME, INT, SWITCH, TEXTS, enum, many
from remotejobs.errors import UsageError
from remotejobs.states import EndReason, JobState

_TIMED_OUT = "TimedOut"
_ENDS = dict.fromkeys((*JobState.__members__, _TIMED_OUT, *(reason.value for reason in EndReason)))
ENDS = enum("JobState", "state", {name: number for number, name in enumerate(_ENDS)})
_TAKES_OVER = "Needed where the process that ran the job is gone and this one has to reach the hosts."
_REACHES = (
    "Needed to reach the hosts. What the script itself was given with -ArgumentCredential is found by its names again:"
    " it is not stored."
)


def _check_receive(values: Mapping[str, Any]) -> None:
    """PowerShell's refusals, in its order."""
    if values.get("Wait") and values.get("Keep"):
        raise UsageError(
            "The Wait and Keep parameters cannot be used together in the same command: leave one of them out.",
            error_id="ParameterBindingFailed",
        )
    for name in ("AutoRemoveJob", "WriteJobInResults", "WriteEvents", "Force"):
        if values.get(name) and not values.get("Wait"):
            dash = "" if name == "WriteEvents" else "-"  # PowerShell's own sentences
            raise UsageError(
                f"The {dash}{name} parameter cannot be used without the {dash}Wait parameter.",
                error_id="InvalidOperation",
            )
    check_depth(values)


def _check_remove(values: Mapping[str, Any]) -> None:
    if not {"Id", "Name", "InstanceId", "State", "Command", "Before", "After"} & values.keys():
        raise UsageError(
            "Say which jobs: an id, -Name, -State, -Command, -Before or -After.", error_id="MissingMandatoryParameter"
        )


GET = Command(
    "get",
    "List jobs: what runs, what has ended and how, what waits to be received.",
    (
        *jobs(mandatory=False),
        by_state("Lists"),
        by_command("Lists"),
        Parameter("IncludeChildJob", SWITCH, "List the child jobs too, one for each host."),
        Parameter("ChildJobState", STATE, "List the child jobs in this state too; the parents stay in the list."),
        Parameter("HasMoreData", BOOL, "Only jobs that have ($true) or have not ($false) something to receive."),
        Parameter("Before", DATETIME, "Only jobs that ended before this time: 2026-01-31 or 2026-01-31T18:30."),
        Parameter("After", DATETIME, "Only jobs that ended after this time."),
        Parameter("Newest", INT, "Only so many, those that ended last; what has not ended comes after them."),
        JOBS_AS,
        *COMMON,
    ),
    cmdlet="Get-Job",
    aliases=("gjb",),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob get", "All jobs."),
        Example("remotejob get HotFix -IncludeChildJob", "One job by its name, with a line for every host."),
        Example("remotejob get -State Running -OutputFormat Jsonl", "What runs now, for a program."),
        Example("remotejob gjb 5 -OutputFormat List", "Everything about one job."),
    ),
    unlike=(
        (
            "Jobs are kept in a file, not in a session: all runs count on in one sequence of ids, one for the job and"
            " one for each host. A run in the foreground is a job too; PowerShell hides it, and gives it one id."
        ),
        (
            "A list leaves out what is an object of PowerShell's own process (Runspace, Debugger, Finished) and says"
            " how each host ended instead: EndReason, Message, ErrorCount."
        ),
        (
            "No job is ever Blocked: a script that prompts is answered by -Answer of invoke, or gets PowerShell's"
            " error for a session without a user, and goes on. Nobody may be there when a job runs."
        ),
    ),
)

RECEIVE = Command(
    "receive",
    "Print what the hosts of a job sent since it was last received.",
    (
        *jobs(),
        Parameter(
            "Location",
            TEXTS,
            "Only of these hosts of the job; ranges and server lists work as with invoke.",
            within(BY_ID, BY_NAME, BY_INSTANCE, position=1),
            aliases=("ComputerName", "Cn"),
            not_empty=True,
        ),
        Parameter("Keep", SWITCH, "Leave it to be received again."),
        Parameter("FromStart", SWITCH, "Also what was received before, as far as it is stored."),
        Parameter("Wait", SWITCH, "Go on until the job has ended, and print what comes as it comes."),
        Parameter("Force", SWITCH, "With -Wait: wait for disconnected hosts too."),
        Parameter("AutoRemoveJob", SWITCH, "With -Wait: remove the job when it has ended and all is printed."),
        Parameter("WriteEvents", SWITCH, "With -Wait: say when each child job, and the job, ends."),
        Parameter("WriteJobInResults", SWITCH, "With -Wait: print the job first."),
        Parameter("NoRecurse", SWITCH, "Only of the job itself, not of its child jobs: that is nothing."),
        RECORDS_AS,
        DEPTH,
        ERRORS_AS,
        Parameter(
            "FailOnError",
            SWITCH,
            "Exit code 2 also when a script completed but wrote errors, or gave an exit code other than 0; a command"
            " line of cmd goes by that alone.",
        ),
        *COMMON,
    ),
    cmdlet="Receive-Job",
    aliases=("rcjb",),
    default_set=BY_ID,
    check=_check_receive,
    refused={**REFUSED, "Session": "Sessions have no objects here: name the hosts with -Location."},
    examples=(
        Example("remotejob receive 5", "What is new since the last time, at once; exit code 6: more will come."),
        Example("remotejob receive HotFix -Wait", "The same, and live from then on; Ctrl-C leaves the job running."),
        Example("remotejob receive 5 'web[01-03]' -Keep", "Of three hosts, and it stays to be received."),
        Example("remotejob receive 5 -FromStart -OutputFormat Csv", "All that is stored, for a spreadsheet."),
    ),
    unlike=(
        (
            "Nothing is lost where it ends early (a closed pipe, Ctrl-C): what was not printed comes the next time."
            " The cmdlet has emptied the job by then."
        ),
        "Why a host failed is said once, like all else that is received; the cmdlet says it at every look.",
        (
            "Warnings, errors and lines name their host: there are many. All that was written with Write-Information"
            " is shown, whether or not the host's preference would have."
        ),
        "-Location prints hosts in the order of the job, whatever the order in which they are named.",
    ),
)

WAIT = Command(
    "wait",
    "Wait until jobs have ended, then list them.",
    (
        *jobs(),
        by_state("Waits for"),
        Parameter("Any", SWITCH, "Wait for the first one only."),
        Parameter(
            "Timeout",
            INT,
            "Seconds to wait at most, in all; then nothing is printed and the exit code is 6. -1: no limit.",
            aliases=("TimeoutSec",),
            default="-1",
            minimum=-1,
            maximum=2**31 - 1,
        ),
        Parameter("Force", SWITCH, "Wait for disconnected jobs too, until they have ended."),
        JOBS_AS,
        *COMMON,
    ),
    cmdlet="Wait-Job",
    aliases=("wjb",),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob wait 5 -Timeout 600", "Ten minutes at most; exit code 6 when they were not enough."),
        Example("remotejob wait 5,9,12 -Any", "Until one of three has ended."),
    ),
    unlike=("A job that is named twice counts once; the cmdlet would wait for ever.",),
)

STOP = Command(
    "stop",
    "Stop jobs, and wait until they have stopped. What they sent can still be received.",
    (
        *jobs(),
        by_state("Stops"),
        Parameter("PassThru", SWITCH, "Print the jobs."),
        WHAT_IF,
        *credentials(_TAKES_OVER),
        JOBS_AS,
        *COMMON,
    ),
    cmdlet="Stop-Job",
    aliases=("spjb",),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob stop 5", "One job, on all of its hosts."),
        Example("remotejob stop 7", "The same with the id of a child job: one host."),
        Example("remotejob stop -State Running -WhatIf", "What would be stopped."),
    ),
    unlike=(
        (
            "A job whose hosts were stopped one by one ends as Stopped; PowerShell calls it Completed, though scripts"
            " were cut short."
        ),
        (
            "A host that is being connected, or waits for its turn, is Stopped at once: the cmdlet waits until the"
            " connection has failed or all the others have ended."
        ),
    ),
)

REMOVE = Command(
    "remove",
    "Remove jobs and what is stored of them.",
    (
        *jobs(children=False, mandatory=False),
        by_state("Removes"),
        by_command("Removes"),
        Parameter(
            "Before",
            DATETIME,
            "Only jobs that ended before this time: 2026-01-31 or 2026-01-31T18:30. Jobs that ended 90 days ago are"
            " removed without being asked, when another one ends; REMOTEJOBS_RETENTION_DAYS says other days, or off,"
            " and REMOTEJOBS_RETENTION_SIZE, as 2GB, how much is kept at most, the newest. What ended less than a day"
            " ago stays in any case.",
        ),
        Parameter("After", DATETIME, "Only jobs that ended after this time."),
        Parameter("Force", SWITCH, "Stop and remove jobs that have not ended, too.", aliases=("F",)),
        WHAT_IF,
        *credentials(_TAKES_OVER),
        *COMMON,
    ),
    cmdlet="Remove-Job",
    aliases=("rjb",),
    default_set=BY_ID,
    check=_check_remove,
    refused=REFUSED,
    examples=(
        Example("remotejob remove 5", "One job that has ended."),
        Example("remotejob remove -Before 2026-01-01", "All that ended before this year."),
        Example("remotejob remove -State Failed -WhatIf", "What would be removed."),
    ),
    unlike=(
        "What runs needs -Force, also when -State or -Command found it: the cmdlet stops and removes it silently.",
    ),
)

SET = Command(
    "set",
    "Change a job that runs: how many hosts at a time.",
    (
        *jobs(children=False),
        Parameter(
            "ThrottleLimit",
            INT,
            "Hosts at a time. What runs goes on: under a lower limit none begins until enough have ended.",
            within(BY_ID, BY_NAME, BY_INSTANCE, mandatory=True),
            minimum=1,
            maximum=2**31 - 1,
        ),
        JOBS_AS,
        *COMMON,
    ),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob set 5 -ThrottleLimit 8", "The file server cannot keep up: go slower, at once."),
        Example("remotejob set HotFix -ThrottleLimit 256", "The night is short."),
    ),
)

DISCONNECT = Command(
    "disconnect",
    "Leave a running job to its hosts: the scripts go on there, and nothing here does.",
    (*jobs(), *credentials(_TAKES_OVER), JOBS_AS, *COMMON),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob disconnect 5", "Before this computer goes down; remotejob connect 5 collects the output."),
    ),
)

CONNECT = Command(
    "connect",
    "Take up a job again that is Disconnected, or whose process is gone.",
    (
        *jobs(),
        *credentials(_REACHES),
        Parameter(
            "Timeout",
            INT,
            "Seconds to wait at most until the hosts are connected; what is not by then is still tried. -1: no limit.",
            aliases=("TimeoutSec",),
            default="120",
            minimum=-1,
            maximum=2**31 - 1,
        ),
        JOBS_AS,
        ERRORS_AS,
        *COMMON,
    ),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example(
            "remotejob connect 5",
            "Finds the scripts on their hosts again; nothing runs twice. Then remotejob receive 5 -Wait.",
        ),
        Example("remotejob connect HotFix -Credential ops -PasswordFile ops.password", "Without a question."),
    ),
)

RETRY = Command(
    "retry",
    "Run the script of a job again, as a new job, on the hosts where it did not complete.",
    (
        *jobs(children=False),
        Parameter(
            "State",
            many(ENDS),
            "Only hosts that ended so: job states and end reasons. TimedOut is every reason that begins so.",
            within(BY_ID, BY_NAME, BY_INSTANCE),
            default="Failed,Stopped",
        ),
        *ANSWER_PARAMETERS,
        *credentials(_REACHES),
        JOBS_AS,
        ERRORS_AS,
        *COMMON,
    ),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example("remotejob retry 5", "All hosts that failed or were stopped."),
        Example("remotejob retry 5 -State Unreachable,TimedOut", "Only those that could not be reached in time."),
        Example("remotejob retry 5 -Answer Reason=patch", "With an answer more, besides those that the job has."),
    ),
)
