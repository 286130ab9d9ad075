"""API tokens: made, listed and revoked. A token's secret is shown once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints
from sqlalchemy import select

from hosthold.accounts.service import get as get_account
from hosthold.audit.service import record
from hosthold.auth.identity import TOKEN_PREFIX, known_permissions, new_secret, secret_hash
from hosthold.auth.models import ApiTokenRow
from hosthold.auth.permission import PERMISSIONS
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import FieldError, InvalidInput, NotFound
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.moment import Moment, moment

TokenName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class TokenDraft(Frozen):
    """A token to be made. It can never do more than who makes it; `*` stands for all that they may do."""

    name: TokenName
    permissions: Annotated[tuple[Annotated[str, Field(max_length=80)], ...], Field(min_length=1, max_length=100)] = (
        Field(examples=[["site:read", "site:create"]])
    )
    account_id: Identifier | None = Field(default=None, description="Unset means the account that asks.")
    expires_at: AwareDatetime | None = Field(
        default=None, description="Unset means that it is valid until it is revoked."
    )


class TokenView(Frozen):
    """A token as the API shows it: never its secret, only how it begins."""

    id: Identifier
    name: str
    prefix: str
    account_id: Identifier
    permissions: tuple[str, ...]
    created_at: Moment
    expires_at: Moment | None

    @classmethod
    def of(cls, row: ApiTokenRow) -> TokenView:
        """The view of a row."""
        return cls(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            account_id=row.account_id,
            permissions=tuple(row.permissions),
            created_at=moment(row.created_at),
            expires_at=None if row.expires_at is None else moment(row.expires_at),
        )


class NewTokenView(TokenView):
    """A token that was just made. `secret` is shown in the first answer only: a repeated request shows null."""

    secret: str | None = Field(examples=["hh_4S0m3S3cr3tThatIsShownOnce"])

    def without_secrets(self) -> NewTokenView:
        """The same view as it may be stored."""
        return self.model_copy(update={"secret": None})


def create_token(uow: UnitOfWork, actor: Actor, draft: TokenDraft) -> tuple[ApiTokenRow, str]:
    """Make a token that acts in the actor's account or one below; the row, and the secret that is never shown again.

    Raises `InvalidInput` for a permission that does not exist or that the actor lacks, or a moment that is over.
    """
    try:
        account = get_account(uow, actor, draft.account_id or actor.account_id)
    except NotFound as error:
        raise InvalidInput("The token was not made.", [FieldError("/account_id", error.detail)]) from None
    known = frozenset(PERMISSIONS) | known_permissions(uow.registry)
    granted = actor.permissions if "*" in draft.permissions else frozenset(draft.permissions)
    wrong = [
        FieldError(f"/permissions/{position}", "does not exist" if name not in known else "is not yours to give")
        for position, name in enumerate(draft.permissions)
        if name != "*" and not (name in known and actor.may(name))
    ]
    expires_at = _milliseconds(draft.expires_at)
    if expires_at is not None and expires_at <= uow.clock():
        wrong.append(FieldError("/expires_at", "lies in the past"))
    if wrong:
        raise InvalidInput(
            "The token was not made.", wrong, hint=f"You may give: {', '.join(sorted(actor.permissions))}."
        )
    secret = TOKEN_PREFIX + new_secret()
    row = ApiTokenRow(
        id=new_identifier(), secret_hash=secret_hash(secret), prefix=secret[:8], name=draft.name, user_id=actor.user_id,
        account_id=account.id, permissions=sorted(granted), created_at=uow.clock(), expires_at=expires_at,
    )  # fmt: skip
    uow.session.add(row)
    uow.session.flush()
    record(
        uow,
        actor,
        "token:create",
        f"token:{row.id}",
        account.path,
        after={"name": row.name, "permissions": row.permissions},
    )
    return row, secret


def token_page(uow: UnitOfWork, actor: Actor, limit: int, cursor: str | None) -> tuple[list[ApiTokenRow], str | None]:
    """Tokens of the actor's own account, newest first, and the cursor of the next page if there is one."""
    query = select(ApiTokenRow).where(ApiTokenRow.account_id == actor.account_id)
    if cursor is not None:
        query = query.where(ApiTokenRow.id < cursor)
    rows = list(uow.session.scalars(query.order_by(ApiTokenRow.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def revoke_token(uow: UnitOfWork, actor: Actor, token_id: str) -> None:
    """Revoke a token of the actor's account or one below; it is refused within seconds. Raises `NotFound`."""
    row = uow.session.get(ApiTokenRow, token_id)
    try:
        if row is None:
            raise NotFound("")
        account = get_account(uow, actor, row.account_id)
    except NotFound:
        raise NotFound(
            "There is no such token.", hint="Check the identifier; a revoked token is gone for good."
        ) from None
    record(uow, actor, "token:delete", f"token:{row.id}", account.path, before={"name": row.name})
    uow.session.delete(row)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
