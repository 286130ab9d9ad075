"""What a user leaves outside of the home when it goes: files in folders that everybody may write, and System V IPC."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

from hosthold.node.identity import remove_ipc
from hosthold.node.removal import remove_folder

_SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/var/lib/php/sessions")
_IPC: tuple[Literal["shm", "msg", "sem"], ...] = ("shm", "msg", "sem")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger(__name__)


def remove_leftovers(uid: int) -> None:
    """Remove what a user whose processes have all ended left in shared places. What resists is logged and stays."""
    for place in _SHARED_FOLDERS:
        try:
            _remove_files(place, uid)
        except OSError as error:
            _log.warning("not all files of uid %s in %s could be removed: %s", uid, place, error)
    for kind in _IPC:
        for identifier in _identifiers(kind, uid):
            with suppress(OSError):
                remove_ipc(kind, identifier)


def _remove_files(place: str, uid: int) -> None:
    with suppress(FileNotFoundError):
        folder = os.open(place, _FOLDER)
        try:
            if os.fstat(folder).st_mode & stat.S_ISVTX:
                _remove_from(folder, uid)
        finally:
            os.close(folder)


def _remove_from(folder: int, uid: int) -> None:
    """Remove the user's files and folders from a folder that keeps each user from replacing those of others."""
    for name in os.listdir(folder):
        status = _status(folder, name)
        if status is None or status.st_uid != uid:
            continue
        if stat.S_ISDIR(status.st_mode):
            remove_folder(folder, name)
        else:
            os.unlink(name, dir_fd=folder)


def _status(folder: int, name: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _identifiers(kind: str, uid: int) -> list[int]:
    """The identifiers of the objects of one kind that the user made (proc_sysvipc(5)); it may have given them away."""
    with suppress(FileNotFoundError):
        heading, *lines = Path(f"/proc/sysvipc/{kind}").read_text("ascii").splitlines()
        maker = heading.split().index("cuid")
        return [int(line.split()[1]) for line in lines if line.split()[maker] == str(uid)]
    return []
