"""Huey's SQLite store, taught to wake its readers at once: beside the file lies a FIFO, and a byte in it is a wake-up.

Huey polls SQLite: at its default pace an idle task starts after 1 to 4.5 s. Here readers wait on the FIFO; polling is
only what remains when a wake-up is lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huey.storage import SqliteStorage

from hosthold.work.keys import create_private

_STALE_SECONDS = 3600


class WakingSqliteStorage(SqliteStorage):  # type: ignore[misc]  # huey ships no types
    """One queue in a file that only its owner can open. `dequeue` waits up to `read_timeout` seconds.

    SQLite would follow a link and make what it leads to, with the rights of a node that is root in the platform's
    folder: so the file is made here, must be no link (`OSError`), and SQLite makes none.
    """

    blocking = True

    def __init__(self, name: str, file: Path, read_timeout: float) -> None:
        self._file = file
        self._read_timeout = read_timeout
        self._fifo = file.with_suffix(".wake")
        self._reader: int | None = None
        self._reader_lock = threading.Lock()
        with contextlib.suppress(FileExistsError):
            os.close(create_private(file))
        for leftover in file.parent.glob(f"{file.stem}.reply.*"):
            if leftover.lstat().st_mtime < time.time() - _STALE_SECONDS:
                leftover.unlink(missing_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
        super().__init__(name, filename=f"file:{quote(str(file))}?mode=rw", cache_mb=1, uri=True)

    def _create_connection(self) -> Any:
        connection = super()._create_connection()
        connection.execute("pragma synchronous=normal")  # a ring may be lost in a power cut: the database has the work
        return connection

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        super().enqueue(data, priority)
        _wake(self._fifo)

    def dequeue(self) -> bytes | None:
        deadline = time.monotonic() + self._read_timeout
        data: bytes | None = super().dequeue()
        while data is None and _awaits(self._open_reader(), deadline - time.monotonic()):
            data = super().dequeue()
        return data

    def put_data(self, key: str, value: bytes, is_result: bool = False) -> None:
        super().put_data(key, value, is_result)
        if is_result:
            _wake(self._reply_fifo(key))

    def wait_result(self, key: str, timeout: float, **_polling: float) -> bool:
        """Whether the result comes within `timeout` seconds. It wakes the caller: nothing is polled."""
        deadline = time.monotonic() + timeout
        fifo = self._reply_fifo(key)
        reader = _open_fifo(fifo)
        try:
            while not self.has_data_for_key(key):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                _awaits(reader, min(remaining, self._read_timeout))
            return True
        finally:
            os.close(reader)
            fifo.unlink(missing_ok=True)

    def close(self) -> bool:
        with self._reader_lock:
            if self._reader is not None:
                os.close(self._reader)
                self._reader = None
        return bool(super().close())

    def _open_reader(self) -> int:
        with self._reader_lock:
            if self._reader is None:
                self._reader = _open_fifo(self._fifo)
            return self._reader

    def _reply_fifo(self, key: str) -> Path:
        return self._file.with_name(f"{self._file.stem}.reply.{key}")


def _open_fifo(path: Path) -> int:
    """Make the FIFO if need be, and open it so that it neither blocks nor ends when a writer leaves."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def _awaits(reader: int, seconds: float) -> bool:
    """Wait for a wake-up and take one byte: every message wrote one, so no reader takes the wake-up of another."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    if not poll.poll(max(seconds, 0) * 1000):
        return False
    with contextlib.suppress(BlockingIOError):
        os.read(reader, 1)
    return True


def _wake(path: Path) -> None:
    """Put a byte into the FIFO. That nobody waits, or that it is full, is as good: the next reader looks anyway."""
    with contextlib.suppress(OSError):
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(writer).st_mode):
                os.write(writer, b"\0")
        finally:
            os.close(writer)
