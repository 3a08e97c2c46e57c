"""What helps, once for a whole job: its lines follow the summary.

Knows outcomes and commands of ours. Must not know records or terminals.
"""

from __future__ import annotations

from collections.abc import Sequence

from remotejobs.jobs.job import ChildEnd
from remotejobs.states import EndReason
from remotejobs.targets.ranges import fold

_MOST_NAMES = 200  # characters of folded names in one line
_NOT_REACHED = (
    EndReason.Unreachable,
    EndReason.TimedOutConnect,
    EndReason.TimedOutAuthenticate,
    EndReason.AuthenticationFailed,
    EndReason.AccessDenied,
)


def hints(ends: Sequence[ChildEnd], *, stored: bool) -> list[str]:
    """Return what an admin should try next: for hosts that were not reached, and for scripts that went to other hosts.

    Args:
        ends: The children that have ended.
        stored: Another command can find the job by its id.
    """
    lines = []
    found = {end.outcome.reason for end in ends}
    failed = [f"@job:{ends[0].job_id}/{reason.value}" for reason in _NOT_REACHED if reason in found]
    if failed and stored:
        shell = " -Shell" if EndReason.AccessDenied in found else ""  # a logon alone may be permitted
        lines.append(
            f"Step by step, and what helps: remotejob test '{','.join(failed)}'{shell}, with the -Authentication, "
            "-Credential, -UseSSL and -SessionOption of this job"
        )
    hop = [end.computer_name for end in ends if end.outcome.details.get("second_hop")]
    if hop:
        names = fold(hop)
        where = names if len(names) <= _MOST_NAMES else f"{len(hop):,} hosts"
        lines.append(
            f"Second hop ({where}): another host refused what the script asked of it, and this logon cannot be passed "
            "on to it. Here: give the script a credential of its own (-ArgumentCredential USER); or -Authentication "
            "Kerberos -SessionOption Delegate=true; or -Authentication CredSSP, and on the host: Enable-WSManCredSSP "
            "-Role Server -Force"
        )
    return lines
