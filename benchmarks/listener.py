"""The process that waits for rings or orders in `queue.py`: the platform's own engine, with a mark for its work.

Run as `python -m benchmarks.listener worker|node FILE`.
"""

from __future__ import annotations

import mmap
import signal
import struct
import sys
import threading
import time
from pathlib import Path

from hosthold.app import build_platform
from hosthold.jobs import core_jobs
from hosthold.settings import load_settings
from hosthold.types.resource import NodeOrder, OrderReply
from hosthold.work.node_orders import NodeQueueClient, NodeQueueServer
from hosthold.work.operations import Operations
from hosthold.work.schedule import Schedule
from hosthold.work.worker import Worker

KIND = "bench"


class Mark:
    """Two moments that two processes share, in nanoseconds: when work was announced, and when it was begun."""

    kinds = (KIND,)

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 16)

    @property
    def heard(self) -> int:
        """When the work was begun; 0 if it was not."""
        return int(struct.unpack_from("q", self._memory, 8)[0])

    def send(self) -> int:
        """Announce work now; the moment."""
        struct.pack_into("q", self._memory, 8, 0)
        sent = time.monotonic_ns()
        struct.pack_into("q", self._memory, 0, sent)
        return sent

    def run(self, _kind: str) -> int:
        """Begin the work, if some was announced; this is what the worker does for a ring, and when it sweeps."""
        if struct.unpack_from("q", self._memory, 0)[0]:
            struct.pack_into("qq", self._memory, 0, 0, time.monotonic_ns())
        return 0

    def stop(self) -> None:
        """Nothing takes long here."""

    def handle(self, order: NodeOrder) -> OrderReply:
        """Begin the work that an order announced."""
        self.run(KIND)
        return OrderReply(order_id=order.id)


def main() -> None:
    """Wait as the worker or the node does, until told to stop."""
    role, path = sys.argv[1:]
    mark = Mark(Path(path))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = load_settings()
    if role == "node":
        NodeQueueServer(settings, mark.handle).run(stop)
    else:
        platform = build_platform(settings)
        database, registry, nodes = platform.database, platform.registry, NodeQueueClient(settings)
        schedule = Schedule(database, registry, core_jobs(database, nodes))
        Worker(database, registry, mark, Operations(database, {}), schedule, settings).run(stop)
        platform.close()


if __name__ == "__main__":
    main()
