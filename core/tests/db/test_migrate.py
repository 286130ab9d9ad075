"""Migrations: what they build is what the models say, and who is behind is told."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hosthold.db.migrate import behind, upgrade
from hosthold.db.models import SiteRow
from hosthold.db.unit_of_work import Database


def test_the_migrated_tables_are_those_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, SiteRow.metadata) == []


def test_migrating_again_changes_nothing_and_nobody_is_behind(database: Database) -> None:
    upgrade(database.engine, database.registry)
    assert behind(database.engine, database.registry) == ()


def test_a_database_without_tables_is_behind(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    assert behind(database.engine, database.registry) == ("hosthold",)
