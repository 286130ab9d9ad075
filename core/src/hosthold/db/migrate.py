"""Bringing tables to the present version: one history for the core, and one for each plugin that has tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from hosthold.plugins.manager import PluginRegistry

_ENVIRONMENT = Path(__file__).parent / "migrations"
_CORE_TABLE = "alembic_version"
_LOCK = 0x686F7374


def upgrade(engine: Engine, registry: PluginRegistry) -> None:
    """Bring the core's tables, then each ready plugin's, to their newest version. Does nothing where they are there.

    A plugin's history lives in `alembic_version_<plugin>`, so that uninstalling one never stops the others.
    """
    for table, versions in _histories(registry):
        with _exclusive(engine) as connection:
            command.upgrade(_config(table, versions, connection), "head")


def behind(engine: Engine, registry: PluginRegistry) -> tuple[str, ...]:
    """The histories (`hosthold` or a plugin's name) whose tables are not at their newest version."""
    late = []
    with engine.connect() as connection:
        for table, versions in _histories(registry):
            context = MigrationContext.configure(connection, opts={"version_table": table})
            newest = ScriptDirectory.from_config(_config(table, versions, connection)).get_heads()
            if set(context.get_current_heads()) != set(newest):
                late.append(table.removeprefix(_CORE_TABLE + "_") if table != _CORE_TABLE else "hosthold")
    return tuple(late)


def _histories(registry: PluginRegistry) -> Iterator[tuple[str, Path]]:
    yield _CORE_TABLE, _ENVIRONMENT / "versions"
    for plugin, folder in registry.migrations():
        yield f"{_CORE_TABLE}_{plugin}", folder


def _config(table: str, versions: Path, connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, version_table=table)
    return config


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """One transaction for a whole history, during which nobody else migrates."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            # Batch operations copy tables, and foreign keys must not act then. The pragma works only outside.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.rollback()
            try:
                with connection.execution_options(hosthold_writes=True).begin():
                    yield connection
            finally:
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        return
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection
