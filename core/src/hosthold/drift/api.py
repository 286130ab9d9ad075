"""Drift over HTTP: what was changed by hand, to be adopted or repaired."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift import service
from hosthold.drift.service import AdoptDraft, DriftState, DriftView
from hosthold.nodes import service as nodes
from hosthold.sites import service as sites
from hosthold.types.actor import Actor
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest
from hosthold.work.api import OperationView


@operation("GET", "/drift", permission="drift:read")
def list_drift(
    page: PageRequest,
    actor: Actor,
    uow: UnitOfWork,
    state: Literal["any", "found", "kept", "mended"] = "any",
    contains: Annotated[str, StringConstraints(max_length=200)] = "",
) -> Page[DriftView]:
    """List sites and nodes that somebody changed by hand, newest first, with the differences.

    `state` keeps those that wait for a decision (`found`), were adopted (`kept`) or made again (`mended`).
    """
    rows, next_key = service.page(
        uow, actor, None if state == "any" else DriftState(state), contains, page.limit, page.cursor
    )
    return Page([DriftView.of(row) for row in rows], next_key)


@operation("POST", "/sites/{site_id}/adopt", permission="site:adopt", status=202, location="/operations/{id}")
def adopt_site(site_id: Identifier, body: AdoptDraft, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Keep files that were edited by hand as they are, until their declaration changes or the site is repaired."""
    subject = sites.subject_of(sites.get(uow, actor, site_id))
    return OperationView.of(service.request_adopt(uow, actor, subject, body.seen, new_identifier()))


@operation("POST", "/nodes/{node_id}/adopt", permission="node:adopt", status=202, location="/operations/{id}")
def adopt_node(node_id: Identifier, body: AdoptDraft, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Keep files of a node that were edited by hand as they are, until their declaration changes or it is repaired."""
    subject = f"node:{nodes.get(uow, actor, node_id).name}"
    return OperationView.of(service.request_adopt(uow, actor, subject, body.seen, new_identifier()))


@operation("POST", "/nodes/{node_id}/repair", permission="node:repair", status=202, location="/operations/{id}")
def repair_node(node_id: Identifier, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Overwrite what was edited by hand of a node's own files with what is declared."""
    subject = f"node:{nodes.get(uow, actor, node_id).name}"
    return OperationView.of(service.request_repair_node(uow, actor, subject, new_identifier()))
