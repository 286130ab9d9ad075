"""What sites hold on disk, measured where the file system does not count it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hosthold.node.usage import UsageMeter, measure
from hosthold.types.node import NodeLayout
from hosthold.types.resource import OrderAction
from hosthold.types.text import AbsolutePath

from .conftest import World

MEBIBYTE = 2**20


def _home(place: Path, name: str = "s1") -> Path:
    home = place / "state" / "sites" / name / "home"
    home.mkdir(parents=True)
    return home


def test_files_folders_and_links_are_counted_and_a_file_with_two_names_once(place: Path) -> None:
    home = _home(place)
    (home / "inner").mkdir()
    (home / "inner" / "large").write_bytes(os.urandom(3 * MEBIBYTE))
    os.link(home / "inner" / "large", home / "again")
    (home / "link").symlink_to("/usr")
    found = measure(str(home))
    assert found is not None
    assert found.inodes == 4
    assert 3 * MEBIBYTE <= found.bytes < 3 * MEBIBYTE + 65_536
    assert not found.is_enforced


def test_a_hole_in_a_file_takes_no_space(place: Path) -> None:
    home = _home(place)
    with (home / "sparse").open("wb") as file:
        file.truncate(1024 * MEBIBYTE)
    found = measure(str(home))
    assert found is not None
    assert found.bytes < MEBIBYTE


def test_folders_of_any_depth_end_the_measuring_neither_in_an_error_nor_in_a_leak(place: Path) -> None:
    home = _home(place)
    before = len([*Path("/proc/self/fd").iterdir()])
    folder = os.open(home, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    found = measure(str(home))
    assert found is not None
    assert 512 <= found.inodes <= 701
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_home_that_is_not_there_has_no_usage(place: Path) -> None:
    assert measure(str(place / "nothing")) is None


def test_what_was_deleted_is_forgotten(place: Path) -> None:
    meter = UsageMeter(NodeLayout(state=AbsolutePath(f"{place}/state"), run=AbsolutePath(f"{place}/run")))
    home = _home(place)
    meter.measure_all()
    assert meter.latest("s1") is not None
    home.rmdir()
    home.parent.rmdir()
    meter.measure_all()
    assert meter.latest("s1") is None


def test_an_order_to_measure_is_answered_with_what_is_known(world: World) -> None:
    world.apply(world.site(1))
    world.agent._meter.measure_all()
    reply = world.handle(world.desired(f"site:{1:032x}"), world.desired(f"site:{2:032x}"), action=OrderAction.measure)
    usage = reply.outcomes[0].usage
    assert usage is not None
    assert usage.inodes == 3
    assert reply.outcomes[1].usage is None


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: acts as another user")
def test_s10_a_link_that_leaves_the_home_is_not_followed(place: Path) -> None:
    home = _home(place)
    secret = place / "secret"
    secret.mkdir()
    (secret / "large").write_bytes(os.urandom(MEBIBYTE))
    (home / "out").symlink_to(secret)
    os.chown(home, 77_777, 77_777)
    found = measure(str(home))
    assert found is not None
    assert found.inodes == 2
