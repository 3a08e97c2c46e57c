"""`remotejob config`: every setting, what it is, and who says so.

Knows bound parameters, the configuration and tables of text. Must not know what a setting does, and shows no password:
none is in a configuration, and of a command only the program is shown.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from remotejobs.cli.binder import Bound
from remotejobs.cli.lines import one_line
from remotejobs.config.load import Configuration, load, nearest, unknown_variables
from remotejobs.config.settings import CLOCK, CREDENTIAL, OFF, RETENTION, SETTINGS
from remotejobs.errors import ConfigurationError
from remotejobs.views.layout import Column, report_layout
from remotejobs.views.terminal import terminal_width

BUILT_IN = "built in"
_OTHERS = ("REMOTEJOBS_HOME", "REMOTEJOBS_LOG", "REMOTEJOBS_DEBUG", "REMOTEJOBS_PASSWORD", "REMOTEJOBS_PWSH")


class _Row(NamedTuple):
    name: str
    value: Any
    source: str
    shown: str


def run(bound: Bound) -> int:
    """Run the verb.

    Raises:
        ConfigurationError: A file is refused, or no setting has a name that was asked for.
    """
    configuration = load()
    rows = list(_rows(configuration))
    for name in bound.values.get("Name") or ():
        if not any(_matches(row, name) for row in rows):
            raise ConfigurationError(f"There is no setting {name}.{nearest(name, (row.name for row in rows))}")
    names = bound.values.get("Name") or ["*"]
    rows = [row for row in rows if any(_matches(row, name) for name in names)]
    for variable in unknown_variables(os.environ, {*_OTHERS, *configuration.secret_variables()}):
        print(f"WARNING: the environment variable {variable} is no setting.", file=sys.stderr)
    if bound.values.get("OutputFormat") == "Json":
        settings = [{"name": row.name, "value": row.value, "source": row.source} for row in rows]
        files = [{"path": str(path), "there": there} for path, there in configuration.files]
        print(json.dumps({"settings": settings, "files": files}, indent=2))
        return 0
    columns = [Column("Name"), Column("Value"), Column("Source")]
    cells = [(row.name, one_line(row.shown), row.source) for row in rows]
    layout = report_layout(columns, cells, terminal_width(sys.stdout), keep_last=False)
    print(*layout.header(), *map(layout.row, cells), sep="\n")
    if "Name" not in bound.values:
        print("\nFiles, the later ones count more:")
        for path, there in configuration.files:
            print(f"  {path}{'' if there else '  (not there)'}")
    return 0


def _rows(configuration: Configuration) -> Iterator[_Row]:
    for setting in SETTINGS:
        value, source = configuration.values[setting.name]
        unlimited = value is None and (setting.kind is CLOCK or setting.section == RETENTION)
        yield _Row(setting.name, value, source or BUILT_IN, OFF if unlimited else _shown(value))
    for each in sorted(configuration.credentials.values(), key=lambda each: each.name.casefold()):
        for key, value in {"username": each.username, "provider": each.provider, **each.options}.items():
            if key == "command":
                more = len(value) - 1
                value = f"{value[0]} (and {more} argument{'s' * (more > 1)})" if more else value[0]
            yield _Row(f"{CREDENTIAL}.{each.name}.{key}", value, each.source, _shown(value))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _matches(row: _Row, name: str) -> bool:
    return fnmatchcase(row.name.casefold(), name.casefold())
