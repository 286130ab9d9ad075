"""The clock: whether something keeps it right, and whether the database agrees with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select, text

from hosthold.auth.models import ApiTokenRow
from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.node.identity import is_clock_kept

MOST_APART_SECONDS = 2.0
_KEEP = "apt-get install systemd-timesyncd (or chrony); in a container, its host keeps the clock: see there"


def look(engine: Engine) -> Iterator[Finding]:
    """Look at this machine's clock, beside what the database says and what was stored under it."""
    try:
        is_kept = is_clock_kept()
    except OSError:
        is_kept = True
    wrong = [*([] if is_kept else [bad("clock", "Nothing keeps this machine's clock at the right time.", _KEEP)])]
    wrong += _beside(engine)
    yield from wrong or [well("clock", "it is kept, and agrees with the database")]


def _beside(engine: Engine) -> Iterator[Finding]:
    now = time.time()
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            apart = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or now) - now
            if abs(apart) > MOST_APART_SECONDS:
                yield bad(
                    "clock",
                    f"The database's clock is {apart:+.0f} s apart from this machine's.",
                    "Keep both clocks by NTP: `timedatectl` on each shows whether they are",
                )
        newest = connection.scalar(select(func.max(ApiTokenRow.created_at)))
    if newest is not None and newest / 1000 > now + MOST_APART_SECONDS:
        at = datetime.fromtimestamp(newest / 1000, UTC)
        yield bad(
            "clock",
            f"A token was made on {at:%Y-%m-%d at %H:%M} UTC, which is yet to come: the clock is wrong, or was.",
            "Compare `date -u` with another machine; if it is right, revoke that token (`hosthold token list`)",
        )
