"""The table of nodes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import Base, Id, Milliseconds
from hosthold.reconcile.models import Reconciled


class NodeRow(Reconciled, Base):
    """A node. `description` is the frozen `Node` value as JSON; `facts` are what the node last said of itself."""

    __tablename__ = "node"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(31), unique=True)
    description: Mapped[dict[str, Any]]
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[Milliseconds]
