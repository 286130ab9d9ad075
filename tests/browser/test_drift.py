"""What was changed by hand, in a real browser: seen, adopted, repaired, by whoever looks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.conftest import RunningPlatform, until

_NUMBERS = count(1)


@pytest.fixture
def edited(platform: RunningPlatform) -> Iterator[str]:
    """The domain of a site whose configuration somebody edited, after the platform has looked at it."""
    domain = f"edited-{next(_NUMBERS)}-with-a-rather-long-name.localhost"
    site = platform.online(domain)
    file = Path(platform.state, "sites", site["name"], "php-fpm.conf")
    file.write_text(file.read_text() + "; edited by hand, in a line that is too long for the screen of any telephone\n")
    platform.api("POST", f"/sites/{site['id']}/retry")
    platform.settled(site["id"], "failed")
    until("the list", lambda: domain in {item["name"] for item in platform.get("/drift")["items"]} or None)
    yield domain
    platform.api("DELETE", f"/sites/{site['id']}", **{"If-Match": "*"})
    platform.gone(site["id"])


def violations(page: Page) -> list[object]:
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in Axe().run(page).response["violations"]]


def test_an_edit_is_seen_adopted_and_repaired(open_page: OpenPage, edited: str) -> None:
    page = open_page("/drift")
    entry = page.get_by_role("navigation", name="Main").get_by_role("link", name="Drift")
    until("the number in the menu", lambda: (page.reload() and "to decide" in (entry.text_content() or "")) or None)
    page.get_by_role("link", name=edited).click()
    expect(page.get_by_text("; edited by hand")).to_be_visible()
    page.get_by_role("link", name="Adopt").click()
    page.get_by_role("dialog").get_by_role("button", name="Adopt").click()
    expect(page.get_by_text("It stays until it is repaired")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Repair").click()
    page.get_by_role("dialog").get_by_role("button", name="Repair").click()
    expect(page.get_by_text("That is as declared again.")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drift_is_for_everybody_and_every_screen(
    open_page: OpenPage, platform: RunningPlatform, edited: str, scheme: str
) -> None:
    page = open_page("/drift", color_scheme=scheme, viewport={"width": 360, "height": 640})
    page.get_by_role("link", name=edited).wait_for()
    found = {"list": violations(page)}
    wide = {"list": page.evaluate("document.documentElement.scrollWidth")}
    page.get_by_role("link", name=edited).click()
    page.get_by_role("heading", name=edited).wait_for()
    place = page.url
    site = next(item["subject"] for item in platform.get("/drift")["items"] if item["name"] == edited)
    for path in ("", "/adopt", "/repair"):
        page.goto(place + path)
        found[path], wide[path] = violations(page), page.evaluate("document.documentElement.scrollWidth")
    page.goto(f"/sites/{site.removeprefix('site:')}")
    expect(page.get_by_role("heading", name="Changed by hand")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    found["site"], wide["site"] = violations(page), page.evaluate("document.documentElement.scrollWidth")
    assert {path: each for path, each in found.items() if each} == {}
    assert max(wide.values()) <= 360, wide
