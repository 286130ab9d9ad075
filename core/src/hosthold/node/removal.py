"""Removing a folder with all that a tenant put into it, however deep: nothing recurs, two descriptors are enough."""

from __future__ import annotations

import errno
import os
from itertools import count

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_RETURNS = 1000
"""How often a folder may be found filled again before somebody is taken to fill it faster than it can be emptied."""


def remove_folder(parent: int, name: str) -> None:
    """Remove the folder `name` of the open folder `parent`, which nobody else may write. No link is followed.

    A folder in it that is not empty is first moved up into `name`: depth costs neither stack nor descriptors, and what
    is cut off is found again at the same place. Raises `OSError` if something cannot be removed.
    """
    top = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.fchown(top, os.geteuid(), os.getegid())
        os.fchmod(top, 0o700)
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(top: int) -> None:
    """Empty the open folder. What lies on another subvolume cannot be moved out of it, and is emptied for itself."""
    numbers, returns = count(), 0
    waiting = _without_files(top)
    while waiting:
        name = waiting.pop()
        folder = os.open(name, _FOLDER, dir_fd=top)
        try:
            for inner in _without_files(folder):
                try:
                    waiting.append(_moved_up(inner, folder, top, numbers))
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    _empty(folder)
                    break
        finally:
            os.close(folder)
        try:
            os.rmdir(name, dir_fd=top)
        except OSError as error:
            returns += 1
            if error.errno != errno.ENOTEMPTY or returns > _MOST_RETURNS:
                raise
            waiting.append(name)


def _without_files(folder: int) -> list[str]:
    """Remove all but folders that hold something; their names."""
    left = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                left.append(name)
    return left


def _moved_up(name: str, folder: int, top: int, numbers: count[int]) -> str:
    """Move the folder up under a name that is free there; the name."""
    while True:
        free = f"{next(numbers)}.removed"
        try:
            os.rename(name, free, src_dir_fd=folder, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return free
