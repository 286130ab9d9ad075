"""`hosthold web | worker | node`: the three processes, and `up`: all of them on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click
import structlog

from hosthold.cli.context import Context, pass_context, set_up_logging
from hosthold.cli.local_node import local_agent, local_node
from hosthold.nodes.jobs import NodeKind
from hosthold.nodes.service import register
from hosthold.reconcile.loop import Loop
from hosthold.sites.jobs import SiteKind, operation_handlers
from hosthold.work.node_orders import NodeQueueClient, NodeQueueServer
from hosthold.work.operations import Operations
from hosthold.work.schedule import Schedule
from hosthold.work.worker import Worker

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def request_stop(_signal: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
    return stop


@click.command()
@pass_context
def web(context: Context) -> None:
    """Serve the API and the panel."""
    # Imported here: the node must not load the web layer.
    from hosthold.app import serve

    set_up_logging()
    with context.database():
        pass
    serve(context.settings)


@click.command()
@pass_context
def worker(context: Context) -> None:
    """Reconcile sites, deliver events, run jobs."""
    from hosthold.jobs import core_jobs

    set_up_logging()
    stop = _stop_on_signals()
    nodes = NodeQueueClient(context.settings)
    with context.database() as database:
        loop = Loop(database, nodes, [NodeKind(context.registry), SiteKind(context.registry)])
        operations = Operations(database, operation_handlers(database, nodes))
        Worker(
            database, context.registry, loop, operations, Schedule(database, context.registry, core_jobs(database)), context.settings
        ).run(stop)
    nodes.close()


@click.command()
@pass_context
def node(context: Context) -> None:
    """Hold sites on this machine: apply the orders of the worker. Runs as root where each site has its own user."""
    set_up_logging()
    stop = _stop_on_signals()
    agent = local_agent(context.settings, context.registry)
    server = NodeQueueServer(context.settings, agent.handle)
    agent.start()
    log.info("node started", node=context.settings.node.name, isolation=context.settings.node_isolation)
    try:
        server.run(stop)
    finally:
        agent.stop()
    log.info("node stopped")


@click.command()
@pass_context
def up(context: Context) -> None:
    """Run the whole platform on this machine: web, worker and node. Ctrl-C stops everything it started."""
    set_up_logging()
    stop = _stop_on_signals()
    with context.database() as database, database.write() as uow:
        register(uow, local_node(context.settings), context.settings.node.uid_first)
    if os.environ.get("HOSTHOLD_CONFIG") is None and context.config is not None:
        os.environ["HOSTHOLD_CONFIG"] = str(context.config.absolute())
    _supervise([_Child(name) for name in ("node", "worker", "web")], stop)


class _Child:
    """One of the three processes: started again with growing pauses when it ends by itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pause = FIRST_PAUSE_SECONDS
        self._started = 0.0
        self._again_at: float | None = 0.0
        self._process: subprocess.Popen[Any] | None = None

    def watch(self) -> None:
        """Start the process if it does not run and its pause is over."""
        now = time.monotonic()
        if self._process is not None and (status := self._process.poll()) is not None:
            self._process = None
            if now - self._started > LONGEST_PAUSE_SECONDS:
                self._pause = FIRST_PAUSE_SECONDS
            log.warning("process ended", process=self.name, status=status, again_in_seconds=self._pause)
            self._again_at = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        if self._process is None and self._again_at is not None and now >= self._again_at:
            self._started = now
            self._process = subprocess.Popen([sys.executable, "-m", "hosthold.cli", self.name], start_new_session=True)

    def end(self) -> None:
        """Ask the process to stop in good order."""
        self._again_at = None
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for the process; kill it if it does not end in time."""
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                log.error("process did not stop", process=self.name)
                self._process.kill()
                self._process.wait()


def _supervise(children: Sequence[_Child], stop: threading.Event) -> None:
    while not stop.is_set():
        for child in children:
            child.watch()
        stop.wait(0.2)
    for child in reversed(children):
        child.end()
        child.wait(20)
    log.info("everything stopped")
