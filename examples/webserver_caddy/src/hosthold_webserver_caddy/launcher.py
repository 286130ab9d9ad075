"""Starts a program that follows no symbolic link below a folder: `python3 -I -S launcher.py FOLDER PROGRAM ARGUMENT…`.

Caddy cannot tell a site's own link from one that leads to a neighbour's passwords, and may read the files of both. So
it gets a view of the file system of its own (mount_namespaces(7)), where the kernel refuses the links in the folder
(`nosymfollow`, mount(8)). All else in the view changes as it does for everybody. Needs root, and Linux 5.14.

It runs by itself, as a file that the node writes: only the standard library is imported.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_NOSYMFOLLOW = 0x00200000
_libc = ctypes.CDLL(None, use_errno=True)


def _done(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        sys.exit(f"fatal: the links of sites cannot be closed off, so nothing is served: {what}: {os.strerror(number)}")


def main() -> None:
    """Close the folder's links off for this process, and become the program."""
    folder, program = os.fsencode(sys.argv[1]), sys.argv[2:]
    _done(_libc.unshare(_CLONE_NEWNS), "unshare")
    _done(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None), "mount of /")
    _done(_libc.mount(folder, folder, None, ctypes.c_ulong(_MS_BIND | _MS_REC), None), f"mount of {sys.argv[1]}")
    attributes = struct.pack("4Q", _MOUNT_ATTR_NOSYMFOLLOW, 0, 0, 0)
    flags, size = ctypes.c_uint(_AT_RECURSIVE), ctypes.c_size_t(len(attributes))
    _done(_libc.syscall(ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, folder, flags, attributes, size), "mount_setattr")
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
