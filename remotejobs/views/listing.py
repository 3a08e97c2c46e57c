"""Things of our own, as sessions and diagnoses, in the formats that -OutputFormat has for them.

Knows the formats. Must not know what is shown, nor records of hosts. Words of a host are shown, never obeyed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from remotejobs.views.terminal import encodable, harmless

_T = TypeVar("_T")


def write_items(
    format_name: str,
    items: Sequence[_T],
    out: TextIO,
    *,
    table: Callable[[], Iterable[str]],
    block: Callable[[_T], Iterable[str]],
    entry: Callable[[_T], Mapping[str, Any]],
    properties: Callable[[_T], Mapping[str, str]] | None = None,
) -> None:
    """Write items in one of the formats Table, List, Json, Jsonl and, where there are `properties`, Csv.

    Args:
        format_name: Case does not matter.
        items: In the order to show.
        out: Where they go.
        table: The lines of a table of them all.
        block: The lines of one in a list.
        entry: One for JSON.
        properties: One for CSV, by the names of the columns; all have the same.
    """
    name = format_name.lower()
    if name == "table":
        out.writelines(f"{harmless(line)}\n" for line in table())
    elif name == "list":
        out.write("\n".join("".join(f"{harmless(line)}\n" for line in block(item)) for item in items))
    elif name == "csv" and properties:
        from remotejobs.views.csvout import quoted

        rows = [properties(item) for item in items]
        lines = [[*rows[0]], *([*row.values()] for row in rows)] if rows else []
        out.writelines(encodable(",".join(map(quoted, cells))) + "\n" for cells in lines)
    else:
        entries = [json.dumps(entry(item), separators=(",", ":"), default=str) for item in items]
        if name == "json":
            out.write(",\n".join(entries).join(("[\n", "\n]\n")) if entries else "[]\n")
        else:
            out.writelines(f"{line}\n" for line in entries)
