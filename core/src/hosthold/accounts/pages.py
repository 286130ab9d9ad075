"""The panel's pages of accounts."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from hosthold.accounts import service
from hosthold.accounts.service import AccountDraft
from hosthold.errors import Rejected
from hosthold.packages import service as packages
from hosthold.panel.forms import Form, filled, parse, status_of
from hosthold.panel.page import Pages, Visit

PAGES = Pages()
PAGE_SIZE = 25
_MOST_PACKAGES = 200
_PLACES = {"/name": "name", "/package_id": "package_id"}


@PAGES.get("/accounts", permission="account:read")
def list_accounts(visit: Visit) -> Response:
    """The accounts that the visitor reaches, newest first."""
    cursor = visit.cursor
    with visit.read() as uow:
        rows, next_cursor = service.page(uow, visit.actor, PAGE_SIZE, cursor)
        offers, _ = packages.page(uow, visit.actor, _MOST_PACKAGES, None)
    return visit.show(
        "accounts/list.html",
        rows=rows,
        packages={row.id: row.name for row in offers},
        cursor=cursor,
        next_cursor=next_cursor,
        may_create=visit.actor.may("account:create"),
    )


@PAGES.get("/accounts/new", permission="account:create")
def show_new(visit: Visit) -> Response:
    """The form of a new customer."""
    return _show_form(visit, {}, None)


@PAGES.post("/accounts/new", permission="account:create")
def create(visit: Visit) -> Response:
    """Add the customer."""
    values = {name: value for name, value in filled(visit.form).items() if name in ("name", "package_id")}
    try:
        with visit.write() as uow:
            service.create(uow, visit.actor, parse(AccountDraft, values, "The customer was not added yet."))
    except Rejected as error:
        return _show_form(visit, visit.form, error)
    return visit.go("/accounts", "account-created")


def _show_form(visit: Visit, values: Mapping[str, str], error: Rejected | None) -> Response:
    with visit.read() as uow:
        offers, _ = packages.page(uow, visit.actor, _MOST_PACKAGES, None)
    return visit.show(
        "accounts/form.html",
        status_of(error),
        form=Form(values, error, _PLACES),
        packages=[(row.id, f"{row.name} (up to {row.max_sites} sites)") for row in offers],
    )
