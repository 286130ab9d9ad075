"""A visitor of another site who asks every five milliseconds, in a process of its own; ends with its standard input."""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

EVERY_SECONDS = 0.005


class Neighbour:
    """Asks for a page of one site for as long as the block lasts; then `failed` and `longest_ms` are known."""

    def __init__(self, port: int, host: str) -> None:
        self.asked = self.failed = 0
        self.longest_ms = 0.0
        self._command = (sys.executable, "-m", "benchmarks.neighbour", str(port), host)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        said, _ = self._process.communicate("")
        if kind is None:
            found = json.loads(said)
            self.asked, self.failed, self.longest_ms = found["asked"], found["failed"], found["longest_ms"]


def ask(port: int, host: str) -> dict[str, float]:
    """Ask until standard input ends."""
    asked = failed = 0
    longest = 0.0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not select.select([sys.stdin], [], [], 0)[0]:
        begun = time.perf_counter()
        asked += 1
        try:
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            failed += answer.status != 200
        except (OSError, http.client.HTTPException):
            connection.close()
            failed += 1
        took = time.perf_counter() - begun
        longest = max(longest, took)
        if asked == 1:
            longest = 0.0  # it may have had to wake the site
            print(flush=True)
        time.sleep(max(0.0, EVERY_SECONDS - took))
    return {"asked": asked, "failed": failed, "longest_ms": round(longest * 1000, 2)}


if __name__ == "__main__":
    print(json.dumps(ask(int(sys.argv[1]), sys.argv[2])))
