"""The panel's pages of packages."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from hosthold.errors import Rejected
from hosthold.packages import service
from hosthold.packages.service import PackageDraft, PackageView
from hosthold.panel.forms import Form, filled, parse, status_of
from hosthold.panel.page import Pages, Visit
from hosthold.types.package import Limits

PAGES = Pages()
PAGE_SIZE = 25
_PLACES = {"/name": "name", "/max_sites": "max_sites", **{f"/limits/{name}": name for name in Limits.model_fields}}
_STANDARD = PackageDraft(name="standard")
_INITIAL = {"max_sites": str(_STANDARD.max_sites), **{name: str(value) for name, value in _STANDARD.limits}}


@PAGES.get("/packages", permission="package:read")
def list_packages(visit: Visit) -> Response:
    """The packages that the visitor may sell or has bought."""
    cursor = visit.cursor
    with visit.read() as uow:
        rows, next_cursor = service.page(uow, visit.actor, PAGE_SIZE, cursor)
    return visit.show(
        "packages/list.html",
        packages=[PackageView.of(row) for row in rows],
        cursor=cursor,
        next_cursor=next_cursor,
        may_create=visit.actor.may("package:create"),
    )


@PAGES.get("/packages/new", permission="package:create")
def show_new(visit: Visit) -> Response:
    """The form of a new package."""
    return _show_form(visit, _INITIAL, None)


@PAGES.post("/packages/new", permission="package:create")
def create(visit: Visit) -> Response:
    """Make the package."""
    values = filled(visit.form)
    named: dict[str, object] = {name: value for name, value in values.items() if name in ("name", "max_sites")}
    named["limits"] = {name: value for name, value in values.items() if name in Limits.model_fields}
    try:
        draft = parse(PackageDraft, named, "The package was not made yet.")
        with visit.write() as uow:
            service.create(uow, visit.actor, draft)
    except Rejected as error:
        return _show_form(visit, visit.form, error)
    return visit.go("/packages", "package-created")


def _show_form(visit: Visit, values: Mapping[str, str], error: Rejected | None) -> Response:
    return visit.show("packages/form.html", status_of(error), form=Form(values, error, _PLACES))
