"""Killed processes: whatever dies, and whenever, the platform ends up as declared and nothing is left over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform of its own: its processes are killed."""
    yield from running()


@pytest.mark.parametrize("seed", [1, 2])
def test_r01_r03_r18_worker_and_node_killed_again_and_again_end_in_the_declared_world(
    platform: RunningPlatform, seed: int
) -> None:
    random = Random(seed)
    steady = platform.online(f"steady{seed}.test")
    sites = [platform.declare(f"crash{seed}-{number}.test") for number in range(6)]
    for round_number in range(8):
        time.sleep(random.uniform(0, 0.15))
        victim = random.choice(["worker", "node"])
        platform.kill(victim)
        if round_number < 2:
            platform.api("DELETE", f"/sites/{sites[round_number]['id']}")
        if round_number == 3:
            platform.api("POST", f"/sites/{sites[4]['id']}/suspend")
        if round_number == 4:
            platform.api(
                "PATCH", f"/sites/{sites[5]['id']}", {"aliases": [f"alias{seed}.test"], "document_root": "web"}
            )
        assert platform.visit(steady["domain"])[0] == 200, "a served site must not notice that worker or node died"
        platform.start(victim)
    served = [steady, *(platform.settled(site["id"], "ready", seconds=90) for site in sites[2:] if site != sites[4])]
    for site in served:
        add_page(platform, site)
    check_invariants(platform, served, sites[:2])
    assert platform.settled(sites[4]["id"], "ready")["conditions"] == []
    assert platform.planned_changes(sites[4]["id"]) == []
    assert [platform.visit(site["domain"])[0] for site in sites] == [0, 0, 200, 200, 503, 200]
    assert platform.visit(f"alias{seed}.test")[0] == 200


def test_r02_r15_a_worker_that_slept_finds_what_was_declared_meanwhile(platform: RunningPlatform) -> None:
    platform.kill("worker")
    site = platform.declare("meanwhile.test")
    for ring in (platform.folder / "state" / "queue").glob("worker.db*"):
        ring.unlink()
    platform.start("worker")
    add_page(platform, platform.settled(site["id"], "ready"))
    check_invariants(platform, [site])


def test_r31_sites_are_served_without_web_worker_and_database(platform: RunningPlatform) -> None:
    site = platform.online("alone.test")
    platform.kill("web")
    platform.kill("worker")
    assert platform.visit("alone.test")[0] == 200
    platform.kill("node")
    assert platform.visit("alone.test")[0] == 200
    platform.start("node", "worker", "web")
    until("the panel", lambda: platform.is_up() or None)
    assert platform.settled(site["id"])["phase"] == "ready"
    assert platform.visit("alone.test")[0] == 200
