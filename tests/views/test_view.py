from __future__ import annotations

import io
import subprocess
import sys

import pytest

from remotejobs.errors import UsageError
from remotejobs.views.view import FORMATS, view
from tests.views.factory import end, record


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_everything(name: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    shown = view(name.upper(), out, err)
    shown.record(record(5, "web01"))
    shown.flush()
    shown.outcome(end("web01"))
    shown.close()
    assert "5" in out.getvalue()
    assert err.getvalue() == ""


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Text, Table, List, Json, Jsonl, Csv, Clixml"):
        view("Yaml", io.StringIO(), io.StringIO())


def test_the_port_itself_imports_nothing_slow() -> None:
    code = "import sys; import remotejobs.views.view, remotejobs.views.terminal; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lxml", "rich", "psrpcore", "spnego", "ssl"} & set(done.stdout.split())
