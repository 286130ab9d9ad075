"""Nodes: machines that hold sites, and where things lie on them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from hosthold.types.base import Frozen
from hosthold.types.site import DriverName
from hosthold.types.text import AbsolutePath, UnixName

NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class Isolation(StrEnum):
    """How sites of one node are kept apart."""

    unix_user = "unix_user"
    """Every site has a Unix user of its own; the node runs as root."""
    none = "none"
    """Everything runs as the user who started the node. For trying things out, never for strangers' sites."""


class Owner(Frozen):
    """A numeric user and group of the node's machine."""

    uid: Annotated[int, Field(ge=0, le=2**32 - 2)]
    gid: Annotated[int, Field(ge=0, le=2**32 - 2)]


class Listen(Frozen):
    """Where the web server of a node listens."""

    address: Annotated[str, StringConstraints(pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:]{2,39}\])$")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    tls_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where it listens for TLS; nowhere, if not set."""


class NodeLayout(Frozen):
    """Where things lie on a node. `state` survives a reboot, `run` need not. Outside of homes only the node writes."""

    state: AbsolutePath
    run: AbsolutePath

    @property
    def sites(self) -> AbsolutePath:
        """One folder per site, owned by root."""
        return self.state.child("sites")

    @property
    def hosts(self) -> AbsolutePath:
        """One link per host name, to what the web server serves for it."""
        return self.state.child("hosts")

    @property
    def challenges(self) -> AbsolutePath:
        """Answers to certificate challenges: a folder per host name, written by the platform alone."""
        return self.state.child("challenges")

    @property
    def certificates(self) -> AbsolutePath:
        """One link per host name that has a certificate, to a folder with `chain.pem` and `key.pem`."""
        return self.state.child("certificates")

    @property
    def blocks(self) -> AbsolutePath:
        """Configuration of the web server's own for single sites; root reads it."""
        return self.state.child("blocks")

    @property
    def sockets(self) -> AbsolutePath:
        """Listening sockets of the sites' runtimes."""
        return self.run.child("sockets")

    def site(self, name: UnixName) -> AbsolutePath:
        """Everything of one site; the folder itself belongs to root."""
        return self.sites.child(name)

    def home(self, name: UnixName) -> AbsolutePath:
        """The folder that the site's own user may write."""
        return self.site(name).child("home")

    def logs(self, name: UnixName) -> AbsolutePath:
        """Logs of one site, readable by its user, written by root or the runtime."""
        return self.site(name).child("logs")

    def socket(self, name: UnixName) -> AbsolutePath:
        """The socket on which the site's runtime is reached."""
        return self.sockets.child(f"{name}.sock")


class Node(Frozen):
    """A machine that holds sites.

    `root` owns what the platform writes (uid 0, or whoever runs a node without isolation); `web` is whom the web
    server's workers run as. `facts` are what the node said of itself: installed runtime versions by driver name.
    """

    name: NodeName
    layout: NodeLayout
    listen: Listen
    isolation: Isolation
    root: Owner
    web: Owner
    web_user: str
    """The name of the user that `web` stands for."""
    webserver: DriverName = "nginx"
    facts: Mapping[DriverName, tuple[str, ...]] = Field(default_factory=dict)

    def owner_of(self, uid: int) -> Owner:
        """The owner of files of the site with this uid; without isolation everything belongs to one user."""
        return self.root if self.isolation is Isolation.none else Owner(uid=uid, gid=uid)
