"""A process that plays the server's part of a recorded conversation: `python pwsh_replay.py WIRE_FILE LONGEST_PAUSE`.

It says what PowerShell said when PowerShell did, but pauses no longer than LONGEST_PAUSE seconds; what it hears must
be what PowerShell heard: else it ends with 70 and says on stderr what it missed. Of the standard library only, so that
it starts at once.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
import time
from collections import Counter

_PACKET = re.compile(r"<(\w+) (?:Stream='(\w+)' )?PSGuid='([^']+)'(?: />|>([^<]*)</Data>)")
_WAIT = 10.0
_AT_THE_END = "An unknown element"  # what PowerShell says when its input ends


class Heard:
    """What has come: acknowledgeable packets by kind and guid, and the bytes for each guid."""

    def __init__(self) -> None:
        self.change = threading.Condition()
        self.count: Counter[tuple[str, str]] = Counter()
        self.data: dict[str, bytes] = {}
        self.ended = False

    def wait(self, kind: str, guid: str, count: int, data: bytes) -> bool:
        """Wait for the packet of this number, with these bytes so far. Data may come in fewer packets."""

        def came() -> bool:
            return self.data.get(guid, b"").startswith(data) if kind == "Data" else self.count[kind, guid] >= count

        with self.change:
            self.change.wait_for(lambda: came() or self.ended, _WAIT)
            return came()

    def read(self) -> None:
        for line in sys.stdin:
            found = _PACKET.match(line)
            with self.change:
                if found:
                    kind, _, guid, text = found.groups()
                    self.count[kind, guid] += 1
                    self.data[guid] = self.data.get(guid, b"") + base64.b64decode(text or "")
                self.change.notify()
        with self.change:
            self.ended = True
            self.change.notify()


def main(path: str, longest: float) -> int:
    with open(path, encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["conn"] == 1]
    heard = Heard()
    threading.Thread(target=heard.read, daemon=True).start()
    expected: Counter[tuple[str, str]] = Counter()
    data: dict[str, bytes] = {}
    last = 0.0
    for row in rows:
        if row["dir"] == "exit":
            return int(row["line"]) if str(row["line"]).lstrip("-").isdigit() else 0
        if row["dir"] == "err" and row["line"].startswith(_AT_THE_END):
            with heard.change:
                heard.change.wait_for(lambda: heard.ended, _WAIT)
        if row["dir"] in ("s2c", "err"):
            time.sleep(min(max(row["t"] - last, 0.0), longest))
            stream = sys.stdout if row["dir"] == "s2c" else sys.stderr
            stream.write(row["line"].rstrip("\n") + "\n")
            stream.flush()
        else:
            found = _PACKET.match(row["line"])
            if found is None:
                continue
            kind, _, guid, text = found.groups()
            data[guid] = data.get(guid, b"") + base64.b64decode(text or "")
            expected[kind, guid] += 1
            if not heard.wait(kind, guid, expected[kind, guid], data[guid]):
                sys.stderr.write(f"{kind} of {guid} did not come, or with other bytes\n")
                return 70
        last = row["t"]
    with heard.change:
        heard.change.wait_for(lambda: heard.ended, _WAIT)
    return 160 if heard.ended else 70


if __name__ == "__main__":
    code = main(sys.argv[1], float(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)  # the reading thread may sit in read(): nothing is left to clean up
