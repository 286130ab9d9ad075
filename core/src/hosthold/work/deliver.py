"""Delivering events to plugins: durably, at least once, to each plugin separately, outside of any transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import delete, exists, select, update

from hosthold.db.unit_of_work import Database
from hosthold.hookspecs import MODULES
from hosthold.plugins.manager import PluginRegistry
from hosthold.reconcile.retry import pause_ms
from hosthold.types.event import Event
from hosthold.types.identifier import new_identifier
from hosthold.types.site import Condition, Site
from hosthold.work.failure import describe
from hosthold.work.lease import held, is_free, kept, take
from hosthold.work.models import DeliveryRow, EventRow

ARGUMENTS: dict[str, type[BaseModel]] = {"site": Site, "condition": Condition}
"""The values that an event's payload may hold, by the name of the hook's argument. Every hook also gets its `event`."""
HOOKS = tuple(sorted(name for module in MODULES for name in vars(module) if name.startswith("on_")))
MAX_ATTEMPTS = 20
"""With pauses of ten minutes at most, a plugin has about two hours to recover."""
KEPT = timedelta(days=30)

PENDING, DONE, PARKED, ABSENT = "pending", "done", "parked", "absent"

_BATCH = 200

log = structlog.get_logger()


class Deliverer:
    """Hands events on. Several workers may run it at the same time."""

    def __init__(self, database: Database, registry: PluginRegistry, random: Random | None = None) -> None:
        self._database = database
        self._registry = registry
        self._random = random or Random()

    def run(self) -> int:
        """Make out deliveries for new events, make every delivery that is due, and say how many were tried."""
        self._make_out()
        tried = 0
        while (claim := self._claim()) is not None:
            self._deliver(*claim)
            tried += 1
        return tried

    def readmit(self) -> None:
        """Make deliveries due again whose plugin was missing and is back. Plugins come and go only with a restart."""
        with self._database.write() as uow:
            for hook in HOOKS:
                events = select(EventRow.id).where(EventRow.name == hook)
                uow.session.execute(
                    update(DeliveryRow)
                    .where(
                        DeliveryRow.state == ABSENT,
                        DeliveryRow.event_id.in_(events),
                        DeliveryRow.plugin.in_(self._registry.implementing(hook)),
                    )
                    .values(state=PENDING, due_at=uow.clock(), attempts=0, last_error="")
                    .execution_options(synchronize_session=False)
                )

    def prune(self) -> None:
        """Remove deliveries that were made, and events that nobody waits for, once they are 30 days old."""
        while True:
            with self._database.write() as uow:
                oldest = uow.clock() - KEPT // timedelta(milliseconds=1)
                waiting = exists().where(DeliveryRow.event_id == EventRow.id, DeliveryRow.state != DONE)
                events = list(
                    uow.session.scalars(
                        select(EventRow.id).where(EventRow.at < oldest, EventRow.is_dispatched, ~waiting).limit(_BATCH)
                    )
                )
                if not events:
                    return
                uow.session.execute(delete(DeliveryRow).where(DeliveryRow.event_id.in_(events)))
                uow.session.execute(delete(EventRow).where(EventRow.id.in_(events)))
            log.info("events pruned", count=len(events))

    def _make_out(self) -> None:
        undispatched = select(EventRow).where(EventRow.is_dispatched.is_(False), EventRow.name.in_(HOOKS))
        while True:
            with self._database.read() as uow:
                if uow.session.scalar(undispatched.with_only_columns(EventRow.id).limit(1)) is None:
                    return
            with self._database.write() as uow:
                query = undispatched.order_by(EventRow.sequence).limit(_BATCH).with_for_update(skip_locked=True)
                for event in uow.session.scalars(query):
                    event.is_dispatched = True
                    for plugin in self._registry.implementing(event.name):
                        uow.session.add(
                            DeliveryRow(
                                id=new_identifier(), event_id=event.id, plugin=plugin, state=PENDING, due_at=uow.clock()
                            )
                        )

    def _claim(self) -> tuple[DeliveryRow, EventRow] | None:
        with self._database.read() as uow:
            due = select(DeliveryRow).where(DeliveryRow.state == PENDING, is_free(DeliveryRow, uow.clock()))
            if uow.session.scalar(due.with_only_columns(DeliveryRow.id).limit(1)) is None:
                return None
        with self._database.write() as uow:
            row = uow.session.scalar(due.order_by(DeliveryRow.due_at).limit(1).with_for_update(skip_locked=True))
            if row is None:
                return None
            take(row, uow.clock())
            row.attempts += 1
            return row, uow.session.scalars(select(EventRow).where(EventRow.id == row.event_id)).one()

    def _deliver(self, claim: DeliveryRow, event: EventRow) -> None:
        if claim.plugin not in self._registry.implementing(event.name):
            self._settle(
                claim,
                event,
                ABSENT,
                f"The plugin {claim.plugin} is not here, or no longer listens to "
                f"{event.name}. Install and enable it, and restart the worker; then this is delivered.",
            )
            return
        try:
            with kept(self._database, claim):
                self._registry.call_plugin(claim.plugin, event.name, **arguments(event))
        except Exception as error:
            self._settle(claim, event, PENDING if claim.attempts < MAX_ATTEMPTS else PARKED, describe(error))
        else:
            self._settle(claim, event, DONE, "")

    def _settle(self, claim: DeliveryRow, event: EventRow, state: str, error: str) -> None:
        with self._database.write() as uow:
            row = held(uow, claim)
            if row is None:
                return
            row.state = state
            row.last_error = error
            row.lease_until = 0
            row.due_at = uow.clock() + pause_ms(claim.attempts, self._random) if state == PENDING else None
        (log.info if state == DONE else log.warning)(
            "event delivered" if state == DONE else "event not delivered",
            hook=event.name,
            subject=event.subject,
            plugin=claim.plugin,
            state=state,
            attempt=claim.attempts,
            cause=error or None,
        )


def arguments(event: EventRow) -> dict[str, Any]:
    """The arguments of an event's hook as frozen values. Raises `ValueError` or `KeyError` for another payload."""
    at = datetime.fromtimestamp(event.at / 1000, UTC)
    values = {name: ARGUMENTS[name].model_validate(value) for name, value in event.payload.items()}
    return {**values, "event": Event(id=event.id, at=at)}
