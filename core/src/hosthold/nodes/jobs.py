"""What the worker does for nodes: bring them to the state in which they can take sites, and learn what they have."""

from __future__ import annotations

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift import service as drift
from hosthold.nodes.models import NodeRow
from hosthold.nodes.rendering import render_node
from hosthold.nodes.service import node_of
from hosthold.plugins.manager import PluginRegistry
from hosthold.reconcile.kind import Claim
from hosthold.types.node import Node
from hosthold.types.resource import Desired, Outcome
from hosthold.types.site import Phase


class NodeKind:
    """How the loop reconciles nodes."""

    name = "node"
    model = NodeRow

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry

    def read(self, _uow: UnitOfWork, row: NodeRow) -> tuple[str, str, Node]:
        """See `Kind`."""
        return f"node:{row.name}", row.name, node_of(row)

    def render(self, claim: Claim[Node]) -> Desired:
        """See `Kind`."""
        desired = render_node(self._registry, claim.value, claim.generation, claim.fence)
        return desired.model_copy(update={"resources": ()}) if claim.deleting else desired

    def settled(self, uow: UnitOfWork, row: NodeRow, claim: Claim[Node], outcome: Outcome, previous: Phase) -> None:
        """See `Kind`."""
        drift.note_applied(uow, claim.subject, row.name, "", outcome)
        if outcome.facts:
            row.facts = {driver: list(versions) for driver, versions in outcome.facts.items()}

    def removed(self, uow: UnitOfWork, row: NodeRow, claim: Claim[Node]) -> None:
        """See `Kind`."""
        drift.forget(uow, claim.subject)
        uow.session.delete(row)
