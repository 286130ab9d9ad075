"""Requests a second of an authenticated list and of a panel page, beside a bare route and one written by hand."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from benchmarks import server
from benchmarks.bare import LIMIT
from benchmarks.load import Load, load
from benchmarks.platform import Platform, free_port, temporary_platform
from benchmarks.population import administrators_session, populate
from benchmarks.report import median, say

STORES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "sqlite": lambda: nullcontext(""),
    "postgresql": server.postgresql,
}


@dataclass(frozen=True)
class _Route:
    url: str
    headers: Mapping[str, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen on the command line."""
    parser.add_argument("--stores", default=",".join(STORES), help="which databases (sqlite,postgresql)")
    parser.add_argument("--connections", default="1,32", help="how many connections ask at the same time (1,32)")
    parser.add_argument("--sites", type=int, default=5000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7, help="how often all routes are asked in turn (7)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each is asked each time (2)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all routes in turn, on each database."""
    found = {}
    for store in options.stores.split(","):
        with STORES[store]() as url, temporary_platform(url) as platform:
            begun = time.monotonic()
            populate(platform, options.sites, options.accounts)
            say(f"{store}: {options.sites} sites of {options.accounts} accounts in {time.monotonic() - begun:.0f} s")
            platform.start("web")
            with _routes(platform) as routes:
                found[store] = {
                    connections: _rounds(routes, int(connections), options.rounds, options.seconds)
                    for connections in options.connections.split(",")
                }
            say(f"{store}: {json.dumps(found[store])}")
    return {"stores": found, "sites": options.sites, "accounts": options.accounts, "rounds": options.rounds}


@contextmanager
def _routes(platform: Platform) -> Iterator[dict[str, _Route]]:
    """The four routes, after it was seen that the two lists answer with the same JSON."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port), platform.settings.database_url]
    bare, ours = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{platform.port}"
    routes = {
        "bare": _Route(f"{bare}/hello", {}),
        "hand_written": _Route(f"{bare}/sites", {}),
        "api": _Route(f"{ours}/api/v1/sites?limit={LIMIT}", {"Authorization": f"Bearer {platform.token}"}),
        "page": _Route(f"{ours}/sites", {"Cookie": f"hosthold_session={administrators_session(platform)}"}),
    }
    with subprocess.Popen(command) as process:
        try:
            platform.until("the bare routes", lambda: _answer(routes["bare"]))
            if json.loads(_answer(routes["hand_written"]) or b"") != json.loads(_answer(routes["api"]) or b""):
                raise SystemExit("the route written by hand and the API do not answer alike")
            yield routes
        finally:
            process.terminate()


def _answer(route: _Route) -> bytes | None:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(route.url, headers=dict(route.headers)), timeout=10
        ) as answer:
            body: bytes = answer.read()
            return body
    except ConnectionError:
        return None
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ConnectionError):
            return None
        raise


def _rounds(routes: Mapping[str, _Route], connections: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Medians over all rounds; each ratio is the median of the ratios within one round."""
    for route in routes.values():
        load(route.url, route.headers, connections, 1)
    bursts = [
        {name: load(route.url, route.headers, connections, seconds) for name, route in routes.items()}
        for _ in range(rounds)
    ]

    def ratio(name: str, other: str) -> float:
        return round(
            median([burst[name].requests_per_second / burst[other].requests_per_second for burst in bursts]), 3
        )

    return {
        **{name: _summary([burst[name] for burst in bursts]) for name in routes},
        "api_to_hand_written": ratio("api", "hand_written"),
        "api_to_bare": ratio("api", "bare"),
        "page_to_bare": ratio("page", "bare"),
    }


def _summary(loads: list[Load]) -> dict[str, float]:
    return {
        "requests_per_second": round(median([one.requests_per_second for one in loads])),
        "p50_ms": round(median([one.p50 for one in loads]), 2),
        "p95_ms": round(median([one.p95 for one in loads]), 2),
        "p99_ms": round(median([one.p99 for one in loads]), 2),
    }
