"""The file of a queue lies in the platform's folder, where a node that is root must not be led elsewhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hosthold.work.store_sqlite import WakingSqliteStorage


def test_s14_a_queue_that_is_a_link_is_refused_and_what_it_leads_to_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "q.db").symlink_to(tmp_path / "planted")
    with pytest.raises(OSError, match="symbolic links"):
        WakingSqliteStorage("q", tmp_path / "q.db", 0.1)
    assert not (tmp_path / "planted").exists()


def test_s14_a_queue_that_became_a_link_later_makes_nothing(tmp_path: Path) -> None:
    store = WakingSqliteStorage("q", tmp_path / "q.db", 0.1)
    store.enqueue(b"one")
    assert store.dequeue() == b"one"
    store.close()
    (tmp_path / "q.db").unlink()
    (tmp_path / "q.db").symlink_to(tmp_path / "planted")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        store.enqueue(b"two")
    assert not (tmp_path / "planted").exists()
