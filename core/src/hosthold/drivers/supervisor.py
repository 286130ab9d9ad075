"""The supervisor driver: what starts, watches and stops the services of a node."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from hosthold.drivers.base import Driver, S
from hosthold.types.node import Node
from hosthold.types.resource import Service


class SupervisorDriver(Driver[S]):
    """Keeps services running. Every method has an effect, may be repeated, and raises only `DriverError`.

    `SupervisorProgramConformance` in `hosthold_sdk.testing.conformance` tests what is said here.
    """

    kind: ClassVar[str] = "supervisor"

    @abstractmethod
    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        """Begin to supervise a node: find what still runs of `services`, start the others, end what is not of them.

        A service that sleeps is not started: its socket is bound, if nobody holds it still.
        """

    @abstractmethod
    def start(self, service: Service) -> None:
        """Run the service as declared; it runs, or sleeps, and its socket is bound when this returns.

        A running service with another definition is replaced without a refused connection; the same definition is left
        alone; a sleeping one sleeps on with the new definition. Raises `Unavailable` with the program's own last words
        if it ends at once; then nothing of it is left.
        """

    @abstractmethod
    def wake(self, name: str) -> None:
        """Begin to start a sleeping service without waiting for it. Running already, or unknown, is not an error."""

    def rest(self, name: str) -> None:
        """Let a service that sleeps end in good order now, if it has little to do; the next connection wakes it.

        Called after it was woken only to see whether it runs. A driver that does not override this lets it run until it
        has been idle for long enough.
        """

    @abstractmethod
    def reload(self, name: str) -> None:
        """Make a running service read its configuration again, by its signal, its command, or by replacing its process.

        A sleeping service reads it when it wakes. Raises `Unavailable` with the words of a command that fails.
        """

    @abstractmethod
    def restart(self, name: str) -> None:
        """Replace the service's process, if it runs; its socket stays bound."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """End the service and all its processes, and unbind its socket. Not running is not an error."""

    @abstractmethod
    def known(self, names: Iterable[str]) -> dict[str, Service]:
        """Those of the named services that run or sleep, as they were declared when they were started."""

    @abstractmethod
    def failures(self) -> dict[str, str]:
        """The last words of every service that should run and does not, or that could not be woken, by name."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the node. Services keep running, and their sockets stay bound for who attaches next."""

    @abstractmethod
    def end(self) -> None:
        """End all services of the node in good order and unbind their sockets, then close."""
