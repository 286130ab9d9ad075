"""The runtime driver: one php-fpm master per site, under the site's own user."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import ClassVar

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
from pydantic import ValidationError

from .configuration import PING_PATH, error_log, home_folders, listen_address, render_configuration
from .settings import PhpFpmSettings, PhpSettings
from .starter import STARTER_PAGE
from .support import ENDS

_PROGRAM = re.compile(r"php-fpm([0-9]{1,2}\.[0-9]{1,2})")


class PhpFpmRuntime(RuntimeDriver[PhpFpmSettings]):
    """Runs PHP, asleep until it is asked for.

    The site's folder and its logs belong to root; home and what is in it to the site.

    A changed configuration replaces the process instead of signalling it: on SIGUSR2 a master that cannot use its new
    configuration ends, while a new process that fails leaves the old one serving the same socket.
    """

    settings_model: ClassVar[type[DriverSettings]] = PhpFpmSettings
    site_settings: ClassVar[type[DriverSettings]] = PhpSettings

    def check(self) -> None:
        if not self.versions():
            raise NotInstalled(
                f"no php-fpm is in {self.settings.directory}", hint="apt-get install php-fpm php-mysql php-mbstring"
            )

    def versions(self) -> tuple[str, ...]:
        return tuple(sorted(self._programs(), key=lambda version: [*map(int, version.split("."))], reverse=True))

    @property
    def ends(self) -> Mapping[str, date]:
        return ENDS | self.settings.ends

    def executables(self) -> frozenset[str]:
        return frozenset(self._programs().values())

    def render(self, site: Site, node: Node) -> RuntimeRendered:
        layout, name, owner = node.layout, site.name, node.owner_of(site.uid)
        self._refuse_unsupported(site, node, owner)
        temporary, sessions = home_folders(site, node)
        resources: list[Resource] = [
            Directory(path=layout.home(name), owner=Owner(uid=owner.uid, gid=node.web.gid), mode=0o710),
            Directory(path=temporary, owner=owner, mode=0o700),
            Directory(path=sessions, owner=owner, mode=0o700),
            *(Directory(path=path, owner=owner, mode=0o755, seed=True) for path in _document_folders(site, node)),
            File(
                path=layout.home(name).child(site.document_root, "index.php"),
                content=STARTER_PAGE,
                owner=owner,
                mode=0o644,
                seed=True,
            ),
            Directory(path=layout.logs(name), owner=Owner(uid=node.root.uid, gid=owner.gid), mode=0o751),
            File(path=error_log(site, node), content="", owner=owner, mode=0o640, seed=True),
        ]
        upstream = Upstream(protocol="fastcgi", socket=layout.socket(name), ping=PING_PATH)
        configuration = render_configuration(site, node, _parsed(site))
        if not site.is_suspended:
            service = self._service(site, node, owner)
            resources += [
                File(
                    path=_configuration_path(site, node),
                    content=configuration,
                    owner=Owner(uid=node.root.uid, gid=owner.gid),
                    mode=0o640,
                    notifies=service.name,
                ),
                service,
            ]
        return RuntimeRendered(resources=tuple(resources), upstream=upstream)

    def _service(self, site: Site, node: Node, owner: Owner) -> Service:
        version = site.runtime.version
        program = self.settings.programs.get(version) or self.settings.directory.child(f"php-fpm{version}")
        return Service(
            name=f"php-{site.name}",
            command=(program, "-F", "-y", _configuration_path(site, node)),
            environment=(("FPM_SOCKETS", f"{listen_address(site)}=3"),),
            owner=owner,
            socket=UnixSocket(path=node.layout.socket(site.name), owner=node.web, mode=0o600),
            stop="QUIT",
            idle_seconds=self.settings.idle_seconds,
            limits=ServiceLimits(
                cpu_percent=site.limits.cpu_percent,
                memory_mb=site.limits.total_memory_mb,
                tasks=site.limits.tasks,
                io_weight=site.limits.io_weight,
            ),
        )

    def _programs(self) -> dict[str, AbsolutePath]:
        """What can be run on this machine, by version; what the settings name comes before what lies in the folder."""
        folder = Path(self.settings.directory)
        names = [_PROGRAM.fullmatch(path.name) for path in (folder.iterdir() if folder.is_dir() else ())]
        found = {name[1]: self.settings.directory.child(name[0]) for name in names if name} | self.settings.programs
        return {version: path for version, path in found.items() if os.access(path, os.X_OK)}

    def _refuse_unsupported(self, site: Site, node: Node, owner: Owner) -> None:
        version = site.runtime.version
        if not _PROGRAM.fullmatch(f"php-fpm{version}"):
            raise NotSupported(f"{version} is not a version of PHP; nothing was changed", hint="write it as in 8.2")
        installed = node.facts.get("php")
        if installed is not None and version not in installed:
            raise NotInstalled(
                f"PHP {version} is not installed on node {node.name} (installed: {', '.join(installed) or 'none'})",
                hint=f"apt-get install php{version}-fpm on that node, or choose an installed version",
            )
        if owner.uid == 0:
            raise NotSupported(
                "PHP is never run as root; nothing was changed",
                hint="set isolation to unix_user, or start the node as an ordinary user",
            )
        first = site.document_root.split("/", 1)[0]
        if first in ("tmp", "sessions"):
            raise NotSupported(
                f"the folder {first} of a site is PHP's own and cannot be a document root",
                hint="choose another folder, such as public",
            )


def _configuration_path(site: Site, node: Node) -> AbsolutePath:
    return node.layout.site(site.name).child("php-fpm.conf")


def _document_folders(site: Site, node: Node) -> list[AbsolutePath]:
    """The document root and every folder above it, from home downwards."""
    parts = site.document_root.split("/")
    return [node.layout.home(site.name).child(*parts[: depth + 1]) for depth in range(len(parts))]


def _parsed(site: Site) -> PhpSettings:
    """The site's settings. Those that are refused here were refused at the border already."""
    try:
        return PhpSettings.model_validate(dict(site.runtime.settings))
    except ValidationError as error:
        refused = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise NotSupported(
            f"settings of PHP were refused; nothing was changed: {refused}",
            hint=f"a site may set {', '.join(PhpSettings.model_json_schema()['properties'])}",
        ) from None
