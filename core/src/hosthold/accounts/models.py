"""The table of accounts."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import AccountPath, Base, Id, Milliseconds


class AccountRow(Base):
    """An account; `path` lists the identifiers from the provider down to it, each followed by a slash."""

    __tablename__ = "account"

    id: Mapped[Id]
    parent_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("account.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(200))
    path: Mapped[AccountPath]
    package_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("package.id", use_alter=True, name="fk_account_package_id"), index=True
    )
    created_at: Mapped[Milliseconds]
