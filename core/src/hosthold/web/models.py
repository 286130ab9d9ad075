"""The table of idempotency keys."""

from __future__ import annotations

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import Base, Milliseconds


class IdempotencyRow(Base):
    """The answer that was given to a POST with this key, by whom it was asked, to be given again."""

    __tablename__ = "idempotency_key"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 over the actor, the path and the key."""
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    headers: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Milliseconds] = mapped_column(index=True)
