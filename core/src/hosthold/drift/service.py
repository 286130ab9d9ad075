"""What was changed by hand: noting what nodes tell, listing it, and asking for it to be adopted or repaired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2s

from sqlalchemy import ColumnElement, delete, func, or_, select

from hosthold.audit.service import record
from hosthold.db.base import below
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift.models import DriftRow
from hosthold.errors import NotFound, PreconditionFailed, Rejected
from hosthold.reconcile.loop import DRIFTED
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.resource import Change, Outcome, Seen
from hosthold.work.models import OperationRow
from hosthold.work.operations import request

ADOPT = "adopt"
REPAIR_NODE = "repair_node"
MENDED_KEPT = timedelta(days=7)
"""How long one can see that something was made again."""


class DriftState(StrEnum):
    """What became of a change by hand."""

    found = "found"
    """It is as somebody left it, and waits for a decision."""
    kept = "kept"
    """Somebody adopted it."""
    mended = "mended"
    """What was removed was made again without asking."""


class DriftView(Frozen):
    """What somebody changed by hand on a site or node. `seen` names what was found; adopting wants it back."""

    subject: str
    name: str
    state: DriftState
    changes: tuple[Change, ...]
    kept: tuple[Change, ...]
    seen: str
    found_at: Moment

    @classmethod
    def of(cls, row: DriftRow) -> DriftView:
        """The view of a row."""
        return cls(
            subject=row.subject,
            name=row.label,
            state=DriftState(row.state),
            changes=changes_of(row.changes),
            kept=changes_of(row.kept),
            seen=row.mark,
            found_at=moment(row.found_at),
        )


class AdoptDraft(Frozen):
    """What was looked at: the `seen` of the list of drift."""

    seen: Identifier


def changes_of(stored: Sequence[object]) -> tuple[Change, ...]:
    """The changes of a row."""
    return tuple(Change.model_validate(change) for change in stored)


def note_applied(uow: UnitOfWork, subject: str, label: str, account_path: str, outcome: Outcome) -> None:
    """Write down what the loop found when it looked at a subject, and forget what is no longer so.

    What it found is made again, unless drift was in the way. A failure for another reason tells nothing about drift.
    """
    if outcome.condition is None:
        _note(uow, subject, label, account_path, outcome, DriftState.mended)
    elif outcome.condition.reason == DRIFTED:
        _note(uow, subject, label, account_path, outcome, DriftState.found)


def note_planned(uow: UnitOfWork, subject: str, label: str, account_path: str, outcome: Outcome) -> None:
    """Write down what a mere plan of a subject found, and forget what is no longer so."""
    if outcome.condition is None:
        _note(uow, subject, label, account_path, outcome, DriftState.found)


def _note(uow: UnitOfWork, subject: str, label: str, account_path: str, outcome: Outcome, state: DriftState) -> None:
    changes = tuple(change for change in outcome.changes if change.is_drift)
    is_noted = subject in _noted(uow)
    if not changes and not outcome.kept and not is_noted:
        return
    row = of_subject(uow, subject) if is_noted else None
    if not changes and not outcome.kept:
        if row is not None and row.state != DriftState.mended:
            uow.session.delete(row)
        return
    state = state if changes else DriftState.kept
    mark = _mark(state, (*changes, *outcome.kept))
    if row is None:
        row = DriftRow(id=new_identifier(), subject=subject, account_path=account_path, mark="")
        _noted(uow).add(subject)
    if row.mark != mark:
        row.found_at = uow.clock()
        if state is DriftState.mended:
            keys = {"keys": [change.key for change in changes]}
            record(uow, _platform(account_path), "drift:mend", subject, account_path, after=keys)
    row.label, row.state, row.mark = label, state, mark
    row.changes = [change.model_dump(mode="json") for change in changes]
    row.kept = [change.model_dump(mode="json") for change in outcome.kept]
    uow.session.add(row)


def forget(uow: UnitOfWork, subject: str) -> None:
    """Nothing of the subject is left that could have been changed."""
    uow.session.execute(delete(DriftRow).where(DriftRow.subject == subject))


def prune(uow: UnitOfWork) -> int:
    """Forget what was made again long ago, and say how much that was."""
    oldest = uow.clock() - MENDED_KEPT // timedelta(milliseconds=1)
    old = delete(DriftRow).where(DriftRow.state == DriftState.mended, DriftRow.found_at < oldest)
    return len(uow.session.execute(old.returning(DriftRow.id)).all())


def count(uow: UnitOfWork, actor: Actor) -> int:
    """How many sites and nodes wait for a decision."""
    query = select(func.count()).where(DriftRow.state == DriftState.found, _reached(actor))
    return uow.session.scalar(query) or 0


def page(
    uow: UnitOfWork, actor: Actor, state: DriftState | None, words: str, limit: int, cursor: str | None
) -> tuple[list[DriftRow], str | None]:
    """What was changed by hand, newest first: in one state, or in any; with `words` in its name."""
    query = select(DriftRow).where(_reached(actor))
    if state is not None:
        query = query.where(DriftRow.state == state)
    if words:
        query = query.where(DriftRow.label.contains(words.lower(), autoescape=True))
    if cursor is not None:
        query = query.where(DriftRow.id < cursor)
    rows = list(uow.session.scalars(query.order_by(DriftRow.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def of_subject(uow: UnitOfWork, subject: str) -> DriftRow | None:
    """What is known of one site or node; who asks was let in to that."""
    return uow.session.scalar(select(DriftRow).where(DriftRow.subject == subject))


def request_adopt(uow: UnitOfWork, actor: Actor, subject: str, seen: str, idempotency_key: str) -> OperationRow:
    """Ask for the edits of a subject to be kept as they are, as far as that is possible.

    Raises `NotFound` if nothing waits for a decision, `PreconditionFailed` if that is not what was looked at, and
    `Rejected` with the reasons if none of it can be adopted.
    """
    row = of_subject(uow, subject)
    keep, _ = to_keep(row)
    assert row is not None
    if row.mark != seen:
        raise PreconditionFailed(
            "What is on the node has changed since you looked; nothing was adopted.",
            hint="Look at the differences again, and adopt them if they are still what you want.",
        )
    path = row.account_path or actor.account_path
    record(uow, actor, "drift:adopt", subject, path, after={"keys": [each.key for each in keep]})
    parameters = {"keep": [Seen(key=each.key, digest=each.digest).model_dump() for each in keep]}
    return request(uow, actor, ADOPT, subject, path, parameters, idempotency_key)


def to_keep(row: DriftRow | None) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """What of a drift can be adopted, and what cannot.

    Raises `NotFound` if nothing waits for a decision, and `Rejected` with the reasons if none of it can.
    """
    if row is None or row.state != DriftState.found:
        raise NotFound("Nothing of this was changed by hand, as far as is known.", hint="Look at the list again.")
    changes = changes_of(row.changes)
    keep = tuple(change for change in changes if not change.refusal)
    refused = tuple(change for change in changes if change.refusal)
    if not keep:
        reasons = " ".join(f"{change.key}: {change.refusal}" for change in refused)
        raise Rejected(f"None of this can be adopted. {reasons}", hint="Have it repaired, or put it back by hand.")
    return keep, refused


def request_repair_node(uow: UnitOfWork, actor: Actor, subject: str, idempotency_key: str) -> OperationRow:
    """Ask for a node's own files and services to be made as declared, over whatever was edited by hand."""
    record(uow, actor, "node:repair", subject, actor.account_path)
    return request(uow, actor, REPAIR_NODE, subject, actor.account_path, {}, idempotency_key)


def _reached(actor: Actor) -> ColumnElement[bool]:
    """Sites in the actor's part of the accounts, and nodes: only the provider's people may see lists of drift."""
    start, end = below(actor.account_path)
    in_part = (DriftRow.account_path >= start) & (DriftRow.account_path < end)
    return or_(in_part, DriftRow.account_path == "")


def _noted(uow: UnitOfWork) -> set[str]:
    """The subjects that have a row, read once for a batch."""
    noted: set[str] | None = uow.session.info.get("drift")
    if noted is None:
        noted = uow.session.info["drift"] = set(uow.session.scalars(select(DriftRow.subject)))
    return noted


def _mark(state: DriftState, changes: tuple[Change, ...]) -> str:
    facts = "\n".join(f"{change.action} {change.key} {change.digest} {change.diff}" for change in changes)
    return blake2s(f"{state}\n{facts}".encode(), digest_size=16).hexdigest()


def _platform(account_path: str) -> Actor:
    """Nobody asked: the loop does this by itself."""
    account_id = account_path.rstrip("/").rsplit("/", 1)[-1] or "0" * 32
    return Actor(label="the platform", account_id=account_id, account_path=account_path, permissions=frozenset())
