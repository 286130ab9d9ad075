"""What a tenant plants in the home, and then everything that the platform does with homes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosthold.node.usage import measure

from tests.security.conftest import CANARY, Company, Tenant

MACHINE = (Path("/etc/passwd"), Path("/etc/shadow"))
Picture = dict[str, tuple[int, ...]]


def picture(*tops: Path) -> Picture:
    """Everything that somebody could have changed below these folders: inodes, owners, modes, times, content."""
    found: Picture = {}
    for top in tops:
        for path in (top, *top.rglob("*")):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).digest() if stat.S_ISREG(status.st_mode) else b""
            found[str(path)] = (
                status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns,
                status.st_ctime_ns, int.from_bytes(content[:8], "big"),
            )  # fmt: skip
    return found


@pytest.fixture
def victim(company: Company) -> Iterator[Path]:
    """A folder of root's that everybody may look into, as there are many on a machine."""
    folder = company.platform.folder / "victim"
    (folder / "public").mkdir(parents=True)
    (folder / "public" / "canary.txt").write_text(CANARY)
    (folder / "index.php").write_text(f"<?php echo '{CANARY}';")
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def _change(company: Company, tenant: Tenant, **changes: Any) -> dict[str, Any]:
    path = f"/sites/{tenant.site['id']}"
    version = company.platform.api("GET", path).headers["ETag"]
    answer = company.platform.api("PATCH", path, changes, **{"If-Match": version})
    assert answer.status_code == 202, answer.text
    return company.platform.settled(tenant.site["id"])


def _act(company: Company, tenant: Tenant, action: str, *phases: str) -> dict[str, Any]:
    answer = company.platform.api("POST", f"/sites/{tenant.site['id']}/{action}")
    assert answer.status_code == 202, answer.text
    return company.platform.settled(tenant.site["id"], *phases)


def _everything_that_is_done_with_a_home(company: Company, tenant: Tenant) -> Iterator[tuple[str, Any]]:
    """Each act of the platform on a site, by its name, and what came of it."""
    platform, site = company.platform, tenant.site["id"]
    yield "plan", platform.planned_changes(site)
    for root in ("inner/deep/er", "through", "public/link", "public/inner"):
        yield f"document root {root}", _change(company, tenant, document_root=root)["phase"]
    yield "public again", _change(company, tenant, document_root="public")["phase"]
    yield "settings", _change(company, tenant, runtime={"settings": {"memory_limit": "64M"}})["phase"]
    yield "repair", _act(company, tenant, "repair")["phase"]
    yield "measure", measure(str(tenant.home))
    yield "suspend", _act(company, tenant, "suspend")["phase"]
    yield "resume", _act(company, tenant, "resume")["phase"]
    for log in ("access", "error", "php"):
        yield f"log {log}", platform.api("GET", f"/sites/{site}/logs/{log}").status_code


def test_s10_s12_s13_nothing_that_is_planted_leads_the_platform_out_of_the_home(company: Company, victim: Path) -> None:
    hostile = company.tenant("planted.test")
    b, home, public = company.b, hostile.home, hostile.public
    planted = hostile.attack(
        "plant",
        as_program=True,
        links={
            f"{public}/passwd": "/etc/passwd", f"{public}/shadow": "/etc/shadow", f"{public}/neighbour": str(b.public),
            f"{public}/root": "/proc/self/root", f"{public}/environ": "/proc/1/environ", f"{public}/here": ".",
            f"{public}/nowhere": "/nonexistent", f"{public}/loop": "loop", f"{public}/link": str(victim / "public"),
            f"{public}/canary.txt": str(victim / "public" / "canary.txt"), f"{home}/through": str(victim),
            f"{home}/inner": str(victim), f"{public}/up": f"../../../{b.name}",
        },
        hard_links={f"{public}/hard-canary.txt": str(victim / "public" / "canary.txt"),
                    f"{public}/hard-index.php": str(victim / "index.php"),
                    f"{public}/hard-own": str(public / "index.php")},
        fifos=[f"{home}/fifo", f"{public}/fifo", f"{public}/index.html", f"{public}/fifo.php", f"{home}/tmp/fifo"],
        sockets=[f"{public}/socket"],
        devices=[f"{public}/device", f"{home}/device"],
    )  # fmt: skip
    assert not planted[f"{public}/device"], "only root makes devices"
    assert all(made for path, made in planted.items() if "device" not in path and "hard-" not in path), planted
    assert planted[f"{public}/hard-own"]
    before = picture(victim, b.public), picture(*MACHINE)

    for path in ("passwd", "shadow", "neighbour/open.txt", "neighbour/secret.txt", "root/etc/passwd", "environ", "fifo",
                 "nowhere", "loop", "link/canary.txt", "canary.txt", "up/home/public/open.txt", "socket"):  # fmt: skip
        status, page = hostile.ask(f"/{path}")
        assert status in (403, 404), (path, status)
        assert CANARY not in page
    for what, came_of_it in _everything_that_is_done_with_a_home(company, hostile):
        assert came_of_it is not None, what
        after = picture(victim, b.public), picture(*MACHINE)
        assert after == before, what
        assert CANARY not in json.dumps(came_of_it, default=str), what
    assert b.ask("/open.txt") == (200, CANARY)

    company.delete(hostile)
    assert picture(victim, b.public) == before[0]
    assert company.platform.traces_of(hostile.site) == []


def test_s11_nothing_outside_changes_while_folders_are_exchanged_with_links(company: Company, victim: Path) -> None:
    hostile = company.tenant("racing.test")
    home, public, b = hostile.home, hostile.public, company.b
    (victim / "inner").mkdir()
    pairs = {
        f"{public}/inner": f"{home}/to-victim",
        f"{home}/inner": f"{home}/to-neighbour",
        f"{home}/tmp": f"{home}/to-root",
    }
    hostile.attack(
        "plant",
        as_program=True,
        links={f"{home}/to-victim": str(victim), f"{home}/to-neighbour": str(b.home), f"{home}/to-root": "/"},
    )
    for folder in (public / "inner", home / "inner"):
        folder.mkdir()
        os.chown(folder, hostile.uid, hostile.uid)
    before = picture(victim, b.public)
    over = hostile.public / "over"
    said: dict[str, Any] = {}
    race = threading.Thread(
        target=lambda: said.update(hostile.attack("swap", as_program=True, lasts=6, pairs=pairs, until=str(over)))
    )
    race.start()
    try:
        end, turn = time.monotonic() + 2, 0
        while time.monotonic() < end:
            turn += 1
            _change(company, hostile, document_root=("inner/a", "public/inner/b")[turn % 2] + str(turn))
            for _ in range(100):
                measure(str(home))
            company.platform.planned_changes(hostile.site["id"])
        _act(company, hostile, "repair")
    finally:
        over.touch()
        race.join()
    assert said["exchanged"] > 1000, said
    assert turn > 0
    assert picture(victim, b.public) == before
    company.delete(hostile)
    assert picture(victim, b.public) == before
    assert company.platform.traces_of(hostile.site) == []
