"""Tables of users and of what proves who they are. Secrets are stored as hashes only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import Base, Id, Milliseconds


class UserRow(Base):
    """Someone who signs in. Without a password hash only a sign-in link lets them in."""

    __tablename__ = "user"

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[Milliseconds]


class MembershipRow(Base):
    """A user's role in an account."""

    __tablename__ = "membership"
    __table_args__ = (UniqueConstraint("user_id", "account_id"),)

    id: Mapped[Id]
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), index=True)
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"), index=True)
    role: Mapped[str] = mapped_column(String(40))


class ApiTokenRow(Base):
    """A token for programs; `secret_hash` is the SHA-256 of the 256-bit secret, `prefix` what a list may show of it."""

    __tablename__ = "api_token"

    id: Mapped[Id]
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(100))
    user_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("user.id"), index=True)
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"), index=True)
    permissions: Mapped[list[Any]]
    created_at: Mapped[Milliseconds]
    expires_at: Mapped[Milliseconds | None]


class SignInLinkRow(Base):
    """A link that signs its user in once."""

    __tablename__ = "sign_in_link"

    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), index=True)
    expires_at: Mapped[Milliseconds]
    used_at: Mapped[Milliseconds | None]


class SessionRow(Base):
    """A browser that is signed in, acting for one account at a time."""

    __tablename__ = "session"

    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), index=True)
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"))
    csrf_secret: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[Milliseconds]
    seen_at: Mapped[Milliseconds]
    expires_at: Mapped[Milliseconds]
