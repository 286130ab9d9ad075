"""What every benchmark reports alike: quantiles in milliseconds, and the machine."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

__all__ = ["machine", "median", "quantile", "say", "times"]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def times(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile of some durations, in milliseconds."""
    return {"p50_ms": round(median(seconds) * 1000, 2), "p95_ms": round(quantile(seconds, 0.95) * 1000, 2)}


def machine() -> dict[str, Any]:
    """On what this ran, and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
    }


def say(line: str) -> None:
    """Tell whoever waits how far it is; standard output is the result's alone."""
    print(line, file=sys.stderr, flush=True)
