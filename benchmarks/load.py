"""Load from a process of its own: wrk, with as many connections as are asked for, each used again and again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_REPORT = Path(__file__).with_name("report.lua")


@dataclass(frozen=True)
class Load:
    """What one burst of requests found; latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p95: float
    p99: float


def load(url: str, headers: Mapping[str, str], connections: int, seconds: int) -> Load:
    """Ask `url` for some seconds. Ends the benchmark if a single answer was not a success."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(_REPORT)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=seconds + 30)
    found = json.loads(done.stderr)
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{url}: {found['failed']} of {found['requests']} requests failed")
    return Load(found["requests"] / found["microseconds"] * 1e6, found["p50"], found["p95"], found["p99"])
