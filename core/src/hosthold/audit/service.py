"""Writing to the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosthold.audit.models import AuditRow
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.actor import Actor


def record(
    uow: UnitOfWork,
    actor: Actor,
    action: str,
    subject: str,
    account_path: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry; it is kept exactly if the change that it tells of is committed. Values must hold no secret."""
    uow.session.add(
        AuditRow(
            at=uow.clock(),
            actor=actor.label,
            user_id=actor.user_id,
            account_path=account_path,
            action=action,
            subject=subject,
            before=dict(before or {}),
            after=dict(after or {}),
        )
    )
