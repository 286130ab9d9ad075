"""Many sites declared at once, some of them broken: the others come online, and each broken one says why it is not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from tests.conftest import RunningPlatform, open_folder, running, until
from tests.faults.invariants import add_page, check_invariants, fingerprint

BROKEN = "7.1"
"""A version whose master ends at once, with a reason."""
MUTE = "7.2"
"""A version whose master runs and answers nobody."""
REFUSED = "refused.test"
"""A site whose block nginx refuses."""
DRIVER = f'''
from hosthold_sdk import File
from hosthold_webserver_nginx.driver import NginxWebServer

class Careless(NginxWebServer):
    """Renders something for one site that nginx does not understand."""

    def render_block(self, site, node):
        if site.domains[0] != "{REFUSED}":
            return super().render_block(site, node)
        path = node.layout.blocks.child(f"{{site.name}}.conf")
        return File(path=path, content="server {{ no_such_directive; }}", owner=node.root, mode=0o644, notifies="nginx")
'''


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose web-server driver makes a mistake, and whose node has programs that do not work."""
    with open_folder() as folder:
        (folder / "careless.py").write_text(DRIVER)
        metadata = folder / "careless-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: careless\nVersion: 1.0\nRequires-Dist: hosthold-sdk>=0.1,<1\n"
        )
        (metadata / "entry_points.txt").write_text("[hosthold.drivers.webserver]\ncareless = careless:Careless\n")
        real = sorted(Path("/usr/sbin").glob("php-fpm8.*"))[-1]
        (folder / real.name).symlink_to(real)
        for version, script in {BROKEN: "echo 'ERROR: broken on purpose' >&2; exit 78", MUTE: "exec sleep 600"}.items():
            program = folder / f"php-fpm{version}"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        settings = f'webserver = "careless"\n[drivers.runtime.php]\ndirectory = "{folder}"\nidle_seconds = 5\n'
        path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
        yield from running(settings, PYTHONPATH=path)


class Neighbours:
    """Asks sites in turn, a hundred times a second, while the block runs."""

    def __init__(self, platform: RunningPlatform, *hosts: str) -> None:
        self.failures: list[tuple[str, int]] = []
        self.asked = 0
        self._platform = platform
        self._hosts = hosts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            host = self._hosts[self.asked % len(self._hosts)]
            status, _ = self._platform.visit(host, "/who.php")
            self.asked += 1
            if status != 200:
                self.failures.append((host, status))

    def __enter__(self) -> Neighbours:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _sites(platform: RunningPlatform) -> list[tuple[str, str]]:
    engine = create_engine(platform.database_url)
    with engine.connect() as database:
        rows = [
            (str(phase), str(conditions))
            for phase, conditions in database.exec_driver_sql("SELECT phase, conditions FROM site")
        ]
    engine.dispose()
    return rows


def test_r08_r11_of_200_sites_at_once_three_fail_each_with_its_reason_and_197_come_online(
    platform: RunningPlatform,
) -> None:
    steady = [platform.online(f"steady{number}.test") for number in range(2)]
    for site in steady:
        add_page(platform, site)
    before = fingerprint(platform, steady)
    drafts: list[dict[str, Any]] = [{"domain": f"n{number}.test"} for number in range(200)]
    drafts[20] = {"domain": REFUSED}
    drafts[90] = {"domain": "broken.test", "runtime": {"version": BROKEN}}
    drafts[150] = {"domain": "mute.test", "runtime": {"version": MUTE}}
    with Neighbours(platform, *(site["domain"] for site in steady)) as neighbours:
        answer = platform.api(
            "POST", "/sites:batch", {"sites": [{**draft, "account_id": platform.customer} for draft in drafts]}
        )
        assert answer.status_code == 202, answer.text
        sites = answer.json()["items"]
        until("all", lambda: all(p in ("ready", "failed") for p, _ in _sites(platform)) or None, 60)
        until("the failures", lambda: [p for p, _ in _sites(platform)].count("failed") == 3 or None, 60)
        good = [site for site, draft in zip(sites, drafts, strict=True) if draft["domain"].startswith("n")]
        for site in good:
            status, _ = platform.visit(site["domain"], "/.well-known/hosthold-route")
            assert status == 204, site["domain"]
    assert neighbours.failures == []
    assert neighbours.asked > 100
    failed = {
        site["domain"]: platform.settled(site["id"], "failed")["conditions"][0] for site in sites if site not in good
    }
    assert {domain: condition["reason"] for domain, condition in failed.items()} == {
        REFUSED: "CheckFailed",
        "broken.test": "ServiceFailed",
        "mute.test": "ProbeFailed",
    }
    assert "no_such_directive" in failed[REFUSED]["message"]
    assert "broken on purpose" in failed["broken.test"]["message"]
    assert all(condition["hint"] for condition in failed.values())
    assert [phase for phase, _ in _sites(platform)].count("ready") == len(steady) + 197
    sample = [*good[:2], *good[-2:]]
    for site in sample:
        add_page(platform, site)
    check_invariants(platform, [*steady, *sample], before=before)
