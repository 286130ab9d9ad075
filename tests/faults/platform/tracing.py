"""Faults injected into a running process by strace: killed at a system call, or a call that fails."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import until

STRACE = "/usr/bin/strace"


@contextmanager
def traced(pid: int, *options: str, with_children: bool = False) -> Iterator[None]:
    """Have strace with these options at all threads of a process while the block runs.

    Threads that begin later are followed only together with child processes.
    """
    threads = [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
    chosen = ("-f", "-p", str(pid)) if with_children else [part for thread in threads for part in ("-p", thread)]
    with subprocess.Popen((STRACE, "-qq", *chosen, *options), stderr=subprocess.DEVNULL) as strace:
        until("strace", lambda: all(_is_traced(pid, thread) for thread in threads) or None)
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)  # it lets go of what it traces, and ends


@contextmanager
def killed_at(pid: int, calls: str, number: int, *, with_children: bool = False) -> Iterator[None]:
    """While the block runs, kill the process as one of its threads enters the call of this number."""
    kill = ("-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={number}")
    with traced(pid, *kill, with_children=with_children):
        yield


@contextmanager
def failing(pid: int, calls: str, which: str, error: str) -> Iterator[None]:
    """While the block runs, let calls fail with this error; `which` is strace's `when`, such as `1` or `1+`."""
    fail = ("-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={which}")
    with traced(pid, *fail):
        yield


@contextmanager
def counted(pid: int, kinds: tuple[str, ...], *, with_children: bool = False) -> Iterator[Counter[str]]:
    """Count how often that one thread which does so most often makes calls of each kind; complete after the block."""
    found: Counter[str] = Counter()
    with tempfile.NamedTemporaryFile("r") as log:
        with traced(pid, "-o", log.name, "-e", f"trace={','.join(kinds)}", with_children=with_children):
            yield found
        by_thread: Counter[tuple[str, str]] = Counter()
        for line in log:
            call = re.match(r"(\d+ +)?(\w+)\(", line)
            if call is not None:
                kind = next(kind for kind in kinds if call[2] in kind.split(","))
                by_thread[call[1] or "", kind] += 1
        for (_, kind), count in by_thread.items():
            found[kind] = max(found[kind], count)


def _is_traced(pid: int, thread: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return True
