"""Unix numbers for tests. Ending a site's service ends everything of its user, so tests that run at once share none."""

from __future__ import annotations

import os

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

FIRST = 70_000 + 100 * _WORKER
"""Where the numbers of this process begin."""
