"""Operations and events over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from hosthold.auth.identity import Identity
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import NotFound
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.resource import Subject
from hosthold.web.operation import LastEventId, operation
from hosthold.web.platform import Platform
from hosthold.work.models import OperationRow


class OperationState(StrEnum):
    """How far an operation is."""

    pending = "pending"
    running = "running"
    done = "done"
    failed = "failed"


class OperationView(Frozen):
    """An act that is done once, and what became of it."""

    id: Identifier
    kind: str
    subject: str
    state: OperationState
    result: Annotated[dict[str, Any], Field(description="What came of it; if it failed, a `condition` that says why.")]
    created_at: Moment

    @classmethod
    def of(cls, row: OperationRow) -> OperationView:
        """The view of a row."""
        return cls(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            state=OperationState(row.state),
            result=row.result,
            created_at=moment(row.created_at),
        )


def find_operation(uow: UnitOfWork, actor: Actor, operation_id: str) -> OperationRow:
    """The operation, if the actor reaches the account that it was done for; `NotFound` otherwise."""
    row = uow.session.get(OperationRow, operation_id)
    if row is None or not actor.reaches(row.account_path):
        raise NotFound("There is no such operation.", hint="Check the identifier.")
    return row


@operation("GET", "/operations/{operation_id}", permission="operation:read")
def read_operation(operation_id: Identifier, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Read what became of an operation."""
    return OperationView.of(find_operation(uow, actor, operation_id))


@operation("GET", "/events", permission="event:read", streams=True)
async def follow_events(
    identity: Identity,
    platform: Platform,
    last_event_id: LastEventId,
    subject: Annotated[Subject, StringConstraints(max_length=80)] | None = None,
) -> AsyncGenerator[bytes, None]:
    """Follow what happens to what one may see, as server-sent events.

    Each event's data is a JSON object with `sequence`, `name`, `subject`, `at` and what is particular to it, such as
    `phase`. With `subject`, such as `site:` and an identifier, only what happens to that. The stream begins now, or
    after `Last-Event-ID`; an event may come twice after resuming. It ends when the token is revoked.
    """
    return await platform.feed.follow(identity, platform.authenticator, subject, last_event_id.sequence)
