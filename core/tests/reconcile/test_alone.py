"""What is wrong with one site, node or clock holds up nothing else."""

from __future__ import annotations

import threading

from hosthold.errors import QueueError
from hosthold.nodes.service import register
from hosthold.reconcile.loop import Loop
from hosthold.sites import service
from hosthold.sites.models import SiteRow
from hosthold.sites.schema import SiteChange
from hosthold.types.node import Node
from hosthold.types.resource import NodeOrder
from hosthold_sdk.testing.platform import Clock

from core.tests.reconcile.memory import MemoryNode, declare, row_of
from core.tests.sites.conftest import World


def test_a_driver_or_plugin_that_cannot_render_fails_its_site_alone(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    good, bad = declare(world, "good.test"), declare(world, "bad.test")
    with world.database.write() as uow:
        uow.session.get_one(SiteRow, bad).runtime_driver = "cobol"
    loop.run("site")
    assert row_of(world, good).phase == "ready"
    row = row_of(world, bad)
    assert (row.phase, row.conditions[0]["reason"], row.due_at) == ("failed", "NotInstalled", None)


def test_r16_a_row_that_cannot_be_read_fails_alone_and_can_be_declared_anew(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    good, bad = declare(world, "good.test"), declare(world, "bad.test")
    with world.database.write() as uow:
        uow.session.get_one(SiteRow, bad).document_root = "../../etc"
    loop.run("site")
    assert row_of(world, good).phase == "ready"
    row = row_of(world, bad)
    assert (row.phase, row.conditions[0]["reason"], row.due_at) == ("failed", "DeclarationInvalid", None)
    with world.database.write() as uow:
        service.change(uow, world.alice, bad, SiteChange.model_validate({"document_root": "public"}), None)
    loop.run("site")
    assert row_of(world, bad).phase == "ready"


def test_an_order_too_large_for_one_message_goes_in_parts_and_fails_only_what_is_too_large_alone(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    sites = [declare(world, f"n{number}.test") for number in range(3)]
    huge = f"site:{sites[1]}"

    def refuse_large(order: NodeOrder) -> None:
        if len(order.desired) > 2 or huge in [desired.subject for desired in order.desired]:
            raise QueueError("A message of 9 MB exceeds what a queue takes.")

    memory.before = refuse_large
    loop.run("site")
    assert [row_of(world, site_id).phase for site_id in sites] == ["ready", "failed", "ready"]


def test_a_node_that_does_not_answer_holds_up_no_other(
    world: World, loop: Loop, memory: MemoryNode, node: Node
) -> None:
    with world.database.write() as uow:
        other = register(uow, node.model_copy(update={"name": "other"}), uid_first=200_000)
        other.facts = {"php": ["8.2"]}
    sites = [declare(world, "first.test"), declare(world, "second.test")]
    assert {row_of(world, site_id).node_id for site_id in sites} != {other.id}
    both = threading.Barrier(2, timeout=10)

    def wait_for_the_other(order: NodeOrder) -> None:
        both.wait()

    memory.before = wait_for_the_other
    loop.run("site")
    assert [row_of(world, site_id).phase for site_id in sites] == ["ready", "ready"]


def test_r30_a_clock_that_was_set_back_holds_nothing_up(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    clock.advance(-7 * 24 * 3_600_000)
    assert loop.run("site") == 1
    assert row_of(world, site_id).phase == "ready"
