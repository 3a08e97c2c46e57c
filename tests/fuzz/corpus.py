"""The inputs that are kept: tests/data/fuzz/TARGET, one file each, small and few.

Knows files and coverage. Must not know how inputs are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.harness import Edges, Finding, Target, Tracer

CORPUS: Final = Path(__file__).parents[1] / "data" / "fuzz"
MOST: Final = 28  # of one target
LONGEST: Final = 3000  # bytes of one


def kept(name: str) -> list[bytes]:
    """The kept inputs of a target, in the same order everywhere."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def minimised(tracer: Tracer, target: Target, corpus: Iterable[bytes]) -> list[bytes]:
    """The few that show most: the one that adds most lines for its size, and again; without what seeds show."""
    seen = Edges()
    for data in target.seeds:
        seen |= _edges(tracer, target, data)
    rows = [(data, _edges(tracer, target, data)) for data in dict.fromkeys(corpus) if len(data) <= LONGEST]
    chosen: list[bytes] = []
    while len(chosen) < MOST:
        rows = [(data, new) for data, edges in rows if (new := edges - seen)]
        if not rows:
            break
        data, edges = max(rows, key=lambda row: len(row[1]) / (len(row[0]) + 200))
        chosen.append(data)
        seen |= edges
    return chosen


def write(name: str, entries: Iterable[bytes]) -> None:
    """Make these the kept inputs of a target."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {hashlib.sha256(data).hexdigest()[:12]: data for data in entries}
    for path in folder.glob("*"):
        if path.name not in wanted:
            path.unlink()
    for digest, data in wanted.items():
        (folder / digest).write_bytes(data)


def _edges(tracer: Tracer, target: Target, data: bytes) -> Edges:
    try:
        return tracer.run(target.run, data, target.allowed(data))
    except Finding:
        return Edges()
