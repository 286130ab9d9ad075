"""A runtime driver: gives each site a small program of its own, which answers with what it was asked and as whom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt, ValidationError

from hosthold_sdk import (
    AbsolutePath,
    Directory,
    DriverSettings,
    File,
    Node,
    NotInstalled,
    NotSupported,
    Owner,
    Resource,
    RuntimeDriver,
    RuntimeRendered,
    Service,
    ServiceLimits,
    Site,
    UnixSocket,
    Upstream,
)

PROGRAM = Path(__file__).with_name("responder.py").read_text("utf-8")
PING_PATH = "/.well-known/hosthold-ping"
START_PAGE = "Web servers that hand over nothing but files find this one. The site's program answers in its place.\n"


class FakeRuntimeSettings(DriverSettings):
    """What an operator may set."""

    python: AbsolutePath = AbsolutePath("/usr/bin/python3")
    """A Python that the sites' users may run."""
    versions: tuple[str, ...] = ("1",)
    """The versions that this machine is said to have, newest first."""
    idle_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How long the program of a site stays after its last request."""


class FakeRuntimeSiteSettings(DriverSettings):
    """What a site may set: a closed list of typed options with bounds."""

    memory_mb: Annotated[StrictInt, Field(ge=64)] | None = None
    """Memory of one request, in MiB; as much as the package allows, if not set."""


class FakeRuntime(RuntimeDriver[FakeRuntimeSettings]):
    """Runs one program per site, as the site's own user, asleep until it is asked for.

    The site's folder, its logs and its program belong to root; home and what is in it to the site.
    """

    settings_model: ClassVar[type[DriverSettings]] = FakeRuntimeSettings
    site_settings: ClassVar[type[DriverSettings]] = FakeRuntimeSiteSettings

    def check(self) -> None:
        if not os.access(self.settings.python, os.X_OK):
            raise NotInstalled(f"there is no Python at {self.settings.python}", hint="apt-get install python3-minimal")

    def versions(self) -> tuple[str, ...]:
        return self.settings.versions

    def executables(self) -> frozenset[str]:
        return frozenset({self.settings.python})

    def render(self, site: Site, node: Node) -> RuntimeRendered:
        memory_mb = self._memory_mb(site)
        layout, name, owner = node.layout, site.name, node.owner_of(site.uid)
        home = layout.home(name)
        folders = site.document_root.split("/")
        resources: list[Resource] = [
            Directory(path=home, owner=Owner(uid=owner.uid, gid=node.web.gid), mode=0o710),
            *(
                Directory(path=home.child(*folders[:depth]), owner=owner, mode=0o755, seed=True)
                for depth in range(1, len(folders) + 1)
            ),
            File(
                path=home.child(*folders, "index.php"),
                content=START_PAGE,
                owner=owner,
                mode=0o644,
                seed=True,
            ),
            Directory(path=layout.logs(name), owner=Owner(uid=node.root.uid, gid=owner.gid), mode=0o751),
        ]
        if not site.is_suspended:
            service = self._service(site, node, memory_mb)
            program = File(
                path=_program_path(site, node),
                content=PROGRAM,
                owner=Owner(uid=node.root.uid, gid=owner.gid),
                mode=0o640,
                notifies=service.name,
            )
            resources += [program, service]
        upstream = Upstream(protocol="fastcgi", socket=layout.socket(name), ping=PING_PATH)
        return RuntimeRendered(resources=tuple(resources), upstream=upstream)

    def _service(self, site: Site, node: Node, memory_mb: int) -> Service:
        return Service(
            name=f"fake-{site.name}",
            command=(self.settings.python, "-I", "-S", _program_path(site, node), PING_PATH, str(memory_mb)),
            owner=node.owner_of(site.uid),
            socket=UnixSocket(path=node.layout.socket(site.name), owner=node.web, mode=0o600),
            log=node.layout.logs(site.name).child("php-error.log"),
            idle_seconds=self.settings.idle_seconds,
            limits=ServiceLimits(
                cpu_percent=site.limits.cpu_percent,
                memory_mb=site.limits.total_memory_mb,
                tasks=site.limits.tasks,
                io_weight=site.limits.io_weight,
            ),
        )

    def _memory_mb(self, site: Site) -> int:
        """What one request may use. Raises `NotSupported` for what the driver lacks, or the package forbids."""
        if site.runtime.version not in self.settings.versions:
            raise NotSupported(
                f"there is no version {site.runtime.version}; nothing was changed",
                hint=f"choose one of {', '.join(self.settings.versions)}",
            )
        try:
            chosen = FakeRuntimeSiteSettings.model_validate(dict(site.runtime.settings)).memory_mb
        except ValidationError as error:
            raise NotSupported(
                f"the settings of the site were refused; nothing was changed: {error.errors()[0]['msg']}",
                hint="a site may set memory_mb",
            ) from None
        if chosen is not None and chosen > site.limits.memory_mb:
            raise NotSupported(
                f"memory_mb is {chosen}, and the package allows {site.limits.memory_mb}; nothing was changed",
                hint="set less, or choose a larger package",
            )
        return chosen or site.limits.memory_mb


def _program_path(site: Site, node: Node) -> AbsolutePath:
    return node.layout.site(site.name).child("responder.py")
