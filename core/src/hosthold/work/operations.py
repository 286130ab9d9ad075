"""Operations: acts that are done once. The request is a row, each step is recorded before it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import Conflict, DriverError, HostholdError
from hosthold.reconcile.retry import pause_ms
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.site import Condition
from hosthold.work.failure import describe
from hosthold.work.lease import LEASE_MS, held, is_free, kept, take
from hosthold.work.models import OperationRow
from hosthold.work.outbox import CHANGED, announce

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
STARTED, FINISHED = "started", "finished"
MAX_ATTEMPTS = 10
READ_LOG = "read_log"
"""Asked for every other second by whoever follows a log: nobody is told of it, and who asked removes it."""
LOG_KEPT = timedelta(minutes=10)
KEPT = timedelta(days=30)
"""How long one can read what became of an operation."""

log = structlog.get_logger()


class Interrupted(HostholdError):
    """A step that must not run twice was begun earlier and never finished: nobody knows whether it happened."""


class LeaseLost(HostholdError):
    """Another worker has taken the operation over; this one must do nothing more of it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What was asked for, by whom, about what."""

    id: str
    kind: str
    subject: str
    account_path: str
    parameters: Mapping[str, Any]
    requested_by: str


class Run:
    """One attempt at an operation, as its handler sees it. `fence` grows with each attempt."""

    def __init__(self, database: Database, claim: OperationRow) -> None:
        self._database = database
        self._claim = claim
        self.fence = claim.fence
        self.operation = Operation(
            claim.id, claim.kind, claim.subject, claim.account_path, claim.parameters, claim.requested_by
        )
        self.may_have_acted = False
        """Whether the last step was begun, did not finish, and must not run twice."""

    def step(self, name: str, act: Callable[[], Any], *, is_repeatable: bool) -> Any:
        """Do one step and give its result, a JSON value; a step that finished in an earlier attempt is not done again.

        Its start is on record before `act` runs. If the worker dies inside, a repeatable step is done again, and any
        other ends the operation: a person must look. `act` runs outside of any transaction.
        """
        recorded = next((step for step in self._claim.steps if step["name"] == name), None)
        if recorded is not None and recorded["state"] == FINISHED:
            return recorded["result"]
        if recorded is not None and not is_repeatable:
            raise Interrupted(
                f"The worker stopped in the step {name!r}; whether that took effect is unknown.",
                hint="Look whether it did. If not, ask for it again with a new idempotency key.",
            )
        self._record(name, STARTED, None)
        self.may_have_acted = not is_repeatable
        result = act()
        self._record(name, FINISHED, result)
        self.may_have_acted = False
        return result

    def _record(self, name: str, state: str, result: Any) -> None:
        with self._database.write() as uow:
            row = held(uow, self._claim)
            if row is None:
                raise LeaseLost(f"Another worker has taken over before the step {name!r} was {state}.")
            others = [step for step in row.steps if step["name"] != name]
            row.steps = [*others, {"name": name, "state": state, "at": uow.clock(), "result": result}]
            row.lease_until = uow.clock() + LEASE_MS
        self._claim.steps = row.steps


Handler = Callable[[Run], Mapping[str, Any] | None]
"""Carries out operations of one kind, all effects inside steps. Returns the result to keep, as JSON values."""


def request(
    uow: UnitOfWork,
    actor: Actor,
    kind: str,
    subject: str,
    account_path: str,
    parameters: Mapping[str, Any],
    idempotency_key: str,
) -> OperationRow:
    """Ask for an act; the worker begins once this is committed. The same key in the same account gives the same row.

    Raises `Conflict` if the key was used in this account for something else.
    """
    key = hashlib.sha256(f"{account_path}\0{idempotency_key}".encode()).hexdigest()
    row = OperationRow(
        id=new_identifier(),
        kind=kind,
        idempotency_key=key,
        subject=subject,
        account_path=account_path,
        parameters=dict(parameters),
        state=PENDING,
        steps=[],
        result={},
        due_at=uow.clock(),
        requested_by=actor.label,
        created_at=uow.clock(),
    )
    known = select(OperationRow).where(OperationRow.idempotency_key == key)
    existing = uow.session.scalar(known)
    if existing is None:
        try:
            with uow.session.begin_nested():
                uow.session.add(row)
        except IntegrityError:  # somebody else asked with this key at the same moment
            existing = uow.session.scalars(known).one()
    if existing is None:
        uow.ring("operation", row.id)
        return row
    if (existing.kind, existing.subject, existing.parameters) != (kind, subject, row.parameters):
        raise Conflict(
            "This idempotency key was used for another request; nothing was begun.",
            hint="Use a new key for a new request.",
        )
    return existing


def forget(uow: UnitOfWork, operation_id: str) -> None:
    """Forget an operation whose result nobody needs any more."""
    uow.session.execute(delete(OperationRow).where(OperationRow.id == operation_id))


def prune(uow: UnitOfWork) -> int:
    """Forget operations that were settled 30 days ago, and logs sooner; how many there were."""
    settled = delete(OperationRow).where(OperationRow.due_at.is_(None))
    old = OperationRow.created_at < uow.clock() - KEPT // timedelta(milliseconds=1)
    read = OperationRow.created_at < uow.clock() - LOG_KEPT // timedelta(milliseconds=1)
    return uow.connection.execute(settled.where(old | ((OperationRow.kind == READ_LOG) & read))).rowcount


class Operations:
    """Carries out what was requested. Several workers may run it at once; a kind without handler is left alone."""

    def __init__(self, database: Database, handlers: Mapping[str, Handler], random: Random | None = None) -> None:
        self._database = database
        self._handlers = handlers
        self._random = random or Random()

    def run(self) -> int:
        """Carry out every operation that is due, and say how many were tried."""
        tried = 0
        while (claim := self._claim()) is not None:
            self._carry_out(claim)
            tried += 1
        return tried

    def _claim(self) -> OperationRow | None:
        with self._database.read() as uow:
            due = select(OperationRow).where(
                OperationRow.due_at.is_not(None),
                OperationRow.kind.in_(self._handlers),
                is_free(OperationRow, uow.clock()),
            )
            if uow.session.scalar(due.with_only_columns(OperationRow.id).limit(1)) is None:
                return None
        with self._database.write() as uow:
            row = uow.session.scalar(due.order_by(OperationRow.due_at).limit(1).with_for_update(skip_locked=True))
            if row is not None:
                take(row, uow.clock())
                row.attempts += 1
                row.state = RUNNING
                _announce(uow, row)
            return row

    def _carry_out(self, claim: OperationRow) -> None:
        run = Run(self._database, claim)
        try:
            if claim.attempts > MAX_ATTEMPTS:
                raise Interrupted(
                    "Each worker that began this operation stopped in the middle of it.",
                    hint="Look into the workers' logs for the cause, then ask for it again.",
                )
            with kept(self._database, [claim]):
                result = self._handlers[claim.kind](run)
        except LeaseLost as error:
            log.warning("operation taken over", operation=claim.id, kind=claim.kind, cause=error.detail)
        except Exception as error:
            self._settle_failure(run, claim, error)
        else:
            self._settle(claim, DONE, error="", result=result or {})

    def _settle_failure(self, run: Run, claim: OperationRow, error: Exception) -> None:
        is_transient = isinstance(error, DriverError) and not error.is_permanent
        if is_transient and not run.may_have_acted and claim.attempts < MAX_ATTEMPTS:
            self._settle(claim, PENDING, error=describe(error), result={})
            return
        reason = error.reason if isinstance(error, DriverError) else type(error).__name__
        hint = error.hint if isinstance(error, HostholdError) else "This is a fault of the platform; report it."
        if run.may_have_acted:
            hint = f"{hint} Look whether it took effect before you ask for it again.".strip()
        condition = Condition(reason=reason, message=describe(error), hint=hint, is_permanent=True)
        self._settle(claim, FAILED, error=describe(error), result={"condition": condition.model_dump(mode="json")})

    def _settle(self, claim: OperationRow, state: str, *, error: str, result: Mapping[str, Any]) -> None:
        with self._database.write() as uow:
            row = held(uow, claim)
            if row is None:
                return
            row.state = state
            row.last_error = error
            row.result = dict(result)
            row.lease_until = 0
            row.due_at = uow.clock() + pause_ms(claim.attempts, self._random) if state == PENDING else None
            _announce(uow, row)
        if row.kind == READ_LOG and not error:
            return
        (log.warning if error else log.info)(
            "operation settled",
            operation=claim.id,
            kind=claim.kind,
            state=state,
            subject=claim.subject,
            attempt=claim.attempts,
            cause=error or None,
        )


def _announce(uow: UnitOfWork, row: OperationRow) -> None:
    if row.kind != READ_LOG:
        payload = {"operation": row.id, "kind": row.kind, "state": row.state}
        announce(uow, CHANGED, row.subject, row.account_path, payload)
