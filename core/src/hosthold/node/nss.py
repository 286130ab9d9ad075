"""Which sources this process asks for users and groups (nsswitch.conf(5))."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection
from pathlib import Path

from hosthold.errors import Misconfigured

CONFIGURATION = Path("/etc/nsswitch.conf")
EXTRAUSERS = Path("/var/lib/extrausers")
"""Where the module `extrausers` looks; libnss-extrausers is built with it."""
RECORDS = tuple(Path(place, "userdb") for place in ("/etc", "/run", "/run/host", "/usr/lib"))
"""Where records of users may lie that `systemd` shows besides those of running units (nss-systemd(8))."""
_SOURCES = re.compile(r"\w+(?:\s*\[[^]]*\])?")


def not_asked(accounts: Path) -> set[str]:
    """Sources that tell a node nothing which makes its accounts in this folder, and take long to do so.

    The node reads the files of `extrausers` itself, by an index, if they are its own; the module reads all their lines
    for each question. `systemd` starts threads for each, and knows nobody but users of running units, whose numbers are
    below 65,536, unless there are records.
    """
    found = {"extrausers"} if accounts == EXTRAUSERS else set()
    return found if any(place.is_dir() and any(place.iterdir()) for place in RECORDS) else found | {"systemd"}


def asked(line: str, without: Collection[str]) -> str:
    """The sources of a line of nsswitch.conf save some, each with its own action."""
    found = [source for source in _SOURCES.findall(line) if re.split(r"[\s\[]", source)[0] not in without]
    return " ".join(found) or "files"


def ask_few_sources(accounts: Path) -> None:
    """Let this whole process ask for users and groups where the machine does, but for the sources not asked.

    For the process that makes accounts, before its first question: each new one is looked for four times. Raises
    `Misconfigured` if the C library refuses; one that has no such call (musl) asks as before, and so does a machine
    without configuration.
    """
    configure = getattr(ctypes.CDLL(None), "__nss_configure_lookup", None)
    if configure is None or not CONFIGURATION.is_file():
        return
    without = not_asked(accounts)
    for line in CONFIGURATION.read_text().splitlines():
        database, colon, sources = line.partition("#")[0].partition(":")
        if colon and database.strip() in ("passwd", "group"):
            name, asks = database.strip(), asked(sources, without)
            if configure(name.encode(), asks.encode()) != 0:
                raise Misconfigured(
                    f"The C library cannot look for the machine's users in {asks!r}.",
                    hint=f"Correct the line {name!r} in {CONFIGURATION}.",
                )
