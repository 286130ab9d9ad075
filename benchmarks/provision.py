"""From `POST /api/v1/sites` to the first 200 of the site's own PHP page, beside the least that it can cost."""

from __future__ import annotations

import argparse
import os
import socket
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hosthold.work.models import EventRow
from hosthold.work.outbox import CHANGED
from sqlalchemy import select

from benchmarks.limit import LeastSite
from benchmarks.platform import Platform, temporary_platform
from benchmarks.report import median, say, times

POLL_SECONDS = 0.001
_SERVED = b"HTTP/1.1 200"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen on the command line."""
    parser.add_argument("--sites", default="10,300", help="how many sites exist already, such as 10,300 (the default)")
    parser.add_argument("--runs", type=int, default=30, help="how many sites are brought up at each number (30)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure at each number of existing sites, a site of the platform and a least one in turn."""
    found: dict[str, Any] = {}
    with temporary_platform() as platform:
        platform.start("node", "worker", "web")
        package = platform.post("/packages", {"name": "Bench", "max_sites": 1_000_000})
        customer: str = platform.post("/accounts", {"name": "Bench", "package_id": package["id"]})["id"]
        existing = number = 0
        for count in map(int, options.sites.split(",")):
            _fill(platform, customer, existing, count)
            existing = count
            served, least, phases = [], [], []
            for _ in range(options.runs):
                number += 1
                one, its_phases = _bring_up(platform, customer, f"new{number}.localhost")
                served.append(one)
                phases.append(its_phases)
                least.append(_bring_up_least(platform, number))
            limit = times(least)
            found[str(count)] = {
                **times(served),
                "limit_p50_ms": limit["p50_ms"],
                "limit_p95_ms": limit["p95_ms"],
                "ratio_p50": round(median(served) / median(least), 2),
                "phases_p50_ms": {name: round(median([one[name] for one in phases]) * 1000, 1) for name in phases[0]},
            }
            say(f"{count} sites: {found[str(count)]}")
        isolation = platform.settings.node_isolation
    return {"sites": found, "runs": options.runs, "isolation": isolation}


def _fill(platform: Platform, customer: str, first: int, count: int) -> None:
    """Bring up sites until there are `count`, and wait until nothing is left to do."""
    begun = time.monotonic()
    ids = [
        platform.post("/sites", {"domain": f"old{number}.localhost", "account_id": customer})["id"]
        for number in range(first, count)
    ]
    for site_id in ids:
        platform.until("a site", lambda site_id=site_id: _is_ready(platform, site_id) or None)  # type: ignore[misc]
    say(f"{len(ids)} sites made in {time.monotonic() - begun:.1f} s")


def _is_ready(platform: Platform, site_id: str) -> bool:
    site = platform.get(f"/sites/{site_id}")
    if any(condition["is_permanent"] for condition in site["conditions"]):
        raise SystemExit(f"{site['domain']} failed: {site['conditions']}")
    return bool(site["phase"] == "ready")


def _bring_up(platform: Platform, customer: str, domain: str) -> tuple[float, dict[str, float]]:
    """Seconds until a new site answers, and when each phase of it ended; the site is deleted again."""
    begun = time.time()
    site = platform.post("/sites", {"domain": domain, "account_id": customer})
    answered = time.time()
    served = _served_at(platform.site_port, domain)
    platform.until("the site's phase", lambda: _is_ready(platform, site["id"]) or None, 0.005)
    moments = {"answered": answered, **_moments(platform, site["id"], site["name"], domain, served)}
    platform.call("DELETE", f"/sites/{site['id']}")
    platform.until("the deletion", lambda: platform.call("GET", f"/sites/{site['id']}")[0] == 404 or None, 0.02)
    return served - begun, {name: moment - begun for name, moment in moments.items()}


def _bring_up_least(platform: Platform, number: int) -> float:
    site = LeastSite(platform, number)
    begun = time.time()
    site.bring_up()
    served = _served_at(platform.site_port, site.domain)
    site.take_down()
    return served - begun


def _served_at(port: int, host: str) -> float:
    """The moment at which the first 200 arrived; asks every millisecond, which costs the machine little."""
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.time() + 30
    while time.time() < deadline:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request)
            with suppress(ConnectionResetError):  # this is how the server answers for a name that it does not know
                if connection.recv(64).startswith(_SERVED):
                    return time.time()
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"{host} did not answer within 30 s")


def _moments(platform: Platform, site_id: str, name: str, domain: str, served: float) -> dict[str, float]:
    """When the worker claimed and settled, by its events; when the node wrote and started what, by its files."""
    with platform.database() as (database, _), database.read() as uow:
        query = select(EventRow.at, EventRow.payload).where(
            EventRow.subject == f"site:{site_id}", EventRow.name == CHANGED
        )
        changes = {payload["phase"]: at / 1000 for at, payload in uow.session.execute(query)}
    state = Path(platform.settings.state) / "node"
    written = [_written_at(path) for path in (state / "sites" / name).rglob("*") if path.name != "serve"]
    launched = _written_at(state / "run" / "sockets" / f"{name}.sock")
    before = [moment for moment in written if moment < launched]
    with sqlite3.connect(f"file:{state}/node.db?mode=ro", uri=True) as node:
        orders = [(int(key, 16) >> 80) / 1000 for (key,) in node.execute("SELECT id FROM orders")]
    return {
        "claimed": changes["applying"],
        "ordered": max(moment for moment in orders if moment <= min(before) + 0.001),
        "first_write": min(before),
        "written": max(before),
        "launched": launched,
        "routed": _written_at(state / "hosts" / domain),
        "served": served,
        "settled": changes["ready"],
    }


def _written_at(path: Path) -> float:
    return os.lstat(path).st_mtime_ns / 1e9
