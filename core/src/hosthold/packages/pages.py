"""The panel's page of packages."""

from __future__ import annotations

from starlette.responses import Response

from hosthold.packages import service
from hosthold.packages.service import PackageView
from hosthold.panel.page import Pages, Visit

PAGES = Pages()
PAGE_SIZE = 25


@PAGES.get("/packages", permission="package:read")
def list_packages(visit: Visit) -> Response:
    """The packages that the visitor may sell or has bought."""
    cursor = visit.cursor
    with visit.read() as uow:
        rows, next_cursor = service.page(uow, visit.actor, PAGE_SIZE, cursor)
    return visit.show(
        "packages/list.html", packages=[PackageView.of(row) for row in rows], cursor=cursor, next_cursor=next_cursor
    )
