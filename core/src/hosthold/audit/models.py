"""The table of audit entries; rows are only ever added."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import AccountPath, Base, Milliseconds


class AuditRow(Base):
    """One act. `before` and `after` hold the changed values, without secrets."""

    __tablename__ = "audit_entry"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[Milliseconds]
    actor: Mapped[str] = mapped_column(String(300))
    user_id: Mapped[str | None] = mapped_column(String(32))
    account_path: Mapped[AccountPath]
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(80), index=True)
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
