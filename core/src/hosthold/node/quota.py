"""Limits on what a folder may hold, where the file system can enforce them, and what it counts there.

ext4 and xfs count by project (quotactl(2), one project per site), btrfs by subvolume (btrfs-quota(5)), which knows no
limit of inodes. Elsewhere nothing is enforced, and only measuring tells.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from hosthold.node.identity import system_call
from hosthold.types.resource import Quota


class QuotaKind(StrEnum):
    """What enforces quotas on a file system."""

    none = "none"
    project = "project"
    subvolume = "subvolume"


class Held(NamedTuple):
    """What a folder holds with all that is below it."""

    bytes: int
    inodes: int


def quota_kind(folder: int) -> QuotaKind:
    """What enforces quotas on the file system of the open folder; what was found is believed for some seconds."""
    device, now = os.fstat(folder).st_dev, time.monotonic()
    kind, looked = _kinds.get(device, (QuotaKind.none, -_BELIEVED_SECONDS))
    if now - looked >= _BELIEVED_SECONDS:
        kind = _look_for_kind(folder)
        _kinds[device] = kind, now
    return kind


_BELIEVED_SECONDS = 10.0
_kinds: dict[int, tuple[QuotaKind, float]] = {}


def _look_for_kind(folder: int) -> QuotaKind:
    mount = mount_of(folder)
    if mount.type == "btrfs":
        return QuotaKind.subvolume if _has_quota_tree(folder) else QuotaKind.none
    if mount.type in ("ext4", "xfs") and mount.options & {"prjquota", "pquota"}:
        return QuotaKind.project
    return QuotaKind.none


def make_limited(parent: int, name: str) -> None:
    """Make a folder to which a quota can be given: a subvolume on btrfs, otherwise a plain folder."""
    if quota_kind(parent) is QuotaKind.subvolume:
        fcntl.ioctl(parent, _SUBVOL_CREATE, bytearray(struct.pack("=q4088s", 0, os.fsencode(name))))
    else:
        os.mkdir(name, 0o700, dir_fd=parent)


def limit(folder: int, quota: Quota) -> bool:
    """Have the file system keep what is in the open folder below the quota; whether it can.

    A plain folder on btrfs, made before quotas were switched on, stays without.
    """
    match quota_kind(folder):
        case QuotaKind.project:
            _set_project(folder, quota.project)
            _set_project_limit(folder, quota)
            return True
        case QuotaKind.subvolume if _is_subvolume(folder):
            fcntl.ioctl(folder, _QGROUP_LIMIT, struct.pack("=QQQQQQ", 0, _MAX_REFERENCED, quota.bytes, 0, 0, 0))
            return True
        case _:
            return False


def is_kept(folder: int) -> bool:
    """Whether the file system keeps what is in the open folder below the quota that it was given."""
    kind = quota_kind(folder)
    return kind is QuotaKind.project or (kind is QuotaKind.subvolume and _is_subvolume(folder))


def held(folder: int, project: int) -> Held | None:
    """What the open folder holds; `None` where the file system does not count that.

    btrfs counts single subvolumes, and whoever makes another one in his folder escapes that, so its count is not used.
    """
    match quota_kind(folder):
        case QuotaKind.project:
            answer = _project(folder, _GET_PROJECT_LIMIT, project, bytes(_DISK_QUOTA.size))
            _, _, _, _, _, _, _, _, blocks, inodes, *_ = _DISK_QUOTA.unpack(answer)
            return Held(blocks * 512, inodes)
        case _:
            return None


class Mount(NamedTuple):
    """A mounted file system."""

    type: str
    options: frozenset[str]
    place: str


def mount_of(folder: int) -> Mount:
    """The file system that the open folder is on (proc_pid_mountinfo(5)); the newest of several at one place."""
    path = f"{Path(f'/proc/self/fd/{folder}').readlink()}/"
    found, longest = Mount("", frozenset(), "/"), -1
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(" ", 2)
        place = fields[4].encode("latin-1", "replace").decode("unicode_escape").rstrip("/") + "/"
        if path.startswith(place) and len(place) >= longest:
            chosen = frozenset((*fields[5].split(","), *options.split(",")))
            found, longest = Mount(kind, chosen, place.rstrip("/") or "/"), len(place)
    return found


# Projects: <linux/fs.h> struct fsxattr, <linux/dqblk_xfs.h> struct fs_disk_quota. The calls of xfs also serve ext4.
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("=IIIII8s")
_INHERIT_PROJECT = 0x200
_QUOTACTL_FD = 443
_PROJECTS = 2
_GET_PROJECT_LIMIT, _SET_PROJECT_LIMIT = 0x5803, 0x5804
_DISK_QUOTA = struct.Struct("=bbHIQQQQQQiiHH4bQQQiHh8s")
_SOFT_AND_HARD = 0b1111


def _set_project(folder: int, project: int) -> None:
    attributes = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(folder, _GET_ATTRIBUTES, attributes)
    flags, extent, extents, _, cow, rest = _ATTRIBUTES.unpack(attributes)
    wanted = _ATTRIBUTES.pack(flags | _INHERIT_PROJECT, extent, extents, project, cow, rest)
    if bytes(attributes) != wanted:
        fcntl.ioctl(folder, _SET_ATTRIBUTES, wanted)


def _set_project_limit(folder: int, quota: Quota) -> None:
    blocks = -(-quota.bytes // 512)
    fields = (1, 2, _SOFT_AND_HARD, quota.project, blocks, blocks, quota.inodes, quota.inodes)
    nothing = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(8))
    _project(folder, _SET_PROJECT_LIMIT, quota.project, _DISK_QUOTA.pack(*fields, *nothing))


def _project(folder: int, command: int, project: int, argument: bytes) -> bytes:
    buffer = bytearray(argument)
    system_call(_QUOTACTL_FD, folder, command << 8 | _PROJECTS, project, buffer)
    return bytes(buffer)


# Subvolumes: <linux/btrfs.h>, <linux/btrfs_tree.h>.
_SUBVOL_CREATE = 0x5000940E
_QGROUP_LIMIT = 0x8030942B
_MAX_REFERENCED = 1
_TREE_SEARCH = 0xD0009411
_SEARCH_BYTES = 4096
_SEARCH_KEY = struct.Struct("=QQQQQQQIIII32s")
_QUOTA_TREE, _QGROUP_STATUS = 8, 240
_SUBVOLUME_INODE = 256
_EVERY = 2**64 - 1


def _is_subvolume(folder: int) -> bool:
    return os.fstat(folder).st_ino == _SUBVOLUME_INODE


def _has_quota_tree(folder: int) -> bool:
    """Whether `btrfs quota enable` was done: the file system has a tree of quotas. Only root may look."""
    key = _SEARCH_KEY.pack(_QUOTA_TREE, 0, 0, 0, 0, 0, _EVERY, _QGROUP_STATUS, _QGROUP_STATUS, 1, 0, b"")
    buffer = bytearray(key.ljust(_SEARCH_BYTES, b"\0"))
    try:
        fcntl.ioctl(folder, _TREE_SEARCH, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EPERM):
            return False
        raise
    return bool(_SEARCH_KEY.unpack_from(buffer)[9])
