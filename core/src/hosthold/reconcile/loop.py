"""The one loop: claim what is due, render it, have its node apply it, settle what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

import structlog
from sqlalchemy import select

from hosthold.db.repeat import repeated
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import DriverError, HostholdError, Interrupted, QueueError, Unavailable
from hosthold.reconcile.kind import Claim, Kind, NodeClient
from hosthold.reconcile.retry import look_at_ms, pause_ms
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import Desired, NodeOrder, OrderAction, Outcome
from hosthold.types.site import Condition, Phase
from hosthold.work.lease import is_free
from hosthold.work.outbox import CHANGED, announce

log = structlog.get_logger()

LEASE_MS = 30_000
"""How long a claim keeps other workers away. It is longer than a node may take to answer; a later claim is safe all the
same, for its fence is higher and the node refuses the older order."""
ORDER_LIFETIME = timedelta(seconds=25)
BATCH = 200
"""Rows claimed at once: they share one order, one commit on the node, one reload."""
FIRST_BATCH = 50
"""Rows of the first order, which idle nodes wait for: the next one is made ready meanwhile."""
DRIFTED = "Drifted"
_KEEPS_READY = (DRIFTED, Unavailable.reason, "NoAnswer")
"""Findings of a mere look at what is as declared that do not tell that it stopped being so."""
_UNREADABLE = Condition(
    reason="DeclarationInvalid",
    message="What is stored of this declaration breaks a rule of this version. Nothing was changed.",
    hint="Declare it anew with other values. The worker's log names what cannot be accepted.",
    is_permanent=True,
)


class _Batch(NamedTuple):
    """Claims, the outcomes of those that cannot be rendered, and what is desired of each node."""

    claims: list[Claim[Any]]
    outcomes: dict[str, Outcome]
    orders: dict[str, list[Desired]]


class Loop:
    """Reconciles every kind of noun. Several workers may run it at the same time."""

    def __init__(
        self, database: Database, nodes: NodeClient, kinds: Sequence[Kind[Any]], random: Random | None = None
    ) -> None:
        self._database = database
        self._settings = database.settings.drift
        self._nodes = nodes
        self._kinds = {kind.name: kind for kind in kinds}
        self._random = random or Random()
        self._is_stopping = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The nouns that are reconciled, in the order in which they are looked at."""
        return tuple(self._kinds)

    def stop(self) -> None:
        """Claim nothing more, and wait little longer for nodes; what was ordered and not answered is left as it was."""
        self._is_stopping = True
        self._nodes.give_up()

    def run(self, kind: str) -> int:
        """Work off all rows of this kind that are due now, and say how many there were."""
        first = self._made_ready(kind, FIRST_BATCH)
        if len(first.claims) < FIRST_BATCH:
            return self._work_off(kind, first)
        with ThreadPoolExecutor(1, "loop") as beside:  # while a node works on one batch, the next one is made ready
            others = beside.submit(lambda: self._work_off(kind, self._made_ready(kind)))
            return self._work_off(kind, first) + others.result()

    def _made_ready(self, kind: str, most: int = BATCH) -> _Batch:
        claims = self._claim(self._kinds[kind], most)
        return _Batch(claims, *self._rendered(self._kinds[kind], claims))

    def _work_off(self, kind: str, batch: _Batch) -> int:
        handled = 0
        while batch.claims:
            handled += len(batch.claims)
            outcomes = batch.outcomes | self._sent(batch.orders)
            repeated(partial(self._settle, self._kinds[kind], batch.claims, outcomes))
            batch = self._made_ready(kind)
        return handled

    def _claim(self, kind: Kind[Any], most: int) -> list[Claim[Any]]:
        if self._is_stopping:
            return []
        model = kind.model
        with self._database.read() as uow:
            if uow.session.scalar(self._due(model, uow.clock()).with_only_columns(model.id).limit(1)) is None:
                return []
        with self._database.write() as uow:
            now = uow.clock()
            query = self._due(model, now).order_by(model.due_at).limit(most).with_for_update(skip_locked=True)
            claims = []
            for row in uow.session.scalars(query):
                try:
                    subject, node, value = kind.read(uow, row)
                except ValueError as error:
                    self._park(kind, uow, row, error)
                    continue
                row.lease_until = now + LEASE_MS
                row.fence += 1
                row.attempts += 1
                was_settled = row.phase == Phase.ready and row.observed_generation == row.generation
                claims.append(
                    Claim(
                        id=row.id,
                        subject=subject,
                        generation=row.generation,
                        fence=row.fence,
                        attempts=row.attempts,
                        deleting=row.deleting,
                        was_settled=was_settled,
                        node=node,
                        value=value,
                    )
                )
                if row.phase == Phase.pending:
                    row.phase = Phase.applying
                    self._announce(uow, row, subject)
            return claims

    @staticmethod
    def _due(model: Any, now: int) -> Any:
        return select(model).where(is_free(model, now))

    def _park(self, kind: Kind[Any], uow: UnitOfWork, row: Any, error: ValueError) -> None:
        """Leave a row alone that cannot be read, so that it holds up nobody else, until it is declared anew."""
        subject = f"{kind.name}:{row.id}"
        log.error("row cannot be read", subject=subject, exc_info=error)
        row.phase = Phase.deleting if row.deleting else Phase.failed
        row.conditions = [_UNREADABLE.model_dump(mode="json")]
        row.last_error = _UNREADABLE.message
        row.due_at = None
        self._announce(uow, row, subject)

    def _rendered(
        self, kind: Kind[Any], claims: list[Claim[Any]]
    ) -> tuple[dict[str, Outcome], dict[str, list[Desired]]]:
        """What is desired, by node; and the outcome of each claim that cannot be rendered, by subject."""
        outcomes: dict[str, Outcome] = {}
        orders: dict[str, list[Desired]] = {}
        for claim in claims:
            try:
                desired = kind.render(claim).model_copy(update={"repair": self._settings.repair})
                orders.setdefault(claim.node, []).append(desired)
            except HostholdError as error:
                outcomes[claim.subject] = Outcome(subject=claim.subject, condition=_condition(error))
            except Exception as error:
                log.exception("rendering failed", subject=claim.subject)
                outcomes[claim.subject] = Outcome(subject=claim.subject, condition=_unexpected(error))
        return outcomes, orders

    def _sent(self, orders: dict[str, list[Desired]]) -> dict[str, Outcome]:
        """What became of what was desired, by subject; nothing is said of what was interrupted.

        Nothing but a bug in the loop itself is raised.
        """
        outcomes: dict[str, Outcome] = {}
        if not orders:
            return outcomes
        with ThreadPoolExecutor(len(orders), "order") as senders:  # a node that does not answer holds up no other
            for answered in senders.map(self._send, orders.keys(), orders.values()):
                outcomes.update(answered)
        return outcomes

    def _send(self, node: str, desired: list[Desired]) -> dict[str, Outcome]:
        now = datetime.fromtimestamp(self._database.clock() / 1000, UTC)
        order = NodeOrder(
            id=new_identifier(),
            node=node,
            action=OrderAction.apply,
            desired=tuple(desired),
            issued_at=now,
            expires_at=now + ORDER_LIFETIME,
        )
        try:
            reply = self._nodes.send(order)
        except Interrupted:
            return {}
        except HostholdError as error:
            if isinstance(error, QueueError) and len(desired) > 1:  # too large for one message: one of them, or all
                half = len(desired) // 2
                return {**self._send(node, desired[:half]), **self._send(node, desired[half:])}
            refused = _condition(error)
            return {item.subject: Outcome(subject=item.subject, condition=refused) for item in desired}
        outcomes = {outcome.subject: outcome for outcome in reply.outcomes}
        for item in desired:
            if item.subject not in outcomes:
                missing = reply.condition or Condition(
                    reason="NoAnswer",
                    message=f"The node {node} gave no answer for this.",
                    hint="It is tried again; see the node's log if it stays so.",
                )
                outcomes[item.subject] = Outcome(subject=item.subject, condition=missing)
        return outcomes

    def _settle(self, kind: Kind[Any], claims: list[Claim[Any]], outcomes: dict[str, Outcome]) -> None:
        with self._database.write() as uow:
            by_id = {claim.id: claim for claim in claims}
            query = select(kind.model).where(kind.model.id.in_(by_id)).order_by(kind.model.id).with_for_update()
            for row in uow.session.scalars(query):
                claim = by_id[row.id]
                if row.fence != claim.fence:
                    continue  # the lease ran out and another worker took over: the row is its to settle
                row.lease_until = 0
                if claim.subject not in outcomes:
                    row.attempts -= 1
                    continue
                if row.generation != claim.generation:
                    row.due_at = uow.clock()
                    uow.ring(kind.name, row.id)
                    continue
                self._settle_row(kind, uow, row, claim, outcomes[claim.subject])

    def _settle_row(self, kind: Kind[Any], uow: Any, row: Any, claim: Claim[Any], outcome: Outcome) -> None:
        previous = Phase.ready if claim.was_settled else Phase(row.phase)
        condition = outcome.condition
        keeps_ready = condition is None or (claim.was_settled and condition.reason in _KEEPS_READY)
        if condition is None and claim.deleting:
            kind.removed(uow, row, claim)
            return
        before = (row.phase, row.conditions)
        row.conditions = [condition.model_dump(mode="json")] if condition else []
        row.last_error = condition.message if condition else ""
        if keeps_ready:
            row.phase = Phase.ready
            row.observed_generation = claim.generation
        else:
            row.phase = Phase.deleting if claim.deleting else Phase.failed
        if condition is None or (keeps_ready and condition.is_permanent):
            row.attempts = 0
            now = uow.clock()
            look_at = look_at_ms(now, self._settings.look_seconds * 1000, self._random)
            row.due_at = look_at if outcome.proven_in_ms is None else min(look_at, now + outcome.proven_in_ms)
        else:
            row.due_at = None if condition.is_permanent else uow.clock() + pause_ms(claim.attempts, self._random)
        kind.settled(uow, row, claim, outcome, previous)
        if (row.phase, row.conditions) != before:
            self._announce(uow, row, claim.subject)
        log.info(
            "settled",
            subject=claim.subject,
            phase=row.phase,
            reason=condition.reason if condition else None,
            changes=len(outcome.changes),
            attempt=claim.attempts,
        )

    @staticmethod
    def _announce(uow: Any, row: Any, subject: str) -> None:
        announce(
            uow, CHANGED, subject, getattr(row, "account_path", ""), {"phase": row.phase, "generation": row.generation}
        )


def _condition(error: HostholdError) -> Condition:
    is_permanent = isinstance(error, DriverError) and error.is_permanent
    reason = error.reason if isinstance(error, DriverError) else type(error).__name__
    return Condition(
        reason=reason,
        message=error.detail,
        hint=error.hint or "It is tried again by itself.",
        is_permanent=is_permanent,
    )


def _unexpected(error: Exception) -> Condition:
    return Condition(
        reason="InternalError",
        message=f"An unexpected {type(error).__name__} stopped this. Nothing was changed.",
        hint="It is tried again by itself. The worker's log has the details; report it if it stays.",
    )
