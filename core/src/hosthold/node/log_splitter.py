"""Keeps the program that shares out the web server's logs running for as long as the node runs."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from typing import Any, NamedTuple

from hosthold.drivers.webserver import LogFields
from hosthold.node import logs, process
from hosthold.types.node import NodeLayout
from hosthold.types.text import AbsolutePath

_PAUSE = 1.0
_log = logging.getLogger(__name__)


class LogRotation(NamedTuple):
    """When a log of a site is put away: at this size, and for how many days and files."""

    max_bytes: int
    max_days: int
    max_files: int


class LogSplitter:
    """One program for all sites; it ends by itself when the node is killed."""

    def __init__(
        self,
        layout: NodeLayout,
        sources: tuple[AbsolutePath, AbsolutePath],
        rotation: LogRotation,
        fields: LogFields | None = None,
    ) -> None:
        access, error = sources
        configuration: dict[str, Any] = {
            "sites": layout.sites,
            "hosts": layout.hosts,
            "access": access,
            "error": error,
            "position": layout.state.child("log-position.json"),
            "fields": None if fields is None else fields.model_dump(),
            **rotation._asdict(),
        }
        self._configuration = json.dumps(configuration)
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="hosthold-logs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not read yet is read next time."""
        self._stop.set()
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with process.start_beside(logs.__file__, self._configuration) as child:
                self._child = child
                if self._stop.is_set() and child.stdin is not None:
                    child.stdin.close()
                child.wait()
            if not self._stop.is_set():
                _log.warning("the program that shares out logs ended with %s; it is started again", child.returncode)
                self._stop.wait(_PAUSE)
