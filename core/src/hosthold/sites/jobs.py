"""What the worker does for sites: reconcile them, plan them, restart their runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.drift import service as drift
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import node_of
from hosthold.plugins.manager import PluginRegistry
from hosthold.reconcile.kind import Claim, NodeClient
from hosthold.sites.logs import read_log
from hosthold.sites.models import DomainNameRow, SiteRow, SiteUsageRow
from hosthold.sites.planning import PLAN, REPAIR, RESTART, plan, repair, restart
from hosthold.sites.rendering import render_removal, render_site
from hosthold.sites.service import snapshot, subject_of
from hosthold.types.actor import Actor
from hosthold.types.node import Node
from hosthold.types.resource import Desired, LogRequest, Outcome
from hosthold.types.site import Phase, Site
from hosthold.work.operations import READ_LOG, Handler, Run
from hosthold.work.outbox import CHANGED, announce

SiteOnNode = tuple[Site, Node]


class SiteKind:
    """How the loop reconciles sites."""

    name = "site"
    model = SiteRow

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry

    def read(self, uow: UnitOfWork, row: SiteRow) -> tuple[str, str, SiteOnNode]:
        """See `Kind`."""
        nodes: dict[str, Node] = uow.session.info.setdefault("nodes", {})  # a batch asks for the same one each time
        if row.node_id not in nodes:
            nodes[row.node_id] = node_of(uow.session.get_one(NodeRow, row.node_id))
        node = nodes[row.node_id]
        return subject_of(row), node.name, (snapshot(row), node)

    def render(self, claim: Claim[SiteOnNode]) -> Desired:
        """See `Kind`."""
        site, node = claim.value
        if claim.deleting:
            return render_removal(site, claim.fence)
        return render_site(self._registry, site, node, claim.fence)

    def settled(
        self, uow: UnitOfWork, row: SiteRow, claim: Claim[SiteOnNode], outcome: Outcome, previous: Phase
    ) -> None:
        """See `Kind`."""
        drift.note_applied(uow, claim.subject, row.domains[0], row.account_path, outcome)
        site = _told(claim.value[0])
        if row.phase == Phase.ready:
            row.last_announced_reason = ""
            if previous != Phase.ready:
                announce(uow, "on_site_ready", claim.subject, row.account_path, {"site": site})
        elif row.phase == Phase.failed and outcome.condition is not None:
            if row.last_announced_reason != outcome.condition.reason:
                announce(
                    uow,
                    "on_site_failed",
                    claim.subject,
                    row.account_path,
                    {"site": site, "condition": outcome.condition.model_dump(mode="json")},
                )
            row.last_announced_reason = outcome.condition.reason

    def removed(self, uow: UnitOfWork, row: SiteRow, claim: Claim[SiteOnNode]) -> None:
        """See `Kind`: the names become free; the Unix number stays used for ever, for the counter never goes back."""
        announce(uow, "on_site_deleted", claim.subject, row.account_path, {"site": _told(claim.value[0])})
        announce(uow, CHANGED, claim.subject, row.account_path, {"phase": "deleted", "generation": row.generation})
        drift.forget(uow, claim.subject)
        uow.session.execute(delete(DomainNameRow).where(DomainNameRow.site_id == row.id))
        uow.session.execute(delete(SiteUsageRow).where(SiteUsageRow.site_id == row.id))
        uow.session.delete(row)


def operation_handlers(database: Database, nodes: NodeClient) -> Mapping[str, Handler]:
    """What can be done to a site once, on request: see its plan, repair it, restart what runs its code."""

    def plan_site(run: Run) -> Mapping[str, Any]:
        view = plan(database, nodes, _requester(run), run.operation.subject.removeprefix("site:"))
        return view.model_dump(mode="json")

    def repair_site(run: Run) -> Mapping[str, Any]:
        run.step(
            "repair",
            lambda: repair(database, nodes, _requester(run), run.operation.subject.removeprefix("site:")),
            is_repeatable=True,
        )
        return {}

    def restart_runtime(run: Run) -> Mapping[str, Any]:
        run.step(
            "restart",
            lambda: restart(database, nodes, _requester(run), run.operation.subject.removeprefix("site:")),
            is_repeatable=True,
        )
        return {}

    def read_lines(run: Run) -> Mapping[str, Any]:
        wanted = LogRequest.model_validate(dict(run.operation.parameters))
        site_id = run.operation.subject.removeprefix("site:")
        return read_log(database, nodes, _requester(run), site_id, wanted).model_dump(mode="json")

    return {PLAN: plan_site, REPAIR: repair_site, RESTART: restart_runtime, READ_LOG: read_lines}


def _told(site: Site) -> dict[str, Any]:
    """A site as events have it, which many may read: without hashes of passwords."""
    return site.model_dump(mode="json", exclude={"web": {"basic_auth"}})


def _requester(run: Run) -> Actor:
    operation = run.operation
    account_id = operation.account_path.rstrip("/").rsplit("/", 1)[-1]
    return Actor(
        label=operation.requested_by,
        account_id=account_id,
        account_path=operation.account_path,
        permissions=frozenset(),
    )
