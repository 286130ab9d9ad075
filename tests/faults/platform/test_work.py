"""What befalls the work itself: lost and poisoned messages, a second worker, changes of mind, somebody's own hands."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants, fingerprint
from tests.faults.platform.test_killed import end_leases


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform of its own."""
    yield from running()


@pytest.fixture(scope="module")
def steady(platform: RunningPlatform) -> dict[str, Any]:
    """A site that none of this concerns."""
    site = platform.online("steady.test")
    add_page(platform, site)
    return site


@pytest.fixture
def check(platform: RunningPlatform, steady: dict[str, Any]) -> Any:
    """The invariants, for these sites beside the steady one."""
    before = fingerprint(platform, [steady])

    def checked(ready: list[dict[str, Any]], gone: list[dict[str, Any]] | None = None) -> None:
        for site in ready:
            add_page(platform, platform.settled(site["id"], "ready"))
        check_invariants(platform, [steady, *ready], gone or [], before)

    return checked


def queues(platform: RunningPlatform) -> list[Path]:
    """The files of the worker's queue and of the node's."""
    return sorted((platform.folder / "state" / "queue").glob("*.db"))


def change_queue(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as queue, queue:
        queue.execute(statement, values)


def test_r02_r15_queues_that_are_emptied_again_and_again_lose_nothing(platform: RunningPlatform, check: Any) -> None:
    sites = []
    for number in range(12):
        sites.append(platform.declare(f"emptied{number}.test"))
        for queue in queues(platform):
            change_queue(queue, "DELETE FROM task")
    platform.kill("worker")  # it may wait for the answer to an order that was lost, for as long as an order lives
    end_leases(platform)
    platform.start("worker")
    check(sites)


def test_s06_r16_poisoned_queues_run_nothing_and_hold_nothing_up(
    platform: RunningPlatform, check: Any, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    poison = (pickle.dumps(_Bomb(str(mark))), b"", b'{"value": 1}', b"\xff" * 100_000, b"1.key.mac.{}")
    for queue in queues(platform):
        for message in poison:
            change_queue(queue, "INSERT INTO task (queue, data, priority) VALUES (?, ?, 0)", queue.stem, message)
    check([platform.online("poisoned.test")])
    assert not mark.exists()
    for name in ("worker", "node"):
        until(
            "the log",
            lambda name=name: (
                (platform.folder / f"{name}.log").read_text().count("message refused") >= len(poison) or None
            ),  # type: ignore[misc]
        )


class _Bomb:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self._path),)


def test_r17_two_workers_make_change_and_delete_as_one_would(platform: RunningPlatform, check: Any) -> None:
    log = (platform.folder / "second.log").open("ab")
    second = subprocess.Popen(
        [sys.executable, "-m", "hosthold.cli", "worker"], env=platform.environment, stdout=log, stderr=log
    )
    try:
        log_file = platform.folder / "second.log"
        until("the second worker", lambda: "worker started" in log_file.read_text() or None)
        sites = [platform.declare(f"two{number}.test") for number in range(8)]
        for number, site in enumerate(sites[2:]):
            platform.api("PATCH", f"/sites/{site['id']}", {"aliases": [f"alias{number}.test"]})
        for site in sites[:2]:
            platform.api("DELETE", f"/sites/{site['id']}")
        numbers = count()

        def both_work() -> bool | None:
            platform.api("PATCH", f"/sites/{sites[-1]['id']}", {"aliases": [f"more{next(numbers)}.test"]})
            return "settled" in log_file.read_text() or None

        until("the second worker to work", both_work)
        check(sites[2:], sites[:2])
    finally:
        second.terminate()
        second.wait(30)
        log.close()


def test_r18_r38_what_is_deleted_while_it_is_made_or_changed_never_comes_back(
    platform: RunningPlatform, check: Any
) -> None:
    random, gone = Random(5), []
    for number in range(10):
        site = platform.declare(f"regret{number}.test")
        seen = random.choice(["pending", "applying", "ready"])
        until(seen, lambda site=site, seen=seen: _is_past(platform, site, seen))  # type: ignore[misc]
        if number % 2:
            platform.api("PATCH", f"/sites/{site['id']}", {"aliases": [f"never{number}.test"]})
        platform.api("DELETE", f"/sites/{site['id']}")
        gone.append(site)
    again = (
        platform.declare("regret0.test") if platform.api("GET", f"/sites/{gone[0]['id']}").status_code == 404 else None
    )
    for site in gone:
        platform.gone(site["id"])
    again = again or platform.declare("regret0.test")
    platform.settled(again["id"], "ready")
    for site in gone[1:]:
        assert platform.traces_of(site) == []
    check([again], gone[1:])


def _is_past(platform: RunningPlatform, site: dict[str, Any], phase: str) -> bool | None:
    order = ("pending", "applying", "ready")
    return order.index(platform.get(f"/sites/{site['id']}")["phase"]) >= order.index(phase) or None


def test_r37_what_was_changed_by_hand_is_told_kept_and_mended_on_request(platform: RunningPlatform, check: Any) -> None:
    site = platform.online("hands.test", aliases=["more.hands.test"])
    folder = platform.state / "sites" / site["name"]
    configuration = folder / "php-fpm.conf"
    configuration.write_text(configuration.read_text() + "; by hand\n")
    configuration.chmod(0o644)
    refused = platform.api("PATCH", f"/sites/{site['id']}", {"aliases": []})
    assert refused.status_code == 202
    told = until("the drift", lambda: next(iter(platform.get(f"/sites/{site['id']}")["conditions"]), None))
    assert told["reason"] == "Drifted"
    assert str(configuration) in told["message"]
    assert platform.visit("more.hands.test")[0] == 200, "nothing of the change was done"
    assert configuration.read_text().endswith("by hand\n")
    repair = platform.api("POST", f"/sites/{site['id']}/repair").headers["location"].removeprefix("/api/v1")
    until("the repair", lambda: platform.get(repair)["state"] == "done" or None)
    platform.settled(site["id"], "ready")
    assert platform.visit("more.hands.test")[0] == 0
    check([site])


def test_r37_what_was_taken_away_by_hand_is_made_again(platform: RunningPlatform, check: Any) -> None:
    site = platform.online("taken.test")
    (platform.state / "hosts" / "taken.test").unlink()
    (platform.state / "sites" / site["name"] / "php-fpm.conf").unlink()
    shutil.rmtree(platform.state / "sites" / site["name"] / "serve")
    accounts = platform.accounts_directory / "passwd"
    accounts.write_text(
        "".join(line for line in accounts.read_text().splitlines(keepends=True) if not line.startswith(site["name"]))
    )
    uid = (platform.state / "sites" / site["name"] / "home").stat().st_uid
    subprocess.run(("/usr/bin/pkill", "-9", "-U", str(uid)), check=False)
    platform.api("POST", f"/sites/{site['id']}/retry")
    until("the site", lambda: platform.planned_changes(site["id"]) == [] or None)
    check([site])


def test_r39_what_somebody_put_in_the_way_is_left_alone_and_named(platform: RunningPlatform, check: Any) -> None:
    place = platform.state / "hosts" / "before.test"
    place.mkdir()
    (place / "mine").write_text("mine")
    site = platform.settled(platform.declare("before.test")["id"], "failed")
    assert site["conditions"][0]["reason"] == "PathTaken"
    assert str(place) in site["conditions"][0]["message"]
    assert (place / "mine").read_text() == "mine"
    assert [path.name for path in place.iterdir()] == ["mine"]
    shutil.rmtree(place)
    platform.api("POST", f"/sites/{site['id']}/retry")
    check([site])
