"""The table of packages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import Base, Id, Milliseconds


class PackageRow(Base):
    """A package of the account that sells it; `limits` is what each site may use, `max_sites` how many there may be."""

    __tablename__ = "package"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    max_sites: Mapped[int]
    limits: Mapped[dict[str, Any]]
    created_at: Mapped[Milliseconds]
