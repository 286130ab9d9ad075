"""What sites hold on disk: counted by the file system where it keeps quotas, else measured by going through homes."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from datetime import UTC, datetime

from hosthold.node.identity import acting_as
from hosthold.node.quota import Held, held, is_kept
from hosthold.types.node import NodeLayout, Owner
from hosthold.types.resource import Usage

ROUND_SECONDS = 600.0
"""How long after the beginning of one round through all homes the next one begins."""
_SHARE_OF_TIME = 0.1
"""How much of the time one processor works for this at most."""
_DEEPEST = 512
"""Folders that are nested more deeply are not counted: each level takes a descriptor."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512
_log = logging.getLogger(__name__)


class UsageMeter:
    """Goes through the homes of all sites again and again, slowly, and remembers what each held last."""

    def __init__(self, layout: NodeLayout) -> None:
        self._layout = layout
        self._latest: dict[str, Usage] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="hosthold-usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what was found is forgotten with the meter."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def latest(self, site: str) -> Usage | None:
        """What the site held when it was looked at last; nothing of a site that was not looked at yet."""
        return self._latest.get(site)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while not self._stop.is_set():
            begun = time.monotonic()
            self.measure_all()
            self._stop.wait(max(ROUND_SECONDS - (time.monotonic() - begun), 1.0))

    def measure_all(self) -> None:
        """Look at each site once. A home that cannot be read keeps its former figures."""
        try:
            sites = [entry.name for entry in os.scandir(self._layout.sites) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        for site in self._latest.keys() - set(sites):
            del self._latest[site]
        for site in sites:
            if self._stop.is_set():
                return
            begun = time.monotonic()
            try:
                found = measure(f"{self._layout.sites}/{site}/home")
            except OSError as error:
                _log.info("the home of %s cannot be measured: %s", site, error)
            else:
                if found is not None:
                    self._latest[site] = found
            self._stop.wait((time.monotonic() - begun) * (1 / _SHARE_OF_TIME - 1))


def measure(home: str) -> Usage | None:
    """What the home holds now; `None` if there is none. Raises `OSError` if it cannot be read."""
    try:
        folder = os.open(home, _FOLDER)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(folder)
        found = held(folder, status.st_uid)
        is_enforced = is_kept(folder)
        if found is None:
            with acting_as(Owner(uid=status.st_uid, gid=status.st_uid)):
                found = _walked(folder)
    finally:
        os.close(folder)
    return Usage(bytes=found.bytes, inodes=found.inodes, is_enforced=is_enforced, measured_at=datetime.now(UTC))


def _walked(top: int) -> Held:
    """What is below the open folder. No link is followed, a file with several names counts once."""
    total, inodes = os.fstat(top).st_blocks * _BLOCK, 1
    linked: set[tuple[int, int]] = set()
    open_folders = [(top, _names(top))]
    try:
        while open_folders:
            folder, names = open_folders[-1]
            if not names:
                open_folders.pop()
                if folder != top:
                    os.close(folder)
                continue
            name = names.pop()
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                    if (status.st_dev, status.st_ino) in linked:
                        continue
                    linked.add((status.st_dev, status.st_ino))
                total, inodes = total + status.st_blocks * _BLOCK, inodes + 1
                if stat.S_ISDIR(status.st_mode) and len(open_folders) < _DEEPEST:
                    inner = os.open(name, _FOLDER, dir_fd=folder)
                    open_folders.append((inner, _names(inner)))
            except OSError:
                continue  # it was removed meanwhile, or its owner may not read it either
    finally:
        for folder, _ in open_folders:
            if folder != top:
                os.close(folder)
    return Held(total, inodes)


def _names(folder: int) -> list[str]:
    return os.listdir(folder)
