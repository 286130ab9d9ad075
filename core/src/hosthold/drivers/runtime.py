"""The runtime driver: what runs the code of a site."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from hosthold.drivers.base import Driver, DriverSettings, S
from hosthold.drivers.webserver import Upstream
from hosthold.types.base import Frozen
from hosthold.types.node import Node
from hosthold.types.resource import Resource
from hosthold.types.site import Site


class RuntimeRendered(Frozen):
    """What a site's runtime needs on its node, and how the web server reaches it."""

    resources: tuple[Resource, ...]
    upstream: Upstream


class RuntimeDriver(Driver[S]):
    """Runs the code of sites. `versions` and `executables` look at the machine; `render` is pure."""

    kind: ClassVar[str] = "runtime"
    site_settings: ClassVar[type[DriverSettings]] = DriverSettings
    """What a site may set: a closed list of typed options with bounds. Anything else is refused at the border."""

    @abstractmethod
    def versions(self) -> tuple[str, ...]:
        """The versions installed on this machine, newest first."""

    @property
    def ends(self) -> Mapping[str, date]:
        """The last day of security fixes, by version. Of a version that is not among them nothing is known."""
        return {}

    @abstractmethod
    def executables(self) -> frozenset[str]:
        """Absolute paths of every program that a rendered service of this driver may start on this machine."""

    @abstractmethod
    def render(self, site: Site, node: Node) -> RuntimeRendered:
        """What the site's runtime needs. A suspended site gets no service.

        Raises `NotSupported` for settings above the limits of the site's package.
        """
