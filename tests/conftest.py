"""Property tests give the same examples in every run, and are never failed for being slow; no test sees real jobs."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings

from tests.kdc import kdc, kdc_of_all_tests, no_realm
from tests.recorded import pytest_configure, pytest_itemcollected, pytest_terminal_summary

__all__ = ["kdc", "kdc_of_all_tests", "pytest_configure", "pytest_itemcollected", "pytest_terminal_summary"]

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# The jobs of whoever runs the tests are not theirs to see; tests that need a state directory make their own.
os.environ["REMOTEJOBS_HOME"] = tempfile.mkdtemp(prefix="remotejobs-tests-")
atexit.register(shutil.rmtree, os.environ["REMOTEJOBS_HOME"], ignore_errors=True)
os.environ["REMOTEJOBS_CONFIG"] = os.devnull  # nor are their settings
# Nor does any of them ask a real KDC for a ticket, or this computer's caches for one.
os.environ["KRB5_CONFIG"] = str(no_realm(Path(os.environ["REMOTEJOBS_HOME"])))
os.environ["KRB5CCNAME"] = f"FILE:{os.environ['REMOTEJOBS_HOME']}/no-tickets"
