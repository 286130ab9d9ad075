"""A database with many customers and sites, declared by the services themselves; no node ever sees them."""

from __future__ import annotations

from hosthold.accounts.service import AccountDraft, create
from hosthold.auth.service import open_session, user_by_email
from hosthold.nodes.models import NodeRow
from hosthold.packages.service import PackageDraft
from hosthold.packages.service import create as create_package
from hosthold.sites.models import SiteRow
from hosthold.sites.schema import SiteDraft
from hosthold.sites.service import declare
from hosthold.types.site import Phase
from hosthold.types.text import Domain
from sqlalchemy import text, update

from benchmarks.platform import ADMINISTRATOR, Platform


def populate(platform: Platform, sites: int, accounts: int) -> None:
    """Make the accounts, and spread the sites over them; all of them count as online."""
    with platform.database() as (database, operator):
        with database.write() as uow:
            uow.session.execute(update(NodeRow).values(facts={"php": ["8.2"]}, due_at=None))
            package = create_package(uow, operator, PackageDraft(name="Bench", max_sites=sites))
            owners = [
                create(uow, operator, AccountDraft(name=f"Customer {number}", package_id=package.id)).id
                for number in range(accounts)
            ]
        for first in range(0, sites, 500):
            with database.write() as uow:
                for number in range(first, min(first + 500, sites)):
                    domain = Domain(f"site{number}.localhost")
                    declare(uow, operator, SiteDraft(domain=domain, account_id=owners[number % accounts]))
        with database.write() as uow:
            uow.session.execute(update(SiteRow).values(phase=Phase.ready, observed_generation=1, due_at=None))
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def administrators_session(platform: Platform) -> str:
    """The secret of a new session of the administrator."""
    with platform.database() as (database, _), database.write() as uow:
        return open_session(uow, user_by_email(uow, ADMINISTRATOR).id, None).secret
