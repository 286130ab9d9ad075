"""The disk of a node that is full, has no inodes left, or fails; and a database that cannot be written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, open_folder, until
from tests.faults.invariants import add_page, check_invariants, fingerprint
from tests.faults.platform.tracing import STRACE, failing

pytestmark = [pytest.mark.root, pytest.mark.skipif(not Path(STRACE).exists(), reason="needs strace")]
FLUSHES = "fsync,fdatasync,syncfs"


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose node has a small disk of its own."""
    with open_folder() as folder:
        disk = folder / "state" / "node"
        disk.mkdir(parents=True)
        subprocess.run(
            ("/usr/bin/mount", "-t", "tmpfs", "-o", "size=24m,nr_inodes=1200,mode=755", "none", disk), check=True
        )
        started = RunningPlatform(folder)
        try:
            started.set_up()
            yield started
        finally:
            started.stop()
            subprocess.run(("/usr/bin/umount", "--lazy", disk), check=True)


@pytest.fixture(scope="module")
def steady(platform: RunningPlatform) -> dict[str, Any]:
    """A site that must not notice anything."""
    site = platform.online("steady.test")
    add_page(platform, site)
    return site


@contextmanager
def full(platform: RunningPlatform) -> Iterator[None]:
    """No space is left while the block runs."""
    ballast = platform.state / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while not _is_full(lambda size: file.write(bytes(size))):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def without_inodes(platform: RunningPlatform) -> Iterator[None]:
    """No inode is left while the block runs."""
    made: list[Path] = []

    def make(_size: int) -> None:
        path = platform.state / f"ballast{len(made)}"
        path.touch(exist_ok=False)
        made.append(path)

    while not _is_full(make):
        pass
    try:
        yield
    finally:
        for path in made:
            path.unlink()


def _is_full(act: Any) -> bool:
    for size in (65_536, 1):
        try:
            act(size)
        except OSError:
            continue
        return False
    return True


@pytest.mark.parametrize("fault", [full, without_inodes])
def test_r04_r05_on_a_full_disk_a_new_site_fails_clearly_all_others_serve_and_space_mends_it(
    platform: RunningPlatform, steady: dict[str, Any], fault: Any
) -> None:
    before = fingerprint(platform, [steady])
    with fault(platform):
        site = platform.settled(platform.declare(f"{fault.__name__.replace('_', '-')}.test")["id"], "failed")
        assert site["conditions"][0]["reason"] == "DiskFull"
        assert "df -i" in site["conditions"][0]["hint"]
        assert platform.visit("steady.test", "/who.php")[0] == 200
        assert platform.is_up()
        assert platform.traces_of(site) == []
    platform.settled(site["id"], "ready")
    add_page(platform, site)
    check_invariants(platform, [steady, site], before=before)


def test_r06_a_disk_that_fails_all_flushes_is_told_and_nothing_is_left_of_the_site(
    platform: RunningPlatform, steady: dict[str, Any]
) -> None:
    before = fingerprint(platform, [steady])
    with failing(platform.processes["node"].pid, FLUSHES, "1+", "EIO"):
        site = platform.settled(platform.declare("flushes.test")["id"], "failed")
        assert site["conditions"][0]["reason"] == "NodeFailed", site["conditions"]
        assert "Input/output error" in site["conditions"][0]["message"]
        assert platform.visit("steady.test", "/who.php")[0] == 200
    platform.settled(site["id"], "ready")
    add_page(platform, site)
    check_invariants(platform, [steady, site], before=before)


@pytest.mark.parametrize("number", [1, 4, 9])
def test_r06_a_flush_that_fails_once_delays_the_site(
    platform: RunningPlatform, steady: dict[str, Any], number: int
) -> None:
    before = fingerprint(platform, [steady])
    with failing(platform.processes["node"].pid, FLUSHES, str(number), "EIO"):
        site = platform.settled(platform.declare(f"flush{number}.test")["id"], "ready")
    add_page(platform, site)
    check_invariants(platform, [steady, site], before=before)
    platform.api("DELETE", f"/sites/{site['id']}")
    platform.gone(site["id"])


@pytest.mark.parametrize(("calls", "error"), [("pwrite64", "EIO"), ("pwrite64", "ENOSPC")])
def test_r04_what_the_database_cannot_store_is_refused_as_a_whole(
    platform: RunningPlatform, steady: dict[str, Any], calls: str, error: str
) -> None:
    draft = {"domain": f"unstored-{error.lower()}.test", "account_id": platform.customer}
    with failing(platform.processes["web"].pid, calls, "1+", error):
        answer = platform.api("POST", "/sites", draft)
        assert answer.status_code == 503, answer.text
        assert "nothing was changed" in answer.json()["detail"]
        assert platform.get(f"/sites/{steady['id']}")["phase"] == "ready"
    answer = until("the database", lambda: _accepted(platform.api("POST", "/sites", draft)))
    site = platform.settled(answer["id"], "ready")
    add_page(platform, site)
    check_invariants(platform, [steady, site])


def _accepted(answer: Any) -> Any:
    assert answer.status_code in (202, 503), answer.text
    return answer.json() if answer.status_code == 202 else None
