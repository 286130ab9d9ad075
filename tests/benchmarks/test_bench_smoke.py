"""Each benchmark runs with tiny numbers and reports what its readers expect; no time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def bench(*arguments: str) -> Any:
    """The JSON object that a benchmark prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["machine"]["cpus"] == os.cpu_count()
    return found


def test_provision_reports_times_their_limit_and_every_phase() -> None:
    options = ("--bulk", "3", "--seconds", "1", "--runs", "1", "--rounds", "1")
    found = bench("provision", "--sites", "1,2", *options)

    assert list(found["sites"]) == ["1", "2"]
    for measured in found["sites"].values():
        assert measured["limit_p50_ms"] > 0
        assert measured["ratio_p50"] == pytest.approx(measured["p50_ms"] / measured["limit_p50_ms"], abs=0.01)
        assert measured["neighbour_failed"] == 0 < measured["neighbour_asked"]
        assert measured["neighbour_stall_ms"] == pytest.approx(
            measured["neighbour_longest_ms"]["meanwhile"] - measured["neighbour_longest_ms"]["quiet"], abs=0.02
        )
        assert [Path(program).name.rstrip(".0123456789") for program in measured["programs_started"]] == ["php-fpm"]
        phases = measured["phases_p50_ms"]
        assert set(phases) == {
            "answered", "claimed", "ordered", "first_write", "written", "launched", "routed", "settled", "served",
        }  # fmt: skip
        assert phases["first_write"] <= phases["written"] <= phases["launched"] <= phases["routed"]
    assert list(found["rps_one_site"]) == ["1", "2"]
    assert min(found["bulk_sites_per_s"], found["bulk_limit_sites_per_s"], found["certificate_served_ms"]) > 0
    assert min(*found["rps_one_site"].values(), found["rps_shared_to_own_block"]) > 0
    assert isinstance(found["idle_mb"], float)


def test_api_reports_each_route_on_the_database() -> None:
    options = ("--sites", "30", "--accounts", "3", "--rounds", "1", "--seconds", "1", "--connections", "1")
    found = bench("api", "--stores", "sqlite", *options)

    measured = found["stores"]["sqlite"]["1"]
    for route in ("bare", "hand_written", "api", "page"):
        assert measured[route]["requests_per_second"] > 0
        assert measured[route]["p50_ms"] <= measured[route]["p95_ms"] <= measured[route]["p99_ms"]
    assert {"api_to_hand_written", "api_to_bare", "page_to_bare"} <= set(measured)


def test_queue_reports_latency_and_idle_cost_of_both_queues() -> None:
    found = bench("queue", "--stores", "sqlite", "--rings", "1", "--idle", "0.5")

    for role in ("worker", "node"):
        measured = found["stores"]["sqlite"][role]
        assert 0 < measured["p50_ms"] <= measured["p95_ms"]
        assert measured["idle_cpu_percent"] >= 0
