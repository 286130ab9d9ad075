"""A headless Chromium at the panel of a whole platform. Every test fails on a console error or a policy violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from tests.conftest import RunningPlatform

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file. It ends with them: no other event loop can run in its thread meanwhile."""
    if not CHROMIUM.exists():
        pytest.fail("Chromium is not installed; run scripts/test, which installs it.")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, platform: RunningPlatform) -> StorageState:
    """The cookies of an administrator who signed in by link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(platform.sign_in_link())
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="Sites", exact=True).wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(browser: Browser, platform: RunningPlatform, signed_in: StorageState) -> Iterator[OpenPage]:
    """Opens a page of the panel, signed in unless told otherwise, in a browser with the given options."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_one(path: str = "/", *, as_administrator: bool = True, **options: Any) -> Page:
        if as_administrator:
            options["storage_state"] = signed_in
        context = browser.new_context(base_url=platform.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    refusals = ("status of 401", "status of 412", "status of 422", "status of 409")
    assert [complaint for complaint in complaints if not any(refusal in complaint for refusal in refusals)] == []
