"""The core's own periodic jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.drift import service as drift
from hosthold.drift.orders import look_at_parked
from hosthold.reconcile.kind import NodeClient
from hosthold.sites import usage
from hosthold.types.extension import Job
from hosthold.web.idempotency import prune as prune_idempotency_keys
from hosthold.work.deliver import Deliverer
from hosthold.work.operations import prune as prune_operations


def core_jobs(database: Database, nodes: NodeClient) -> tuple[Job, ...]:
    """What the worker does at a pace of its own, besides reconciling."""

    def in_a_transaction(act: Callable[[UnitOfWork], int]) -> Callable[[], None]:
        def run() -> None:
            with database.write() as uow:
                act(uow)

        return run

    return (
        Job("prune_idempotency_keys", timedelta(hours=1), in_a_transaction(prune_idempotency_keys)),
        Job("prune_operations", timedelta(hours=1), in_a_transaction(prune_operations)),
        Job("measure_sites", usage.EVERY, lambda: usage.measure_all(database, nodes)),
        Job(
            "look_at_parked",
            timedelta(seconds=database.settings.drift.look_seconds),
            lambda: look_at_parked(database, nodes),
        ),
        Job("prune_drift", timedelta(hours=1), in_a_transaction(drift.prune)),
        Job("prune_events", timedelta(hours=1), Deliverer(database, database.registry).prune),
    )
