"""The unit of work: one transaction, what is announced when it commits, and the rule that no driver runs inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from hosthold.db.base import now_ms
from hosthold.db.engine import WRITES, make_engine
from hosthold.plugins.calls import forbid_driver_calls
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings

Clock = Callable[[], int]
"""Gives now, in milliseconds since 1970 in UTC."""


class Bell(Protocol):
    """Tells the worker that there is work; losing or repeating a ring is harmless, for a sweep finds what is due."""

    def ring(self, kind: str, key: str) -> None:
        """Say that the row `key` of `kind` (`site`, `node`, `event`, `operation`) is due."""


class SilentBell:
    """Rings nowhere: the sweep finds the work."""

    def ring(self, kind: str, key: str) -> None:
        """Do nothing."""


@dataclass
class UnitOfWork:
    """One transaction. Services read and write through it and never commit; whoever opened it does."""

    session: Session
    settings: Settings
    registry: PluginRegistry
    clock: Clock
    rings: dict[str, str] = field(default_factory=dict)

    @property
    def connection(self) -> Connection:
        """The connection of this transaction, for prebuilt statements of Core."""
        return self.session.connection()

    def ring(self, kind: str, key: str) -> None:
        """Ring the worker's doorbell for the row `key` of `kind` once this is committed; never if it is rolled back.

        It is rung once for each kind: who hears it does whatever is due of that kind.
        """
        self.rings.setdefault(kind, key)


class Database:
    """Opens units of work. Tests inject their own clock."""

    def __init__(self, settings: Settings, registry: PluginRegistry, bell: Bell, clock: Clock = now_ms) -> None:
        self.settings = settings
        self.registry = registry
        self.bell = bell
        self.clock = clock
        self.engine: Engine = make_engine(settings.database_url)
        self.dialect: Literal["sqlite", "postgresql"] = "postgresql" if settings.is_postgresql else "sqlite"
        self._writer = self.engine.execution_options(**{WRITES: True})
        self._reader = (
            self.engine.execution_options(isolation_level="AUTOCOMMIT") if settings.is_postgresql else self.engine
        )

    @contextmanager
    def write(self) -> Iterator[UnitOfWork]:
        """A unit of work that may write: committed at the end, rolled back if anything is raised.

        After the commit the doorbells that it asked for are rung.
        """
        with self._unit(self._writer) as uow:
            yield uow
            uow.session.commit()
        for kind, key in uow.rings.items():
            self.bell.ring(kind, key)

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """A unit of work that only reads: each statement sees what is committed when it runs, and locks nothing."""
        with self._unit(self._reader) as uow:
            yield uow

    @contextmanager
    def _unit(self, engine: Engine) -> Iterator[UnitOfWork]:
        token = forbid_driver_calls.set(True)
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield UnitOfWork(session, self.settings, self.registry, self.clock)
        finally:
            forbid_driver_calls.reset(token)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
