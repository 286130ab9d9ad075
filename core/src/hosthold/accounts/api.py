"""Accounts over HTTP."""

from __future__ import annotations

from hosthold.accounts import service
from hosthold.accounts.service import AccountDraft, AccountView
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.actor import Actor
from hosthold.types.identifier import Identifier
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest


@operation("GET", "/accounts", permission="account:read")
def list_accounts(page: PageRequest, actor: Actor, uow: UnitOfWork) -> Page[AccountView]:
    """List one's own account and all below it, newest first."""
    rows, next_key = service.page(uow, actor, page.limit, page.cursor)
    return Page([AccountView.of(row) for row in rows], next_key)


@operation("POST", "/accounts", permission="account:create", status=201, location="/accounts/{id}")
def create_account(body: AccountDraft, actor: Actor, uow: UnitOfWork) -> AccountView:
    """Make a customer below one's own account."""
    return AccountView.of(service.create(uow, actor, body))


@operation("GET", "/accounts/{account_id}", permission="account:read")
def read_account(account_id: Identifier, actor: Actor, uow: UnitOfWork) -> AccountView:
    """Read one account."""
    return AccountView.of(service.get(uow, actor, account_id))
