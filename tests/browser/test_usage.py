"""What a site's page says of its disk: kept below its limit, only measured, or above it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage
from tests.conftest import RunningPlatform, until

STATES = {
    "Kept below its limit": {"bytes": 3 * 2**30, "inodes": 2000, "is_enforced": True},
    "Only measured": {"bytes": 3 * 2**30, "inodes": 2000, "is_enforced": False},
    "Above its limit": {"bytes": 3 * 2**40, "inodes": 2000, "is_enforced": False},
    "of files, which are only counted": {"bytes": 3 * 2**30, "inodes": 20_000_000, "is_enforced": True},
}


@pytest.fixture(scope="module")
def site(platform: RunningPlatform) -> str:
    """A site that is online."""
    return str(platform.online("measured.localhost")["id"])


def _show(page: Page, platform: RunningPlatform, site: str, state: str) -> None:
    """Open the site's page as it is when its node has found this."""

    def is_shown() -> bool | None:
        with closing(sqlite3.connect(platform.folder / "state" / "hosthold.db", timeout=30)) as database, database:
            values: dict[str, Any] = {"site_id": site, **STATES[state], "measured_at": 1_795_000_000_000}
            database.execute(
                "REPLACE INTO site_usage VALUES (:site_id, :bytes, :inodes, :is_enforced, :measured_at)", values
            )
        page.goto(f"/sites/{site}")
        return page.get_by_text(state).count() > 0 or None

    until(state, is_shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_of_the_disk_reads_well_on_any_screen(
    open_page: OpenPage, platform: RunningPlatform, site: str, scheme: str
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 640})
    found = {}
    for state in STATES:
        _show(page, platform, site, state)
        found[state] = [violation["id"] for violation in Axe().run(page).response["violations"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, state
    assert found == {state: [] for state in STATES}
