"""Queues: one store each, signed JSON messages, readers that are woken. What is not trusted is logged and dropped."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import structlog
from huey import Huey
from huey.exceptions import HueyException
from huey.storage import BaseStorage, RedisStorage

from hosthold.errors import Misconfigured, QueueError
from hosthold.settings import Settings
from hosthold.work.keys import Keyring, make_private_folder
from hosthold.work.serializer import MacJsonSerializer

WORKER = "worker"
"""The queue on which the worker is rung."""
READ_TIMEOUT = 0.5
"""Seconds that a reader waits to be woken before it looks by itself."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

log = structlog.get_logger()


def node_queue(node: str) -> str:
    """The name of the queue that only the worker and this node can write."""
    return f"node-{node}"


class Queue(Huey):  # type: ignore[misc]  # huey ships no types
    """A Huey whose messages are signed JSON. `dequeue` gives nothing for a message that it cannot accept."""

    def dequeue(self) -> Any:
        try:
            return super().dequeue()
        except QueueError as error:
            log.warning("message refused", queue=self.name, is_security_event=True, cause=error.detail)
        except (HueyException, TypeError, AttributeError) as error:
            log.warning("message not understood", queue=self.name, cause=type(error).__name__)
        return None

    def build_error_result(self, task: Any, exception: BaseException) -> dict[str, Any]:
        """The name of the exception and nothing else: a traceback may hold secrets."""
        return {"error": type(exception).__name__, "task_id": task.id}


def open_queue(settings: Settings, name: str, keyring: Keyring) -> Queue:
    """Open the queue `name`, and make its store if there is none.

    Nothing is stored for a task that ends; replies are put with `put_result` by whoever owes one.
    """
    if not _NAME.fullmatch(name):
        raise Misconfigured(f"{name!r} cannot be the name of a queue.", hint="Use a short lower-case node name.")
    logging.getLogger("huey").setLevel(logging.WARNING)  # its line for every task says less than ours
    storage, options = _storage(settings, name)
    return Queue(
        name,
        results=False,
        utc=True,
        immediate=False,
        serializer=MacJsonSerializer(keyring),
        storage_class=storage,
        **options,
    )


def _storage(settings: Settings, name: str) -> tuple[type[BaseStorage], dict[str, Any]]:
    if settings.queue_kind == "redis":
        return RedisStorage, {
            "url": settings.queue.url,
            "blocking": True,
            "read_timeout": READ_TIMEOUT,
            "notify_result": True,
            "clean_name": False,
        }
    if settings.queue_kind == "postgresql":
        from hosthold.work.store_postgresql import SchemaPostgresStorage  # its driver is an optional dependency

        return SchemaPostgresStorage, {"url": settings.queue.url or settings.database_url, "read_timeout": READ_TIMEOUT}
    from hosthold.work.store_sqlite import WakingSqliteStorage

    folder = Path(settings.state) / "queue"
    make_private_folder(folder)
    return WakingSqliteStorage, {"file": folder / f"{name}.db", "read_timeout": READ_TIMEOUT}
