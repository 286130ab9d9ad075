"""The table of what was changed by hand."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import AccountPath, Base, Id, Milliseconds


class DriftRow(Base):
    """One site or node that is, or was lately, other than Hosthold wrote it, as its node told when it was looked at."""

    __tablename__ = "drift"
    __table_args__ = (Index(None, "state", "id"),)

    id: Mapped[Id]
    subject: Mapped[str] = mapped_column(String(80), unique=True)
    label: Mapped[str] = mapped_column(String(253))
    """The site's primary domain, or the node's name."""
    account_path: Mapped[AccountPath]
    """Empty for a node, which belongs to the provider."""
    state: Mapped[str] = mapped_column(String(16))
    changes: Mapped[list[Any]]
    kept: Mapped[list[Any]]
    mark: Mapped[str] = mapped_column(String(32))
    """Changes whenever what is there does: who adopts names the one that they looked at."""
    found_at: Mapped[Milliseconds]
