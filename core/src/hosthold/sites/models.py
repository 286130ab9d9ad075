"""Tables of sites, of the names that they hold, and of the Unix numbers that were given out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from hosthold.db.base import AccountPath, Base, Id, Milliseconds
from hosthold.reconcile.models import Reconciled


class SiteRow(Reconciled, Base):
    """A site. `domains` repeats the rows of `domain_name`, the primary one first, so that lists need no join."""

    __tablename__ = "site"
    __table_args__ = (Index(None, "due_at"), Index(None, "account_id", "id"))

    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"))
    account_path: Mapped[AccountPath]
    node_id: Mapped[str] = mapped_column(String(32), ForeignKey("node.id"), index=True)
    name: Mapped[str] = mapped_column(String(31), unique=True)
    uid: Mapped[int] = mapped_column(BigInteger, unique=True)
    domains: Mapped[list[Any]]
    runtime_driver: Mapped[str] = mapped_column(String(31))
    runtime_version: Mapped[str] = mapped_column(String(16))
    runtime_settings: Mapped[dict[str, Any]]
    document_root: Mapped[str] = mapped_column(String(512))
    limits: Mapped[dict[str, Any]]
    web: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What is set of the web server, with hashes of passwords: it is shown as `WebView` only."""
    is_suspended: Mapped[bool] = mapped_column(default=False)
    last_announced_reason: Mapped[str] = mapped_column(String(60), default="")
    """The reason of the last failure that plugins were told of; they hear of it again when it changes."""
    created_at: Mapped[Milliseconds]


class DomainNameRow(Base):
    """A host name that is taken: one row per name on the whole platform, whatever holds it."""

    __tablename__ = "domain_name"

    name: Mapped[str] = mapped_column(String(253), primary_key=True)
    reversed: Mapped[str] = mapped_column(
        String(254).with_variant(String(254, collation="C"), "postgresql"), index=True
    )
    """The name's labels, last one first, each with a dot behind it: all names below one are a range, byte by byte."""
    account_id: Mapped[str] = mapped_column(String(32), ForeignKey("account.id"), index=True)
    site_id: Mapped[str] = mapped_column(String(32), ForeignKey("site.id"), index=True)


class SiteUsageRow(Base):
    """What a site held on disk when its node looked at it last."""

    __tablename__ = "site_usage"

    site_id: Mapped[str] = mapped_column(String(32), ForeignKey("site.id"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    inodes: Mapped[int] = mapped_column(BigInteger)
    is_enforced: Mapped[bool]
    measured_at: Mapped[Milliseconds]


class CounterRow(Base):
    """A counter without gaps or repetition, raised inside the transaction that uses its value."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
