"""`python -m tests.fuzz [SECONDS [TARGET|all [SEED]]]`: look for what breaks a reader, keep what shows new lines.

The kept entries (tests/data/fuzz) are minimised when a target is done: as few and as small as show the same lines.
"""

from __future__ import annotations

import faulthandler
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.fuzz.corpus import CORPUS, kept, minimised, write
from tests.fuzz.harness import Edges, Finding, Target, Tracer, clock, measure
from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import recorded_seeds
from tests.fuzz.targets import TARGETS

_ROUND: Final = 20.0  # seconds on one target before the next
_HANG: Final = 60.0


class Campaign:
    """One target: its corpus, what of it has been seen, and what was found."""

    def __init__(self, name: str, target: Target, seed: int) -> None:
        self.name, self.target = name, target
        self.rng = random.Random(f"{seed} {name}")
        self.executions = 0
        self.findings: dict[str, bytes] = {}
        self.tracer, self.seen = Tracer(), Edges()
        self.corpus: list[bytes] = []
        for data in (*target.seeds, *kept(name), *recorded_seeds(name)):
            self.try_one(data)
        self.corpus = self.corpus or [b""]

    def try_one(self, data: bytes) -> None:
        """Run one input; keep it where it comes by new lines."""
        self.executions += 1
        _last.seek(0)
        _last.write(data)
        _last.truncate()
        faulthandler.dump_traceback_later(_HANG, exit=True)
        try:
            edges = self.tracer.run(self.target.run, data, self.target.allowed(data))
            new = not edges <= self.seen
            if new or self.executions % 64 == 0:
                measure(self.target.run, data, self.target.memory)
                clock(self.target.run, data)
        except Finding as finding:
            key = str(finding)
            kind = key.split(" for ")[0][:60] + key[-40:]
            if kind not in self.findings and len(self.findings) < 50:
                self.findings[kind] = data
                path = Path(_last.name).with_name(f"{self.name}-{hashlib.sha256(data).hexdigest()[:12]}")
                path.write_bytes(data)
                print(f"FINDING {self.name}: {key}\n  {data[:300]!r}\n  kept in {path}", flush=True)
        else:
            if new:
                self.seen |= edges
                self.corpus.append(data)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(10):
                self.try_one(mutate(self.rng, self.corpus, self.target.words))


def main(arguments: list[str]) -> int:
    seconds = float(arguments[0]) if arguments else 60.0
    only = arguments[1] if len(arguments) > 1 else "all"
    seed = int(arguments[2]) if len(arguments) > 2 else 1
    names = [name for name in TARGETS if only in ("all", name)]
    if not names:
        print(f"There is no target {only}: {', '.join(TARGETS)}.", file=sys.stderr)
        return 1
    campaigns = [Campaign(name, TARGETS[name], seed) for name in names]
    began = time.monotonic()
    share = min(_ROUND, seconds / len(names))
    while time.monotonic() - began < seconds:
        for campaign in campaigns:
            campaign.run(min(share, max(0.0, seconds - (time.monotonic() - began))))
    for campaign in campaigns:
        keep = minimised(campaign.tracer, campaign.target, campaign.corpus)
        write(campaign.name, keep)
        print(
            f"{campaign.name:11} {campaign.executions:>10,} executions {len(campaign.seen):>6,} pairs of lines "
            f"{len(keep):>4} kept {len(campaign.findings):>3} findings"
        )
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    found = sum(len(campaign.findings) for campaign in campaigns)
    print(
        f"{sum(campaign.executions for campaign in campaigns):,} executions in {time.monotonic() - began:,.0f} s, "
        f"{found} findings; seed {seed}, commit {_commit()}; "
        f"corpus: {len(files)} files of {sum(path.stat().st_size for path in files):,} bytes"
    )
    return 1 if found else 0


def _commit() -> str:
    try:
        said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return said.stdout.strip() or "unknown"


if __name__ == "__main__":
    import tempfile

    # What was being tried when a reader did not come back, and what broke one.
    with (Path(tempfile.mkdtemp(prefix="remotejobs-fuzz-")) / "last").open("wb", buffering=0) as _last:
        sys.exit(main(sys.argv[1:]))
