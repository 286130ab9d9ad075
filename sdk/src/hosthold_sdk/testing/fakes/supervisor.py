"""A supervisor in memory: it knows what should run, and starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable

from hosthold_sdk import DriverSettings, Node, Service, SupervisorDriver, Unavailable


class FakeSupervisor(SupervisorDriver[DriverSettings]):
    """Services in a dictionary. Tests read `services` and `calls`, and name in `refused` what shall not start."""

    def __init__(self, settings: DriverSettings | None = None) -> None:
        super().__init__(settings or DriverSettings())
        self.services: dict[str, Service] = {}
        self.refused: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        """Every call about one service, in order: the method, and the service's name."""

    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        self.services = {service.name: service for service in services}

    def start(self, service: Service) -> None:
        self.calls.append(("start", service.name))
        if service.name in self.refused:
            raise Unavailable(f"{service.name}: it cannot start", hint="A test refused it.")
        if not os.access(service.command[0], os.X_OK):
            raise Unavailable(f"{service.command[0]} cannot be run", hint="Install the program.")
        self.services[service.name] = service

    def wake(self, name: str) -> None:
        self.calls.append(("wake", name))

    def reload(self, name: str) -> None:
        self.calls.append(("reload", name))

    def restart(self, name: str) -> None:
        self.calls.append(("restart", name))
        if name not in self.services:
            raise Unavailable(f"There is no service {name}.", hint="Start it.")

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))
        self.services.pop(name, None)

    def known(self, names: Iterable[str]) -> dict[str, Service]:
        return {name: self.services[name] for name in names if name in self.services}

    def failures(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""

    def end(self) -> None:
        self.services.clear()
