"""Delivery of events: to each plugin, at least once, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.errors import Unavailable
from hosthold.hookspecs import hookimpl
from hosthold.types.event import Event
from hosthold.types.identifier import new_identifier
from hosthold.types.manifest import Plugin
from hosthold.types.package import Limits
from hosthold.types.site import Condition, Runtime, Site
from hosthold.work.deliver import HOOKS, MAX_ATTEMPTS, Deliverer
from hosthold.work.models import DeliveryRow, EventRow
from hosthold.work.outbox import CHANGED, announce
from sqlalchemy import select

from core.tests.work.conftest import Listening

DAY_MS = 86_400_000
SITE = Site(
    id=new_identifier(),
    account_id=new_identifier(),
    name="h-abc",
    uid=200_001,
    domains=("example.com",),
    runtime=Runtime(driver="php", version="8.2"),
    document_root="public",
    limits=Limits(),
)
CONDITION = Condition(reason="RuntimeMissing", message="PHP 8.2 is missing.", hint="Install it.")


class Hears(Plugin):
    """Notes what it is told; `answer` decides what happens then."""

    def __init__(self, answer: Callable[[], None] = lambda: None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.answer = answer

    @hookimpl
    def on_site_ready(self, site: Site, event: Event) -> None:
        self.told.append((site, event))
        self.answer()

    @hookimpl
    def on_site_failed(self, condition: Condition, site: Site) -> None:
        self.told.append((site, condition))


def fail() -> None:
    raise ConnectionError("the password is hunter2")


def happen(database: Database, name: str = "on_site_ready", **more: Any) -> None:
    with database.write() as uow:
        announce(uow, name, f"site:{SITE.id}", "/a", {"site": SITE.model_dump(mode="json"), **more})


def deliveries(database: Database) -> dict[str, DeliveryRow]:
    with database.read() as uow:
        return {row.plugin: row for row in uow.session.scalars(select(DeliveryRow))}


def test_each_plugin_is_told_once_with_the_frozen_values(database: Database, clock: Any, listening: Listening) -> None:
    plugins = {"a": Hears(), "b": Hears()}
    deliverer = Deliverer(database, registry := listening(plugins))
    happen(database)
    assert (deliverer.run(), deliverer.run()) == (2, 0)
    for name in plugins:
        ((site, event),) = heard(registry, name)
        assert site == SITE
        assert event.at == datetime.fromtimestamp(clock() / 1000, UTC)
    assert {row.state for row in deliveries(database).values()} == {"done"}


def heard(registry: Any, name: str) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = registry.hooks.get_plugin(name).told
    return told


def test_a_hook_takes_the_arguments_that_it_names(database: Database, listening: Listening) -> None:
    registry = listening({"a": Hears()})
    happen(database, "on_site_failed", condition=CONDITION.model_dump(mode="json"))
    Deliverer(database, registry).run()
    assert heard(registry, "a") == [(SITE, CONDITION)]


def test_one_plugins_failure_hides_the_event_from_no_other(database: Database, listening: Listening) -> None:
    registry = listening({"a": Hears(fail), "b": Hears(), "c": Hears(fail)})
    happen(database)
    assert Deliverer(database, registry).run() == 3
    states = {name: row.state for name, row in deliveries(database).items()}
    assert states == {"a": "pending", "b": "done", "c": "pending"}


def test_a_failed_delivery_is_repeated_with_growing_pauses_and_then_parked(
    database: Database, clock: Any, listening: Listening
) -> None:
    registry = listening({"a": Hears(fail)})
    deliverer = Deliverer(database, registry)
    happen(database)
    pauses = []
    while deliverer.run():
        row = deliveries(database)["a"]
        if row.due_at is not None:
            pauses.append(row.due_at - clock())
            clock.advance(row.due_at - clock() - 1)
            assert deliverer.run() == 0
            clock.advance(1)
    row = deliveries(database)["a"]
    assert (row.state, row.attempts) == ("parked", MAX_ATTEMPTS)
    assert len(heard(registry, "a")) == MAX_ATTEMPTS
    assert pauses[0] < 2_000 < pauses[4] < pauses[-1] <= 720_000


def test_s66_a_failure_is_kept_without_the_secret_in_it(database: Database, listening: Listening) -> None:
    def unavailable() -> None:
        raise Unavailable("The other side is away.")

    happen(database)
    Deliverer(database, listening({"a": Hears(fail), "b": Hears(unavailable)})).run()
    rows = deliveries(database)
    assert rows["a"].last_error.startswith("ConnectionError in fail, line ")
    assert "hunter2" not in rows["a"].last_error
    assert rows["b"].last_error == "The other side is away."


def test_an_event_waits_for_a_plugin_that_vanished_until_it_is_back(database: Database, listening: Listening) -> None:
    with_both = listening({"a": Hears(fail), "b": Hears()})
    happen(database)
    Deliverer(database, with_both).run()
    with database.write() as uow:
        uow.session.scalars(select(DeliveryRow).where(DeliveryRow.plugin == "a")).one().due_at = uow.clock()
    Deliverer(database, listening({"b": Hears()})).run()
    row = deliveries(database)["a"]
    assert (row.state, row.due_at) == ("absent", None)
    assert "Install and enable it" in row.last_error
    still_away = Deliverer(database, listening({"b": Hears()}))
    still_away.readmit()
    assert still_away.run() == 0
    back = Deliverer(database, registry := listening({"a": Hears(), "b": Hears()}))
    back.readmit()
    assert back.run() == 1
    assert len(heard(registry, "a")) == 1
    assert heard(registry, "b") == []


def test_r17_two_workers_deliver_each_event_once(database: Database, listening: Listening) -> None:
    registry = listening({"a": Hears()})
    for _ in range(20):
        happen(database)
    workers = [threading.Thread(target=Deliverer(database, registry).run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(heard(registry, "a")) == 20
    assert len({event.id for _, event in heard(registry, "a")}) == 20


def test_r03_a_delivery_whose_worker_died_is_made_again_after_the_lease(
    database: Database, clock: Any, listening: Listening
) -> None:
    def die() -> None:
        raise SystemExit

    happen(database)
    with pytest.raises(SystemExit):
        Deliverer(database, listening({"a": Hears(die)})).run()
    after = Deliverer(database, listening({"a": Hears()}))
    assert after.run() == 0
    clock.advance(60_001)
    assert after.run() == 1
    assert deliveries(database)["a"].attempts == 2


def test_r30_a_clock_that_is_set_back_keeps_no_delivery_waiting(
    database: Database, clock: Any, listening: Listening
) -> None:
    happen(database)
    Deliverer(database, listening({"a": Hears(fail)})).run()
    clock.advance(-3_600_000)
    assert Deliverer(database, listening({"a": Hears()})).run() == 1


def test_r33_an_event_of_a_hook_that_this_version_does_not_know_stays_in_the_database(
    database: Database, listening: Listening
) -> None:
    happen(database, "on_site_invented_later")
    assert Deliverer(database, listening({"a": Hears()})).run() == 0
    with database.read() as uow:
        assert uow.session.scalars(select(EventRow)).one().is_dispatched is False


def test_a_payload_that_cannot_be_read_is_kept_with_the_reason(database: Database, listening: Listening) -> None:
    happen(database, site={"id": "x"})
    Deliverer(database, listening({"a": Hears()})).run()
    assert deliveries(database)["a"].last_error.startswith("ValidationError")


def test_what_is_done_is_pruned_after_thirty_days_and_nothing_else(
    database: Database, clock: Any, listening: Listening
) -> None:
    deliverer = Deliverer(database, listening({"a": Hears()}))
    happen(database)
    happen(database, CHANGED)
    deliverer.run()
    happen(database)
    Deliverer(database, listening({"a": Hears(fail)})).run()
    clock.advance(30 * DAY_MS + 1)
    happen(database)
    deliverer.prune()
    with database.read() as uow:
        assert uow.session.query(EventRow).count() == 2
        assert uow.session.scalars(select(DeliveryRow.state)).all() == ["pending"]


def test_every_event_hook_has_arguments_that_can_be_rebuilt() -> None:
    assert HOOKS == ("on_site_deleted", "on_site_failed", "on_site_ready")
