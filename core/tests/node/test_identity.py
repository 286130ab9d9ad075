"""What happens in a home happens with the site's rights: planted links reach nothing, and other threads stay root."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from hosthold.node.files import Tree
from hosthold.node.identity import acting_as
from hosthold.types.node import Owner
from hosthold.types.resource import Directory, File

from core.tests.node.numbers import FIRST

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: real Unix users"),
]
SITE = Owner(uid=FIRST + 1, gid=FIRST + 1)


def _identity() -> tuple[str, str, str, str]:
    """Effective and file-system ids, groups and capabilities of the calling thread."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return fields["Uid"], fields["Gid"], fields["Groups"].strip(), fields["CapEff"]


def test_a_thread_acts_as_the_site_and_others_do_not() -> None:
    before = _identity()
    switched, looked = threading.Event(), threading.Event()
    seen: dict[str, Any] = {}

    def act() -> None:
        with acting_as(SITE):
            seen["inside"] = _identity()
            switched.set()
            looked.wait(5)
        seen["after"] = _identity()

    thread = threading.Thread(target=act)
    thread.start()
    assert switched.wait(5)
    seen["main"] = _identity()
    looked.set()
    thread.join()
    assert seen["inside"][:3] == (f"0\t0\t0\t{FIRST + 1}", f"0\t0\t0\t{FIRST + 1}", "")
    assert int(seen["inside"][3], 16) & 0b11111 == 0  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID
    assert seen["main"] == seen["after"] == before


def test_the_identity_comes_back_after_an_exception() -> None:
    before = _identity()
    with pytest.raises(ValueError, match="inside"), acting_as(SITE):
        raise ValueError("inside")
    assert _identity() == before


@pytest.fixture
def victim(place: Path) -> Path:
    folder = place / "victim"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text("canary")
    (folder / "secret").chmod(0o600)
    return folder


def _state_of(victim: Path) -> list[tuple[str, int, int, int, str]]:
    found = []
    for path in [victim, *sorted(victim.rglob("*"))]:
        status = path.stat()
        found.append(
            (path.name, status.st_mode, status.st_uid, status.st_mtime_ns, path.read_text() if path.is_file() else "")
        )
    return found


@pytest.mark.parametrize("name", ["secret", "new"])
def test_s10_a_planted_link_to_a_folder_is_not_followed(user_world: Any, victim: Path, name: str) -> None:
    user_world.apply(user_world.site(1))
    home = user_world.layout.home("s1")
    Path(home, "app").symlink_to(victim)
    before = _state_of(victim)
    with Tree(user_world.layout) as tree:
        path = home.child("app", name)
        assert tree.exists_at_home(path, SITE)  # taken, as far as the node is concerned
        for resource in (
            File(path=path, content="x", owner=SITE, mode=0o666, seed=True),
            Directory(path=path, owner=SITE, mode=0o777),
        ):
            with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
                tree.create_at_home(resource.owner, [resource])
        tree.remove_at_home(path, SITE)
    assert _state_of(victim) == before


def test_s10_a_planted_link_to_a_file_is_neither_written_nor_given_away(user_world: Any, victim: Path) -> None:
    user_world.apply(user_world.site(1))
    home = user_world.layout.home("s1")
    Path(home, "seed.php").symlink_to(victim / "secret")
    before = _state_of(victim)
    with Tree(user_world.layout) as tree:
        tree.create_at_home(SITE, [File(path=home.child("seed.php"), content="x", owner=SITE, mode=0o666, seed=True)])
    assert _state_of(victim) == before


def test_s10_an_order_for_a_home_with_planted_links_touches_nothing_outside(user_world: Any, victim: Path) -> None:
    world = user_world
    world.apply(world.site(1))
    public = Path(world.layout.home("s1"), "public")
    (public / "index.php").unlink()
    public.rmdir()
    public.symlink_to(victim)
    before = _state_of(victim)
    more = File(path=world.layout.home("s1").child("public", "b.php"), content="", owner=SITE, mode=0o644, seed=True)
    assert world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), more)).condition is None
    assert world.apply(world.no_site(1)).condition is None
    assert _state_of(victim) == before


def test_s14_root_cannot_be_made_to_write_where_the_site_may(user_world: Any, victim: Path) -> None:
    """The rights are the site's: what only root may read stays closed even through a plain folder."""
    user_world.apply(user_world.site(1))
    victim.rename(victim.parent / "state/sites/s1/home/rooted")
    rooted = user_world.layout.home("s1").child("rooted")
    with Tree(user_world.layout) as tree, pytest.raises(PermissionError):
        tree.create_at_home(SITE, [File(path=rooted.child("x"), content="x", owner=SITE, mode=0o644, seed=True)])
    assert sorted(path.name for path in Path(rooted).iterdir()) == ["secret"]


def _deep(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than a path can be long, made as anybody can make them."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def test_s13_a_home_deeper_than_the_stack_is_removed_and_links_in_it_are_not_followed(world: Any, victim: Path) -> None:
    world.apply(world.site(1))
    world.apply(world.site(2))
    home = Path(world.layout.home("s1"))
    _deep(home, 3000)
    (home / "out").symlink_to(victim)
    (home / "d" / "out").symlink_to(victim)
    (home / "0.removed").mkdir()
    (home / "0.removed" / "x").touch()
    os.mkfifo(home / "fifo")
    before = _state_of(victim)
    assert world.apply(world.no_site(1)).condition is None
    assert not home.parent.exists()
    assert not Path(world.layout.state, "trash").exists()
    assert world.apply(world.no_site(2)).condition is None
    assert _state_of(victim) == before


def test_trash_that_cannot_be_removed_hinders_no_other_site(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    stuck = Path(world.layout.home("s1"), "stuck")
    stuck.mkdir()
    mount = ["/usr/bin/mount", "-t", "tmpfs", "none", str(stuck)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        assert world.apply(world.no_site(1)).condition is None
        assert world.apply(world.site(2)).condition is None
        world.restart_agent()
    finally:
        (trash,) = Path(world.layout.state, "trash").rglob("stuck")
        subprocess.run(["/usr/bin/umount", str(trash)], check=True)
    assert world.apply(world.no_site(2)).condition is None
    assert not Path(world.layout.state, "trash").exists()
