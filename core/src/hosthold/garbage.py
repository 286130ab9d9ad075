"""How often a long-running process searches for garbage in cycles, which stops all of its threads meanwhile."""

from __future__ import annotations

import gc


def search_seldom() -> None:
    """Leave what the process has made so far out of all later searches, and search less often.

    What is loaded lives as long as the process. Afterwards an order of many sites, or a request, makes many small
    values, of which hardly one is in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
