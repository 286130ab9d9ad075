"""What the worker does for nodes: bring them to the state in which they can take sites, and learn what they have."""

from __future__ import annotations

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drivers.webserver import WebServerDriver
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import node_of
from hosthold.plugins.calls import on_behalf_of
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
        node = claim.value
        with on_behalf_of(claim.subject):
            driver = self._registry.driver("webserver", node.webserver)
            assert isinstance(driver, WebServerDriver)
            rendered = driver.render_node(node)
        return Desired(
            subject=claim.subject,
            label=node.name,
            generation=claim.generation,
            fence=claim.fence,
            resources=() if claim.deleting else rendered.resources,
            probes=rendered.probes,
        )

    def settled(self, uow: UnitOfWork, row: NodeRow, claim: Claim[Node], outcome: Outcome, previous: Phase) -> None:
        """See `Kind`."""
        if outcome.facts:
            row.facts = {driver: list(versions) for driver, versions in outcome.facts.items()}

    def removed(self, uow: UnitOfWork, row: NodeRow, claim: Claim[Node]) -> None:
        """See `Kind`."""
        uow.session.delete(row)
