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

from benchmarks import scale
from benchmarks.limit import LeastSite
from benchmarks.neighbour import Neighbour
from benchmarks.platform import Platform, temporary_platform
from benchmarks.processes import Started
from benchmarks.report import median, say, times

POLL_SECONDS = 0.001
_SERVED = b"HTTP/1.1 200"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen on the command line."""
    parser.add_argument("--sites", default="10,300", help="how many sites exist already, such as 10,300 (the default)")
    parser.add_argument("--bulk", type=int, default=1000, help="how many sites are made at once at the end (1000)")
    parser.add_argument("--seconds", type=int, default=3, help="for how long one site is asked at a time (3)")
    parser.add_argument("--rounds", type=int, default=6, help="how often two ways are asked in turn (6)")
    parser.add_argument("--runs", type=int, default=30, help="how many sites are brought up at each number (30)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure at each number of existing sites, a site of the platform and a least one in turn."""
    counts = [int(count) for count in options.sites.split(",")]
    found: dict[str, Any] = {}
    rates: dict[str, float] = {}
    beside: dict[str, float] = {}
    with temporary_platform() as platform:
        platform.start("node", "worker", "web")
        package = platform.post("/packages", {"name": "Bench", "max_sites": 1_000_000})
        customer: str = platform.post("/accounts", {"name": "Bench", "package_id": package["id"]})["id"]
        empty = scale.memory_mb(platform)
        existing = number = 0
        for count in counts:
            scale.fill(platform, customer, [f"old{index}.localhost" for index in range(existing, count)])
            existing = count
            busiest = platform.get("/sites?limit=1")["items"][0]
            neighbour = "old0.localhost"
            served, least, phases = [], [], []
            begun = time.monotonic()
            with Neighbour(platform.site_port, neighbour) as disturbed:
                for _ in range(options.runs):
                    number += 1
                    one, its_phases = _bring_up(platform, customer, f"new{number}.localhost")
                    served.append(one)
                    phases.append(its_phases)
                    least.append(_bring_up_least(platform, number))
            lasted = time.monotonic() - begun
            with Neighbour(platform.site_port, neighbour) as quiet:
                time.sleep(lasted)
            with Started([platform.process(name) for name in ("web", "worker", "node")], platform.folder) as started:
                watched = platform.post("/sites", {"domain": f"watched{count}.localhost", "account_id": customer})
                platform.until("the watched site", lambda site=watched["id"]: _is_ready(platform, site) or None)  # type: ignore[misc]
            uid = (platform.node_state / "sites" / watched["name"] / "home").stat().st_uid
            _remove(platform, watched["id"])
            limit = times(least)
            found[str(count)] = {
                **times(served),
                "limit_p50_ms": limit["p50_ms"],
                "limit_p95_ms": limit["p95_ms"],
                "ratio_p50": round(median(served) / median(least), 2),
                "neighbour_asked": disturbed.asked,
                "neighbour_failed": disturbed.failed,
                "neighbour_stall_ms": round(disturbed.longest_ms - quiet.longest_ms, 2),
                "neighbour_longest_ms": {"quiet": quiet.longest_ms, "meanwhile": disturbed.longest_ms},
                "programs_started": started.programs(uid),
                "phases_p50_ms": {name: round(median([one[name] for one in phases]) * 1000, 1) for name in phases[0]},
            }
            rate, ratio = scale.beside_the_platform(platform, busiest, options.seconds, options.rounds)
            rates[str(count)], beside[str(count)] = round(rate), round(ratio, 3)
            say(f"{count} sites: {found[str(count)]}, {rates[str(count)]:.0f} requests/s")
        platform.until("all to sleep", lambda: _asleep(platform) or None, 1.0)
        idle = scale.memory_mb(platform) - empty
        bulk = scale.fill(platform, customer, [f"bulk{index}.localhost" for index in range(options.bulk)])
        bulk_limit = scale.least_bulk(platform, range(number + 1, number + 1 + options.bulk))
        shared = scale.shared_to_own_block(platform, customer, busiest, options.seconds, options.rounds)
        certificate = scale.certificate_served_ms(platform, "old0.localhost", options.runs)
        isolation = platform.settings.node_isolation
    return {
        "sites": found,
        "bulk_sites_per_s": round(bulk, 1),
        "bulk_limit_sites_per_s": round(bulk_limit, 1),
        "idle_mb": round(idle, 1),
        "rps_one_site": rates,
        "rps_to_platform_standing_still": beside,
        "rps_shared_to_own_block": round(shared, 3),
        "certificate_served_ms": round(certificate, 2),
        "runs": options.runs,
        "isolation": isolation,
    }


def _asleep(platform: Platform) -> bool:
    """Whether no site's PHP runs."""
    marks = (f"php-fpm: master process ({platform.node_state}".encode(),)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(marks):
                    return False
    return True


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
    _remove(platform, site["id"])
    return served - begun, {name: moment - begun for name, moment in moments.items()}


def _remove(platform: Platform, site_id: str) -> None:
    platform.call("DELETE", f"/sites/{site_id}")
    platform.until("the deletion", lambda: platform.call("GET", f"/sites/{site_id}")[0] == 404 or None, 0.02)


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
