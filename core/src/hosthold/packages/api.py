"""Packages over HTTP."""

from __future__ import annotations

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.packages import service
from hosthold.packages.service import PackageDraft, PackageView
from hosthold.types.actor import Actor
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest


@operation("GET", "/packages", permission="package:read")
def list_packages(page: PageRequest, actor: Actor, uow: UnitOfWork) -> Page[PackageView]:
    """List the packages that one's account or one above it sells, newest first."""
    rows, next_key = service.page(uow, actor, page.limit, page.cursor)
    return Page([PackageView.of(row) for row in rows], next_key)


@operation("POST", "/packages", permission="package:create", status=201)
def create_package(body: PackageDraft, actor: Actor, uow: UnitOfWork) -> PackageView:
    """Make a package to sell."""
    return PackageView.of(service.create(uow, actor, body))
