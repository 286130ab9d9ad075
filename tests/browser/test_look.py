"""How pages look and read, whoever looks: small screens, dark rooms, screen readers."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.conftest import RunningPlatform

PATHS = (
    "/sites",
    "/sites/new",
    "/accounts",
    "/accounts/new",
    "/packages",
    "/packages/new",
    "/nodes",
    "/drift",
    "/plugins",
    "/x/hello_plugin/hello",
)


@pytest.fixture(scope="module")
def site_path(platform: RunningPlatform) -> str:
    """The page of a site that is online."""
    return f"/sites/{platform.online('looked-at-with-a-rather-long-name.localhost')['id']}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_an_accessibility_violation(open_page: OpenPage, site_path: str, scheme: str) -> None:
    page, found = open_page(color_scheme=scheme), {}
    for path in (
        *PATHS,
        site_path,
        f"{site_path}/edit",
        f"{site_path}/delete",
        f"{site_path}/logs",
        f"{site_path}/web",
    ):
        page.goto(path)
        violations = Axe().run(page).response["violations"]
        found[path] = [(violation["id"], [node["target"] for node in violation["nodes"]]) for violation in violations]
    page.goto("/sites/new")
    page.get_by_role("button", name="Create site").click()
    found["refused"] = [(violation["id"], violation["nodes"]) for violation in Axe().run(page).response["violations"]]
    signing_in = open_page("/sign-in", as_administrator=False, color_scheme=scheme)
    found["/sign-in"] = [
        (violation["id"], violation["nodes"]) for violation in Axe().run(signing_in).response["violations"]
    ]
    assert {path: violations for path, violations in found.items() if violations} == {}


def test_no_page_scrolls_sideways_on_a_small_phone(open_page: OpenPage, site_path: str) -> None:
    page = open_page(viewport={"width": 360, "height": 640})
    for path in (
        *PATHS,
        site_path,
        f"{site_path}/edit",
        f"{site_path}/delete",
        f"{site_path}/logs",
        f"{site_path}/web",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.goto(site_path)
    page.get_by_role("link", name="Delete").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_pages_follow_the_system_until_somebody_chooses(open_page: OpenPage) -> None:
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    page = open_page("/sites", color_scheme="dark")
    assert page.evaluate(brightness) < 60
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Light").click()
    page.get_by_role("heading", name="Sites", exact=True).wait_for()
    assert page.evaluate(brightness) > 200
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="System").click()
    page.get_by_role("heading", name="Sites", exact=True).wait_for()
    assert page.evaluate(brightness) < 60


def test_a_sign_in_link_works_once_and_signing_out_ends_the_session(
    open_page: OpenPage, platform: RunningPlatform
) -> None:
    link = platform.sign_in_link()
    page = open_page(link, as_administrator=False)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Sites", exact=True)).to_be_visible()
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.goto("/sites")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(link)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("used already")


def test_s50_a_hostile_name_runs_nothing(open_page: OpenPage, platform: RunningPlatform) -> None:
    package = platform.get("/packages")["items"][0]["id"]
    hostile = '"><img src=x onerror=window.__x=1><script>window.__x=1</script>'
    assert platform.api("POST", "/accounts", {"name": hostile, "package_id": package}).status_code == 201
    page = open_page("/accounts")
    expect(page.get_by_text(hostile)).to_be_visible()
    for path in ("/accounts", "/sites/new"):
        page.goto(path)
        assert page.evaluate("window.__x") is None
