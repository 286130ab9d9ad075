"""Users, their memberships, and how they sign in: by password, or by a link that works once."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from hosthold.accounts.models import AccountRow
from hosthold.audit.service import record
from hosthold.auth.identity import new_secret, secret_hash
from hosthold.auth.models import MembershipRow, SessionRow, SignInLinkRow, UserRow
from hosthold.auth.password import hash_password, needs_rehash, verify_password
from hosthold.auth.permission import ROLES
from hosthold.auth.throttle import SignInThrottle
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import Conflict, FieldError, InvalidInput, NotAuthenticated, NotFound
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier

SESSION_MS = 7 * 24 * 3600 * 1000
LINK_MS = 15 * 60 * 1000
_REFUSED = "This address and password do not belong together."


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was just opened; `secret` goes into the cookie and is kept nowhere else."""

    secret: str
    csrf_token: str
    user_id: str
    account_id: str


def canonical_email(email: str) -> str:
    """The one form in which addresses are stored and compared. `InvalidInput` if it cannot be an address."""
    address = unicodedata.normalize("NFKC", email).strip().lower()
    local, _, domain = address.rpartition("@")
    is_plain = address.isprintable() and " " not in address and "@" not in local
    if len(address) > 254 or not local or not domain or not is_plain:
        raise InvalidInput("The user was not found or made.", [FieldError("/email", "is not an e-mail address")])
    return address


def create_user(uow: UnitOfWork, email: str, password: str | None) -> UserRow:
    """Make a user. Raises `Conflict` if the address has one, `InvalidInput` if address or password cannot be used."""
    row = UserRow(
        id=new_identifier(),
        email=canonical_email(email),
        created_at=uow.clock(),
        password_hash=hash_password(password) if password is not None else None,
    )
    if uow.session.scalar(select(UserRow.id).where(UserRow.email == row.email)) is not None:
        raise Conflict(f"There is a user with the address {row.email} already.", hint="Give that user a role instead.")
    uow.session.add(row)
    uow.session.flush()
    return row


def user_by_email(uow: UnitOfWork, email: str) -> UserRow:
    """The user with this address. Raises `NotFound`."""
    row = uow.session.scalar(select(UserRow).where(UserRow.email == canonical_email(email)))
    if row is None:
        raise NotFound("There is no such user.", hint="Check the address.")
    return row


def grant_role(uow: UnitOfWork, user_id: str, account_id: str, role: str) -> MembershipRow:
    """Give a user a role in an account, in place of the one they may have there. Raises `NotFound`, `InvalidInput`."""
    if role not in ROLES:
        raise InvalidInput("No role was given.", [FieldError("/role", f"must be one of {', '.join(ROLES)}")])
    if uow.session.get(UserRow, user_id) is None or uow.session.get(AccountRow, account_id) is None:
        raise NotFound("There is no such user or account.", hint="Check both identifiers.")
    row = uow.session.scalar(
        select(MembershipRow).where(MembershipRow.user_id == user_id, MembershipRow.account_id == account_id)
    )
    if row is None:
        row = MembershipRow(id=new_identifier(), user_id=user_id, account_id=account_id, role=role)
        uow.session.add(row)
    row.role = role
    uow.session.flush()
    return row


def set_password(uow: UnitOfWork, user_id: str, password: str) -> None:
    """Store a new password; all sessions and sign-in links of the user end. Raises `InvalidInput`, `NotFound`."""
    user = uow.session.get(UserRow, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    user.password_hash = hash_password(password)
    uow.session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))
    uow.session.execute(delete(SignInLinkRow).where(SignInLinkRow.user_id == user_id))


def sign_in(
    database: Database, throttle: SignInThrottle, email: str, password: str, address: str, previous: str | None
) -> OpenedSession:
    """Open a session for who knows the password; `address` is the client's, `previous` the cookie it had before.

    Takes about 60 ms of computing, so call it outside of a transaction and off the event loop. Raises
    `NotAuthenticated`, the same for an unknown address and a wrong password, and `TooManyRequests`.
    """
    try:
        email = canonical_email(email)
    except InvalidInput:
        email = ""
    throttle.check(email, address)
    with database.read() as uow:
        user = uow.session.scalar(select(UserRow).where(UserRow.email == email))
    if (
        not verify_password(user.password_hash if user else None, password)
        or user is None
        or user.password_hash is None
    ):
        throttle.failed(email, address)
        raise NotAuthenticated(_REFUSED, hint="Check both, or ask for a sign-in link.")
    throttle.succeeded(email)
    stronger = hash_password(password) if needs_rehash(user.password_hash) else None
    with database.write() as uow:
        if stronger is not None:
            unchanged = UserRow.password_hash == user.password_hash
            uow.session.execute(update(UserRow).where(UserRow.id == user.id, unchanged).values(password_hash=stronger))
        return open_session(uow, user.id, previous)


def create_sign_in_link(uow: UnitOfWork, user_id: str) -> str:
    """The secret of a link that signs this user in once within 15 minutes; links made before stop working."""
    uow.session.execute(delete(SignInLinkRow).where(SignInLinkRow.user_id == user_id))
    secret = new_secret()
    uow.session.add(
        SignInLinkRow(secret_hash=secret_hash(secret), user_id=user_id, expires_at=uow.clock() + LINK_MS, used_at=None)
    )
    uow.session.flush()
    return secret


def use_sign_in_link(uow: UnitOfWork, secret: str, previous: str | None) -> OpenedSession:
    """Open a session for the bearer of a link. Raises `NotAuthenticated` if it was used, is too old, or never was."""
    taken = (
        update(SignInLinkRow)
        .where(
            SignInLinkRow.secret_hash == secret_hash(secret),
            SignInLinkRow.used_at.is_(None),
            SignInLinkRow.expires_at > uow.clock(),
        )
        .values(used_at=uow.clock())
        .returning(SignInLinkRow.user_id)
    )
    user_id = uow.session.scalar(taken)
    if user_id is None:
        raise NotAuthenticated(
            "This sign-in link was used already, or is too old.",
            hint="Ask for a new one; each works once, for 15 minutes.",
        )
    return open_session(uow, user_id, previous)


def open_session(uow: UnitOfWork, user_id: str, previous: str | None) -> OpenedSession:
    """A new session of the user, for the account nearest to the root in which they have a role.

    The session with the secret `previous` ends: a browser never keeps an identifier from before it signed in.
    """
    if previous is not None:
        end_session(uow, secret_hash(previous))
    account = uow.session.execute(
        select(AccountRow.id, AccountRow.path, UserRow.email)
        .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
        .join(UserRow, UserRow.id == MembershipRow.user_id)
        .where(MembershipRow.user_id == user_id)
        .order_by(AccountRow.path)
        .limit(1)
    ).first()
    if account is None:
        raise NotAuthenticated("You have no role in any account.", hint="Ask who manages the account to give you one.")
    secret, csrf_token, now = new_secret(), new_secret(), uow.clock()
    uow.session.execute(delete(SessionRow).where(SessionRow.user_id == user_id, SessionRow.expires_at <= now))
    uow.session.add(
        SessionRow(
            secret_hash=secret_hash(secret),
            user_id=user_id,
            account_id=account.id,
            csrf_secret=csrf_token,
            created_at=now,
            seen_at=now,
            expires_at=now + SESSION_MS,
        )
    )
    actor = Actor(
        label=account.email, user_id=user_id, account_id=account.id, account_path=account.path, permissions=frozenset()
    )
    record(uow, actor, "session:open", f"user:{user_id}", account.path)
    uow.session.flush()
    return OpenedSession(secret, csrf_token, user_id, account.id)


def touch_session(uow: UnitOfWork, hashed: str) -> None:
    """Note that a session is in use, so that it does not end as idle."""
    uow.session.execute(update(SessionRow).where(SessionRow.secret_hash == hashed).values(seen_at=uow.clock()))


def end_session(uow: UnitOfWork, hashed: str) -> None:
    """End the session whose secret has this hash; it is worth nothing from now on. Harmless if there is none."""
    uow.session.execute(delete(SessionRow).where(SessionRow.secret_hash == hashed))
