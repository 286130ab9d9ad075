"""Versions of runtimes: which nodes offer, which sites use, and until when security holes in them are mended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, select

from hosthold.db.base import below
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drivers.runtime import RuntimeDriver
from hosthold.errors import HostholdError
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import facts_of
from hosthold.sites.models import SiteRow
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen

SOON = timedelta(days=90)
"""How long before the end of a version its sites are told."""


class SupportState(StrEnum):
    """Whether security holes of a version are mended."""

    supported = "supported"
    ending = "ending"
    """They are, for less than 90 days more."""
    ended = "ended"
    unknown = "unknown"
    """Nobody told when it ends: that is no promise."""


class Support(Frozen):
    """What is known of a version's support, on a day."""

    state: SupportState
    ends_on: date | None = None
    """The last day of security fixes."""
    days_left: int | None = None
    """How many days are left until then; negative once it is over."""


class RuntimeView(Frozen):
    """One version of a runtime that a node offers or a site uses, and how many of the sites that one sees use it."""

    driver: str
    version: str
    is_installed: bool
    support: Support
    sites: int


class RuntimesView(Frozen):
    """All versions, newest first."""

    items: tuple[RuntimeView, ...]


def support_of(uow: UnitOfWork, driver_name: str, version: str) -> Support:
    """What is known of a version today."""
    try:
        driver = uow.registry.driver("runtime", driver_name)
    except HostholdError:
        return Support(state=SupportState.unknown)
    assert isinstance(driver, RuntimeDriver)
    return support_on(driver.ends.get(version), datetime.fromtimestamp(uow.clock() / 1000, UTC).date())


def support_on(ends_on: date | None, today: date) -> Support:
    """What the last day of a version's fixes means today."""
    if ends_on is None:
        return Support(state=SupportState.unknown)
    left = ends_on - today
    state = SupportState.supported
    if left < timedelta(0):
        state = SupportState.ended
    elif left <= SOON:
        state = SupportState.ending
    return Support(state=state, ends_on=ends_on, days_left=left.days)


def runtimes(uow: UnitOfWork, actor: Actor) -> RuntimesView:
    """All versions that a node offers or a site in the actor's accounts uses, newest first."""
    start, end = below(actor.account_path)
    used = (
        select(SiteRow.runtime_driver, SiteRow.runtime_version, func.count())
        .where(SiteRow.account_path >= start, SiteRow.account_path < end, SiteRow.deleting.is_(False))
        .group_by(SiteRow.runtime_driver, SiteRow.runtime_version)
    )
    sites = {(driver, version): count for driver, version, count in uow.session.execute(used)}
    installed = offered(uow)
    return RuntimesView(
        items=tuple(
            RuntimeView(
                driver=driver,
                version=version,
                is_installed=(driver, version) in installed,
                support=support_of(uow, driver, version),
                sites=sites.get((driver, version), 0),
            )
            for driver, version in newest_first({*installed, *sites})
        )
    )


def offered(uow: UnitOfWork) -> frozenset[tuple[str, str]]:
    """The versions that any node has, as driver and version."""
    rows = uow.session.scalars(select(NodeRow).where(NodeRow.deleting.is_(False)))
    return frozenset(
        (driver, version) for row in rows for driver, versions in facts_of(row).items() for version in versions
    )


def newest_first(versions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drivers by name, and the versions of each with the newest one first."""
    return sorted(versions, key=lambda each: (each[0], [-int(part) for part in re.findall("[0-9]+", each[1])]))
