"""Property tests give the same examples in every run, and are never failed for being slow; no test sees real jobs."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# The jobs of whoever runs the tests are not theirs to see; tests that need a state directory make their own.
os.environ["REMOTEJOBS_HOME"] = tempfile.mkdtemp(prefix="remotejobs-tests-")
atexit.register(shutil.rmtree, os.environ["REMOTEJOBS_HOME"], ignore_errors=True)
