"""Who asks: an API token or a session, looked up by the hash of its secret and turned into an actor."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, literal, select

from hosthold.accounts.models import AccountRow
from hosthold.auth.models import ApiTokenRow, MembershipRow, SessionRow, UserRow
from hosthold.auth.permission import ROLES, effective
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.plugins.manager import PluginRegistry
from hosthold.types.actor import Actor

TOKEN_PREFIX = "hh_"
IDLE_MS = 12 * 3600 * 1000
"""A session ends when it was not used for twelve hours."""

_TOKEN = (
    select(
        ApiTokenRow.id, ApiTokenRow.name, ApiTokenRow.user_id, ApiTokenRow.account_id, ApiTokenRow.permissions,
        ApiTokenRow.expires_at, AccountRow.path, AccountRow.kind,
    )
    .join(AccountRow, AccountRow.id == ApiTokenRow.account_id)
    .where(ApiTokenRow.secret_hash == bindparam("hash"))
)  # fmt: skip
_SESSION = (
    select(
        SessionRow.user_id, SessionRow.account_id, SessionRow.csrf_secret, SessionRow.seen_at, SessionRow.expires_at,
        UserRow.email, AccountRow.path, AccountRow.kind,
    )
    .join(UserRow, UserRow.id == SessionRow.user_id)
    .join(AccountRow, AccountRow.id == SessionRow.account_id)
    .where(SessionRow.secret_hash == bindparam("hash"))
)  # fmt: skip
_ROLES = (
    select(MembershipRow.role)
    .join(AccountRow, AccountRow.id == MembershipRow.account_id)
    .where(
        MembershipRow.user_id == bindparam("user"), literal("").concat(bindparam("path")).startswith(AccountRow.path)
    )
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller who proved who they are. `credential` is the hash of the secret; `csrf_token` is set for sessions."""

    actor: Actor
    credential: str
    csrf_token: str | None = None
    seen_at: int | None = None


def new_secret() -> str:
    """A secret of 256 random bits, in the alphabet of URLs."""
    return secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """The SHA-256 under which a secret of 256 bits is stored; such a secret needs no slow hash."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def known_permissions(registry: PluginRegistry) -> frozenset[str]:
    """The permissions that plugins registered."""
    return frozenset(permission.name for _, permission in registry.declarations("register_permissions"))


def user_permissions(uow: UnitOfWork, user_id: str, account_path: str, account_kind: str) -> frozenset[str]:
    """What a user may do in an account: the roles of their memberships in it and in the accounts above it."""
    roles = uow.connection.execute(_ROLES, {"user": user_id, "path": account_path}).scalars()
    granted: Iterable[str] = {permission for role in roles for permission in ROLES.get(role, ())}
    return effective(granted, account_kind, known_permissions(uow.registry))


def identify_token(uow: UnitOfWork, hashed: str) -> Identity | None:
    """Who sent the API token with this hash; nobody if it is unknown, revoked or expired.

    A token that a user made for themselves has no right that the user has lost.
    """
    row = uow.connection.execute(_TOKEN, {"hash": hashed}).first()
    if row is None or (row.expires_at is not None and row.expires_at <= uow.clock()):
        return None
    permissions = effective(row.permissions, row.kind, known_permissions(uow.registry))
    if row.user_id is not None:
        permissions &= user_permissions(uow, row.user_id, row.path, row.kind)
    actor = Actor(
        label=f"token {row.name} ({row.id})",
        user_id=row.user_id,
        account_id=row.account_id,
        account_path=row.path,
        permissions=permissions,
    )
    return Identity(actor, hashed)


def identify_session(uow: UnitOfWork, hashed: str) -> Identity | None:
    """Whose browser session has this hash; nobody's if it ended, was idle too long, or its user has no role left."""
    row = uow.connection.execute(_SESSION, {"hash": hashed}).first()
    now = uow.clock()
    if row is None or row.expires_at <= now or row.seen_at + IDLE_MS <= now:
        return None
    permissions = user_permissions(uow, row.user_id, row.path, row.kind)
    if not permissions:
        return None
    actor = Actor(
        label=row.email, user_id=row.user_id, account_id=row.account_id, account_path=row.path, permissions=permissions
    )
    return Identity(actor, hashed, csrf_token=row.csrf_secret, seen_at=row.seen_at)
