"""`python -m remotejobs`, and what the `remotejob` command calls. Knows the CLI's entry point only."""

from __future__ import annotations

import gc
import sys

# Importing makes hardly any garbage; to look for it at every 700 objects takes a twentieth of a short command's time.
gc.set_threshold(10_000)

from remotejobs.cli.main import main  # noqa: E402 - after the line that makes it quicker

if __name__ == "__main__":
    sys.exit(main())
