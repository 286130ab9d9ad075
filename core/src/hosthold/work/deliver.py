"""Delivering events to plugins: durably, at least once, to each plugin separately, outside of any transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import delete, exists, select, update

from hosthold.db.unit_of_work import Database, UnitOfWork
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
_AT_ONCE = 50
"""Deliveries that share their claim and their end: a worker that dies among them makes all of these again."""

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
        while claims := self._claim():
            self._deliver(claims)
            tried += len(claims)
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

    def _claim(self) -> list[tuple[DeliveryRow, EventRow]]:
        """Deliveries that are due, all for one plugin: a plugin that takes long holds up its own alone."""
        with self._database.read() as uow:
            due = select(DeliveryRow).where(DeliveryRow.state == PENDING, is_free(DeliveryRow, uow.clock()))
            plugin = uow.session.scalar(due.with_only_columns(DeliveryRow.plugin).order_by(DeliveryRow.due_at).limit(1))
            if plugin is None:
                return []
        with self._database.write() as uow:
            query = due.where(DeliveryRow.plugin == plugin).order_by(DeliveryRow.due_at).limit(_AT_ONCE)
            rows = list(uow.session.scalars(query.with_for_update(skip_locked=True)))
            for row in rows:
                take(row, uow.clock())
                row.attempts += 1
            wanted = select(EventRow).where(EventRow.id.in_([row.event_id for row in rows]))
            events = {event.id: event for event in uow.session.scalars(wanted)}
            return [(row, events[row.event_id]) for row in rows]

    def _deliver(self, claims: list[tuple[DeliveryRow, EventRow]]) -> None:
        """Hand each event to its plugin; what became of all is written down together."""
        with kept(self._database, [delivery for delivery, _ in claims]):
            found = [(delivery, event, *self._told(delivery, event)) for delivery, event in claims]
        with self._database.write() as uow:
            settled = [each for each in found if self._settle(uow, each[0], *each[2:])]
        for delivery, event, state, error in settled:
            self._log(delivery, event, state, error)

    def _told(self, delivery: DeliveryRow, event: EventRow) -> tuple[str, str]:
        """Tell the plugin; the state that the delivery has then, and what went wrong."""
        if delivery.plugin not in self._registry.implementing(event.name):
            return ABSENT, (
                f"The plugin {delivery.plugin} is not here, or no longer listens to "
                f"{event.name}. Install and enable it, and restart the worker; then this is delivered."
            )
        try:
            self._registry.call_plugin(delivery.plugin, event.name, **arguments(event))
        except Exception as error:
            return PENDING if delivery.attempts < MAX_ATTEMPTS else PARKED, describe(error)
        return DONE, ""

    def _settle(self, uow: UnitOfWork, claim: DeliveryRow, state: str, error: str) -> bool:
        """Whether the delivery was still ours to settle."""
        row = held(uow, claim)
        if row is None:
            return False
        row.state = state
        row.last_error = error
        row.lease_until = 0
        row.due_at = uow.clock() + pause_ms(claim.attempts, self._random) if state == PENDING else None
        return True

    @staticmethod
    def _log(claim: DeliveryRow, event: EventRow, state: str, error: str) -> None:
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
