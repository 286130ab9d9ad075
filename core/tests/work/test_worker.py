"""The worker: rings are heard at once, and whatever no ring tells of is found all the same."""

from __future__ import annotations

import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.hookspecs import hookimpl
from hosthold.settings import QueueSettings, Settings
from hosthold.types.actor import Actor
from hosthold.types.event import Event
from hosthold.types.extension import Job
from hosthold.types.identifier import new_identifier
from hosthold.types.manifest import Plugin
from hosthold.types.package import Limits
from hosthold.types.site import Runtime, Site
from hosthold.work import worker as worker_module
from hosthold.work.doorbell import Doorbell, ring_task
from hosthold.work.keys import Keyring, key_file, make_key
from hosthold.work.operations import Handler, Operations, Run, request
from hosthold.work.outbox import announce
from hosthold.work.queue import WORKER, Queue, open_queue
from hosthold.work.schedule import Schedule
from hosthold.work.worker import Worker
from structlog.testing import capture_logs

from core.tests.work.conftest import Listening

pytestmark = pytest.mark.usefixtures("quick")

ACTOR = Actor(label="ann", account_id=new_identifier(), account_path="/a", permissions=frozenset("*"))
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


class Nouns:
    """Stands where the reconcile loop does: notes which kinds it was asked for."""

    kinds = ("site", "node")

    def __init__(self, work: Callable[[str], None] = lambda _kind: None) -> None:
        self.asked: list[str] = []
        self._work = work

    def run(self, kind: str) -> int:
        self.asked.append(kind)
        self._work(kind)
        return 0

    def stop(self) -> None:
        """Nothing takes long here."""


class Hears(Plugin):
    told: list[str] = []  # noqa: RUF012 - the platform copies the plugin, and the copies share this list

    @hookimpl
    def on_site_ready(self, event: Event) -> None:
        self.told.append(event.id)


@pytest.fixture
def doorbell(database: Database) -> Iterator[Doorbell]:
    """The real doorbell, in place of the recording one."""
    make_key(key_file(database.settings, WORKER))
    bell = Doorbell(database.settings)
    database.bell = bell
    yield bell
    bell.close()


@pytest.fixture
def rare_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rings make the worker work, after its first look around."""
    monkeypatch.setattr(worker_module, "SWEEP_SECONDS", 3600.0)


@contextmanager
def working(
    database: Database,
    listening: Listening,
    *,
    nouns: Nouns | None = None,
    handlers: Mapping[str, Handler] | None = None,
    plugins: dict[str, Plugin] | None = None,
    jobs: tuple[Job, ...] = (),
    settings: Settings | None = None,
) -> Iterator[None]:
    registry = listening(plugins or {})
    worker = Worker(
        database,
        registry,
        nouns or Nouns(),
        Operations(database, handlers or {}),
        Schedule(database, registry, jobs),
        settings or database.settings,
    )
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def eventually(is_so: Callable[[], bool], seconds: float = 4) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.001)


def _has(items: Sized, count: int) -> bool:
    return len(items) == count


def ask(database: Database, key: str, kind: str = "restart_runtime") -> None:
    with database.write() as uow:
        request(uow, ACTOR, kind, "site:1", "/a", {}, key)


def queue_of(settings: Settings) -> Queue:
    return open_queue(settings, WORKER, Keyring.load(key_file(settings, WORKER)))


@pytest.mark.usefixtures("doorbell", "rare_sweeps")
def test_an_idle_worker_begins_with_the_ring_and_not_with_the_next_sweep(
    database: Database, listening: Listening
) -> None:
    begun: list[object] = []
    with working(database, listening, handlers={"restart_runtime": begun.append}):
        for number in range(20):
            ask(database, str(number))
            eventually(partial(_has, begun, number + 1))
            time.sleep(0.01)  # it is idle again


@pytest.mark.usefixtures("rare_sweeps")
def test_each_ring_leads_to_its_work(database: Database, doorbell: Doorbell, listening: Listening) -> None:
    nouns = Nouns()
    with working(database, listening, nouns=nouns, plugins={"a": Hears()}):
        eventually(lambda: sorted(nouns.asked) == ["node", "site"])
        doorbell.ring("site", "1")
        eventually(lambda: nouns.asked.count("site") == 2)
        Hears.told.clear()
        with database.write() as uow:
            announce(uow, "on_site_ready", "site:1", "/a", {"site": SITE.model_dump(mode="json")})
        eventually(lambda: len(Hears.told) == 1)
    assert nouns.asked.count("node") == 1


def test_r02_r15_work_that_nobody_rang_for_is_found(
    database: Database, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SWEEP_SECONDS", 0.05)
    make_key(key_file(database.settings, WORKER))
    done: list[str] = []
    nouns = Nouns()
    Hears.told.clear()
    job = Job("tidy", timedelta(hours=1), lambda: done.append("job"))
    with working(
        database,
        listening,
        nouns=nouns,
        plugins={"a": Hears()},
        jobs=(job,),
        handlers={"restart_runtime": lambda _run: done.append("operation")},
    ):
        ask(database, "unheard")
        with database.write() as uow:
            announce(uow, "on_site_ready", "site:1", "/a", {"site": SITE.model_dump(mode="json")})
        eventually(lambda: {"job", "operation"} <= set(done) and len(Hears.told) == 1 and len(nouns.asked) > 4)
    assert sorted(done) == ["job", "operation"]


def test_r15_emptying_redis_in_the_midst_of_work_loses_nothing(
    sqlite_settings: Settings, redis_socket: Path, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SWEEP_SECONDS", 0.05)
    settings = sqlite_settings.model_copy(update={"queue": QueueSettings(kind="redis", url=f"unix://{redis_socket}")})
    make_key(key_file(settings, WORKER))
    bell = Doorbell(settings)
    database = Database(settings, listening({}), bell)
    done: list[str] = []
    with working(database, listening, handlers={"restart_runtime": lambda run: done.append(run.operation.id)}):
        for number in range(50):
            ask(database, str(number))
            if number % 10 == 0:
                queue = queue_of(settings)
                queue.flush()
                queue.storage.close()
        eventually(lambda: len(done) == 50)
    assert len(set(done)) == 50
    bell.close()
    database.close()


@pytest.mark.usefixtures("rare_sweeps")
def test_s06_r16_poison_messages_are_logged_and_the_worker_goes_on(
    database: Database, doorbell: Doorbell, listening: Listening
) -> None:
    nouns = Nouns()
    poison = queue_of(database.settings)
    with capture_logs() as logs, working(database, listening, nouns=nouns):
        eventually(lambda: sorted(nouns.asked) == ["node", "site"])
        poison.storage.enqueue(pickle.dumps({"kind": "site"}))
        poison.storage.enqueue(b"x" * 10_000_000)
        poison.task(name="ring", __module__="hosthold")(lambda: None)()
        poison.task(name="invented_later", __module__="hosthold")(lambda: None)()
        doorbell.ring("site", "1")
        eventually(lambda: nouns.asked.count("site") == 2)
        eventually(lambda: poison.pending_count() == 0)
    poison.storage.close()
    events = [entry["event"] for entry in logs]
    assert events.count("message refused") == 2
    assert events.count("message not understood") == 1


@pytest.mark.usefixtures("rare_sweeps")
def test_r33_rings_of_a_newer_version_are_tolerated(
    database: Database, doorbell: Doorbell, listening: Listening
) -> None:
    nouns = Nouns()
    newer = queue_of(database.settings)
    ring = ring_task(newer, lambda **_anything: None)
    with capture_logs() as logs, working(database, listening, nouns=nouns):
        eventually(lambda: sorted(nouns.asked) == ["node", "site"])
        doorbell.ring("zone", "1")
        ring(kind="site", key="1", urgency=9)
        eventually(lambda: nouns.asked.count("site") == 2)
    newer.storage.close()
    assert [entry["kind"] for entry in logs if entry["event"] == "ring not understood"] == ["zone"]


@pytest.mark.usefixtures("doorbell", "rare_sweeps")
def test_a_slow_piece_of_work_does_not_hold_up_the_others(database: Database, listening: Listening) -> None:
    release, done = threading.Event(), threading.Event()

    def slow(_run: Run) -> None:
        release.wait(5)

    handlers: dict[str, Handler] = {"slow": slow, "quick": lambda _run: done.set()}
    with working(database, listening, handlers=handlers):
        ask(database, "slow", "slow")
        time.sleep(0.05)
        ask(database, "quick", "quick")
        assert done.wait(2)
        release.set()


def test_a_crash_of_one_piece_of_work_is_logged_and_stops_nothing(
    database: Database, doorbell: Doorbell, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_kind: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker_module, "SWEEP_SECONDS", 0.05)
    nouns = Nouns(crash)
    with capture_logs() as logs, working(database, listening, nouns=nouns):
        doorbell.ring("site", "1")
        eventually(lambda: nouns.asked.count("site") > 3)
    assert {entry["kind"] for entry in logs if entry["event"] == "work failed"} == {"site", "node"}


@pytest.mark.usefixtures("doorbell")
def test_the_worker_leaves_the_signals_of_its_process_alone(database: Database, listening: Listening) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    registry = listening({})
    worker = Worker(
        database, registry, Nouns(), Operations(database, {}), Schedule(database, registry, []), database.settings
    )
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    worker.run(stop)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_doorbell_that_cannot_ring_does_not_fail_the_request(database: Database) -> None:
    bell = Doorbell(database.settings)
    database.bell = bell
    with capture_logs() as logs:
        ask(database, "k")
    assert [(entry["event"], entry["cause"]) for entry in logs] == [("doorbell not rung", "Misconfigured")]
    bell.close()
