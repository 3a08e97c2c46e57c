"""The recorded cases through every engine: records equal to those of the native one, or the text of them.

    python -m tests.fidelity.engines

prints one line of counts. pypsrp has to give the same records, byte for byte, and the same end. pywinrm has no objects:
it has to give the same text, for cases of which a text is all that there is (`is_text`).
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any

from remotejobs.model import Stream
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.recorded import Recording
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import text
from tests.fidelity.played import Played, ends_by, pipelines, played
from tests.recorded import EXCEPTIONS
from tests.recordings import RECORDINGS

FOLDER = RECORDINGS / "pwsh" / "cases" if RECORDINGS else Path(__file__).parents[1] / "data" / "pwsh"
CASES = sorted(path for path in FOLDER.glob("*.json") if path.with_suffix(".wire.jsonl").exists())
# Strings, numbers, truth values: what powershell.exe prints of them needs no formatting.
_PLAIN = re.compile(rb"<(S|C|B|By|SB|I16|U16|I32|U32|I64|U64)>|<S/>|<S />")
_SECURE = re.compile(rb"(<SS[^>]*>)[^<]*")  # encrypted with the key of its session
_LINE_END = re.compile("\r\n|\r|\n")


@functools.cache
def recording_of(case: Path) -> Recording:
    """The pipeline of a case."""
    return pipelines(case)[1][-1]


@functools.cache
def through(engine: str, case: Path) -> Played:
    """What an engine makes of a case."""
    return played(recording_of(case), engine=engine)


def is_text(case: Path) -> bool:
    """True where all that a script has given is text, and it came to its end by itself."""
    recording = recording_of(case)
    *output, end = recording.messages
    return (
        ends_by(recording) == "itself"
        and b'"PipelineState">4<' in end.payload
        and bool(output)
        and all(
            message.type == MessageType.PIPELINE_OUTPUT
            and _PLAIN.match(message.payload.removeprefix(b"\xef\xbb\xbf"))
            and _has_text(message.payload)
            for message in output
        )
    )


def _has_text(payload: bytes) -> bool:
    """False for half a character, which no text in UTF-8 can hold."""
    try:
        text(deserialize(payload)).encode()
    except UnicodeEncodeError:
        return False
    return True


def records_of(result: Played) -> list[tuple[Any, ...]]:
    """Every record as it is stored."""
    records = [received.record for received in result.records]
    return [(r.seq, r.stream, _SECURE.sub(rb"\1", r.raw), r.object_id) for r in records]


def end_of(result: Played, case: Path) -> tuple[Any, ...]:
    """How it ended; of one whose process died how an engine has put it is a matter of what carries it."""
    end = result.outcome
    if ends_by(recording_of(case)) == "death":
        return (end.reason,)
    return end.reason, end.message, end.error_id, end.error_count, end.failure, dict(end.details), result.job.state


def lines_of(result: Played) -> list[str]:
    """The output as lines of text."""
    outputs = [record.value for record in result.records if record.stream is Stream.Output]
    return _LINE_END.split("\n".join([text(value) for value in outputs]))


def same_records(case: Path) -> None:
    """Hold pypsrp against the native engine."""
    ours, theirs = through("native", case), through("pypsrp", case)
    assert records_of(theirs) == records_of(ours)
    assert end_of(theirs, case) == end_of(ours, case)


def same_text(case: Path) -> None:
    """Hold pywinrm against the native engine."""
    ours, theirs = through("native", case), through("pywinrm", case)
    assert lines_of(theirs) == lines_of(ours)
    assert theirs.outcome.reason is ours.outcome.reason is EndReason.Completed


def main() -> int:
    """Print the counts; 1 where something differs that is not listed."""
    counts, unequal = [], 0
    for engine, cases, same in (("pypsrp", CASES, same_records), ("pywinrm", [*filter(is_text, CASES)], same_text)):
        equal, excepted = 0, 0
        for case in cases:
            if (f"engine-{engine}", case.stem) in EXCEPTIONS:
                excepted += 1
                continue
            try:
                same(case)
                equal += 1
            except Exception as error:
                unequal += 1
                print(f"{engine} {case.stem}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
        what = "equal records" if engine == "pypsrp" else "equal text"
        counts.append(f"{engine} {what} in {equal} of {len(cases)}" + (f" ({excepted} excepted)" * bool(excepted)))
    print(f"recorded cases, native and: {', '.join(counts)}")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
