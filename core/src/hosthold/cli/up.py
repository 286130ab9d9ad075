"""`hosthold up`: web, worker and node on one machine, each a process that is started again when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click
import structlog

from hosthold.cli.context import Context, pass_context
from hosthold.cli.local_node import local_node
from hosthold.cli.process import set_up_logging, stop_on_signals
from hosthold.cli.store import open_database
from hosthold.nodes.service import register

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


@click.command()
@pass_context
def up(context: Context) -> None:
    """Run the whole platform on this machine: web, worker and node. Ctrl-C stops everything it started."""
    set_up_logging()
    stop = stop_on_signals()
    with open_database(context) as database, database.write() as uow:
        register(uow, local_node(context.settings), context.settings.node.uid_first)
    if context.config is not None:
        os.environ["HOSTHOLD_CONFIG"] = str(context.config.absolute())
    _supervise([_Child("node", "--end-services"), _Child("worker"), _Child("web")], stop)


class _Child:
    """One of the three processes: started again with growing pauses when it ends by itself."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._command = (sys.executable, "-m", "hosthold.cli", name, *options)
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
            self._process = subprocess.Popen(self._command, start_new_session=True)

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
