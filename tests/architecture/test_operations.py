"""Every operation and every page names its permission, and every permission of the core guards something."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosthold.accounts import pages as accounts_pages
from hosthold.app import API
from hosthold.auth.permission import PERMISSIONS
from hosthold.drift import pages as drift_pages
from hosthold.nodes import pages as nodes_pages
from hosthold.packages import pages as packages_pages
from hosthold.panel import plugin_pages, visitor_pages
from hosthold.panel.page import SIGNED_IN, Page
from hosthold.sites import pages as sites_pages
from hosthold.web.operation import Operation, operation, operations_of

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = operations_of(API)
PUBLIC: frozenset[str] = frozenset()
"""The operations that anybody may call without signing in."""

PAGES = (accounts_pages, drift_pages, nodes_pages, packages_pages, plugin_pages, sites_pages, visitor_pages)
DECLARED_PAGES = [page for module in PAGES for page in module.PAGES.declared]
FOR_EVERYBODY = {("GET", "/"), ("POST", "/theme"), ("POST", "/sign-out"), ("GET", "/x/{plugin}/{path:path}")}
"""Pages for everybody who is signed in; those of plugins ask for the plugin's own permission."""


def test_s29_every_api_module_is_served() -> None:
    modules = set((ROOT / "core/src/hosthold").glob("*/api.py"))
    assert {Path(str(module.__file__)) for module in API} == modules


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_s29_operation_has_a_known_permission_or_is_listed_as_public(each: Operation) -> None:
    assert each.permission in PERMISSIONS if each.permission else each.name in PUBLIC


@pytest.mark.parametrize("named", [{}, {"permission": "site:read", "public": True}])
def test_s29_operation_without_exactly_one_of_both_cannot_be_declared(named: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="must name one permission, or say public=True"):
        operation("GET", "/nothing", **named)(lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", DECLARED_PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_s29_page_has_a_known_permission_or_is_listed_as_for_everybody(page: Page) -> None:
    if page.permission == SIGNED_IN:
        assert (page.method, page.path) in FOR_EVERYBODY
    else:
        assert page.permission in PERMISSIONS


def test_s29_every_page_is_looked_at() -> None:
    modules = {path for path in (ROOT / "core/src/hosthold").glob("*/*pages.py") if "PAGES = " in path.read_text()}
    assert {Path(str(module.__file__)) for module in PAGES} == modules


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_permission_is_asked_for_somewhere(permission: str) -> None:
    sources = (ROOT / "core/src/hosthold").rglob("*.py")
    texts = [source.read_text() for source in sources if source.name != "permission.py"]
    assert any(f'"{permission}"' in text for text in texts)


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_operation_says_what_it_does(each: Operation) -> None:
    assert each.summary.endswith(".")
