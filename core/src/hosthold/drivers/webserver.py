"""The web-server driver: a pure function from sites to resources, plus how to check and reload the server."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from hosthold.drivers.base import Driver, S
from hosthold.types.base import Frozen
from hosthold.types.node import Node
from hosthold.types.resource import File, Probe, Resource, Service
from hosthold.types.site import Site
from hosthold.types.text import AbsolutePath


class Upstream(Frozen):
    """How a runtime is reached. `ping` is a path that the runtime answers with 200 without running the site's code."""

    protocol: Literal["fastcgi", "http"]
    socket: AbsolutePath
    ping: str


class LogFields(Frozen):
    """Where the parts of a request are in a log of JSON objects: the keys that lead to each; of a list, its first item.

    `time` is in seconds since 1970. A part that is missing is written as a hyphen. `level` and `message` are what the
    log of errors has.
    """

    host: tuple[str, ...]
    address: tuple[str, ...]
    user: tuple[str, ...]
    time: tuple[str, ...]
    method: tuple[str, ...]
    target: tuple[str, ...]
    protocol: tuple[str, ...]
    status: tuple[str, ...]
    size: tuple[str, ...]
    referer: tuple[str, ...]
    agent: tuple[str, ...]
    level: tuple[str, ...]
    message: tuple[str, ...]


class Rendered(Frozen):
    """What a subject needs on its node, and the requests that show that it is served."""

    resources: tuple[Resource, ...]
    probes: tuple[Probe, ...] = ()


class WebServerDriver(Driver[S]):
    """Serves sites over HTTP. All methods but `check` are pure: no file is opened, no process started.

    `WebServerConformance` in `hosthold_sdk.testing.conformance` tests what is said here.
    """

    kind: ClassVar[str] = "webserver"
    log_fields: ClassVar[LogFields | None] = None
    """What is where in the logs, if each line of them is a JSON object; `None` for logs in the text form of `logs`."""

    @abstractmethod
    def service(self, node: Node) -> Service:
        """The server itself, as the node runs it. It is one of the resources of `render_node`."""

    @abstractmethod
    def check_command(self, node: Node) -> tuple[str, ...]:
        """The argument vector that tests the configuration on disk: exit status 0 is good, the cause is on stderr."""

    @abstractmethod
    def render_node(self, node: Node) -> Rendered:
        """All that the server needs on a node before it has any site, its own service and all folders of the layout.

        Whatever lies in `NodeLayout.challenges` is served for its name, whether a site has that name or not. Every
        other request for a name that no site has must be refused, never answered by somebody's site. A node carries out
        an order for itself only if it equals what its own driver renders, so nothing may depend on where that happens.
        """

    @abstractmethod
    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        """What one site needs, suspended ones included. Raises `NotSupported` for what the server cannot do.

        A standard site must need no reload: nothing in the result notifies the server.
        """

    def render_block(self, site: Site, node: Node) -> File | None:
        """The file below `NodeLayout.blocks` that is one of the site's resources, if its options need one.

        Root's server reads it, so a node writes only what its own driver renders here from the site's options.
        """
        return None

    @abstractmethod
    def logs(self, node: Node) -> tuple[AbsolutePath, AbsolutePath]:
        """Where the server logs the requests, and the errors, of all sites.

        Each line of the first begins with the name that was asked for and a space, and goes on in the combined format;
        each line of the second that is about a site has `, host: "<name>"` in it. Or both are as `log_fields` says, and
        the node writes them so for the sites.
        """
