"""Acting as a site's user: the calling thread's identity towards the file system, changed and put back.

Only the raw system calls concern one thread; glibc's wrappers would change all of them (nptl(7), setfsuid(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from hosthold.types.node import Owner

_CALLS = {
    "x86_64": {
        "setgroups": 116, "setfsuid": 122, "setfsgid": 123, "syncfs": 306,
        "shmctl": 31, "msgctl": 71, "semctl": 66, "adjtimex": 159,
    },
    "aarch64": {
        "setgroups": 159, "setfsuid": 151, "setfsgid": 152, "syncfs": 267,
        "shmctl": 195, "msgctl": 187, "semctl": 191, "adjtimex": 171,
    },
}  # fmt: skip
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_UNCHANGED = 0xFFFFFFFF
_IPC_RMID = 0
_TIMEX_BYTES, _TIME_ERROR = 208, 5


def system_call(number: int, *arguments: int | bytearray | ctypes.Array[ctypes.c_uint32]) -> int:
    """A raw system call of the calling thread, which may write into a `bytearray`; `OSError` if it fails."""
    result = int(_syscall(ctypes.c_long(number), *map(_as_argument, arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def synchronise(folder: int) -> None:
    """Write everything that the open folder's file system still holds in memory to its disk (syncfs(2))."""
    system_call(_numbers()["syncfs"], folder)


def is_clock_kept() -> bool:
    """Whether something keeps the machine's clock at the right time, as the kernel knows it (adjtimex(2))."""
    return system_call(_numbers()["adjtimex"], bytearray(_TIMEX_BYTES)) != _TIME_ERROR


def remove_ipc(kind: Literal["shm", "msg", "sem"], identifier: int) -> None:
    """Remove an object of System V IPC: shared memory, a queue, a set of semaphores (sysvipc(7)). Raises `OSError`."""
    number = _numbers()[f"{kind}ctl"]
    if kind == "sem":
        system_call(number, identifier, 0, _IPC_RMID)
    else:
        system_call(number, identifier, _IPC_RMID, 0)


def _as_argument(value: int | bytearray | ctypes.Array[ctypes.c_uint32]) -> ctypes.c_long | ctypes.Array[Any]:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return (ctypes.c_char * len(value)).from_buffer(value) if isinstance(value, bytearray) else value


@cache
def _numbers() -> dict[str, int]:
    try:
        return _CALLS[platform.machine()]
    except KeyError:
        raise OSError(f"no system call numbers are known for {platform.machine()}") from None


def _become(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    numbers = _numbers()
    if uid == os.geteuid():  # back to root: its capabilities first
        system_call(numbers["setfsuid"], uid)
    if tuple(os.getgroups()) != groups:
        system_call(numbers["setgroups"], len(groups), (ctypes.c_uint32 * max(len(groups), 1))(*groups))
    system_call(numbers["setfsgid"], gid)
    system_call(numbers["setfsuid"], uid)
    fsuid, fsgid = system_call(numbers["setfsuid"], _UNCHANGED), system_call(numbers["setfsgid"], _UNCHANGED)
    found = (fsuid, fsgid, tuple(os.getgroups()))  # only reading is left to glibc: it asks about this thread alone
    if found != (uid, gid, groups):
        raise PermissionError(f"the thread acts as {found} and should act as {(uid, gid, groups)}")


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Let this thread touch files with exactly the rights of `owner`; other threads keep theirs.

    Raises `PermissionError` if the switch did not take effect; nothing is done then.
    """
    if owner.uid == os.geteuid():
        yield
        return
    before = tuple(os.getgroups())
    try:
        _become(owner.uid, owner.gid, ())
        yield
    finally:
        _become(os.geteuid(), os.getegid(), before)
