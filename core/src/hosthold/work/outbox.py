"""The outbox: events are written in the transaction that makes them true, and delivered afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.identifier import new_identifier
from hosthold.work.models import EventRow

CHANGED = "changed"


def announce(uow: UnitOfWork, name: str, subject: str, account_path: str, payload: Mapping[str, Any]) -> None:
    """Note that something happened. `name` is an `on_*` hook whose arguments `payload` holds as JSON, or `CHANGED`.

    Plugins are told after commit, each separately and at least once; watchers of the account see it at once.
    """
    uow.session.add(
        EventRow(
            id=new_identifier(),
            at=uow.clock(),
            name=name,
            subject=subject,
            account_path=account_path,
            payload=dict(payload),
            is_dispatched=name == CHANGED,
        )
    )
    if name != CHANGED:
        uow.ring("event", subject)
