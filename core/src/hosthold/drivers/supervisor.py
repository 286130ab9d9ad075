"""The supervisor driver: what starts, watches and stops the services of a node."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from hosthold.drivers.base import Driver, S
from hosthold.types.node import Node
from hosthold.types.resource import Service


class SupervisorDriver(Driver[S]):
    """Keeps services running. Every method has an effect, may be repeated, and raises only `DriverError`."""

    kind: ClassVar[str] = "supervisor"

    @abstractmethod
    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        """Begin to supervise a node: find what still runs of `services`, start the others, end what is not of them."""

    @abstractmethod
    def start(self, service: Service) -> None:
        """Run the service as declared; it runs and holds its socket when this returns.

        A running service with another definition is replaced; the same definition is left alone. Raises
        `Unavailable` with the program's own last words if it ends at once; then nothing of it is left.
        """

    @abstractmethod
    def reload(self, name: str) -> None:
        """Make a running service read its configuration again, by its signal or by replacing its process."""

    @abstractmethod
    def restart(self, name: str) -> None:
        """Replace the service's process; its socket stays bound."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """End the service and all its processes, and unbind its socket. Not running is not an error."""

    @abstractmethod
    def running(self) -> dict[str, Service]:
        """Every service that runs now, by name, as it was declared when it was started."""

    @abstractmethod
    def close(self) -> None:
        """End supervision. Whether services keep running is the driver's documented choice."""
