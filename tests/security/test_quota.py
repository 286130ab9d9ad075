"""A site fills its disk on a file system that keeps quotas: it alone is stopped, and the panel says so."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, open_folder, until
from tests.security.conftest import Company, Tenant

MEBIBYTE = 2**20
FILL = """<?php
$written = 0;
$file = fopen(__DIR__ . '/large', 'w');
while (($more = fwrite($file, random_bytes(1048576))) && fflush($file)) {
    $written += $more;
    if ($written >= $_GET['most'] * 1048576) {
        break;
    }
}
shell_exec('sync -d ' . __DIR__ . '/large');
echo json_encode(['written' => filesize(__DIR__ . '/large'), 'why' => error_get_last()['message'] ?? '']);
"""
FILES, DISK_MB, MOST_FILES = 1000, 160, 3000
MANY = """<?php
set_time_limit(0);
for ($made = 0; $made < $_GET['most']; ++$made) {
    if ($made % 1000 === 0 && !mkdir($folder = __DIR__ . "/many$made")) {
        break;
    }
    if (!touch("$folder/$made")) {
        break;
    }
}
echo json_encode($made);
"""


KINDS = {
    "btrfs": (("/sbin/mkfs.btrfs", "-q"), "loop", ("/bin/btrfs", "quota", "enable")),
    "ext4": (("/sbin/mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"), "loop,prjquota", None),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The file system on which everything lies."""
    return str(request.param)


@pytest.fixture(scope="module")
def mounted(kind: str) -> Iterator[Path]:
    """A file system of 1 GiB that keeps quotas."""
    make, options, enable = KINDS[kind]

    def run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs {kind} with quotas, a loop device and the right to mount: {done.stderr.strip()}")

    with open_folder() as folder:
        image, place = folder / "image", folder / "mounted"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(1024 * MEBIBYTE)
        run(*make, str(image))
        run("/bin/mount", "-o", options, str(image), str(place))
        try:
            if enable is not None:
                run(*enable, str(place))
            place.chmod(0o755)
            yield place
        finally:
            subprocess.run(("/bin/umount", "-l", str(place)), timeout=60, check=True)


@pytest.fixture(scope="module")
def company(mounted: Path) -> Iterator[Company]:
    """Two customers on that file system."""
    platform = RunningPlatform(mounted)
    try:
        platform.set_up()
        yield Company(platform)
    finally:
        platform.stop()


@pytest.fixture(scope="module")
def small(company: Company) -> Tenant:
    """A site whose package allows 160 MiB and 1,000 files."""
    limits = {"disk_mb": DISK_MB, "inodes": FILES, "execution_seconds": 120}
    package = company.platform.api("POST", "/packages", {"name": "Small", "limits": limits}).json()["id"]
    account = company.platform.api("POST", "/accounts", {"name": "Small", "package_id": package}).json()["id"]
    tenant = company.tenant("small.test", account_id=account)
    tenant.put("fill.php", FILL)
    tenant.put("many.php", MANY)
    return tenant


def _measured(platform: RunningPlatform, tenant: Tenant) -> dict[str, Any]:
    """What the platform says of the site's disk after a new look: the node's at its start, the worker's when due."""
    platform.kill("node")
    platform.start("node")

    def look() -> dict[str, Any] | None:
        with closing(sqlite3.connect(platform.folder / "state" / "hosthold.db", timeout=30)) as database, database:
            database.execute("UPDATE schedule SET due_at = 0 WHERE name = 'core:measure_sites'")
        found = dict(platform.get(f"/sites/{tenant.site['id']}/usage"))
        return found if (found["inodes"] or 0) > 500 else None

    return until("the measurement", look, 120)


def test_s69_only_the_site_that_is_full_is_stopped_and_its_state_is_told(
    company: Company, small: Tenant, kind: str
) -> None:
    platform, b = company.platform, company.b
    made = json.loads(small.ask(f"/many.php?most={MOST_FILES}", seconds=120)[1])
    knows_inodes = kind == "ext4"
    assert made < FILES if knows_inodes else made == MOST_FILES, "btrfs counts no files"
    filled = json.loads(small.ask("/fill.php?most=400", seconds=120)[1])
    assert "Disk quota exceeded" in filled["why"]
    assert 20 * MEBIBYTE < filled["written"] < DISK_MB * MEBIBYTE
    b.put("fill.php", FILL)
    neighbour = json.loads(b.ask("/fill.php?most=200", seconds=120)[1])
    assert neighbour == {"written": 200 * MEBIBYTE, "why": ""}, "the neighbour writes more than that"
    assert platform.is_up()
    platform.online("another.test")

    found = _measured(platform, small)
    assert found["is_enforced"]
    assert found["is_above"] is (found["inodes"] > FILES) is not knows_inodes
    assert (found["bytes_limit"], found["inodes_limit"]) == (DISK_MB * MEBIBYTE, FILES)

    company.delete(small)
    assert platform.traces_of(small.site) == []
