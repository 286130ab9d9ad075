"""Making packages and finding those that an actor may sell or has bought."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy import select

from hosthold.audit.service import record
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import Conflict, NotFound
from hosthold.packages.models import PackageRow
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.package import Limits

PackageName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class PackageDraft(Frozen):
    """A package to be made: how many sites a customer may have, and what each of them may use."""

    name: PackageName
    max_sites: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    limits: Limits = Limits()


class PackageView(Frozen):
    """A package as the API shows it."""

    id: Identifier
    name: str
    max_sites: int
    limits: Limits
    created_at: Moment

    @classmethod
    def of(cls, row: PackageRow) -> PackageView:
        """The view of a row."""
        return cls(
            id=row.id,
            name=row.name,
            max_sites=row.max_sites,
            limits=Limits.model_validate(row.limits),
            created_at=moment(row.created_at),
        )


def create(uow: UnitOfWork, actor: Actor, draft: PackageDraft) -> PackageRow:
    """Make a package of the actor's account. Raises `Conflict` if it has one of that name."""
    taken = select(PackageRow.id).where(PackageRow.account_id == actor.account_id, PackageRow.name == draft.name)
    if uow.session.scalar(taken):
        raise Conflict(
            f"There is a package named {draft.name!r} already.", hint="Choose another name, or use that package."
        )
    row = PackageRow(
        id=new_identifier(),
        account_id=actor.account_id,
        name=draft.name,
        max_sites=draft.max_sites,
        limits=draft.limits.model_dump(),
        created_at=uow.clock(),
    )
    uow.session.add(row)
    uow.session.flush()
    record(uow, actor, "package:create", f"package:{row.id}", actor.account_path, after=draft.model_dump())
    return row


def get(uow: UnitOfWork, actor: Actor, package_id: str) -> PackageRow:
    """The package, if the actor's account or one above it sells it; `NotFound` otherwise."""
    row = uow.session.get(PackageRow, package_id)
    if row is None or row.account_id not in actor.account_path.split("/"):
        raise NotFound("There is no such package.", hint="Check the identifier.")
    return row


def page(uow: UnitOfWork, actor: Actor, limit: int, cursor: str | None) -> tuple[list[PackageRow], str | None]:
    """Packages of the actor's account and of those above it, newest first, and the next page's cursor."""
    query = select(PackageRow).where(PackageRow.account_id.in_(actor.account_path.split("/")))
    if cursor is not None:
        query = query.where(PackageRow.id < cursor)
    rows = list(uow.session.scalars(query.order_by(PackageRow.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None
