"""The supervisor driver: each service is an instance of a template unit, asleep behind a socket unit if it may sleep.

systemd holds the sockets, starts what is asked for, and brings everything back after a reboot without this node. The
node tells it what to hold, replaces programs, and ends those that have had nothing to do.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from hosthold_sdk import (
    DriverError,
    DriverSettings,
    Misconfigured,
    Node,
    NotInstalled,
    NotSupported,
    Service,
    SupervisorDriver,
    Unavailable,
)
from hosthold_sdk.process import names_a_cause, run_reload, settles

from .failures import Failures
from .manager import Manager, UnitState
from .settings import SystemdSettings
from .unit_files import UnitFiles
from .units import SERVICES, Texts, Units, definition, limits, name_in, render
from .users import is_known
from .watch import Watch

LEAST_VERSION = 247
"""The first with ProcSubset=, of Debian 11."""
_LONGEST_ADDRESS = 107
"""`sun_path` has 108 bytes, the last of which is a zero (unix(7))."""
_START_SECONDS = 90.0
_UP = ("listening", "running")
_log = logging.getLogger(__name__)


class SystemdSupervisor(SupervisorDriver[SystemdSettings]):
    """Runs services as units of systemd."""

    settings_model: ClassVar[type[DriverSettings]] = SystemdSettings

    def __init__(self, settings: SystemdSettings) -> None:
        super().__init__(settings)
        self._lock = threading.RLock()
        self._manager = Manager()
        self._files: UnitFiles
        self._failures = Failures(self._manager, self._service, settings.settle)
        self._watch = Watch(lambda: dict(self._idle))
        self._declared: dict[str, str] = {}
        """As JSON, which takes a tenth of the memory: thousands of services sleep."""
        self._idle: dict[str, int] = {}
        """After how many seconds each service that may sleep does."""
        self._knows_users = False
        """Whether the machine was seen to know one user of a service: the others are in the same files."""

    def check(self) -> None:
        if not Path("/run/systemd/system").is_dir():
            raise NotInstalled(
                "this machine was not started by systemd",
                hint='set node.supervisor to "process", which needs no systemd',
            )
        manager = Manager()
        try:
            version = manager.version()
        finally:
            manager.close()
        if version < LEAST_VERSION:
            raise NotInstalled(
                f"systemd is version {version}, and {LEAST_VERSION} is needed",
                hint='upgrade the machine, or set node.supervisor to "process"',
            )

    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        self._refuse_unsupported_node(node)
        with self._lock:
            self._declared.clear()
            self._idle.clear()
            self._files = UnitFiles(node, self.settings.stop)
            if self._files.prepare():
                self._manager.reload()
            for service in services:
                self._remember(service)
            self._discard(*(name for name in self._files.names() if name not in self._declared))
            self._bring_up(services)
        self._watch.start()

    def start(self, service: Service) -> None:
        self._refuse_unsupported(service)
        name, texts = service.name, render(service)
        with self._doing(name):
            old = self._files.read(name)
            if old == texts and self._is_up(service):
                self._remember(service)
                return
            if old is not None and old.socket != texts.socket:
                self._discard(name)
                old = None
            try:
                self._write(service, texts, old)
                self._run(service)
            except (Unavailable, OSError):
                before = None if old is None else definition(old.command)
                if old is None or before is None or self._awake(name) is None:
                    self._discard(name)
                else:
                    self._write(before, old, texts)
                raise
            self._remember(service)

    def wake(self, name: str) -> None:
        with self._lock:
            service = self._service(name)
            if service is not None and self._awake(name) is None:
                unit = Units.of(name)
                self._manager.forget_failure(unit.socket, unit.service)
                self._manager.begin_start(unit.service)

    def rest(self, name: str) -> None:
        with self._lock:
            service, awake = self._service(name), self._awake(name)
            if service is not None and _sleeps(service) and awake is not None:
                self._manager.begin_stop(awake.name)

    def reload(self, name: str) -> None:
        with self._lock:
            service, awake = self._service(name), self._awake(name)
            how = None if service is None or awake is None else service.reload
            if awake is not None and isinstance(how, str):
                self._manager.send(awake.name, signal.Signals[f"SIG{how}"])
        if isinstance(how, tuple):
            run_reload(how)
        elif how is None:
            self.restart(name)

    def restart(self, name: str) -> None:
        with self._doing(name):
            service = self._service(name)
            if service is None:
                raise Unavailable(f"{name} is not a service of this node.", hint="Apply what declares it first.")
            try:
                self._run(service)
            except Unavailable:
                if not _sleeps(service) and self._awake(name) is None:
                    self._manager.begin_start(Units.of(name).service)  # and again, until it works
                raise

    def stop(self, name: str) -> None:
        with self._doing(name):
            self._discard(name)

    def known(self, names: Iterable[str]) -> dict[str, Service]:
        with self._lock:
            services = {name: service for name in names if (service := self._service(name)) is not None}
            up = self._up(services.values())
            return {name: service for name, service in services.items() if name in up}

    def failures(self) -> dict[str, str]:
        with self._lock:
            return self._failures.words()

    def close(self) -> None:
        self._watch.stop()
        with self._lock:
            self._manager.close()

    def end(self) -> None:
        self._watch.stop()
        with self._lock:
            self._discard(*self._files.names())
            self._manager.close()

    @contextmanager
    def _doing(self, name: str) -> Iterator[None]:
        """The lock, while something is done with a service. Raises `Unavailable` for an `OSError`."""
        with self._lock:
            try:
                yield
            except OSError as error:
                raise Unavailable(
                    f"The node cannot do what {name} needs: {error}",
                    hint="Look at the path that it names, and try again.",
                ) from error

    def _bring_up(self, services: tuple[Service, ...]) -> None:
        """Start what does not run, all at once; one that cannot be started concerns itself alone."""
        up = self._up(services)
        for service in services:
            if self._files.read(service.name) != render(service):
                try:
                    self.start(service)
                except DriverError as error:
                    _log.warning("%s cannot be started: %s", service.name, error.detail)
                    self._remember(service)
                up.add(service.name)
        missing = [service for service in services if service.name not in up]
        self._manager.start((_proofs(service)[0] for service in missing), _START_SECONDS)
        running = self._manager.find(("running",), SERVICES)
        halfway = [unit for unit in running if unit != Units.of(name_in(unit)).service]
        self._manager.stop([unit for unit in halfway if Units.of(name_in(unit)).service in running], self._stop_seconds)

    def _write(self, service: Service, texts: Texts, old: Texts | None) -> None:
        """Let systemd know of a definition. It reads all units again only if it has this one loaded otherwise."""
        unit = Units.of(service.name)
        try:
            self._files.write(service.name, texts, sleeps=_sleeps(service))
        except OSError as error:
            raise Unavailable(f"Its unit cannot be written: {error}", hint="Look at the path that it names.") from error
        if old is None or (old.socket, old.service) != (texts.socket, texts.service):
            wanted = [unit.service] if service.socket is None else [unit.socket, unit.service]
            loaded = self._manager.states(wanted).values()
            if any(self._manager.property(state.path, "Unit", "NeedDaemonReload") for state in loaded):
                self._manager.reload()
        if old is not None and service.limits is not None and old.slice != texts.slice:
            self._manager.set_limits(unit.slice, limits(service.limits))

    def _run(self, service: Service) -> None:
        """Let the service run or sleep as it is written now, with a new program if it has one."""
        unit = Units.of(service.name)
        self._failures.forget(service.name)
        if service.socket is not None and self._manager.start([unit.socket], _START_SECONDS) != {unit.socket: "done"}:
            raise Unavailable(
                f"systemd cannot listen at {service.socket.path}.", hint=f"systemctl status {unit.socket}"
            )
        awake = self._awake(service.name)
        if awake is not None and service.socket is None:
            self._manager.stop([awake.name], self._stop_seconds)
            awake = None
        if awake is not None or not _sleeps(service):
            self._replace(service, awake)

    def _replace(self, service: Service, old: UnitState | None) -> None:
        """Start a program beside the old one, at the same socket, and end the old one once it works."""
        unit = Units.of(service.name)
        new = unit.service
        if old is not None and old.name == unit.service:
            new = unit.successor
            self._files.prepare_successor(service.name)
            self._manager.forget_failure(new)
        result = self._manager.start([new], _START_SECONDS)[new]
        state = self._manager.states([new])[new]
        if result != "done" or not self._settles(service, state):
            words = self._failures.cause(state, service)
            self._manager.stop([new], self._stop_seconds)
            self._manager.forget_failure(new)
            raise Unavailable(words, hint="The message is the program's own; mend what it names.")
        if old is not None:
            self._manager.stop([old.name], self._stop_seconds)

    def _settles(self, service: Service, state: UnitState) -> bool:
        pid = self._manager.property(state.path, "Service", "MainPID")
        if not pid:
            return False
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            return settles(
                pid,
                pidfd,
                has_socket=service.socket is not None,
                settle=self.settings.settle,
                quiet=self.settings.quiet,
                complains=lambda: service.log is None and names_a_cause(self._failures.output(state)),
            )
        finally:
            os.close(pidfd)

    def _awake(self, name: str) -> UnitState | None:
        """The unit whose program serves now, if one does."""
        unit = Units.of(name)
        states = self._manager.states([unit.service, unit.successor])
        awake = [state for state in states.values() if state.active in ("active", "activating", "reloading")]
        return min(awake, key=lambda state: state.name != unit.service, default=None)

    def _up(self, services: Iterable[Service]) -> set[str]:
        """The names of those that run, or sleep: a socket that gave up is bound again by itself."""
        proofs = {unit: service for service in services for unit in _proofs(service)}
        states = self._manager.states(proofs) if proofs else {}
        return {
            service.name
            for unit, service in proofs.items()
            if unit in states and (states[unit].sub in _UP or (states[unit].sub == "failed" and _sleeps(service)))
        }

    def _is_up(self, service: Service) -> bool:
        return service.name in self._up([service])

    def _discard(self, *names: str) -> None:
        """End services with all their processes, and remove everything of them."""
        units = [Units.of(name) for name in names]
        self._manager.stop((unit for of in units for unit in of[:3]), self._stop_seconds)
        for name, unit in zip(names, units, strict=True):
            self._manager.forget_failure(*unit[:3])
            self._manager.begin_stop(unit.slice)
            if self._files.has_changed_limits(name):
                self._manager.forget_limits(unit.slice)
            self._files.remove(name)
            self._declared.pop(name, None)
            self._idle.pop(name, None)

    @property
    def _stop_seconds(self) -> float:
        return self.settings.stop + _START_SECONDS

    def _remember(self, service: Service) -> None:
        self._declared[service.name] = service.model_dump_json()
        self._idle.pop(service.name, None)
        if _sleeps(service) and service.idle_seconds is not None:
            self._idle[service.name] = service.idle_seconds
            self._watch.tell()

    def _service(self, name: str) -> Service | None:
        declared = self._declared.get(name)
        return None if declared is None else Service.model_validate_json(declared)

    def _refuse_unsupported_node(self, node: Node) -> None:
        if os.geteuid() != 0:
            raise Misconfigured(
                "only root may tell systemd what to run",
                hint='start the node as root, or set node.supervisor to "process"',
            )
        if node.layout.run.is_below("/run"):
            raise Misconfigured(
                f"a reboot empties {node.layout.run}, and sites must come back before the node does",
                hint="leave node.run unset, or set it to a folder that lasts",
            )

    def _refuse_unsupported(self, service: Service) -> None:
        if service.socket is not None and len(os.fsencode(service.socket.path)) > _LONGEST_ADDRESS:
            raise NotSupported(
                f"{service.socket.path} has more than {_LONGEST_ADDRESS} bytes, too many for a socket; "
                "nothing was changed",
                hint="set node.run to a shorter path",
            )
        if service.log is not None and service.owner.uid != 0 and not _is_roots(service.log.parent):
            raise NotSupported(
                f"systemd would open {service.log} as root, in a folder where somebody else may plant a link; "
                "nothing was changed",
                hint="let the log lie in a folder that only root may write",
            )
        if self._knows_users or service.owner.uid == 0:
            return
        if not is_known(service.owner.uid):
            raise Misconfigured(
                f"systemd runs nothing as the user {service.owner.uid}, whom the machine does not know",
                hint="apt-get install libnss-extrausers, then add `extrausers` to passwd, group and shadow in "
                "/etc/nsswitch.conf",
            )
        self._knows_users = True


def _sleeps(service: Service) -> bool:
    return service.socket is not None and service.idle_seconds is not None


def _proofs(service: Service) -> tuple[str, ...]:
    """The units one of which is up if the service is; the first of them brings it up."""
    unit = Units.of(service.name)
    return (unit.socket,) if _sleeps(service) else (unit.service, unit.successor)


def _is_roots(folder: str) -> bool:
    status = os.lstat(folder)
    return status.st_uid == 0 and not status.st_mode & 0o022
