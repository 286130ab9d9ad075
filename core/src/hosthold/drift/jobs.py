"""What the worker does about drift: adopt and repair on request, and look at what the loop leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosthold.db.unit_of_work import Database
from hosthold.drift.orders import adopt, repair_node
from hosthold.drift.service import ADOPT, REPAIR_NODE
from hosthold.reconcile.kind import NodeClient
from hosthold.types.resource import Seen
from hosthold.work.operations import Handler, Run


def operation_handlers(database: Database, nodes: NodeClient) -> Mapping[str, Handler]:
    """What can be done about drift once, on request. Sites are repaired by the sites' own operation."""

    def adopt_edits(run: Run) -> Mapping[str, Any]:
        keep = [Seen.model_validate(each) for each in run.operation.parameters["keep"]]
        run.step("adopt", lambda: adopt(database, nodes, run.operation.subject, keep), is_repeatable=True)
        return {}

    def repair_a_node(run: Run) -> Mapping[str, Any]:
        run.step("repair", lambda: repair_node(database, nodes, run.operation.subject), is_repeatable=True)
        return {}

    return {ADOPT: adopt_edits, REPAIR_NODE: repair_a_node}
