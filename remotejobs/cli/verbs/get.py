"""`remotejob get`: list jobs.

Knows bound parameters and the API. Must not know stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, ages, print_jobs, select


def run(bound: Bound) -> int:
    """Run the verb; 0 whatever state the jobs are in, 1 where one was not found."""
    return asyncio.run(_get(bound.values))


async def _get(values: Mapping[str, Any]) -> int:
    filters = ages(values)
    if values.get("IncludeChildJob"):
        filters["include_child_job"] = True
    if "ChildJobState" in values:
        filters["child_job_state"] = values["ChildJobState"]
    if "HasMoreData" in values:
        filters["has_more_data"] = values["HasMoreData"]
    if "Newest" in values:
        filters["newest"] = values["Newest"]
    found, failed = await select("get", values, **filters)
    listed = "include_child_job" in filters or "child_job_state" in filters
    print_jobs(sorted(found, key=attrgetter("id")), values, children_listed=listed)
    return FAILED if failed else 0
