"""Which processes the platform's own start meanwhile, as the kernel is asked to start them."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_STARTED = re.compile(r'^(\d+) +execve\("([^"]+)"')


class Started:
    """Watches processes for as long as the block lasts; then `programs` tells what they started."""

    def __init__(self, pids: list[int], folder: Path) -> None:
        self._pids = pids
        self._log = folder / "started.txt"
        self._calls: dict[str, list[re.Match[str]]] = {}

    def __enter__(self) -> Self:
        attached = [option for pid in self._pids for option in ("-p", str(pid))]
        self._strace = subprocess.Popen(
            ("strace", "-f", "-qq", "-s", "200", "-e", "trace=execve", "-o", str(self._log), *attached),
            stderr=subprocess.DEVNULL,
        )
        while any("\nTracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text() for pid in self._pids):
            if self._strace.poll() is not None:
                raise SystemExit("strace cannot watch the processes of the platform")
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._strace.terminate()
        self._strace.wait()
        for line in self._log.read_text().splitlines():
            if call := _STARTED.search(line):
                self._calls.setdefault(call[1], []).append(call)

    def programs(self, uid: int) -> list[str]:
        """One for each process that was started, save for other sites: the node tries those of large orders meanwhile.

        A process that goes on as another program, as setpriv(1) does for a site, counts once, as the last of them.
        """
        of_others = re.compile(rf"--reuid=(?!{uid}\b)")
        return [
            calls[-1][2] for calls in self._calls.values() if not any(of_others.search(call.string) for call in calls)
        ]
