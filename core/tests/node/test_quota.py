"""Quotas on a real file system that has them: btrfs, whose quotas need no option of the kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosthold.node import quota
from hosthold.node.quota import QuotaKind, quota_kind
from hosthold.node.usage import measure
from hosthold.types.node import Isolation
from hosthold.types.resource import Desired, Directory, Quota, Resource
from hosthold.types.text import UnixName

from .conftest import World
from .numbers import FIRST

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a file system")]
MEBIBYTE = 2**20


@pytest.fixture
def btrfs(place: Path) -> Iterator[Path]:
    """A file system of 300 MiB with quotas, at `place`/state."""
    image, mounted = place / "image", place / "state"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(300 * MEBIBYTE)
    for command in (
        ("/sbin/mkfs.btrfs", "-q", str(image)),
        ("/bin/mount", "-o", "loop", str(image), str(mounted)),
        ("/bin/btrfs", "quota", "enable", str(mounted)),
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs btrfs and the right to mount: {done.stderr.strip()}")
    mounted.chmod(0o755)
    quota._kinds.clear()
    yield mounted
    subprocess.run(("/bin/umount", "-l", str(mounted)), timeout=60, check=True)


@pytest.fixture
def world(place: Path, btrfs: Path) -> Iterator[World]:
    made = World(place, Isolation.unix_user)
    made.begin()
    yield made
    made.agent.stop(end_services=True)


def _site(world: World, mebibytes: int) -> Desired:
    limit = Quota(project=FIRST + 1, bytes=mebibytes * MEBIBYTE, inodes=1000)
    resources: list[Resource] = [
        resource.model_copy(update={"quota": limit})
        if isinstance(resource, Directory) and resource.path == world.layout.home(UnixName("s1"))
        else resource
        for resource in world.site_resources(1, service=False)
    ]
    return world.desired(f"site:{1:032x}", *resources)


def _write(home: Path, mebibytes: int, folder: str = "public") -> str:
    """Write a file as the site's user; what went wrong."""
    command = ("/bin/dd", "if=/dev/zero", f"of={home}/{folder}/large", "bs=1M", f"count={mebibytes}", "conv=fsync")
    done = subprocess.run(
        command, user=FIRST + 1, group=FIRST + 1, extra_groups=(), env={"LANG": "C"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def test_s69_a_site_cannot_hold_more_than_its_quota(world: World, btrfs: Path) -> None:
    home = Path(world.layout.home(UnixName("s1")))
    assert world.apply(_site(world, 20)).condition is None
    assert "Disk quota exceeded" in _write(home, 40)
    assert (btrfs / "elsewhere").write_bytes(bytes(30 * MEBIBYTE)) == 30 * MEBIBYTE
    (home / "public" / "large").unlink()
    assert _write(home, 10) == ""


def test_a_changed_quota_takes_effect_and_is_a_change_of_the_plan(world: World, btrfs: Path) -> None:
    home = Path(world.layout.home(UnixName("s1")))
    assert world.apply(_site(world, 20)).condition is None
    assert "Disk quota exceeded" in _write(home, 30)
    changed = world.apply(_site(world, 60))
    assert changed.condition is None
    assert [change.key for change in changed.changes] == [f"path:{home}"]
    assert _write(home, 30) == ""
    assert world.apply(_site(world, 60)).changes == ()


def test_s69_what_a_site_hides_in_a_subvolume_of_its_own_is_measured(world: World) -> None:
    home = Path(world.layout.home(UnixName("s1")))
    assert world.apply(_site(world, 20)).condition is None
    subprocess.run(
        ("/bin/btrfs", "subvolume", "create", str(home / "public" / "hidden")),
        user=FIRST + 1, group=FIRST + 1, extra_groups=(), env={}, capture_output=True, check=True,
    )  # fmt: skip
    assert _write(home / "public" / "hidden", 30, folder=".") == "", "no quota holds it"
    found = measure(str(home))
    assert found is not None
    assert found.bytes > 30 * MEBIBYTE


def test_a_folder_from_before_the_quotas_is_not_kept_and_says_so(btrfs: Path) -> None:
    (btrfs / "before").mkdir()
    parent = os.open(btrfs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        quota.make_limited(parent, "since")
    finally:
        os.close(parent)
    found = {name: measure(str(btrfs / name)) for name in ("before", "since")}
    assert {name: usage is not None and usage.is_enforced for name, usage in found.items()} == {
        "before": False,
        "since": True,
    }


def test_a_site_on_a_subvolume_is_removed_with_all_that_its_owner_put_there(world: World, btrfs: Path) -> None:
    home = Path(world.layout.home(UnixName("s1")))
    assert world.apply(_site(world, 20)).condition is None
    (home / "public" / "a" / "b" / "c").mkdir(parents=True)
    (home / "public" / "a" / "b" / "c" / "file").write_text("x")
    subprocess.run(("/bin/btrfs", "subvolume", "create", str(home / "public/a/own")), capture_output=True, check=True)
    (home / "public" / "a" / "own" / "deep" / "er").mkdir(parents=True)
    assert world.apply(world.no_site(1)).condition is None
    assert not home.parent.exists()
    assert [*Path(world.layout.sites).iterdir()] == []
    assert not (btrfs / "trash").exists()


def test_a_file_system_without_quotas_is_told_apart(place: Path) -> None:
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert quota_kind(folder) is QuotaKind.none
    finally:
        os.close(folder)
