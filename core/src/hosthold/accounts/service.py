"""Making accounts and finding those that an actor reaches."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import func, select

from hosthold.accounts.models import AccountRow
from hosthold.audit.service import record
from hosthold.db.base import below
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import FieldError, InvalidInput, NotFound
from hosthold.packages.models import PackageRow
from hosthold.types.account import AccountKind
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.moment import Moment, moment

AccountName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class AccountDraft(Frozen):
    """A customer to be made below the actor's own account; `package_id` is what they bought."""

    name: AccountName
    package_id: Identifier


class AccountView(Frozen):
    """An account as the API shows it."""

    id: Identifier
    parent_id: Identifier | None
    name: str
    kind: AccountKind
    package_id: Identifier | None
    created_at: Moment

    @classmethod
    def of(cls, row: AccountRow) -> AccountView:
        """The view of a row."""
        return cls(
            id=row.id,
            parent_id=row.parent_id,
            name=row.name,
            kind=AccountKind(row.kind),
            package_id=row.package_id,
            created_at=moment(row.created_at),
        )


def create_provider(uow: UnitOfWork, name: str) -> AccountRow:
    """Make the account at the root of the tree: the hosting company itself."""
    identifier = new_identifier()
    row = AccountRow(
        id=identifier,
        parent_id=None,
        kind=AccountKind.provider,
        name=name,
        path=f"{identifier}/",
        package_id=None,
        created_at=uow.clock(),
    )
    uow.session.add(row)
    uow.session.flush()
    return row


def create(uow: UnitOfWork, actor: Actor, draft: AccountDraft) -> AccountRow:
    """Make a customer below the actor's account. Raises `InvalidInput` if there is no such package."""
    package = uow.session.get(PackageRow, draft.package_id)
    owner = uow.session.get(AccountRow, package.account_id) if package else None
    if package is None or owner is None or not actor.account_path.startswith(owner.path):
        raise InvalidInput(
            "The customer was not made.",
            [FieldError("/package_id", "There is no such package.")],
            hint="Choose one of the packages in the list, or make one first.",
        )
    identifier = new_identifier()
    row = AccountRow(
        id=identifier,
        parent_id=actor.account_id,
        kind=AccountKind.customer,
        name=draft.name,
        path=f"{actor.account_path}{identifier}/",
        package_id=package.id,
        created_at=uow.clock(),
    )
    uow.session.add(row)
    uow.session.flush()
    record(
        uow, actor, "account:create", f"account:{row.id}", row.path, after={"name": row.name, "package_id": package.id}
    )
    return row


def get(uow: UnitOfWork, actor: Actor, account_id: str) -> AccountRow:
    """The account, if the actor reaches it; `NotFound` otherwise, whether it exists or not."""
    row = uow.session.get(AccountRow, account_id)
    if row is None or not actor.reaches(row.path):
        raise NotFound("There is no such account.", hint="Check the identifier, or ask who manages your account.")
    return row


def page(uow: UnitOfWork, actor: Actor, limit: int, cursor: str | None) -> tuple[list[AccountRow], str | None]:
    """Accounts that the actor reaches, newest first, and the cursor of the next page if there is one."""
    start, end = below(actor.account_path)
    query = select(AccountRow).where(AccountRow.path >= start, AccountRow.path < end)
    if cursor is not None:
        query = query.where(AccountRow.id < cursor)
    rows = list(uow.session.scalars(query.order_by(AccountRow.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def count(uow: UnitOfWork, actor: Actor) -> int:
    """How many accounts the actor reaches, its own included."""
    start, end = below(actor.account_path)
    query = select(func.count()).select_from(AccountRow).where(AccountRow.path >= start, AccountRow.path < end)
    return uow.session.scalar(query) or 0
