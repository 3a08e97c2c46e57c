"""The tables of the verbs that carry a job to another computer: export and import.

Knows what the command line offers, in words for its users. Must not know how words are bound or what a verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.common import BY_ID, BY_INSTANCE, BY_NAME, COMMON, JOBS_AS, REFUSED, jobs
from remotejobs.cli.values import PATH, SWITCH

EXPORT = Command(
    "export",
    "Write a job, with all that was received of it, to a file for another computer. No password is in it.",
    (
        *jobs(children=False),
        Parameter(
            "Path",
            PATH,
            "The file. Only you can read it. The job must have ended or be Disconnected: what runs is left to its hosts"
            " first (remotejob disconnect).",
            within(BY_ID, BY_NAME, BY_INSTANCE, position=1, mandatory=True),
            aliases=("FilePath",),
            not_empty=True,
        ),
        Parameter("Force", SWITCH, "Replace a file that is there."),
        JOBS_AS,
        *COMMON,
    ),
    default_set=BY_ID,
    refused=REFUSED,
    examples=(
        Example(
            "remotejob export 5 nightly.rjob",
            "Then, on the other computer: remotejob import nightly.rjob. The job is still here, too; a shell on a host"
            " has one client, so connect it on one of the two.",
        ),
        Example("remotejob export -Name Nightly -Path nightly.rjob -Force", "By its name, over an older file."),
    ),
)

IMPORT = Command(
    "import",
    "Take a job from a file that remotejob export wrote on another computer.",
    (
        Parameter(
            "Path",
            PATH,
            "The file, of somebody you trust: connect sends your credential to the hosts that it names.",
            within(position=0, mandatory=True),
            aliases=("FilePath",),
            not_empty=True,
        ),
        JOBS_AS,
        *COMMON,
    ),
    examples=(
        Example(
            "remotejob import nightly.rjob",
            "The job gets a new id here. receive prints what nobody has received yet; connect, for a Disconnected job,"
            " collects the rest from the hosts. Hosts that were not begun are NotStarted: nothing runs twice.",
        ),
    ),
)
