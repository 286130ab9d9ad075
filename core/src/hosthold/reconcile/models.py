"""The columns that every reconciled noun carries."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from hosthold.db.base import Milliseconds
from hosthold.types.site import Phase


class Reconciled:
    """Declared state and how far the world follows it.

    `generation` grows with every change of the declaration; the world is as declared when `observed_generation` is the
    same and the phase is `ready`. `due_at` is when the loop looks at the row next; while `lease_until` lies ahead
    somebody works on it, and only the holder of the current `fence` may settle it.
    """

    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    observed_generation: Mapped[int] = mapped_column(BigInteger, default=0)
    phase: Mapped[str] = mapped_column(String(16), default=Phase.pending)
    conditions: Mapped[list[Any]] = mapped_column(default=list)
    due_at: Mapped[Milliseconds | None]
    lease_until: Mapped[Milliseconds] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(default="")
    deleting: Mapped[bool] = mapped_column(default=False)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (Index(None, "due_at"),)

    def declare_again(self, now: int) -> None:
        """Note that the declaration changed: it is due at once, and old failures no longer count."""
        self.generation += 1
        self.phase = Phase.deleting if self.deleting else Phase.pending
        self.conditions = []
        self.attempts = 0
        self.last_error = ""
        self.due_at = now
