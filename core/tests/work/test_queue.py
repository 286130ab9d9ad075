"""Queues in every kind of store: woken readers, and no harm from what does not belong there."""

from __future__ import annotations

import os
import pickle
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosthold.errors import Misconfigured
from hosthold.settings import Settings
from hosthold.work import queue as queue_module
from hosthold.work.doorbell import ring_task
from hosthold.work.keys import Keyring, key_file, make_key
from hosthold.work.queue import WORKER, Queue, open_queue
from structlog.testing import capture_logs


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def hear(kind: str, key: str) -> None:
    """Never run here: tasks are only taken."""


@pytest.fixture
def queue(queue_settings: Settings) -> Iterator[Queue]:
    opened = open_queue(queue_settings, WORKER, Keyring.load(key_file(queue_settings, WORKER)))
    ring_task(opened, hear)
    yield opened
    opened.storage.close()


@pytest.fixture
def producer(queue_settings: Settings) -> Iterator[Queue]:
    opened = open_queue(queue_settings, WORKER, Keyring.load(key_file(queue_settings, WORKER)))
    yield opened
    opened.storage.close()


def taken(queue: Queue) -> list[str]:
    keys = []
    while (task := queue.dequeue()) is not None:
        keys.append(task.kwargs["key"])
    return keys


def test_messages_arrive_in_order_and_once(queue: Queue, producer: Queue) -> None:
    ring = ring_task(producer, hear)
    for key in "abc":
        ring(kind="site", key=key)
    assert taken(queue) == ["a", "b", "c"]


@pytest.fixture
def patient_queue(queue_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue whose readers look by themselves only when the test has long failed."""
    monkeypatch.setattr(queue_module, "READ_TIMEOUT", 60.0)
    opened = open_queue(queue_settings, WORKER, Keyring.load(key_file(queue_settings, WORKER)))
    ring_task(opened, hear)
    yield opened
    opened.storage.close()


def test_a_waiting_reader_is_woken(patient_queue: Queue, producer: Queue) -> None:
    ring = ring_task(producer, hear)
    for key in "abcde":
        got: list[str] = []
        reader = threading.Thread(target=lambda at=got: at.append(patient_queue.dequeue().kwargs["key"]))
        reader.start()
        time.sleep(0.05)
        ring(kind="site", key=key)
        reader.join(20)
        assert got == [key]


def test_every_waiting_reader_gets_its_message(patient_queue: Queue, producer: Queue) -> None:
    ring = ring_task(producer, hear)
    got: list[str] = []
    readers = [threading.Thread(target=lambda: got.append(patient_queue.dequeue().kwargs["key"])) for _ in range(3)]
    for reader in readers:
        reader.start()
    for key in "abc":
        ring(kind="site", key=key)
    for reader in readers:
        reader.join(20)
    assert sorted(got) == ["a", "b", "c"]


def test_s06_forged_messages_are_dropped_with_a_security_event_and_the_next_is_read(
    queue: Queue, producer: Queue, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    stranger = tmp_path / "stranger.key"
    make_key(stranger)
    for forged in (pickle.dumps(Bomb(mark)), b'{"value":1}', b"", b"x" * 10_000_000):
        producer.storage.enqueue(forged)
    producer.serializer = type(producer.serializer)(Keyring.load(stranger))
    ring_task(producer, hear)(kind="site", key="forged")
    ring_task(queue_of_the_same_store(queue), hear)(kind="site", key="true")
    with capture_logs() as logs:
        assert [task.kwargs["key"] for _ in range(6) if (task := queue.dequeue()) is not None] == ["true"]
    assert sum(entry.get("is_security_event", False) for entry in logs) == 5
    assert not mark.exists()


def queue_of_the_same_store(queue: Queue) -> Queue:
    twin = Queue(
        queue.name,
        results=False,
        serializer=queue.serializer,
        storage_class=type(queue.storage),
        **queue.storage_kwargs,
    )
    twin.storage.close()
    twin.storage = queue.storage
    return twin


def test_r16_a_signed_message_for_an_unknown_task_is_dropped_and_logged(queue: Queue, producer: Queue) -> None:
    producer.task(name="invented_later", __module__="hosthold")(hear)(kind="site", key="a")
    with capture_logs() as logs:
        assert queue.dequeue() is None
    assert [entry["event"] for entry in logs] == ["message not understood"]


def test_s67_a_queue_in_files_is_its_owners_alone(queue_settings: Settings, queue: Queue, producer: Queue) -> None:
    if queue_settings.queue_kind != "sqlite":
        pytest.skip("only SQLite has files")
    ring_task(producer, hear)(kind="site", key="a")
    queue.dequeue()
    queue.dequeue()
    folder = Path(queue_settings.state) / "queue"
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"worker.db", "worker.wake"} <= {entry.name for entry in folder.iterdir()}


def test_what_is_in_place_of_the_fifo_gets_nothing_written_to_it(queue_settings: Settings, producer: Queue) -> None:
    if queue_settings.queue_kind != "sqlite":
        pytest.skip("only SQLite has a FIFO")
    victim = Path(queue_settings.state) / "victim"
    victim.write_bytes(b"")
    wake = Path(queue_settings.state) / "queue" / "worker.wake"
    wake.unlink(missing_ok=True)
    wake.symlink_to(victim)
    ring = ring_task(producer, hear)
    ring(kind="site", key="a")
    wake.unlink()
    wake.hardlink_to(victim)
    ring(kind="site", key="b")
    assert victim.read_bytes() == b""


def test_two_queues_of_one_platform_do_not_mix(queue_settings: Settings, queue: Queue) -> None:
    make_key(key_file(queue_settings, "node-other"))
    other = open_queue(queue_settings, "node-other", Keyring.load(key_file(queue_settings, "node-other")))
    ring_task(other, hear)(kind="site", key="a")
    assert queue.pending_count() == 0
    assert other.pending_count() == 1
    other.storage.close()


@pytest.mark.parametrize("name", ["", "../worker", "Worker", "a" * 41, "a b", "1a"])
def test_a_name_that_could_leave_the_folder_is_no_queue(queue_settings: Settings, name: str) -> None:
    with pytest.raises(Misconfigured):
        open_queue(queue_settings, name, Keyring.load(key_file(queue_settings, WORKER)))
