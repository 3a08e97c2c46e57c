"""`python -m remotejobs`, and what the `remotejob` command calls. Knows the CLI's entry point only."""

from __future__ import annotations

import sys

from remotejobs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
