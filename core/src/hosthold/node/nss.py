"""Which sources this process asks for users and groups (nsswitch.conf(5))."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from hosthold.errors import Misconfigured

CONFIGURATION = Path("/etc/nsswitch.conf")
NOT_ASKED = frozenset({"extrausers", "systemd"})
"""The node reads the first one's files itself, by an index: the module reads all lines for each question. The second
knows users of running units, whose numbers are below 65,536, and starts threads for each question."""
_SOURCES = re.compile(r"\w+(?:\s*\[[^]]*\])?")


def asked(line: str) -> str:
    """The sources of a line of nsswitch.conf without those that are not asked, each with its own action."""
    found = [source for source in _SOURCES.findall(line) if re.split(r"[\s\[]", source)[0] not in NOT_ASKED]
    return " ".join(found) or "files"


def ask_few_sources(configuration: Path = CONFIGURATION) -> None:
    """Let this whole process ask for users and groups where the machine does, but for the sources not asked.

    For the process that makes accounts, before its first question: each new one is looked for four times. Raises
    `Misconfigured` if the C library refuses; one that has no such call (musl) asks as before, and so does a machine
    without configuration.
    """
    configure = getattr(ctypes.CDLL(None), "__nss_configure_lookup", None)
    if configure is None or not configuration.is_file():
        return
    for line in configuration.read_text().splitlines():
        database, colon, sources = line.partition("#")[0].partition(":")
        if colon and database.strip() in ("passwd", "group"):
            name, asks = database.strip(), asked(sources)
            if configure(name.encode(), asks.encode()) != 0:
                raise Misconfigured(
                    f"The C library cannot look for the machine's users in {asks!r}.",
                    hint=f"Correct the line {name!r} in {configuration}.",
                )
