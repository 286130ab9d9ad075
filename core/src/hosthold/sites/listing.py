"""The API's list of sites: rows of the bare driver, shaped into JSON values without a view in between.

It is the most frequent read. Compiling a statement per request costs as much as running it, and a view per row as much
again (`docs/benchmarks.md`). What is answered is what `SiteView` declares; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

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


def listed(uow: UnitOfWork, actor: Actor, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the sites that the actor reaches, newest first, as JSON values; and the key of the next page."""
    values = dict(zip(("start", "end"), below(actor.account_path), strict=True), limit=limit + 1, cursor=cursor)
    rows: Sequence[Any] = ()
    is_root = actor.account_path.count("/") == 1
    if is_root:  # all sites, most likely: the order of the primary key is the order of the page, and nothing is sorted
        rows = _rows(uow, values, "everything")
    if not is_root or not all(actor.reaches(row[2]) for row in rows):
        rows = _rows(uow, values, "part")
    return [_shaped(row) for row in rows[:limit]], str(rows[limit - 1][0]) if len(rows) > limit else None


def _rows(uow: UnitOfWork, values: dict[str, Any], extent: str) -> Sequence[Any]:
    connection = uow.connection
    statement, fixed, order = _compiled(connection.dialect, extent, values["cursor"] is not None)
    named = {**fixed, **values}
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, named if order is None else [named[name] for name in order])
        return cursor.fetchall()
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


def _shaped(row: Sequence[Any]) -> dict[str, Any]:
    (
        site_id, account_id, _, name, domains, driver, version, settings, document_root, is_suspended, phase,
        generation, observed, conditions, created_at,
    ) = row  # fmt: skip
    names = orjson.loads(domains)
    return {
        "id": site_id, "account_id": account_id, "name": name, "domain": names[0], "aliases": names[1:],
        "runtime": {"driver": driver, "version": version, "settings": orjson.Fragment(settings)},
        "document_root": document_root, "is_suspended": bool(is_suspended), "phase": phase, "generation": generation,
        "observed_generation": observed, "conditions": orjson.Fragment(conditions), "created_at": moment(created_at),
    }  # fmt: skip
