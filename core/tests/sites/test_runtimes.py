"""Versions of runtimes are told with the day on which they end."""

from __future__ import annotations

from datetime import date

import pytest
from hosthold.nodes.models import NodeRow
from hosthold.sites import service
from hosthold.sites.runtimes import SupportState, runtimes, support_of, support_on
from hosthold.sites.schema import SiteDraft
from sqlalchemy import select

from core.tests.sites.conftest import World

TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("ends_on", "state", "days_left"),
    [
        (date(2025, 12, 31), SupportState.ended, -329),
        (date(2026, 11, 24), SupportState.ended, -1),
        (date(2026, 11, 25), SupportState.ending, 0),
        (date(2026, 12, 31), SupportState.ending, 36),
        (date(2027, 12, 31), SupportState.supported, 401),
        (None, SupportState.unknown, None),
    ],
)
def test_what_the_last_day_means_today(ends_on: date | None, state: SupportState, days_left: int | None) -> None:
    support = support_on(ends_on, TODAY)
    assert (support.state, support.ends_on, support.days_left) == (state, ends_on, days_left)


def test_all_versions_that_are_offered_or_used_are_listed_newest_first(world: World) -> None:
    with world.database.write() as uow:
        service.declare(uow, world.alice, SiteDraft.model_validate({"domain": "alice.test"}))
        uow.session.scalars(select(NodeRow)).one().facts = {"php": ["8.10", "7.4"]}
    with world.database.read() as uow:
        seen = {who: runtimes(uow, actor).items for who, actor in (("alice", world.alice), ("bob", world.bob))}
    assert [(each.version, each.is_installed, each.sites) for each in seen["alice"]] == [
        ("8.10", True, 0),
        ("8.2", False, 1),
        ("7.4", True, 0),
    ]
    assert [each.version for each in seen["bob"]] == ["8.10", "7.4"]
    assert seen["alice"][0].support.state is SupportState.unknown
    assert seen["alice"][2].support.state is SupportState.ended


def test_of_a_runtime_that_is_not_here_nothing_is_known(world: World) -> None:
    with world.database.read() as uow:
        assert support_of(uow, "ruby", "3.4").state is SupportState.unknown
