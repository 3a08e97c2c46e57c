"""Where recorded real traffic is, when it lies beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("REMOTEJOBS_RECORDINGS") or Path(__file__).parents[2] / "shared" / "recordings")
RECORDINGS: Path | None = _ROOT if _ROOT.is_dir() else None
needs_recordings = pytest.mark.skipif(RECORDINGS is None, reason="shared/recordings is not beside the repository")
