"""The panel's page of nodes."""

from __future__ import annotations

from starlette.responses import Response

from hosthold.nodes import service
from hosthold.nodes.service import NodeView
from hosthold.panel.page import Pages, Visit
from hosthold.sites.runtimes import support_of

PAGES = Pages()
PAGE_SIZE = 25


@PAGES.get("/nodes", permission="node:read")
def list_nodes(visit: Visit) -> Response:
    """The machines that hold sites, with what is wrong with them."""
    cursor = visit.cursor
    with visit.read() as uow:
        rows, next_cursor = service.page(uow, visit.actor, PAGE_SIZE, cursor)
        views = [NodeView.of(row) for row in rows]
        supports = {
            (driver, version): support_of(uow, driver, version)
            for view in views
            for driver, versions in view.runtimes.items()
            for version in versions
        }
    return visit.show("nodes/list.html", nodes=views, supports=supports, cursor=cursor, next_cursor=next_cursor)
