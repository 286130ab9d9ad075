"""Tables of events, their deliveries, operations and the schedule."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import AccountPath, Base, Id, Milliseconds

_Serial = BigInteger().with_variant(Integer, "sqlite")


class EventRow(Base):
    """Something that happened, written in the transaction in which it happened: the outbox, and the feed of the panel.

    `name` is the hook that plugins are told by (`on_site_ready`), or `changed` for a change that only watchers hear of.
    """

    __tablename__ = "event"
    __table_args__ = (Index(None, "is_dispatched"), {"sqlite_autoincrement": True})

    sequence: Mapped[int] = mapped_column(_Serial, primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    at: Mapped[Milliseconds] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(80))
    account_path: Mapped[AccountPath]
    payload: Mapped[dict[str, Any]]
    is_dispatched: Mapped[bool]
    """Whether deliveries for all plugins have been made out; true from the start where no plugin is told."""


class DeliveryRow(Base):
    """One event on its way to one plugin."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("event_id", "plugin"), Index(None, "due_at"))

    id: Mapped[Id]
    event_id: Mapped[str] = mapped_column(String(32))
    plugin: Mapped[str] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    due_at: Mapped[Milliseconds | None]
    lease_until: Mapped[Milliseconds] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(default="")


class OperationRow(Base):
    """An act that is done once. `steps` records each step before it runs, so that a crash cannot repeat it unseen."""

    __tablename__ = "operation"
    __table_args__ = (UniqueConstraint("idempotency_key"), Index(None, "due_at"), Index(None, "subject"))

    id: Mapped[Id]
    kind: Mapped[str] = mapped_column(String(60))
    idempotency_key: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(80))
    account_path: Mapped[AccountPath]
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    steps: Mapped[list[Any]]
    result: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    due_at: Mapped[Milliseconds | None]
    lease_until: Mapped[Milliseconds] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(default="")
    requested_by: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[Milliseconds]


class ScheduleRow(Base):
    """When a periodic job runs next."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    due_at: Mapped[Milliseconds] = mapped_column(index=True)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[Milliseconds] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(default="")
