"""What people do with sites in a browser, on a platform with real nginx and PHP."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.conftest import RunningPlatform, until


def create(page: Page, domain: str) -> None:
    """Fill in and send the form of a new site."""
    page.goto("/sites/new")
    page.get_by_label("For whom").select_option(label="Customer")
    page.get_by_label("Domain", exact=True).fill(domain)
    page.get_by_role("button", name="Create site").click()
    page.get_by_role("heading", name=domain, exact=True).wait_for()


def test_a_site_is_created_watched_coming_online_and_opened(open_page: OpenPage, platform: RunningPlatform) -> None:
    page = open_page("/sites")
    page.get_by_role("link", name="New site").first.click()
    create(page, "welcome.localhost")
    expect(page.get_by_text("The site was declared.")).to_be_visible()
    expect(page.locator("#live .phase")).to_contain_text("Online", timeout=30_000)  # without a reload
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the site").click()
    site = opened.value
    site.wait_for_load_state()
    assert site.url == f"http://welcome.localhost:{platform.site_port}/"
    assert "PHP" in site.inner_text("body")
    page.goto("/sites")
    expect(page.get_by_role("row", name="welcome.localhost")).to_contain_text("Online")


def test_the_list_follows_what_happens_without_a_reload(open_page: OpenPage, platform: RunningPlatform) -> None:
    page = open_page("/sites")
    page.wait_for_timeout(300)  # until the stream of events is open
    platform.declare("followed.localhost")
    expect(page.get_by_role("row", name="followed.localhost")).to_contain_text("Online", timeout=30_000)


def test_suspend_resume_and_delete_ask_in_a_dialog(open_page: OpenPage, platform: RunningPlatform) -> None:
    site = platform.online("paused.localhost")
    page = open_page(f"/sites/{site['id']}")
    page.get_by_role("link", name="Suspend").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Suspend the site?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Suspend").click()
    dialog.get_by_role("button", name="Suspend").click()
    expect(page.locator("#live .phase")).to_contain_text("Suspended")
    platform.settled(site["id"])
    assert platform.visit("paused.localhost")[0] == 503
    page.get_by_role("link", name="Resume").click()
    dialog.get_by_role("button", name="Resume").click()
    expect(page.locator("#live .phase")).to_contain_text("Online", timeout=30_000)
    assert platform.visit("paused.localhost")[0] == 200
    page.get_by_role("link", name="Delete").click()
    dialog.get_by_role("textbox").fill("something else")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Please type paused.localhost.")).to_be_visible()
    page.get_by_role("textbox").fill("paused.localhost")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The site is being deleted.")).to_be_visible()
    expect(page.get_by_role("row", name="paused.localhost")).to_have_count(0, timeout=30_000)


def test_a_plan_is_shown_and_nothing_is_to_do(open_page: OpenPage, platform: RunningPlatform) -> None:
    site = platform.online("planned.localhost")
    page = open_page(f"/sites/{site['id']}")
    page.get_by_role("button", name="Compare with what is on the node").click()
    expect(page.get_by_role("heading", name="Nothing to do")).to_be_visible(timeout=30_000)


def test_refused_fields_are_marked_and_keep_what_was_typed(open_page: OpenPage) -> None:
    page = open_page("/sites/new")
    page.get_by_label("Domain", exact=True).fill("no domain")
    page.get_by_label("Folder to serve").fill("../up")
    page.get_by_role("button", name="Create site").click()
    field = page.get_by_label("Domain", exact=True)
    expect(field).to_have_value("no domain")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(
        "This is not a domain name: it is empty or has white space. The name "
        "visitors type, such as example.com. Point its DNS records here whenever you are ready."
    )
    expect(page.get_by_role("alert")).to_be_focused()


def test_a_site_is_made_with_the_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/sites/new")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "account_id":
            page.keyboard.type("Customer")
        if page.evaluate("document.activeElement.id") == "domain":
            break
    page.keyboard.type("keyboard.localhost")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="keyboard.localhost", exact=True).wait_for()


def test_everything_but_the_live_parts_works_without_javascript(open_page: OpenPage) -> None:
    page = open_page("/sites", java_script_enabled=False)
    create(page, "plain.localhost")
    page.locator("#live .phase", has_text="Online").wait_for(timeout=30_000)  # the page reloads itself
    page.get_by_role("link", name="Suspend").click()
    page.get_by_role("button", name="Suspend").click()
    page.locator("#live .phase", has_text="Suspended").wait_for()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("textbox").fill("plain.localhost")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("The site is being deleted.").wait_for()
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Dark").click()
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"


def test_a_log_is_read_filtered_and_followed(open_page: OpenPage, platform: RunningPlatform) -> None:
    site = platform.online("logged.localhost")
    page = open_page(f"/sites/{site['id']}")
    page.get_by_role("link", name="Logs").click()
    expect(page.get_by_text("Each request for the site becomes a line")).to_be_visible(timeout=10_000)
    platform.visit("logged.localhost", "/first-page")
    page.get_by_label("Live").check()
    page.get_by_role("button", name="Show").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("/first-page", timeout=10_000)
    platform.visit("logged.localhost", "/second-page")
    expect(log).to_contain_text("/second-page", timeout=30_000)
    page.get_by_label("Only lines with").fill("second")
    page.get_by_role("button", name="Show").click()
    expect(log).not_to_contain_text("/first-page", timeout=10_000)
    expect(log).to_contain_text("/second-page", timeout=30_000)


def test_web_options_are_set_and_mistakes_are_told_by_their_line(
    open_page: OpenPage, platform: RunningPlatform
) -> None:
    site = platform.online("options.localhost")
    page = open_page(f"/sites/{site['id']}")
    page.get_by_role("link", name="Web server").click()
    page.get_by_label("Redirects").fill("/old /new 302\n/odd")
    page.get_by_label("Passwords").fill("/admin ann a-long-password")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("Line 2: write a path")).to_be_visible()
    expect(page.get_by_label("Passwords")).to_have_value("/admin ann a-long-password")
    page.get_by_label("Redirects").fill("/old /new 302")
    page.get_by_role("button", name="Save changes").click()
    page.get_by_role("heading", name="options.localhost", exact=True).wait_for()
    platform.settled(site["id"])
    until("the redirect", lambda: platform.visit("options.localhost", "/old")[0] == 302 or None)  # after a reload
    assert platform.visit("options.localhost", "/admin/")[0] == 401
    page.goto(f"/sites/{site['id']}/web")
    expect(page.get_by_label("Passwords")).to_have_value("/admin ann")
    page.get_by_label("Redirects").fill("")
    page.get_by_role("button", name="Save changes").click()
    page.get_by_role("heading", name="options.localhost", exact=True).wait_for()
    platform.settled(site["id"])
    # nginx's old workers answer until they have ended
    until("the end of the redirect", lambda: platform.visit("options.localhost", "/old")[0] == 404 or None)
    assert platform.visit("options.localhost", "/admin/")[0] == 401
