"""Faults injected into a running process by strace: killed at a system call, or a call that fails."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import until

STRACE = "/usr/bin/strace"


@contextmanager
def traced(pids: Sequence[int], *options: str, with_later: bool = False) -> Iterator[None]:
    """Have strace with these options at all threads of some processes while the block runs.

    Threads that begin later are followed only if asked for, and then their child processes are too.
    """
    threads = [path.name for pid in pids for path in Path(f"/proc/{pid}/task").iterdir()]
    follow = ("-f",) if with_later else ()
    chosen = [part for each in (pids if with_later else threads) for part in ("-p", str(each))]
    with subprocess.Popen((STRACE, "-qq", *follow, *chosen, *options), stderr=subprocess.DEVNULL) as strace:
        until("strace", lambda: all(map(_is_traced, threads)) or None)
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)  # it lets go of what it traces, and ends


@contextmanager
def killed_at(pids: Sequence[int], calls: str, number: int, *, with_later: bool = False) -> Iterator[None]:
    """While the block runs, kill each of these processes as one of its threads enters the call of this number."""
    kill = ("-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={number}")
    with traced(pids, *kill, with_later=with_later):
        yield


@contextmanager
def failing(pid: int, calls: str, which: str, error: str) -> Iterator[None]:
    """While the block runs, let calls fail with this error; `which` is strace's `when`, such as `1` or `1+`."""
    fail = ("-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={which}")
    with traced((pid,), *fail):
        yield


@contextmanager
def counted(pids: Sequence[int], kinds: tuple[str, ...], *, with_later: bool = False) -> Iterator[Counter[str]]:
    """Count how often that one thread which does so most often makes calls of each kind; complete after the block."""
    found: Counter[str] = Counter()
    with tempfile.NamedTemporaryFile("r") as log:
        with traced(pids, "-o", log.name, "-e", f"trace={','.join(kinds)}", with_later=with_later):
            yield found
        by_thread: Counter[tuple[str, str]] = Counter()
        for line in log:
            call = re.match(r"(\d+ +)?(\w+)\(", line)
            if call is not None:
                kind = next(kind for kind in kinds if call[2] in kind.split(","))
                by_thread[call[1] or "", kind] += 1
        for (_, kind), count in by_thread.items():
            found[kind] = max(found[kind], count)


def _is_traced(thread: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return "\nTracerPid:\t0\n" not in Path(f"/proc/{thread}/status").read_text()
    return True
