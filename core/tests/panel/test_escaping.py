"""Whatever is stored, pages show it as text (S-50), and hold no script or style of their own."""

from __future__ import annotations

import dataclasses

import pytest
from hosthold.accounts.models import AccountRow
from hosthold.nodes.models import NodeRow
from hosthold.packages.models import PackageRow
from hosthold.plugins.record import PluginState
from hosthold.sites.models import SiteRow

from core.tests.panel.company import Company, Page, Visitor

CORPUS = (
    "<script>window.__x=1</script>",
    '"><img src=x onerror=window.__x=1>',
    "' autofocus onfocus='window.__x=1",
    "javascript:window.__x=1//",
    "</title></textarea></style></noscript><svg onload=window.__x=1>",
    "{{ 7*7 }}{% raw %}",
    "<!--",
    "&lt;b&gt; &amp;",
)
PATHS = (
    "/sites",
    "/sites/new",
    "/accounts",
    "/accounts/new",
    "/packages",
    "/packages/new",
    "/nodes",
    "/plugins",
    "/x/hello_plugin/hello",
)


def require_harmless(page: Page) -> None:
    """No element may hold or cause a script or a style, save for scripts of our own files."""
    for tag, attributes in page.elements:
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert tag != "script" or attributes["src"].startswith("/static/"), attributes
        assert not {name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")}, attributes
        assert "__x" not in attributes, attributes
        for name in ("href", "action", "src", "formaction"):
            assert attributes.get(name, "/").startswith(("/", "#", "http://")), attributes
    assert all(tag != "img" or attributes["src"].startswith("/static/") for tag, attributes in page.elements)


def fill_with(company: Company, hostile: str) -> SiteRow:
    """Store `hostile` in every column that a page shows, past all rules."""
    row = company.site("lindqvist.se")
    condition = {"reason": hostile, "message": hostile, "hint": hostile, "is_permanent": True}
    with company.platform.database.write() as uow:
        site = uow.session.get_one(SiteRow, row.id)
        site.domains, site.phase, site.conditions = [hostile, hostile], "failed", [condition]
        site.runtime_driver, site.runtime_version, site.document_root, site.name = (
            hostile[:31],
            hostile[:16],
            hostile,
            hostile[:31],
        )
        site.runtime_settings = {hostile: hostile}
        for account in uow.session.query(AccountRow):
            account.name = hostile
        uow.session.query(PackageRow).one().name = hostile
        uow.session.query(NodeRow).one().facts = {"php": [hostile]}
    return row


@pytest.mark.parametrize("hostile", CORPUS)
def test_s50_stored_values_are_shown_as_text(company: Company, hostile: str) -> None:
    visitor = company.visitor()
    row = fill_with(company, hostile)
    site = visitor.see(f"/sites/{row.id}")
    for shown in ("hint", "document_root"):
        assert site.text.count(hostile) >= 5, shown
    assert hostile in visitor.see("/accounts").text
    assert hostile in visitor.see("/packages").text
    for path in (
        *(path for path in PATHS if path != "/nodes"),
        f"/sites/{row.id}",
        f"/sites/{row.id}/live",
        f"/sites/{row.id}/delete",
    ):
        page = visitor.see(path)
        assert page.status == 200, path
        require_harmless(page)


@pytest.mark.parametrize("hostile", CORPUS)
def test_s50_what_is_typed_or_asked_for_comes_back_as_text(company: Company, hostile: str) -> None:
    visitor = company.visitor()
    refused = visitor.fill("/sites/new", domain=hostile, aliases=hostile, document_root=hostile, runtime="php 8.2")
    assert refused.fields["domain"] == hostile
    assert refused.fields["aliases"] == hostile
    signing_in = Visitor(company.app).fill("/sign-in", email=hostile, password=hostile)
    assert signing_in.fields["email"] == hostile
    greeted = Page(visitor.request("GET", "/x/hello_plugin/hello", params={"name": hostile}))
    assert f"Hello, {hostile}!" in greeted.text
    missing = Page(visitor.request("GET", f"/sites/{hostile}"))
    for page in (refused, signing_in, greeted, missing):
        require_harmless(page)


def test_s50_what_a_plugin_says_of_its_failure_is_shown_as_text(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, hostile = company.platform.registry, CORPUS[0]
    broken = dataclasses.replace(
        registry.records[0], state=PluginState.failed_to_load, message=hostile, hint=hostile, traceback=hostile
    )
    monkeypatch.setattr(registry, "_records", [broken, *registry.records[1:]])
    page = company.visitor().see("/plugins")
    assert page.text.count(hostile) == 3
    assert "failed to load" in page.text
    require_harmless(page)


def test_every_answer_forbids_inline_scripts_and_framing(company: Company) -> None:
    visitor = company.visitor()
    for path in (*PATHS, "/nowhere", "/sign-in"):
        policy = visitor.see(path).response.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert visitor.see(path).response.headers["cache-control"] == "no-store"
