"""What a program said before it ended, as journald kept it."""

from __future__ import annotations

import subprocess

_JOURNALCTL = "/usr/bin/journalctl"
_SECONDS = 10


def words_of(invocation: str) -> str:
    """The last lines that this run of a unit's program wrote to its output; empty if there are none."""
    lines = b""
    for arguments in (("--sync",), ("--quiet", "-o", "cat", "-n", "40", f"_SYSTEMD_INVOCATION_ID={invocation}")):
        try:
            lines = subprocess.run(
                (_JOURNALCTL, *arguments),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return lines.decode("utf-8", "replace")
