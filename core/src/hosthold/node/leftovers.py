"""What a user leaves outside of the home when it goes: files in folders that everybody may write, and System V IPC."""

from __future__ import annotations

import ctypes
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from hosthold.node.removal import remove_folder

_SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/var/lib/php/sessions")
_IPC_RMID = 0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


def remove_leftovers(uid: int) -> None:
    """Remove what a user whose processes have all ended left in shared places. What resists is logged and stays."""
    for place in _SHARED_FOLDERS:
        try:
            _remove_files(place, uid)
        except OSError as error:
            _log.warning("not all files of uid %s in %s could be removed: %s", uid, place, error)
    for kind, remove in (("shm", _remove_memory), ("msg", _remove_queue), ("sem", _remove_semaphores)):
        for identifier in _identifiers(kind, uid):
            remove(identifier)


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


def _remove_memory(identifier: int) -> None:
    _libc.shmctl(identifier, _IPC_RMID, None)


def _remove_queue(identifier: int) -> None:
    _libc.msgctl(identifier, _IPC_RMID, None)


def _remove_semaphores(identifier: int) -> None:
    _libc.semctl(identifier, 0, _IPC_RMID)
