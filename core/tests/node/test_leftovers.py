"""What a removed user left in folders of the whole machine goes, and nothing of anybody else."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosthold.node.leftovers import remove_leftovers

from .conftest import World
from .numbers import FIRST

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other users")]


@pytest.fixture
def shared() -> Iterator[Path]:
    """Where everybody may write; names of this test's begin alike."""
    prefix = Path(tempfile.gettempdir()) / f"hosthold-left-{os.getpid()}"
    yield prefix
    for path in prefix.parent.glob(f"{prefix.name}*"):
        path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()


def test_s65_only_the_users_own_goes_and_no_link_is_followed(shared: Path) -> None:
    gone, other, kept = FIRST + 1, FIRST + 2, Path(f"{shared}-kept")
    folder, file, link = (Path(f"{shared}-{name}") for name in ("folder", "file", "link"))
    deep = folder
    folder.mkdir()
    os.chown(folder, gone, gone)
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", 0o700, dir_fd=descriptor)
        os.chown("a", gone, gone, dir_fd=descriptor)
        inner = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    kept.write_text("of somebody else")
    os.chown(kept, other, other)
    file.touch()
    link.symlink_to(kept)
    (folder / "link").symlink_to("/etc")
    (folder / "hard").hardlink_to(kept)
    for path in (file, link):
        os.lchown(path, gone, gone)

    remove_leftovers(gone)

    assert not any(path.is_symlink() or path.exists() for path in (folder, file, link, deep))
    assert kept.read_text() == "of somebody else"
    assert (kept.stat().st_uid, kept.stat().st_nlink) == (other, 1)
    assert Path("/etc/passwd").exists()


def test_s65_shared_memory_queues_and_semaphores_of_the_user_go() -> None:
    gone, other = FIRST + 1, FIRST + 2
    for uid in (gone, other):
        for what in (("-M", "99"), ("-Q",), ("-S", "1")):
            subprocess.run(("/usr/bin/ipcmk", *what), user=uid, group=uid, extra_groups=(), check=True, env={})
    try:
        remove_leftovers(gone)
        assert (_ipc_of(gone), _ipc_of(other)) == (0, 3)
    finally:
        remove_leftovers(other)
    assert _ipc_of(other) == 0


def _ipc_of(uid: int) -> int:
    tables = [Path(f"/proc/sysvipc/{kind}").read_text().splitlines() for kind in ("shm", "msg", "sem")]
    return sum(line.split()[heading.split().index("uid")] == str(uid) for heading, *lines in tables for line in lines)


def test_s65_a_removal_that_was_cut_off_after_its_record_still_clears_what_is_left(
    user_world: World, shared: Path
) -> None:
    world = user_world
    assert world.apply(world.site(1)).condition is None
    left = Path(f"{shared}-left")
    assert world.apply(world.no_site(1)).condition is None
    left.touch()
    os.chown(left, world.owner(1).uid, world.owner(1).gid)
    world.restart_agent()
    assert not left.exists()
