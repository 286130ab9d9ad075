"""File systems: what kind they are, whether quotas hold there, and how much is free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.node.quota import Mount, QuotaKind, mount_of, quota_kind
from hosthold.settings import Settings

LEAST_FREE_BYTES = 500 * 2**20
LEAST_FREE_INODES = 10_000
NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "coda", "davfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "lustre",
     "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)  # fmt: skip
_HOW_TO_LIMIT = "ext4 and xfs do if mounted with `prjquota`, btrfs after `btrfs quota enable`"


def look(settings: Settings) -> Iterator[Finding]:
    """Look at each place that the platform or its sites write to."""
    state = Path(settings.node.state or settings.state.child("node"))
    places = {
        "state": Path(settings.state), "sites": state, "run": Path(settings.node.run or f"{state}/run"),
        "accounts": Path(settings.node.accounts_directory),
    }  # fmt: skip
    for name, place in places.items():
        part = f"disk {name}"
        try:
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            yield well(part, f"{place} is shown to its owner and to root alone")
            continue
        try:
            mount = mount_of(folder)
            wrong = [*_mounted(part, place, mount, has_sqlite=name in ("state", "sites")), *_full(part, place)]
            if wrong:
                yield from wrong
                continue
            free = os.statvfs(folder)
            message = f"{place} on {mount.type}, {free.f_bavail * free.f_frsize // 2**30} GiB free"
            yield well(part, f"{message}, {_quota(folder)}" if name == "sites" else message)
        finally:
            os.close(folder)


def _mounted(part: str, place: Path, mount: Mount, *, has_sqlite: bool) -> Iterator[Finding]:
    if has_sqlite and mount.type in NETWORK:
        yield bad(
            part,
            f"{place} is on {mount.type}, a file system of another machine: SQLite's locks do not hold there.",
            "Move the folder to a disk of this machine",
        )
    if "ro" in mount.options:
        yield bad(part, f"{place} can only be read.", f"mount -o remount,rw {mount.place}")
    if "nosymfollow" in mount.options:
        yield bad(
            part,
            f"{place} is mounted with nosymfollow: no name of a site would lead anywhere.",
            f"mount -o remount,symfollow {mount.place}, and take nosymfollow out of /etc/fstab",
        )


def _full(part: str, place: Path) -> Iterator[Finding]:
    """btrfs and some others know no number of inodes, and say 0."""
    free = os.statvfs(place)
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        yield bad(
            part,
            f"Only {free.f_bavail * free.f_frsize // 2**20} MiB are free in {place}.",
            f"Free some space there; `du -xh {place} | sort -h | tail` shows what is large",
        )
    if free.f_files and free.f_favail < LEAST_FREE_INODES:
        yield bad(
            part,
            f"Only {free.f_favail} more files can be made in {place}.",
            f"Remove what is not needed; `du -x --inodes {place} | sort -n | tail` shows where most files are",
        )


def _quota(folder: int) -> str:
    kind = QuotaKind.none
    with suppress(OSError):
        kind = quota_kind(folder)
    return {
        QuotaKind.project: "sites are kept below their space and number of files",
        QuotaKind.subvolume: "sites are kept below their space; files are only counted",
        QuotaKind.none: f"what sites hold is only measured ({_HOW_TO_LIMIT})",
    }[kind]
