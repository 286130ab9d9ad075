"""A site takes all it can get of a machine for some seconds; its neighbour and the panel are asked meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hosthold.node.limits import Enforcer

from tests.conftest import until
from tests.security.conftest import CANARY, Company, Tenant

LASTS = 3
TASKS, MEMORY_MB = 24, 96


@pytest.fixture(scope="module")
def greedy(company: Company) -> Tenant:
    """A site of a small package."""
    limits = {"tasks": TASKS, "total_memory_mb": MEMORY_MB, "cpu_percent": 30}
    package = company.platform.api("POST", "/packages", {"name": "Small", "limits": limits}).json()["id"]
    account = company.platform.api("POST", "/accounts", {"name": "Greedy", "package_id": package}).json()["id"]
    return company.tenant("greedy.test", account_id=account)


def _attack(company: Company, greedy: Tenant, what: str, look: Callable[[], None] = lambda: None) -> tuple[str, int]:
    """What the attack said, if it lived to say something, and how many processes the site had at most.

    While it runs, and at least once, the neighbour and the panel answer; then somebody may look.
    """
    said: list[str] = []
    given = json.dumps({"what": what, "lasts": LASTS}).encode()
    attack = threading.Thread(
        target=lambda: said.append(greedy.ask("/attack/as_program.php?attack=exhaust", given, seconds=120)[1])
    )
    attack.start()
    most = 0
    try:
        while attack.is_alive() or not most:
            assert company.b.ask("/warm.php") == (200, CANARY)
            assert company.b.ask("/open.txt") == (200, CANARY)
            assert company.platform.is_up()
            most = max(most, len(greedy.processes()))
            look()
    finally:
        attack.join()
    until("the site itself to answer again", lambda: greedy.ask("/")[0] == 200 or None)
    return said[0], most


def _group(company: Company, greedy: Tenant, controller: str) -> Path:
    """The site's control group; it goes when the site falls asleep."""
    groups = Enforcer(str(company.platform.state))._groups
    if controller not in groups:
        pytest.skip(f"needs control groups with {controller}")
    return groups[controller] / f"php-{greedy.name}"


def _numbers(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, file.read_text().splitlines())}


def test_s68_processes_of_a_site_are_limited_and_its_neighbour_answers(company: Company, greedy: Tenant) -> None:
    said, most = _attack(company, greedy, "processes")
    assert json.loads(said)["refused"] > 0
    assert most <= TASKS


def test_s68_processor_time_of_a_site_is_limited_and_its_neighbour_answers(company: Company, greedy: Tenant) -> None:
    group = _group(company, greedy, "cpu")
    said, _ = _attack(company, greedy, "processor")
    assert json.loads(said)["made"] == 7
    assert _numbers(group / "cpu.stat")["nr_throttled"] > 0


def test_s68_memory_of_a_site_is_limited_and_its_neighbour_answers(company: Company, greedy: Tenant) -> None:
    group = _group(company, greedy, "memory")
    refused: list[int] = []
    used: list[int] = []

    def look() -> None:
        with suppress(OSError):  # the master may be what is killed, and its group goes with it
            if (group / "memory.events").exists():
                refused.append(_numbers(group / "memory.events")["max"])
                used.append(int((group / "memory.current").read_text()))
            else:
                refused.append(int((group / "memory.failcnt").read_text()))
                used.append(int((group / "memory.usage_in_bytes").read_text()))

    _attack(company, greedy, "memory", look)
    assert max(refused) > 0
    assert max(used) <= MEMORY_MB * 2**20
