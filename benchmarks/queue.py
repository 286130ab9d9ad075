"""From a ring of an idle queue's bell to the start of the work, for each store, and what waiting costs."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hosthold.types.identifier import new_identifier
from hosthold.types.resource import NodeOrder, OrderAction
from hosthold.work.doorbell import Doorbell
from hosthold.work.node_orders import NodeQueueClient

from benchmarks import server
from benchmarks.listener import KIND, Mark
from benchmarks.platform import Platform, temporary_platform
from benchmarks.report import say, times

STORES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "sqlite": lambda: nullcontext(""),
    "postgresql": server.postgresql,
    "redis": server.redis,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen on the command line."""
    parser.add_argument("--stores", default=",".join(STORES), help="which stores (sqlite,postgresql,redis)")
    parser.add_argument("--rings", type=int, default=40, help="how often each idle queue is rung (40)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds over which idle CPU time is counted (10)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each store in turn: the worker's queue, then a node's."""
    found = {}
    for store in options.stores.split(","):
        with STORES[store]() as url, _platform(store, url) as platform:
            found[store] = {
                "worker": _measured(platform, "worker", options, _ringing(platform)),
                "node": _measured(platform, "node", options, _ordering(platform)),
            }
            say(f"{store}: {found[store]}")
    return {"stores": found, "rings": options.rings}


@contextmanager
def _platform(store: str, url: str) -> Iterator[Platform]:
    if store == "redis":
        with temporary_platform(queue=("redis", url)) as platform:
            yield platform
    else:
        with temporary_platform(url) as platform:
            yield platform


def _measured(platform: Platform, role: str, options: argparse.Namespace, act: Callable[[], None]) -> dict[str, float]:
    """The role's process, as it waits and as it is woken after random pauses of up to two seconds."""
    path = platform.folder / f"mark-{role}"
    path.write_bytes(bytes(16))
    mark = Mark(path)
    chance = random.Random(1)

    def latency() -> float:
        sent = mark.send()
        act()
        return (platform.until("a start of work", lambda: mark.heard or None, 0.005) - sent) / 1e9

    command = [sys.executable, "-m", "benchmarks.listener", role, str(path)]
    with (
        (platform.folder / "listener.log").open("ab") as log,
        subprocess.Popen(command, env=platform.environment, stdout=log, stderr=log) as listener,
    ):
        try:
            latency()
            time.sleep(1)
            before, begun = _cpu_seconds(listener.pid), time.monotonic()
            time.sleep(options.idle)
            idle = (_cpu_seconds(listener.pid) - before) / (time.monotonic() - begun)
            latencies = []
            for _ in range(options.rings):
                time.sleep(chance.uniform(0.2, 2))
                latencies.append(latency())
        finally:
            listener.send_signal(signal.SIGTERM)
    return {**times(latencies), "idle_cpu_percent": round(idle * 100, 2)}


def _ringing(platform: Platform) -> Callable[[], None]:
    bell = Doorbell(platform.settings)
    return lambda: bell.ring(KIND, "one")


def _ordering(platform: Platform) -> Callable[[], None]:
    client = NodeQueueClient(platform.settings)

    def order() -> None:
        now = datetime.now(UTC)
        client.send(
            NodeOrder(
                id=new_identifier(), node=platform.settings.node.name, action=OrderAction.inspect, issued_at=now,
                expires_at=now + timedelta(seconds=25),
            )
        )  # fmt: skip

    return order


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
