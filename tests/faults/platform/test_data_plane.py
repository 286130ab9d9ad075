"""Sites alone: without web, worker, database and queue, and for a while without their node."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants

NOWHERE = "unix:///nonexistent/redis.sock"


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose PHP falls asleep soon."""
    yield from running("[drivers.runtime.php]\nidle_seconds = 1\n")


@pytest.fixture(scope="module")
def sites(platform: RunningPlatform) -> list[dict[str, Any]]:
    """Two sites."""
    made = [platform.online(f"alone{number}.test") for number in range(2)]
    for site in made:
        add_page(platform, site)
    return made


def masters(platform: RunningPlatform, site: dict[str, Any]) -> list[int]:
    """The PHP masters of a site."""
    mark = f"php-fpm: master process ({platform.state}/sites/{site['name']}/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(mark):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def served(platform: RunningPlatform, site: dict[str, Any]) -> bool:
    return platform.visit(site["domain"], "/who.php")[0] == 200


def test_r31_the_node_alone_starts_wakes_and_serves_sites_though_database_and_queue_are_gone(
    platform: RunningPlatform, sites: list[dict[str, Any]]
) -> None:
    state, away = platform.folder / "state", platform.folder / "away"
    for name in ("web", "worker", "node"):
        platform.kill(name)
    away.mkdir()
    for path in (*state.glob("hosthold.db*"), state / "queue"):
        path.rename(away / path.name)
    settings = platform.config.read_text()
    platform.config.write_text(settings + f'[queue]\nkind = "redis"\nurl = "{NOWHERE}"\n')
    for site in sites:
        for pid in masters(platform, site):
            os.kill(pid, 9)
    platform.start("node")
    try:
        for site in sites:
            until("a site that has to wake", lambda site=site: served(platform, site) or None)  # type: ignore[misc]
        until("sleep", lambda: not any(masters(platform, site) for site in sites) or None, 60)
        assert all(served(platform, site) for site in sites)
    finally:
        platform.kill("node")
        platform.config.write_text(settings)
        for path in away.iterdir():
            path.rename(state / path.name)
    platform.start()
    until("the panel", lambda: platform.is_up() or None)
    check_invariants(platform, sites)


def test_r31_without_the_node_sites_that_are_awake_serve_and_visitors_of_others_wait_for_it(
    platform: RunningPlatform, sites: list[dict[str, Any]]
) -> None:
    awake, asleep = sites
    until("sleep", lambda: not masters(platform, asleep) or None, 60)
    assert served(platform, awake)
    for name in ("web", "worker", "node"):
        platform.kill(name)
    assert served(platform, awake)
    answers: list[bool] = []
    visitor = threading.Thread(target=lambda: answers.append(served(platform, asleep)))
    visitor.start()
    assert [served(platform, awake) for _ in range(20)] == [True] * 20
    assert not masters(platform, asleep), "who wakes a site without its node?"
    platform.start("node")
    visitor.join()
    assert answers == [True], "the visitor waited for the node, and was answered"
    platform.start("web", "worker")
    until("the panel", lambda: platform.is_up() or None)
    check_invariants(platform, sites)


def test_r10_a_node_none_of_whose_sites_runs_php_serves_and_starts(
    platform: RunningPlatform, sites: list[dict[str, Any]]
) -> None:
    for site in sites:
        platform.api("POST", f"/sites/{site['id']}/suspend")
    for site in sites:
        platform.settled(site["id"], "ready")
    assert not any(masters(platform, site) for site in sites)
    check_invariants(platform, [])
    platform.kill("node")
    platform.start("node")
    assert [platform.visit(site["domain"])[0] for site in sites] == [503, 503]
    for site in sites:
        platform.api("POST", f"/sites/{site['id']}/resume")
    check_invariants(platform, sites)


def test_r10_r11_r37_a_configuration_that_was_broken_by_hand_stops_one_site_and_is_mended_on_request(
    platform: RunningPlatform, sites: list[dict[str, Any]]
) -> None:
    broken, other = sites
    until("sleep", lambda: not any(masters(platform, site) for site in sites) or None, 60)
    (platform.state / "sites" / broken["name"] / "php-fpm.conf").write_text("[global]\n")
    assert served(platform, other)
    assert platform.visit(broken["domain"], "/who.php")[0] in (502, 504)
    assert platform.planned_changes(broken["id"])[0]["is_drift"]
    repair = platform.api("POST", f"/sites/{broken['id']}/repair").headers["location"].removeprefix("/api/v1")
    until("the repair", lambda: platform.get(repair)["state"] == "done" or None)
    until("the site", lambda: served(platform, broken) or None)
    check_invariants(platform, sites)
