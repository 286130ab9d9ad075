"""Reading a site's logs on its node."""

from __future__ import annotations

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import DriverError
from hosthold.reconcile.kind import NodeClient
from hosthold.sites.planning import read_with_node, send
from hosthold.sites.service import get, subject_of
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import Desired, LogPage, LogRequest, OrderAction
from hosthold.work.models import OperationRow
from hosthold.work.operations import READ_LOG, request


def request_log(uow: UnitOfWork, actor: Actor, site_id: str, wanted: LogRequest) -> OperationRow:
    """Ask for lines of a log; the operation's result is a `LogPage`. Raises `NotFound` as `get` does."""
    row = get(uow, actor, site_id)
    parameters = wanted.model_dump(mode="json")
    return request(uow, actor, READ_LOG, subject_of(row), row.account_path, parameters, new_identifier())


def read_log(database: Database, nodes: NodeClient, actor: Actor, site_id: str, wanted: LogRequest) -> LogPage:
    """The lines, from the site's node. Raises `NotFound`, and `DriverError` if the node does not answer."""
    row, node = read_with_node(database, actor, site_id)
    desired = Desired(subject=subject_of(row), label=row.domains[0], generation=row.generation, fence=row.fence)
    outcome = send(database, nodes, node, OrderAction.read_log, desired, log=wanted)
    if outcome.condition is not None or outcome.log is None:
        refused = outcome.condition
        raise DriverError(
            refused.message if refused else "The node sent no log.",
            hint=refused.hint if refused else "Run the same version of Hosthold on the node and on the platform.",
        )
    return outcome.log
