"""What commands share: settings, the platform, the operator as an actor, and how results are printed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import orjson
import structlog
from sqlalchemy import select

from hosthold.accounts.models import AccountRow
from hosthold.db.migrate import behind
from hosthold.db.unit_of_work import Database
from hosthold.errors import Misconfigured
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings, load_settings
from hosthold.types.account import AccountKind
from hosthold.types.actor import Actor
from hosthold.work.doorbell import Doorbell

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Context:
    """What one run of the command line works with, made when it is first needed."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    @cached_property
    def settings(self) -> Settings:
        """The platform's settings."""
        return load_settings(self.config)

    @cached_property
    def registry(self) -> PluginRegistry:
        """Plugins and drivers as they are installed here."""
        return discover(
            PluginSettingsSource(self.settings.enabled_plugins, self.settings.plugins, self.settings.drivers)
        )

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The database, with its tables at their newest version. Raises `Misconfigured` if they are not."""
        bell = Doorbell(self.settings)
        database = Database(self.settings, self.registry, bell)
        try:
            if late := behind(database.engine, self.registry):
                raise Misconfigured(
                    f"The database's tables are not up to date: {', '.join(late)}.",
                    hint="Run `hosthold init`; it changes nothing else that is there.",
                )
            yield database
        finally:
            database.close()
            bell.close()

    def operator(self, database: Database) -> Actor:
        """Whoever may run commands on this machine may do everything: they stand for the provider."""
        with database.read() as uow:
            row = uow.session.scalar(select(AccountRow).where(AccountRow.kind == AccountKind.provider))
        if row is None:
            raise Misconfigured("This platform has no provider yet.", hint="Run `hosthold init`.")
        return Actor(label="operator", account_id=row.id, account_path=row.path, permissions=frozenset({"*"}))


pass_context: Callable[[Callable[..., Any]], Callable[..., Any]] = click.make_pass_decorator(Context)


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows under headings, aligned; `empty` says what to do where there are none."""
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(heading), *(len(row[column]) for row in rows)) for column, heading in enumerate(headings)]
    for line in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def set_up_logging(*, as_json: bool | None = None) -> None:
    """One line an event on standard error: readable at a terminal, JSON elsewhere; control characters are escaped."""
    readable = sys.stderr.isatty() if as_json is None else not as_json
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer(serializer=lambda value, **_: orjson.dumps(value, default=str).decode())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not readable:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
