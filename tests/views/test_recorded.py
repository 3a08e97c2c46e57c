"""What PowerShell showed for every recorded object, and what is shown here."""

from __future__ import annotations

import json
import re

from remotejobs.views.display import display
from remotejobs.views.tojson import to_json
from tests.recorded import recorded
from tests.views.screens import plain
from tests.views.wire import Case, output_cases

CASES = output_cases("cases", "calls")
_CUT = 1000  # characters: of a longer text the recorder kept the beginning
_SURROGATE = re.compile("[\ud800-\udfff]")


@recorded("display", CASES, lambda case: case.name)
def test_display(case: Case) -> None:
    for shown in case.outputs:
        ours = plain("\n".join(display(shown.value, 100)))
        expected = plain(shown.display)
        if _is_cut(shown.display):
            assert "\n".join(ours).startswith("\n".join(expected).removesuffix("..."))
        else:
            assert ours == expected


@recorded("json", CASES, lambda case: case.name)
def test_json(case: Case) -> None:
    for shown in case.outputs:
        ours = to_json(shown.whole, 3, compress=True)
        expected = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown.json)
        if _is_cut(expected):
            assert ours.startswith(expected.removesuffix("..."))
        else:
            assert ours == expected
            assert json.loads(ours) == json.loads(expected)


def _is_cut(text: str) -> bool:
    return len(text) > _CUT and text.endswith("...")
