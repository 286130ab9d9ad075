"""Who may read and write the platform's folders and files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.settings import DEFAULT_FILE, Settings
from hosthold.types.node import Isolation

MOST_SHOWN = 5


def look(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Look at each folder, the way to it, and what in it only its owner may read."""
    state = Path(settings.state)
    node = Path(settings.node.state or settings.state.child("node"))
    checks = [
        *_way_to(state), *_way_to(node), *_private_files(state), *_node_owner(settings, state, node),
        *_settings_file(settings, config), *islice(_homes(node / "sites"), MOST_SHOWN),
    ]  # fmt: skip
    yield from dict.fromkeys(checks)
    if not checks:
        yield well("permissions", "nobody else may write where the platform does, or read what is private")


def _way_to(folder: Path) -> Iterator[Finding]:
    """Who may write a folder on the way can put another one in the place of what is below it."""
    for place in (folder, *folder.parents):
        try:
            status = place.stat()
        except FileNotFoundError:
            continue
        shared = status.st_mode & stat.S_ISVTX and place != folder
        if status.st_mode & 0o002 and not shared:
            yield bad("permissions", f"Everybody may write {place}.", f"chmod o-w {place}")
        if status.st_mode & 0o020 and status.st_gid != 0 and not shared:
            yield bad("permissions", f"The group {status.st_gid} may write {place}.", f"chmod g-w {place}")


def _private_files(state: Path) -> Iterator[Finding]:
    for folder in (state / "keys", state / "queue"):
        if folder.is_dir() and folder.stat().st_mode & 0o077:
            yield bad("permissions", f"{folder} is not its owner's alone.", f"chmod 700 {folder}")
    for pattern in ("hosthold.db*", "keys/*", "queue/*", "node/node.db*"):
        for file in state.glob(pattern):
            if file.lstat().st_mode & 0o077 and not file.is_symlink():
                yield bad("permissions", f"{file} may be read by others than its owner.", f"chmod 600 {file}")


def _node_owner(settings: Settings, state: Path, node: Path) -> Iterator[Finding]:
    if settings.node_isolation is Isolation.none:
        return
    for place in (node, *node.parents):
        if place.exists() and (owner := place.stat().st_uid) != 0:
            cure = f"chown root: {place}"
            if place == state:
                cure = "Set node.state to a folder of root's own, such as /srv/hosthold, and move the sites there"
            yield bad("permissions", f"uid {owner} could rename what root has made below {place}.", cure)


def _settings_file(settings: Settings, config: Path | None) -> Iterator[Finding]:
    file = config or Path(os.environ.get("HOSTHOLD_CONFIG", DEFAULT_FILE))
    has_password = any(urlsplit(url).password for url in (settings.database.url, settings.queue.url))
    if has_password and file.is_file() and file.stat().st_mode & 0o007:
        yield bad("permissions", f"{file} holds a password, and everybody may read it.", f"chmod o-rwx {file}")


def _homes(sites: Path) -> Iterator[Finding]:
    if not sites.is_dir() or not os.access(sites, os.R_OK):
        return
    for site in sites.iterdir():
        home = site / "home"
        try:
            mode = home.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & 0o007:
            yield bad("permissions", f"Everybody may look into {home}.", f"chmod 710 {home}")
