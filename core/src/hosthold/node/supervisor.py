"""The process supervisor: services as plain child processes, for machines and tests without systemd.

Services live on when the node ends or is killed, and the next one adopts them.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hosthold.drivers.base import DriverSettings
from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.errors import DriverError, Misconfigured, NotInstalled, Unavailable
from hosthold.node import process
from hosthold.node.probe import names_a_cause, shortened
from hosthold.node.record import Records
from hosthold.node.watch import Watch
from hosthold.types.node import Node
from hosthold.types.resource import Service, UnixSocket

_log = logging.getLogger(__name__)
_HEALTHY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0


class ProcessSettings(DriverSettings):
    """How patient the process supervisor is, in seconds."""

    settle: float = 3.0
    """A service counts as started when it has lived so long, if nothing shows it before."""
    quiet: float = 0.015
    """A service with a socket counts as started when it has waited for work so long."""
    stop: float = 10.0
    """How long a service may take to end in good order before it is killed."""


@dataclass(frozen=True)
class _Running:
    """One process of a service, known by a descriptor that cannot come to mean another process."""

    service: Service
    pid: int
    pidfd: int
    started: float = field(default_factory=time.monotonic)


class ProcessSupervisor(SupervisorDriver[ProcessSettings]):
    """Starts and watches services itself; what ends by itself is started again, with growing pauses."""

    settings_model = ProcessSettings

    def __init__(self, settings: ProcessSettings) -> None:
        super().__init__(settings)
        self._lock = threading.RLock()
        self._records: Records
        self._declared: dict[str, Service] = {}
        self._running: dict[str, _Running] = {}
        self._listeners: dict[str, tuple[UnixSocket, socket.socket]] = {}
        self._failures: dict[str, int] = {}
        self._watch = Watch(self._ended, self._start_again)

    def check(self) -> None:
        """Raises `NotInstalled` for what the kernel or the machine lacks, `Misconfigured` if /proc cannot be read."""
        for program, package in process.PROGRAMS.items():
            if not os.access(program, os.X_OK):
                raise NotInstalled(f"{program} is missing.", hint=f"apt-get install {package}")
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            raise NotInstalled(
                f"The kernel has no process descriptors: {error}", hint="Use Linux 5.6 or newer."
            ) from None
        if process.status_of(os.getpid()) is None:
            raise Misconfigured("/proc cannot be read.", hint="Mount proc at /proc.")

    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # two descriptors for every service
        with self._lock:
            self._records = Records(node.layout)
            self._records.prepare()
            self._declared = {service.name: service for service in services}
            self._watch.start()
            for service in services:
                self._adopt(service)
            self._end_strays(Path(node.layout.sockets))
            for name in self._declared:
                self._start_again(name)

    def start(self, service: Service) -> None:
        with self._lock:
            running = self._running.get(service.name)
            if running is None or running.service != service or process.has_ended(running.pidfd):
                self._replace(service)

    def reload(self, name: str) -> None:
        with self._lock:
            running = self._running.get(name)
            if running is None or running.service.reload is None or process.has_ended(running.pidfd):
                self.restart(name)
            else:
                _send(running, running.service.reload)

    def restart(self, name: str) -> None:
        with self._lock:
            service = self._declared.get(name)
            if service is None:
                raise Unavailable(f"{name} is not a service of this node.", hint="Apply what declares it first.")
            try:
                self._replace(service)
            except Unavailable:
                if name not in self._running:
                    self._declared[name] = service
                    self._watch.later(name, _LONGEST_PAUSE)
                raise

    def stop(self, name: str) -> None:
        with self._lock:
            self._declared.pop(name, None)
            running = self._running.pop(name, None)
            if running is not None:
                self._end(running)
                self._end_escaped(running.service)
            self._discard(name)

    def wake(self, name: str) -> None:
        """Services of this supervisor do not sleep."""

    def known(self, names: Iterable[str]) -> dict[str, Service]:
        with self._lock:
            return {name: self._running[name].service for name in names if name in self._running}

    def failures(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self._watch.stop()
        with self._lock:
            while self._running:
                os.close(self._running.popitem()[1].pidfd)
            while self._listeners:
                self._listeners.popitem()[1][1].close()

    def end(self) -> None:
        with self._lock:
            for running in self._running.values():
                _send(running, running.service.stop)
            for name in {*self._declared, *self._running}:
                self.stop(name)
        self._watch.stop()

    def _replace(self, service: Service) -> None:
        """Put a new process in the place of the old one; the old one serves until then, if both can share a socket."""
        name, old = service.name, self._running.get(service.name)
        if old is not None and (service.socket is None or old.service.socket != service.socket):
            self.stop(name)
            old = None
        try:
            new, output = self._launch(service)
            try:
                self._await_start(new, output)
            finally:
                os.close(output.descriptor)
        except Unavailable:
            if old is None:
                self._declared.pop(name, None)
                self._discard(name)
            else:
                self._records.write(old.service, old.pid)
            raise
        self._declared[name] = service
        self._running[name] = new
        self._watch.add(name, new.pidfd)
        if old is not None:
            self._end(old)

    def _launch(self, service: Service) -> tuple[_Running, process.Output]:
        """A new process of the service, and what it says from now on."""
        try:
            folder = self._records.folder(service.name)
            output = process.open_output(service.log or f"{folder}/output", service.owner)
            try:
                listener = self._listener(service)
                pid = process.spawn(service, self._records.mark(service.name), folder, output.descriptor, listener)
                self._records.write(service, pid)
                return _Running(service, pid, os.pidfd_open(pid)), output
            except BaseException:
                os.close(output.descriptor)
                raise
        except OSError as error:
            raise Unavailable(f"It cannot be started: {error}", hint="Look at the paths that it names.") from error

    def _listener(self, service: Service) -> socket.socket | None:
        bound = self._listeners.get(service.name)
        if bound is not None and bound[0] == service.socket:
            return bound[1]
        self._unbind(service.name)
        if service.socket is None:
            return None
        listener = process.bind_listener(service.socket.path, service.socket.owner, service.socket.mode)
        self._listeners[service.name] = (service.socket, listener)
        return listener

    def _unbind(self, name: str) -> None:
        bound = self._listeners.pop(name, None)
        if bound is not None:
            bound[1].close()
            Path(bound[0].path).unlink(missing_ok=True)

    def _discard(self, name: str) -> None:
        """Let go of what a service had that does not run any more."""
        self._unbind(name)
        self._failures.pop(name, None)
        self._records.remove(name)

    def _await_start(self, running: _Running, output: process.Output) -> None:
        """Return once the program waits for work; raises `Unavailable` with its last words if it ends before that."""
        began = still_since = time.monotonic()
        switches = -1
        while not process.has_ended(running.pidfd, 0.003):
            now = time.monotonic()
            if now - began > self.settings.settle:
                return
            if running.service.socket is None:
                if process.listens(running.pid) and not names_a_cause(output.text()):
                    return
            elif (count := process.switches_of(running.pid)) != switches or not process.is_asleep(running.pid):
                switches, still_since = count, now
            elif now - still_since > self.settings.quiet:
                return
        self._end(running)
        raise Unavailable(shortened(output.text()), hint="The message is the program's own; mend what it names.")

    def _end(self, running: _Running) -> None:
        """End the process in good order, or after a while at once, and whatever it left behind in its session."""
        self._watch.remove(running.pidfd)
        _send(running, running.service.stop)
        if not process.has_ended(running.pidfd, self.settings.stop):
            _send(running, "KILL")
            process.has_ended(running.pidfd, self.settings.stop)
        process.kill_session(running.pid)
        process.reap(running.pid)
        os.close(running.pidfd)

    def _end_escaped(self, service: Service) -> None:
        """End what a stopped service's user runs in other sessions, unless another service is the same user's."""
        users = {os.geteuid(), *(running.service.owner.uid for running in self._running.values())}
        if service.owner.uid not in users and (left := process.kill_user(service.owner.uid, self.settings.stop)):
            _log.error("processes of %s do not end: %s", service.name, left[:10])

    def _ended(self, name: str, pidfd: int) -> None:
        """A process ended by itself: clean up after it, and start the service again after a pause."""
        with self._lock:
            running = self._running.get(name)
            if running is None or running.pidfd != pidfd or not process.has_ended(pidfd):
                return
            del self._running[name]
            self._end(running)
            lived = time.monotonic() - running.started
            self._failures[name] = 1 if lived > _HEALTHY_SECONDS else min(self._failures.get(name, 0) + 1, 16)
            pause = min(0.1 * 2.0 ** self._failures[name], _LONGEST_PAUSE)
            _log.warning("%s ended after %.1f s; it is started again in %.1f s", name, lived, pause)
            self._watch.later(name, pause)

    def _start_again(self, name: str) -> None:
        """Start a declared service that does not run, without waiting for it; what fails is tried again later."""
        with self._lock:
            service = self._declared.get(name)
            if service is None or name in self._running:
                return
            try:
                running, output = self._launch(service)
            except DriverError as error:
                _log.warning("%s cannot be started: %s", name, error.detail)
                self._watch.later(name, _LONGEST_PAUSE)
                return
            os.close(output.descriptor)
            self._running[name] = running
            self._watch.add(name, running.pidfd)

    def _adopt(self, service: Service) -> None:
        """Take over the process that a killed node left behind, if it runs exactly this definition on its socket."""
        record = self._records.read(service.name)
        if record is None or record.service != service or not record.is_alive:
            return
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(record.pid)
            if service.socket is not None:
                listener = process.taken_listener(pidfd) if Path(service.socket.path).is_socket() else None
                if listener is None:
                    os.close(pidfd)
                    return
                self._listeners[service.name] = (service.socket, listener)
            self._running[service.name] = _Running(service, record.pid, pidfd)
            self._watch.add(service.name, pidfd)

    def _end_strays(self, sockets: Path) -> None:
        """End all that bears our mark or a record and was not adopted, and remove what it left behind (R-38)."""
        adopted = {running.pid for running in self._running.values()}
        for name in self._records.names():
            record = self._records.read(name)
            if record is not None and record.pid not in adopted and record.may_have_session:
                process.kill_session(record.pid)
            if name not in self._declared:
                self._records.remove(name)

        def is_stray(pid: int) -> bool:
            status = process.status_of(pid)
            return status is not None and status.session not in adopted and self._records.is_marked(pid)

        for pid in [pid for pid in process.pids() if is_stray(pid)]:
            process.kill(pid, is_stray)
        declared = {service.socket.path for service in self._declared.values() if service.socket is not None}
        for entry in sockets.iterdir() if sockets.is_dir() else ():
            if entry.is_socket() and str(entry) not in declared:
                entry.unlink()


def _send(running: _Running, name: str) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(running.pidfd, signal.Signals[f"SIG{name}"])
