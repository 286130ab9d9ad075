"""The loop: whatever fails or dies on the way, the world ends up exactly as declared."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hosthold.drift.orders import look_at_parked
from hosthold.errors import Interrupted, Rejected, Unavailable
from hosthold.reconcile.loop import LEASE_MS, Loop
from hosthold.settings import DriftSettings
from hosthold.sites import service
from hosthold.sites.jobs import operation_handlers
from hosthold.sites.models import SiteRow
from hosthold.sites.planning import request_repair
from hosthold.sites.rendering import render_site
from hosthold.sites.schema import SiteChange
from hosthold.types.node import Node
from hosthold.types.resource import Desired, NodeOrder, OrderAction, Repair
from hosthold.types.site import Condition
from hosthold.work.operations import Operations
from hosthold_sdk.testing.platform import Clock
from pydantic import ValidationError
from sqlalchemy import select

from core.tests.reconcile.memory import Killed, MemoryNode, declare, events, loop_over, row_of
from core.tests.sites.conftest import World


def test_a_declared_site_becomes_ready_and_plugins_will_hear_of_it_once(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    assert loop.run("site") == 1
    row = row_of(world, site_id)
    assert (row.phase, row.observed_generation, row.attempts, row.conditions) == ("ready", 1, 0, [])
    assert f"site:{site_id}" in memory.world
    clock.advance(20 * 60_000)
    assert loop.run("site") == 1
    assert events(world) == ["on_site_ready"]


def test_a_batch_of_sites_is_one_order(world: World, loop: Loop, memory: MemoryNode) -> None:
    memory.orders.clear()
    for number in range(3):
        declare(world, f"n{number}.test")
    assert loop.run("site") == 3
    assert [len(order.desired) for order in memory.orders] == [3]


def test_a_site_whose_programs_were_not_seen_yet_is_looked_at_when_the_node_says(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    memory.proven_in_ms = 3_000
    site_id = declare(world, "alice.test")
    loop.run("site")
    assert row_of(world, site_id).phase == "ready"
    memory.proven_in_ms = None
    memory.judge = lambda desired: Condition(reason="ProbeFailed", message="502", hint="wait")
    clock.advance(2_999)
    assert loop.run("site") == 0
    clock.advance(1)
    assert loop.run("site") == 1
    assert row_of(world, site_id).phase == "failed"
    assert events(world) == ["on_site_ready", "on_site_failed"]


def test_a_passing_failure_is_tried_again_with_growing_pauses(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    memory.judge = lambda desired: Condition(reason="ProbeFailed", message="502", hint="wait")
    pauses = []
    for _ in range(4):
        loop.run("site")
        row = row_of(world, site_id)
        assert row.phase == "failed"
        assert row.conditions[0]["reason"] == "ProbeFailed"
        assert row.due_at is not None
        pauses.append(row.due_at - clock.now)
        assert loop.run("site") == 0
        clock.advance(pauses[-1])
    assert pauses == sorted(pauses)
    memory.judge = lambda desired: None
    loop.run("site")
    assert row_of(world, site_id).phase == "ready"
    assert events(world) == ["on_site_failed", "on_site_ready"]


def test_a_permanent_failure_rests_until_the_declaration_changes(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    memory.judge = lambda desired: Condition(reason="PathTaken", message="not ours", hint="move it", is_permanent=True)
    loop.run("site")
    clock.advance(10**9)
    assert loop.run("site") == 0
    memory.judge = lambda desired: None
    with world.database.write() as uow:
        service.change(uow, world.alice, site_id, SiteChange.model_validate({"document_root": "web"}), None)
    loop.run("site")
    assert row_of(world, site_id).phase == "ready"


def test_r18_a_change_during_an_apply_is_not_settled_over(world: World, loop: Loop, memory: MemoryNode) -> None:
    site_id = declare(world, "alice.test")

    def change_meanwhile(order: NodeOrder) -> None:
        memory.after = lambda order: None
        with world.database.write() as uow:
            service.suspend(uow, world.alice, site_id)

    memory.after = change_meanwhile
    loop.run("site")
    row = row_of(world, site_id)
    assert (row.phase, row.observed_generation, row.generation) == ("ready", 2, 2)
    assert [
        desired.generation for order in memory.orders for desired in order.desired if desired.subject.startswith("site")
    ] == [1, 2]


def test_r17_two_workers_do_not_work_on_one_site(world: World, loop: Loop, memory: MemoryNode) -> None:
    declare(world, "alice.test")
    other = loop_over(world.database, memory)
    seen: list[int] = []
    memory.before = lambda order: seen.append(other.run("site"))
    loop.run("site")
    assert seen == [0]


def test_r03_a_worker_that_died_is_replaced_when_its_lease_ends(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")

    def die(order: NodeOrder) -> None:
        raise Killed

    memory.after = die
    with pytest.raises(Killed):
        loop.run("site")
    memory.after = lambda order: None
    assert loop_over(world.database, memory).run("site") == 0
    clock.advance(LEASE_MS)
    assert loop_over(world.database, memory).run("site") == 1
    assert row_of(world, site_id).phase == "ready"


def test_r03_a_worker_that_comes_back_late_settles_nothing(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")

    def overtaken(order: NodeOrder) -> None:
        memory.before = lambda order: None
        clock.advance(LEASE_MS)
        assert loop_over(world.database, memory).run("site") == 1
        with world.database.write() as uow:
            service.delete(uow, world.alice, site_id, None)
        assert loop_over(world.database, memory).run("site") == 1

    memory.before = overtaken
    loop.run("site")
    assert f"site:{site_id}" not in memory.world
    with world.database.read() as uow:
        assert uow.session.get(SiteRow, site_id) is None


def test_what_a_worker_was_interrupted_in_is_left_as_it_was_for_the_next_one(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    first, second = declare(world, "alice.test"), declare(world, "alice2.test")

    def end(order: NodeOrder) -> None:
        loop.stop()
        raise Interrupted("told to end")

    memory.before = end
    loop.run("site")
    assert {row_of(world, each).phase for each in (first, second)} == {"applying"}
    assert loop.run("site") == 0, "it begins nothing more"
    memory.before = lambda order: None
    assert loop_over(world.database, memory).run("site") == 2, "without waiting for a lease"
    assert [(row.phase, row.conditions) for row in map(partial(row_of, world), (first, second))] == [("ready", [])] * 2


def test_a_live_site_whose_user_is_not_rendered_is_braked() -> None:
    from hosthold.reconcile.safety import Braked, brake
    from hosthold.types.node import Owner
    from hosthold.types.resource import Directory
    from hosthold.types.text import AbsolutePath

    home = Directory(path=AbsolutePath("/x/sites/s1"), owner=Owner(uid=0, gid=0), mode=0o711)
    with pytest.raises(Braked):
        brake(Desired(subject="site:1", label="x.test", generation=1, fence=1), (home,))
    brake(Desired(subject="site:1", label="x.test", generation=1, fence=1, resources=(home,)), (home,))


def test_drift_is_told_and_the_site_stays_ready(world: World, loop: Loop, memory: MemoryNode, clock: Clock) -> None:
    site_id = declare(world, "alice.test")
    loop.run("site")
    memory.judge = lambda desired: Condition(
        reason="Drifted", message="edited by hand", hint="adopt or repair", is_permanent=True
    )
    clock.advance(20 * 60_000)
    loop.run("site")
    row = row_of(world, site_id)
    assert (row.phase, row.conditions[0]["reason"]) == ("ready", "Drifted")
    assert row.due_at is not None


def test_r37_no_site_rests_longer_than_15_minutes(world: World, loop: Loop, clock: Clock) -> None:
    ids = [declare(world, f"n{number}.test") for number in range(3)]
    longest = world.database.settings.drift.look_seconds
    with pytest.raises(ValidationError):
        DriftSettings(look_seconds=longest + 1)
    apart = 0
    for _ in range(30):
        loop.run("site")
        due = [row_of(world, site_id).due_at or 10**18 for site_id in ids]
        assert all(clock.now < moment <= clock.now + 15 * 60_000 for moment in due)
        apart += len(set(due)) == len(ids)
        clock.advance(max(due) - clock.now)
    assert apart > 15, "sites that were made together are looked at together"


def test_r37_what_failed_for_good_is_looked_at_and_made_due_once_its_drift_is_gone(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    loop.run("site")
    memory.judge = lambda desired: Condition(reason="Drifted", message="edited", hint="repair", is_permanent=True)
    with world.database.write() as uow:
        service.retry(uow, world.alice, site_id)
    loop.run("site")
    assert row_of(world, site_id).due_at is None
    memory.judge = lambda desired: None
    look_at_parked(world.database, memory)
    assert memory.orders[-1].action is OrderAction.plan
    loop.run("site")
    assert (row_of(world, site_id).phase, row_of(world, site_id).conditions) == ("ready", [])


def test_a_node_that_is_away_does_not_make_a_served_site_a_failed_one(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    loop.run("site")

    def be_away(order: NodeOrder) -> None:
        raise Unavailable("The node does not answer.")

    memory.before = be_away
    clock.advance(20 * 60_000)
    loop.run("site")
    row = row_of(world, site_id)
    assert (row.phase, row.conditions[0]["reason"]) == ("ready", "Unavailable")
    memory.before = lambda order: None
    clock.advance(60_000)
    loop.run("site")
    assert (row_of(world, site_id).phase, row_of(world, site_id).conditions) == ("ready", [])


def test_r37_what_was_edited_by_hand_is_overwritten_once_somebody_says_so(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    site_id = declare(world, "alice.test")
    loop.run("site")
    drifted = Condition(reason="Drifted", message="edited by hand", hint="repair", is_permanent=True)
    edited = {f"site:{site_id}"}

    def judge(desired: Desired) -> Condition | None:
        if desired.repair is Repair.all:
            edited.discard(desired.subject)
        return drifted if desired.subject in edited else None

    memory.judge = judge
    with world.database.write() as uow:
        service.retry(uow, world.alice, site_id)
    loop.run("site")
    assert (row_of(world, site_id).phase, row_of(world, site_id).due_at) == ("failed", None)
    with world.database.write() as uow:
        request_repair(uow, world.alice, site_id, "once")
    assert Operations(world.database, operation_handlers(world.database, memory)).run() == 1
    loop.run("site")
    assert (row_of(world, site_id).phase, row_of(world, site_id).conditions) == ("ready", [])


@pytest.mark.parametrize("seed", range(12))
def test_r01_random_failures_and_deaths_end_in_exactly_the_declared_world(
    world: World, memory: MemoryNode, clock: Clock, node: Node, seed: int
) -> None:
    random = Random(seed)
    loop_over(world.database, memory).run("node")

    def trouble(order: NodeOrder) -> None:
        match random.randrange(6):
            case 0:
                raise Killed
            case 1:
                raise Unavailable("the node does not answer")

    memory.before = memory.after = trouble
    memory.judge = lambda desired: (
        Condition(reason="DiskFull", message="no space", hint="") if random.random() < 0.2 else None
    )
    ids: list[str] = []
    for step in range(60):
        try:
            match random.randrange(7):
                case 0 | 1:
                    ids.append(declare(world, f"n{step}.test"))
                case 2 if ids:
                    with world.database.write() as uow:
                        service.delete(uow, world.alice, random.choice(ids), None)
                case 3 if ids:
                    with world.database.write() as uow:
                        act = random.choice([service.suspend, service.resume, service.retry])
                        act(uow, world.alice, random.choice(ids))
                case 4 if ids:
                    with world.database.write() as uow:
                        change = SiteChange.model_validate(
                            {"document_root": f"web{step}", "aliases": [f"a{step}.test"]}
                        )
                        service.change(uow, world.alice, random.choice(ids), change, None)
                case _:
                    clock.advance(random.randrange(LEASE_MS))
                    loop_over(world.database, memory, seed).run("site")
        except (Rejected, Killed):
            continue
    memory.before = memory.after = lambda order: None
    memory.judge = lambda desired: None
    for _ in range(5):
        clock.advance(15 * 60_000)
        loop_over(world.database, memory, seed).run("site")
    expected = {}
    with world.database.read() as uow:
        for row in uow.session.scalars(select(SiteRow)):
            assert (row.phase, row.generation) == ("ready", row.observed_generation)
            assert not row.deleting
            on_node = node.model_copy(update={"facts": {"php": ("8.2",)}})
            site = service.snapshot(row)
            expected[f"site:{row.id}"] = (site, on_node)
    wanted = {
        subject: render_site(world.database.registry, *value, fence=0).resources for subject, value in expected.items()
    }
    assert {subject: resources for subject, resources in memory.world.items() if subject.startswith("site:")} == wanted


def test_a_failure_that_comes_back_after_a_recovery_is_told_again(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    for judgement in (Condition(reason="ProbeFailed", message="502", hint="wait"), None) * 2:
        memory.judge = lambda desired, judgement=judgement: judgement  # type: ignore[misc]
        with world.database.write() as uow:
            service.retry(uow, world.alice, site_id)
        loop.run("site")
    assert events(world) == ["on_site_failed", "on_site_ready"] * 2
