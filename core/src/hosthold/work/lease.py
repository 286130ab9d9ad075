"""Leases on rows of work: whoever holds one works on the row, and only the holder of the newest fence may settle it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from sqlalchemy import ColumnElement, and_, inspect, or_

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.reconcile.retry import LONGEST_PAUSE_MS
from hosthold.work.models import DeliveryRow, OperationRow, ScheduleRow

LEASE_MS = 60_000
"""How long a row stays taken after its worker was last heard of; a living worker renews it three times as often."""

Row = TypeVar("Row", DeliveryRow, OperationRow, ScheduleRow)

log = structlog.get_logger()


def is_free(model: Any, now: int) -> ColumnElement[bool]:
    """Whether a row is due and nobody holds it.

    No pause and no lease is ever given for longer than its limit: one that ends much later was written before the
    clock was set back, and counts as over.
    """
    return and_(
        or_(model.due_at <= now, model.due_at > now + 2 * LONGEST_PAUSE_MS),
        or_(model.lease_until <= now, model.lease_until > now + 2 * LEASE_MS),
    )


def take(row: DeliveryRow | OperationRow | ScheduleRow, now: int) -> None:
    """Lease a row that is free, inside the transaction that found it so."""
    if row.lease_until:
        log.warning("lease ran out", table=row.__tablename__, key=_identity(row), fence=row.fence)
    row.lease_until = now + LEASE_MS
    row.fence += 1


def held(uow: UnitOfWork, claim: Row) -> Row | None:
    """The row of a claim, locked, unless somebody else has taken it since."""
    row = uow.session.get(type(claim), _identity(claim), with_for_update=True)
    return row if row is not None and row.fence == claim.fence else None


@contextmanager
def kept(database: Database, claims: Sequence[Any]) -> Iterator[None]:
    """Renew leases for as long as the body runs; they end by themselves soon after the process does."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LEASE_MS / 3000):
            try:
                with database.write() as uow:
                    for row in filter(None, (held(uow, claim) for claim in claims)):
                        row.lease_until = uow.clock() + LEASE_MS
            except Exception as error:  # the database is away; if a lease runs out, the fence protects the row
                log.warning("lease not renewed", table=claims[0].__tablename__, cause=type(error).__name__)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _identity(row: Any) -> Any:
    return inspect(row).identity
