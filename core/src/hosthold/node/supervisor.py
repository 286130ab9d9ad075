"""The process supervisor: services as plain child processes, for machines and tests without systemd.

Services live on when the node ends or is killed, and the next one adopts them. A service that sleeps is a bound socket
and nothing else: its first connection starts the program, which finds that connection waiting.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.errors import DriverError, Unavailable
from hosthold.node import keeper, probe, process
from hosthold.node.limits import Enforcer
from hosthold.node.listeners import Listeners, remove_undeclared_sockets
from hosthold.node.program import LONGEST_PAUSE, Failures, ProcessSettings, Program, not_done, not_started
from hosthold.node.record import Records, end_strays
from hosthold.node.watch import Watch
from hosthold.types.node import Node
from hosthold.types.resource import Service

_log = logging.getLogger(__name__)


class ProcessSupervisor(SupervisorDriver[ProcessSettings]):
    """Starts and watches services itself; what ends by itself is started again, with growing pauses."""

    settings_model = ProcessSettings

    def __init__(self, settings: ProcessSettings) -> None:
        super().__init__(settings)
        self._lock = threading.RLock()
        self._records: Records
        self._listeners: Listeners
        self._enforcer: Enforcer
        self._shared: set[int]
        self._declared: dict[str, str] = {}
        """As JSON, which takes a tenth of the memory: thousands of services sleep."""
        self._running: dict[str, Program] = {}
        self._failures = Failures()
        self._cleaner: ThreadPoolExecutor
        self._cleaning: dict[str, Future[None]] = {}
        self._watch = Watch()

    def check(self) -> None:
        """Raises `NotInstalled` for what the kernel or the machine lacks, `Misconfigured` if /proc cannot be read."""
        process.check_machine()

    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        keeper.allow_descriptors()
        with self._lock:
            self._shared = {os.geteuid(), node.root.uid, node.web.uid}
            self._records = Records(node.layout)
            self._records.prepare()
            self._listeners = Listeners(node.layout, self._watch, self._lock)
            self._enforcer = Enforcer(node.layout.state)
            self._cleaner = ThreadPoolExecutor(1, "hosthold-cleaner")
            self._declared = {service.name: service.model_dump_json() for service in services}
            self._watch.start()
            self._listeners.open()
            recorded = set(self._records.names())
            for service in services:
                if service.name in recorded:
                    self._adopt(service)
            adopted = {program.pid for program in self._running.values()}
            end_strays(self._records, recorded, set(self._declared), adopted)
            for service in services:
                if service.idle_seconds is not None and (words := self._listeners.bind(service)):
                    self._failures.words[service.name] = words
            self._listeners.forget_unclaimed()
            remove_undeclared_sockets(node, services)
            for service in services:
                self._start_again(service.name, -1)

    def start(self, service: Service) -> None:
        with self._undisturbed(service.name):
            awake = self._awake(service.name)
            if awake is not None and awake.service == service:
                return
            if service.idle_seconds is None or service.socket is None or awake is not None:
                self._replace(service)
                return
            self._declared[service.name] = service.model_dump_json()
            self._failures.forget(service.name)
            try:
                self._listeners.get(service.name, service.socket)
            except OSError as error:
                raise not_started(error) from error
            if service.name not in self._running:
                self._listen(service.name)

    def wake(self, name: str) -> None:
        self._watch.later(name, self._connected, 0)

    def rest(self, name: str) -> None:
        with self._lock:
            running = self._awake(name)
            if running is not None and self._sleeps(name) and len(process.children_of(running.pid)) <= 1:
                running.leave()
                self._watch.later(name, self._look_if_idle, self.settings.stop)

    def reload(self, name: str) -> None:
        with self._lock:
            awake = self._awake(name)
            how = None if awake is None else awake.signal_reload()
        if isinstance(how, tuple):
            probe.run_reload(how)
        elif how is None:
            self.restart(name)

    def restart(self, name: str) -> None:
        with self._undisturbed(name):
            service = self._service(name)
            if service is None:
                raise Unavailable(f"{name} is not a service of this node.", hint="Apply what declares it first.")
            if self._sleeps(name) and self._awake(name) is None:
                self._failures.forget(name)
                return
            try:
                self._replace(service)
            except Unavailable:
                if name not in self._running:
                    self._declared[name] = service.model_dump_json()
                    self._watch.later(name, self._start_again, LONGEST_PAUSE)
                raise

    def stop(self, name: str) -> None:
        with self._undisturbed(name):
            service = self._service(name)
            self._discard(name)  # first: what this cannot remove stays declared, and is tried again
            self._declared.pop(name, None)
            running = self._running.pop(name, None)
        if running is not None:
            self._end(running)
        if service is not None and (running is not None or service.idle_seconds is not None):
            self._end_escaped(service)
        self._enforcer.remove(name)

    def known(self, names: Iterable[str]) -> dict[str, Service]:
        found: dict[str, Service] = {}
        with self._lock:
            for name in names:
                running = self._running.get(name)
                if running is not None and not running.is_leaving:
                    found[name] = running.service
                elif self._sleeps(name) and self._listeners.descriptor(name) is not None:
                    found[name] = Service.model_validate_json(self._declared[name])
        return found

    def failures(self) -> dict[str, str]:
        with self._lock:
            now = time.monotonic()
            works = {name for name, running in self._running.items() if now - running.started > self.settings.settle}
            return {name: words for name, words in self._failures.words.items() if name not in works}

    def enforced(self) -> frozenset[str]:
        """Which limits of a service this machine lets the supervisor enforce."""
        return self._enforcer.enforced

    def close(self) -> None:
        self._watch.stop()
        self._cleaner.shutdown()
        with self._lock:
            while self._running:
                self._running.popitem()[1].let_go()
            self._listeners.close()
        self._enforcer.close()

    def end(self) -> None:
        with self._lock:
            for running in self._running.values():
                running.send(running.service.stop)
            awake = set(self._running)
        for name in awake:
            self.stop(name)
        self._watch.stop()
        self._cleaner.shutdown()
        with self._lock:
            self._listeners.end()
        self._enforcer.close()

    @contextmanager
    def _undisturbed(self, name: str) -> Iterator[None]:
        """The lock, at a moment when nobody cleans up after the service. Raises `Unavailable` for an `OSError`."""
        while True:
            with self._lock:
                if (cleaning := self._cleaning.get(name)) is None:
                    try:
                        yield
                    except OSError as error:
                        raise not_done(name, error) from error
                    return
            cleaning.result()

    def _awake(self, name: str) -> Program | None:
        """The service's process, unless it has ended or is about to."""
        running = self._running.get(name)
        is_awake = running is not None and not running.is_leaving and not running.has_ended
        return running if is_awake else None

    def _service(self, name: str) -> Service | None:
        declared = self._declared.get(name)
        return None if declared is None else Service.model_validate_json(declared)

    def _sleeps(self, name: str) -> bool:
        return '"idle_seconds":null' not in self._declared.get(name, '"idle_seconds":null')

    def _listen(self, name: str) -> None:
        """Wake the service with the next connection, or with one that waits already."""
        descriptor = self._listeners.descriptor(name)
        if descriptor is not None:
            self._watch.ready(name, descriptor, self._connected)

    def _connected(self, name: str, _descriptor: int) -> None:
        """A connection waits: start the program, or close it while a program that cannot run has its pause."""
        with self._lock:
            descriptor = self._listeners.descriptor(name)
            if name in self._running or descriptor is None:
                return
            if self._failures.is_held(name):
                process.refuse_waiting(descriptor)
                self._listen(name)
            else:
                self._begin(name)

    def _replace(self, service: Service) -> None:
        """Put a new process in the place of the old one; the old one serves until then, if both can share a socket."""
        name, old = service.name, self._running.get(service.name)
        if old is not None and (service.socket is None or not self._listeners.has(name, service.socket)):
            self.stop(name)
            old = None
        try:
            new = self._launch(service)
            try:
                new.await_start(self.settings.settle, self.settings.quiet)
            except Unavailable:
                self._end(new)
                raise
        except Unavailable:
            if old is None:
                self._declared.pop(name, None)
                self._discard(name)
            else:
                self._records.write(old.service, old.pid)
            raise
        self._declared[name] = service.model_dump_json()
        self._running[name] = new
        self._look_after(new)
        if old is not None:
            self._end(old)

    def _launch(self, service: Service) -> Program:
        """A new process of the service."""
        try:
            folder = self._records.folder(service.name)
            listener = None if service.socket is None else self._listeners.get(service.name, service.socket)
            program = Program.start(service, self._records.mark(service.name), folder, listener)
        except OSError as error:
            raise not_started(error) from error
        try:
            self._records.write(service, program.pid)
            self._enforcer.enforce(service, program.pid)
        except OSError as error:
            program.end(0)
            program.let_go()
            raise not_started(error) from error
        return program

    def _look_after(self, running: Program) -> None:
        self._watch.ready(running.service.name, running.pidfd, self._ended)
        if running.service.idle_seconds is not None:
            self._watch.forget(self._listeners.descriptor(running.service.name))
            self._watch.later(running.service.name, self._look_if_idle, running.service.idle_seconds)

    def _discard(self, name: str) -> None:
        """Let go of what a service had that does not run any more."""
        self._watch.forget(self._listeners.descriptor(name))
        self._listeners.drop(name)
        self._failures.forget(name)
        self._records.remove(name)

    def _end(self, program: Program) -> None:
        """End a program that nobody finds among those that run."""
        self._watch.forget(program.pidfd)
        program.end(self.settings.stop)
        program.let_go()

    def _end_escaped(self, service: Service) -> None:
        """End what a stopped service's user runs in other sessions, unless the user has more than this service."""
        with self._lock:
            others = (running for name, running in self._running.items() if name != service.name)
            users = self._shared.union(running.service.owner.uid for running in others)
        if service.owner.uid not in users and (left := process.kill_user(service.owner.uid, self.settings.stop)):
            _log.error("processes of %s do not end: %s", service.name, left[:10])

    def _ended(self, name: str, _descriptor: int) -> None:
        """A process ended by itself, or because it was idle: clean up after it, and be ready for its next work."""
        with self._lock:
            running = self._running.get(name)
            if running is None or not running.has_ended:
                return
            if running.service.idle_seconds is not None:
                if name not in self._cleaning:
                    self._cleaning[name] = self._cleaner.submit(self._fall_asleep, running)
                return
            del self._running[name]
            lived, words = time.monotonic() - running.started, running.last_words
            self._end(running)
            pause = self._failures.note(name, lived, words)
            _log.warning("%s ended after %.1f s; it is started again in %.1f s: %s", name, lived, pause, words)
            self._watch.later(name, self._start_again, pause)

    def _fall_asleep(self, running: Program) -> None:
        """End whatever a program that sleeps again left behind, then listen for it. Runs beside the watching thread.

        Until that is done no connection wakes the service: ending all processes of its user would end the new one too.
        """
        name, lived, words = running.service.name, time.monotonic() - running.started, running.last_words
        try:
            self._watch.forget(running.pidfd)
            running.end(self.settings.stop)
            self._end_escaped(running.service)
            self._enforcer.remove(name)
        except Exception:
            _log.exception("%s could not be cleaned up after", name)
        with self._lock:
            del self._cleaning[name], self._running[name]
            running.let_go()
            self._records.remove(name)
            if name not in self._declared:
                return
            if running.is_leaving:
                self._failures.forget(name)
            else:
                pause = self._failures.note(name, lived, words)
                _log.warning("%s ended after %.1f s: %s", name, lived, words)
                self._failures.hold(name, pause if lived < self.settings.settle else 0.0)
            self._listen(name)

    def _look_if_idle(self, name: str, _descriptor: int) -> None:
        """Tell a program that has had nothing to do for long enough to end, and end it if it does not."""
        with self._lock:
            running = self._running.get(name)
            if running is None or running.service.idle_seconds is None:
                return
            most, pause = running.service.idle_seconds, max(0.2, running.service.idle_seconds / 5)
            if running.is_leaving:
                running.send("KILL")
                return
            if running.is_idle(most):
                running.leave()
                pause = self.settings.stop
            self._watch.later(name, self._look_if_idle, pause)

    def _start_again(self, name: str, _descriptor: int) -> None:
        """Start a declared service that does not run, or listen for one that sleeps; what fails is tried later."""
        with self._lock:
            if name not in self._declared or name in self._running:
                return
            if not self._sleeps(name):
                self._begin(name)
            elif self._listeners.descriptor(name) is not None:
                self._listen(name)

    def _begin(self, name: str) -> None:
        """Start a declared service without waiting for it."""
        service = self._service(name)
        assert service is not None
        try:
            running = self._launch(service)
        except DriverError as error:
            _log.warning("%s cannot be started: %s", name, error.detail)
            self._failures.words[name] = error.detail
            if service.idle_seconds is None:
                self._watch.later(name, self._start_again, LONGEST_PAUSE)
            else:
                self._failures.hold(name, self.settings.settle)
                self._listen(name)
            return
        self._running[name] = running
        self._look_after(running)

    def _adopt(self, service: Service) -> None:
        """Take over the process that another node left behind, if it runs exactly this definition on its socket."""
        record = self._records.read(service.name)
        if record is None or record.service != service or not record.is_alive:
            return
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(record.pid)
            if service.socket is not None and not self._listeners.recover(service.name, service.socket, pidfd):
                os.close(pidfd)
                return
            self._running[service.name] = Program(service, record.pid, pidfd)
            self._look_after(self._running[service.name])
