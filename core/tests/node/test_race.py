"""A tenant who exchanges folders with links all the time, while the node works in the home (S-11)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hosthold.node.usage import measure
from hosthold.types.resource import Directory, File
from hosthold.types.text import UnixName

from .conftest import World

pytestmark = pytest.mark.root
SECONDS = 2.0
SWAPPER = """
import ctypes, itertools, os, sys
exchange = ctypes.CDLL(None).renameat2
uid, *pairs = sys.argv[1:]
pairs = [path.encode() for path in pairs]
os.setgroups([])
os.setresgid(int(uid), int(uid), int(uid))
os.setresuid(int(uid), int(uid), int(uid))
print("ready", flush=True)
for turn in itertools.count():
    for one, other in zip(pairs[::2], pairs[1::2]):
        exchange(-100, one, -100, other, 2)
"""


@contextmanager
def swapping(uid: int, *pairs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that exchanges each pair of paths without a pause."""
    command = (sys.executable, "-I", "-S", "-c", SWAPPER, str(uid), *map(str, pairs))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout is not None
            swapper.stdout.readline()
            yield swapper
        finally:
            swapper.kill()


def look(folder: Path) -> dict[str, tuple[int, ...]]:
    """What would show a change of anything below the folder."""
    return {
        str(path): (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns)
        for path in (folder, *folder.rglob("*"))
        if (status := path.lstat())
    }


def test_s11_folders_and_seeds_are_made_in_the_home_or_nowhere(user_world: World, place: Path) -> None:
    world, home = user_world, Path(user_world.layout.home(UnixName("s1")))
    assert world.apply(world.site(1)).condition is None
    owner, victim = world.owner(1), place / "victim"
    (victim / "in").mkdir(parents=True)
    (victim / "in" / "index.php").write_text("of root")
    for name in ("x", "y"):
        (home / name).mkdir()
        os.chown(home / name, owner.uid, owner.gid)
        (home / f"to-{name}").symlink_to(victim)
        os.lchown(home / f"to-{name}", owner.uid, owner.gid)
    before, made, seen = look(victim), 0, set()
    path = world.layout.home(UnixName("s1"))
    with swapping(owner.uid, home / "x", home / "to-x", home / "y", home / "to-y") as swapper:
        end = time.monotonic() + SECONDS
        for turn in range(1_000_000):
            if time.monotonic() > end:
                break
            folders = [path.child("x"), path.child("x", f"in{turn}"), path.child("y", f"in{turn}")]
            resources = [
                *world.site_resources(1, service=False),
                *(Directory(path=folder, owner=owner, mode=0o755, seed=True) for folder in folders[1:]),
                File(path=folders[1].child("index.php"), content="<?php", owner=owner, mode=0o644, seed=True),
            ]
            outcome = world.apply(world.desired(f"site:{1:032x}", *resources))
            made += outcome.condition is None
            seen.add((home / "x").is_symlink())
            measure(str(home))
        assert swapper.poll() is None
    assert seen == {True, False}, "the exchange did take place"
    assert made > 10
    assert look(victim) == before
    assert world.apply(world.no_site(1)).condition is None
    assert look(victim) == before
    assert not home.exists()
