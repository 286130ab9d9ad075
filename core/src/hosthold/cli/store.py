"""The platform's database, and who acts on it from a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from hosthold.accounts.models import AccountRow
from hosthold.cli.context import Context
from hosthold.db.migrate import behind
from hosthold.db.unit_of_work import Database
from hosthold.errors import Misconfigured
from hosthold.types.account import AccountKind
from hosthold.types.actor import Actor
from hosthold.work.doorbell import Doorbell


@contextmanager
def open_database(context: Context) -> Iterator[Database]:
    """The database, with its tables at their newest version. Raises `Misconfigured` if they are not."""
    bell = Doorbell(context.settings)
    database = Database(context.settings, context.registry, bell)
    try:
        if late := behind(database.engine, context.registry):
            raise Misconfigured(
                f"The database's tables are not up to date: {', '.join(late)}.",
                hint="Run `hosthold init`; it changes nothing else that is there.",
            )
        yield database
    finally:
        database.close()
        bell.close()


def operator(database: Database) -> Actor:
    """Whoever may run commands on this machine may do everything: they stand for the provider."""
    with database.read() as uow:
        row = uow.session.scalar(select(AccountRow).where(AccountRow.kind == AccountKind.provider))
    if row is None:
        raise Misconfigured("This platform has no provider yet.", hint="Run `hosthold init`.")
    return Actor(label="operator", account_id=row.id, account_path=row.path, permissions=frozenset({"*"}))
