"""Web, worker, node and nginx killed at system calls that change something, while sites come, change and go.

The sample: one undisturbed round is counted, for each process and each kind of call by which it changes something
outside of itself. Of these calls ROUNDS are taken for each process, evenly spread over all kinds and over their numbers
in a round. In each round every process is killed, each at a call of its own; whoever died is started again as a
supervisor would, and what a client could not be told is asked again with the same key. (The node alone is killed at
every call in `tests/faults/node`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hosthold.node.process import children_of
from sqlalchemy import TableClause, column, create_engine

from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants, fingerprint
from tests.faults.platform.tracing import STRACE, counted, killed_at

ROUNDS = 5
PROCESSES = ("web", "worker", "node")
BEGIN_THREADS = ("web", "worker")
VICTIMS = (*PROCESSES, "nginx")
KINDS = (
    "write,pwrite64,writev",
    "fsync,fdatasync,syncfs",
    "rename,renameat,renameat2",
    "mkdir,mkdirat,symlink,symlinkat,link,linkat",
    "unlink,unlinkat,rmdir",
    "ftruncate,fallocate",
    "fchown,fchownat,fchmod,fchmodat",
    "sendto,sendmsg",
    "connect,bind",
    "clone,clone3,vfork,fork",
)
REDIRECT = {"redirects": [{"path": "/old", "to": "/who.php"}]}

pytestmark = [pytest.mark.root, pytest.mark.skipif(not Path(STRACE).exists(), reason="needs strace")]


class Sites:
    """Sites that come, change and go; each round needs one that the round before made, and one of two rounds before."""

    def __init__(self, platform: RunningPlatform) -> None:
        self._platform = platform
        self.steady = platform.online("steady.test")
        add_page(platform, self.steady)
        self.before = fingerprint(platform, [self.steady])
        self.alive = [platform.online("first.test"), platform.online("second.test")]
        for site in self.alive:
            add_page(platform, site)

    def change(self, number: int) -> dict[str, Any]:
        """One site is declared, one gets a block of its own and a name, one is deleted; gives the deleted one."""
        leaving, changing = self.alive
        draft = {"domain": f"round{number}.test", "account_id": self._platform.customer}
        made = self._ask("POST", "/sites", draft)
        self._ask("PUT", f"/sites/{changing['id']}/web", REDIRECT)
        self._ask("PATCH", f"/sites/{changing['id']}", {"aliases": [f"also{number}.test"]})
        self._ask("DELETE", f"/sites/{leaving['id']}")
        until("the new site", lambda: self._is_done(made["id"], "ready"), 60)
        until("the deletion", lambda: self._is_done(leaving["id"], ""), 60)
        until("the change", lambda: self._is_done(changing["id"], "ready"), 60)
        self.alive = [changing, made]
        return leaving

    def check(self, gone: dict[str, Any]) -> None:
        """The invariants, and that the neighbour of all this is as it was."""
        add_page(self._platform, self.alive[1])
        check_invariants(self._platform, [self.steady, *self.alive], [gone], self.before)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask until there is an answer, each time the same thing."""
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}

        def ask() -> httpx.Response | None:
            try:
                answer = self._platform.api(method, path, body, **headers)
            except httpx.TransportError:
                revive(self._platform)
                return None
            assert answer.status_code in (200, 202, 503), answer.text
            return answer if answer.status_code != 503 else None

        return until(f"{method} {path}", ask, 60).json()

    def _is_done(self, site_id: str, phase: str) -> bool | None:
        revive(self._platform)
        try:
            answer = self._platform.api("GET", f"/sites/{site_id}")
        except httpx.TransportError:
            return None
        if not phase:
            return answer.status_code == 404 or None
        site = answer.json()
        return (site["phase"] == phase and site["generation"] == site["observed_generation"]) or None


def revive(platform: RunningPlatform) -> None:
    """Start again whatever has died, as a supervisor would, without waiting for what only time ends.

    A worker whose node has died would wait for its answer for 25 seconds, so it is killed too; leases of a dead worker
    would last 30 seconds, so they are ended by hand. That both end by themselves is tested where they are made.
    """
    dead = {name for name, process in platform.processes.items() if process.poll() is not None}
    if "node" in dead and "worker" not in dead:
        platform.processes["worker"].kill()
        platform.processes["worker"].wait()
        dead.add("worker")
    if "worker" in dead:
        end_leases(platform)
    if dead:
        platform.start(*sorted(dead))


def end_leases(platform: RunningPlatform) -> None:
    """Let everything be free that a dead worker held."""
    engine = create_engine(platform.database_url)
    with engine.begin() as database:
        for table in ("site", "node", "operation", "delivery", "schedule"):
            database.execute(TableClause(table, column("lease_until")).update().values(lease_until=0))
    engine.dispose()


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform of its own: its processes are killed."""
    yield from running()


@pytest.fixture(scope="module")
def sites(platform: RunningPlatform) -> Sites:
    return Sites(platform)


@pytest.fixture(scope="module")
def samples(platform: RunningPlatform, sites: Sites) -> dict[str, list[tuple[str, int]]]:
    """For each process the calls at which it is killed, found in a round that nothing disturbs."""
    with ExitStack() as stack:
        counts = {
            name: stack.enter_context(counted(_traced(name, pid), KINDS, with_later=name in BEGIN_THREADS))
            for name, pid in _victims(platform).items()
        }
        gone = sites.change(0)
    sites.check(gone)
    return {name: _spread(count) for name, count in counts.items()}


def _spread(count: Counter[str]) -> list[tuple[str, int]]:
    calls = [(kind, number) for kind in KINDS for number in range(1, count[kind] + 1)]
    kinds = [kind for kind in KINDS if count[kind]]
    chosen = []
    for index in range(ROUNDS):
        kind = kinds[round(index * (len(kinds) - 1) / (ROUNDS - 1))]
        numbers = [number for each, number in calls if each == kind]
        chosen.append((kind, numbers[round((index % 3) / 2 * (len(numbers) - 1) * 0.8)]))
    return chosen


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_r01_r03_r07_r09_r18_r38_killed_at_a_call_all_come_back_to_what_is_declared(
    platform: RunningPlatform, sites: Sites, samples: dict[str, list[tuple[str, int]]], number: int
) -> None:
    with ExitStack() as stack:
        for name, pid in _victims(platform).items():
            calls, which = samples[name][number - 1]
            stack.enter_context(killed_at(_traced(name, pid), calls, which, with_later=name in BEGIN_THREADS))
        before = {name: _started(pid) for name, pid in _victims(platform).items()}
        gone = sites.change(number)
    revive(platform)
    after = {name: _started(pid) for name, pid in _victims(platform).items()}
    assert len([name for name in VICTIMS if before[name] != after[name]]) >= 2, "hardly anybody was killed"
    sites.check(gone)


def _victims(platform: RunningPlatform) -> dict[str, int]:
    """The processes, and the master of nginx."""
    nginx = until("nginx", lambda: _number(platform.state / "run" / "nginx.pid"))
    return {**{name: platform.processes[name].pid for name in PROCESSES}, "nginx": nginx}


def _traced(name: str, pid: int) -> tuple[int, ...]:
    """What is killed with it: nginx's workers, but not those that take their place, which would never work then."""
    return (pid, *children_of(pid)) if name == "nginx" else (pid,)


def _number(path: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        pid = int(path.read_text())
        return pid if Path(f"/proc/{pid}").exists() else None
    return None


def _started(pid: int) -> str:
    """What tells one process from another that later has its number."""
    return f"{pid} {Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
