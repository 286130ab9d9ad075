"""Nodes over HTTP. They belong to the provider: nobody else has the permission to see them."""

from __future__ import annotations

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.nodes import service
from hosthold.nodes.service import NodeView
from hosthold.types.actor import Actor
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest


@operation("GET", "/nodes", permission="node:read")
def list_nodes(page: PageRequest, actor: Actor, uow: UnitOfWork) -> Page[NodeView]:
    """List the machines that hold sites, newest first."""
    rows, next_key = service.page(uow, actor, page.limit, page.cursor)
    return Page([NodeView.of(row) for row in rows], next_key)
