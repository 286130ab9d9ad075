"""When to try again: growing pauses with jitter, so that many failures do not come back at the same moment."""

from __future__ import annotations

from random import Random

FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 10 * 60_000


def pause_ms(attempts: int, random: Random) -> int:
    """Milliseconds to wait after this many failed attempts in a row: doubled each time, 10 minutes at most, ± 20 %."""
    pause = min(FIRST_PAUSE_MS * 2 ** min(attempts - 1, 20), LONGEST_PAUSE_MS)
    return int(pause * random.uniform(0.8, 1.2))


def look_at_ms(now: int, every_ms: int, random: Random) -> int:
    """When a settled row is looked at again: after `every_ms` ± 30 %, for rows made together need not be seen together.

    The moments lie a sixtieth of that apart, so that rows whose turns are close share one order to their node.
    """
    at, apart = now + int(every_ms * random.uniform(0.7, 1.3)), max(every_ms // 60, 1)
    return at + -at % apart
