"""The long kill run: `python -m tests.kill [KILLS] [SEED]`. Prints one line of counts; 1 where a promise was broken."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from tests.kill.harness import Run, Tally, fleet


def main() -> int:
    """Run until so many processes were killed."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as folder, fleet(Path(folder)) as hosts:
        home = Path(folder) / "home"
        home.mkdir()
        while tally.kills < kills:
            Run(hosts, home, rng, tally).run(rng.randint(1, 4))
            print(tally, flush=True)
    print(*tally.untrue, sep="\n")
    return 1 if tally.lost or tally.doubled or tally.ran_twice or tally.untrue else 0


if __name__ == "__main__":
    sys.exit(main())
