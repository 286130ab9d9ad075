"""What sites hold: asked of nodes, stored, shown beside what is allowed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hosthold.errors import DriverError, NotFound
from hosthold.panel.text import bytes_text
from hosthold.sites import service
from hosthold.sites.schema import SiteDraft
from hosthold.sites.usage import measure_all, usage
from hosthold.types.resource import NodeOrder, OrderAction, OrderReply, Outcome, Usage
from hosthold.types.site import Condition

from .conftest import World

GIBIBYTE = 2**30


class MeasuringNode:
    """A node that knows what its sites hold."""

    def __init__(self) -> None:
        self.held: dict[str, Usage] = {}
        self.condition: Condition | None = None

    def send(self, order: NodeOrder) -> OrderReply:
        assert order.action is OrderAction.measure
        outcomes = (Outcome(subject=item.subject, usage=self.held.get(item.subject)) for item in order.desired)
        return OrderReply(order_id=order.id, outcomes=tuple(outcomes), condition=self.condition)

    def give_up(self) -> None:
        """Nobody ever waits for it."""


def _held(gibibytes: int, inodes: int = 10) -> Usage:
    return Usage(
        bytes=gibibytes * GIBIBYTE, inodes=inodes, is_enforced=False, measured_at=datetime(2026, 11, 23, tzinfo=UTC)
    )


def _declare(world: World, domain: str) -> str:
    with world.database.write() as uow:
        return service.declare(uow, world.alice, SiteDraft.model_validate({"domain": domain})).id


def test_what_nodes_found_is_shown_and_replaced_by_what_they_find_next(world: World) -> None:
    first, second, node = _declare(world, "one.test"), _declare(world, "two.test"), MeasuringNode()
    node.held[f"site:{first}"] = _held(3)
    for gibibytes, is_above in ((3, False), (11, True)):
        node.held[f"site:{first}"] = _held(gibibytes)
        measure_all(world.database, node)
        with world.database.read() as uow:
            found = usage(uow, world.alice, first)
            assert (found.bytes, found.bytes_limit) == (gibibytes * GIBIBYTE, 10 * GIBIBYTE)
            assert (found.is_above, found.is_enforced) == (is_above, False)
            assert found.measured_at == "2026-11-23T00:00:00.000Z"
            assert usage(uow, world.alice, second).bytes is None


def test_too_many_files_are_above_the_limit_too(world: World) -> None:
    site, node = _declare(world, "one.test"), MeasuringNode()
    node.held[f"site:{site}"] = _held(1, inodes=500_001)
    measure_all(world.database, node)
    with world.database.read() as uow:
        assert usage(uow, world.alice, site).is_above


def test_s31_what_somebody_elses_site_holds_is_not_told(world: World) -> None:
    site = _declare(world, "one.test")
    with world.database.read() as uow, pytest.raises(NotFound):
        usage(uow, world.bob, site)


def test_a_node_that_does_not_answer_fails_the_job_and_loses_nothing(world: World) -> None:
    site, node = _declare(world, "one.test"), MeasuringNode()
    node.held[f"site:{site}"] = _held(3)
    measure_all(world.database, node)
    node.condition = Condition(reason="OrderRefused", message="not today", hint="")
    with pytest.raises(DriverError, match="not today"):
        measure_all(world.database, node)
    with world.database.read() as uow:
        assert usage(uow, world.alice, site).bytes == 3 * GIBIBYTE


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 KiB"), (4096, "4 KiB"), (1_500_000, "1.4 MiB"), (10 * GIBIBYTE, "10 GiB"), (5 * 2**40, "5.0 TiB")],
)
def test_numbers_of_bytes_are_written_for_people(count: int, text: str) -> None:
    assert bytes_text(count) == text
