"""Periodic jobs: at their pace, by one worker at a time, whatever the clock does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.hookspecs import hookimpl
from hosthold.plugins.hooks import specified_hooks
from hosthold.plugins.manager import PluginRegistry
from hosthold.types.extension import Job
from hosthold.types.manifest import Plugin
from hosthold.work.models import ScheduleRow
from hosthold.work.schedule import Schedule

from core.tests.work.conftest import Listening

NOBODY = PluginRegistry(specified_hooks(), [], {}, {})
MINUTE, DAY = 60_000, 86_400_000


def scheduled(database: Database, run: Callable[[], None], every: timedelta = timedelta(hours=1)) -> Schedule:
    return Schedule(database, NOBODY, [Job("tidy", every, run)])


def row(database: Database, name: str = "core:tidy") -> ScheduleRow:
    with database.read() as uow:
        return uow.session.get_one(ScheduleRow, name)


def test_a_job_runs_at_once_and_then_at_its_pace(database: Database, clock: Any) -> None:
    runs: list[int] = []
    schedule = scheduled(database, lambda: runs.append(clock()))
    for _ in range(2 * 60 + 1):
        schedule.run()
        clock.advance(MINUTE)
    assert [at - runs[0] for at in runs] == [0, 60 * MINUTE, 120 * MINUTE]


def test_a_restart_does_not_run_it_again(database: Database) -> None:
    runs: list[int] = []
    assert scheduled(database, lambda: runs.append(1)).run() == 1
    assert scheduled(database, lambda: runs.append(1)).run() == 0


def test_a_failure_is_kept_without_secrets_and_stops_neither_the_job_nor_others(database: Database, clock: Any) -> None:
    ran: list[str] = []

    def crash() -> None:
        raise ConnectionError("hunter2")

    every = timedelta(hours=1)
    schedule = Schedule(database, NOBODY, [Job("crash", every, crash), Job("tidy", every, lambda: ran.append("x"))])
    assert schedule.run() == 2
    assert ran == ["x"]
    assert row(database, "core:crash").last_error.startswith("ConnectionError in crash")
    clock.advance(60 * MINUTE)
    assert schedule.run() == 2


def test_a_success_clears_the_last_error(database: Database, clock: Any) -> None:
    def crash() -> None:
        raise ConnectionError

    scheduled(database, crash).run()
    clock.advance(60 * MINUTE)
    scheduled(database, lambda: None).run()
    assert row(database).last_error == ""


class Tidies(Plugin):
    @hookimpl
    def register_jobs(self) -> tuple[Job, ...]:
        return (Job("tidy", timedelta(hours=1), lambda: TIDIED.append("plugin")),)


TIDIED: list[str] = []


def test_jobs_of_plugins_run_beside_those_of_the_core(database: Database, listening: Listening) -> None:
    TIDIED.clear()
    registry: PluginRegistry = listening({"tidier": Tidies()})
    core = Job("tidy", timedelta(hours=1), lambda: TIDIED.append("core"))
    assert Schedule(database, registry, [core]).run() == 2
    assert sorted(TIDIED) == ["core", "plugin"]
    assert row(database, "tidier:tidy").last_error == ""


def test_r17_several_workers_run_a_job_once(database: Database) -> None:
    runs: list[int] = []
    begin = threading.Barrier(4)

    def job() -> None:
        time.sleep(0.05)
        runs.append(1)

    def work() -> None:
        begin.wait()
        scheduled(database, job).run()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert runs == [1]


def test_r03_a_job_whose_worker_died_runs_again_after_the_lease(database: Database, clock: Any) -> None:
    def die() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        scheduled(database, die).run()
    assert scheduled(database, lambda: None).run() == 0
    clock.advance(MINUTE + 1)
    assert scheduled(database, lambda: None).run() == 1


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000, 400 * DAY, -400 * DAY])
def test_r30_after_a_jump_of_the_clock_a_job_runs_once_and_then_at_its_pace(
    database: Database, clock: Any, jump: int
) -> None:
    runs: list[int] = []
    schedule = scheduled(database, lambda: runs.append(clock()))
    schedule.run()
    clock.advance(jump)
    for _ in range(59):
        schedule.run()
        clock.advance(MINUTE)
    assert len(runs) == 2
    clock.advance(MINUTE)
    schedule.run()
    assert len(runs) == 3


def test_a_shorter_pace_takes_effect_at_once(database: Database) -> None:
    runs: list[int] = []
    scheduled(database, lambda: runs.append(1), timedelta(days=30)).run()
    scheduled(database, lambda: runs.append(1), timedelta(minutes=1)).run()
    assert runs == [1, 1]
