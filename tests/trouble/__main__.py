"""The long trouble runs: `python -m tests.trouble [SCALE] [SEED]`. One line of counts each; 1 for a broken promise."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.trouble.harness import Counts
from tests.trouble.scenes import DISKS, full_disk, many_readers, reboots

MB = 1 << 20


def main() -> int:
    """Run each; SCALE 1 is 20 readers of 1,000 hosts."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    rng, bad = random.Random(seed), False
    print(f"seed {seed}", flush=True)

    def of(count: int) -> int:
        return max(int(count * scale), 3)

    runs: list[Callable[[Path], Counts]] = [
        lambda folder: reboots(folder, rng, of(300), 2000),
        *[lambda folder, kind=kind: full_disk(folder, kind, of(40), 2000, int(of(16) * MB)) for kind in DISKS],
        lambda folder: many_readers(folder, of(20), of(1000), 20),
    ]
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            try:
                counts = run(Path(folder))
            except OSError as error:
                print(f"not run: {error}", flush=True)
                continue
        print(counts, flush=True)
        for words in sorted(set(filter(None, counts.told)))[:4]:
            print(f"    told: {words.strip()}")
        print(*[f"    UNTRUE: {line}" for line in counts.untrue], sep="\n", end="", flush=True)
        bad = bad or bool(counts.lost or counts.doubled or counts.ran_twice or counts.untrue)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
