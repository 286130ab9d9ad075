"""Lists of sites, for the API, the panel and the command line: rows of the bare driver, without a view in between.

It is the most frequent read. Compiling a statement per request costs as much as running it, and a view per row as much
again (`docs/benchmarks.md`). What is answered is what `SiteView` declares; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Dialect, Text, bindparam, cast, select

from hosthold.db.base import below
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.sites.models import SiteRow
from hosthold.types.actor import Actor
from hosthold.types.moment import moment

_COLUMNS: tuple[Any, ...] = (
    SiteRow.id, SiteRow.account_id, SiteRow.account_path, SiteRow.name, cast(SiteRow.domains, Text),
    SiteRow.runtime_driver, SiteRow.runtime_version, cast(SiteRow.runtime_settings, Text), SiteRow.document_root,
    SiteRow.is_suspended, SiteRow.phase, SiteRow.generation, SiteRow.observed_generation,
    cast(SiteRow.conditions, Text),
    SiteRow.created_at,
)  # fmt: skip


class SiteListRow(NamedTuple):
    """A site as it stands in a list; documents are still the JSON text that the database gave."""

    id: str
    account_id: str
    account_path: str
    name: str
    domains: str
    runtime_driver: str
    runtime_version: str
    runtime_settings: str
    document_root: str
    is_suspended: bool
    phase: str
    generation: int
    observed_generation: int
    conditions: str
    created_at: int


def page(uow: UnitOfWork, actor: Actor, limit: int, cursor: str | None) -> tuple[list[SiteListRow], str | None]:
    """A page of the sites that the actor reaches, newest first, and the key of the next page if there is one."""
    values = dict(zip(("start", "end"), below(actor.account_path), strict=True), limit=limit + 1, cursor=cursor)
    rows: list[SiteListRow] = []
    is_root = actor.account_path.count("/") == 1
    if is_root:  # all sites, most likely: the order of the primary key is the order of the page, and nothing is sorted
        rows = _rows(uow, values, "everything")
    if not is_root or not all(actor.reaches(row.account_path) for row in rows):
        rows = _rows(uow, values, "part")
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def _rows(uow: UnitOfWork, values: dict[str, Any], extent: str) -> list[SiteListRow]:
    connection = uow.connection
    statement, fixed, order = _compiled(connection.dialect, extent, values["cursor"] is not None)
    named = {**fixed, **values}
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, named if order is None else [named[name] for name in order])
        return list(map(SiteListRow._make, cursor.fetchall()))
    finally:
        cursor.close()


@cache
def _compiled(dialect: Dialect, extent: str, is_continued: bool) -> tuple[str, dict[str, Any], Sequence[str] | None]:
    """The text of a statement for the driver, values that it has itself, and the order of all if they have no names."""
    conditions: list[ColumnElement[bool]] = []
    if extent == "part":
        conditions += [SiteRow.account_path >= bindparam("start"), SiteRow.account_path < bindparam("end")]
    if is_continued:
        conditions.append(SiteRow.id < bindparam("cursor"))
    query = select(*_COLUMNS).where(*conditions).order_by(SiteRow.id.desc()).limit(bindparam("limit"))
    compiled = query.compile(dialect=dialect)
    return str(compiled), compiled.params, compiled.positiontup


def shaped(row: SiteListRow) -> dict[str, Any]:
    """The row as a JSON value for orjson, as `SiteView` declares it."""
    names = orjson.loads(row.domains)
    return {
        "id": row.id, "account_id": row.account_id, "name": row.name, "domain": names[0], "aliases": names[1:],
        "runtime": {"driver": row.runtime_driver, "version": row.runtime_version,
                    "settings": orjson.Fragment(row.runtime_settings)},
        "document_root": row.document_root, "is_suspended": bool(row.is_suspended), "phase": row.phase,
        "generation": row.generation, "observed_generation": row.observed_generation,
        "conditions": orjson.Fragment(row.conditions), "created_at": moment(row.created_at),
    }  # fmt: skip
