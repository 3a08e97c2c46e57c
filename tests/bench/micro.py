"""Parts of the engine beside the peers' parts: decoding CLIXML, expanding ranges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SERVICE = (Path(__file__).parent / "service.xml").read_bytes()


def rows() -> Iterator[tuple[str, str, str, float | None, float | None, bool]]:
    """Rows of the table: what, ours, beside, ratio, limit, at least."""
    yield decoding()
    yield from ranges()


def best(*works: Callable[[], Any], times: int = 5) -> list[float]:
    """The quickest of some runs of each, in CPU seconds; in turn, so that all meet the same weather."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, mine in zip(works, took, strict=True):
            began = time.process_time()
            work()
            mine.append(time.process_time() - began)
    return [min(mine) for mine in took]


def decoding() -> tuple[str, str, str, float, float, bool]:
    from pypsrp.serializer import Serializer

    from remotejobs.wsman.clixml.read import deserialize

    text = SERVICE.decode()
    count = 200
    ours, theirs = best(
        lambda: [deserialize(SERVICE) for _ in range(10 * count)],
        lambda: [Serializer().deserialize(text) for _ in range(count)],
        times=15,
    )
    ours /= 10
    what = f"decode CLIXML, objects of {len(SERVICE):,} bytes"
    return what, f"{count / ours:,.0f}/s", f"pypsrp {count / theirs:,.0f}/s", theirs / ours, 10, True


def ranges() -> Iterator[tuple[str, str, str, float, float, bool]]:
    from remotejobs.targets.ranges import expand, fold

    names = list(expand("web[000001-100000]"))
    (took,) = best(lambda: list(expand("web[000001-100000]")))
    yield "expand 100,000 names", f"{took:.2f} s", "budget 1 s", took, 1, False
    (took,) = best(lambda: fold(names))
    yield "fold 100,000 names", f"{took:.2f} s", "budget 1 s", took, 1, False
