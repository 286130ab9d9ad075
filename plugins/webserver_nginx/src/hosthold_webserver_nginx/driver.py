"""The web-server driver: what nginx needs on a node, and what each site adds to it without a reload."""

from __future__ import annotations

import os
from typing import ClassVar

from hosthold_sdk import (
    AbsolutePath,
    Directory,
    DriverSettings,
    File,
    Link,
    Misconfigured,
    Node,
    NotInstalled,
    NotSupported,
    Owner,
    Probe,
    Rendered,
    Resource,
    Service,
    Site,
    Upstream,
    WebServerDriver,
)

from .blocks import block_of, own_resources
from .configuration import LONGEST_HOST, logs, render_configuration
from .locations import PING_PATH, ROUTE_PATH, folder, suspended
from .pages import MISSING_PAGE, SUSPENDED_PAGE
from .settings import NginxSettings

SERVICE_NAME = "nginx"


class NginxWebServer(WebServerDriver[NginxSettings]):
    """Serves every standard site from one catch-all block.

    `hosts/<domain>` is a link to the site's `serve` folder, which belongs to root and holds two links: `root` to the
    document root, `upstream` to the runtime's socket. `root` belongs to the site, so that nginx follows it only while
    its target does. A site with web options has a block of its own, which finds everything in the same way.
    A suspended domain's link is `hosts/SUSPENDED.<domain>`, where nginx looks only after it has found nothing to serve.
    """

    settings_model: ClassVar[type[DriverSettings]] = NginxSettings

    def check(self) -> None:
        if not os.access(self.settings.executable, os.X_OK):
            raise NotInstalled(f"nginx is not at {self.settings.executable}", hint="apt-get install nginx-light")
        if not os.access(self.settings.mime_types, os.R_OK):
            raise Misconfigured(
                f"the list of content types {self.settings.mime_types} cannot be read",
                hint="reinstall the package nginx-common, or set mime_types to the file that your nginx came with",
            )

    def service(self, node: Node) -> Service:
        return Service(
            name=SERVICE_NAME,
            command=(self.settings.executable, "-c", _configuration_path(node)),
            owner=node.root,
            reload="HUP",
            stop="QUIT",
        )

    def check_command(self, node: Node) -> tuple[str, ...]:
        return (self.settings.executable, "-t", "-q", "-c", _configuration_path(node))

    def render_node(self, node: Node) -> Rendered:
        layout, own = node.layout, folder(node)
        resources: list[Resource] = [
            *(
                Directory(path=path, owner=node.root, mode=0o711)
                for path in (layout.sites, layout.hosts, own, own.child("temp"))
            ),
            *(Directory(path=path, owner=node.root, mode=0o700) for path in (own.child("logs"), layout.blocks)),
            *(
                Directory(path=path, owner=Owner(uid=node.root.uid, gid=node.web.gid), mode=0o710)
                for path in (layout.challenges, layout.sockets, layout.certificates)
            ),
            Directory(path=own.child("pages"), owner=node.root, mode=0o755),
            File(
                path=own.child("pages", "suspended.html"),
                content=SUSPENDED_PAGE,
                owner=node.root,
                mode=0o644,
            ),
            File(
                path=own.child("pages", "missing.html"),
                content=MISSING_PAGE,
                owner=node.root,
                mode=0o644,
            ),
            File(
                path=_configuration_path(node),
                content=render_configuration(node, self.settings),
                owner=node.root,
                mode=0o644,
                notifies=SERVICE_NAME,
            ),
            self.service(node),
        ]
        return Rendered(resources=tuple(resources))

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        self._refuse_unsupported(site, upstream)
        layout, owner = node.layout, node.owner_of(site.uid)
        serve = layout.site(site.name).child("serve")
        resources: list[Resource] = [
            Directory(path=serve, owner=node.root, mode=0o711),
            Link(
                path=serve.child("root"),
                target=layout.home(site.name).child(site.document_root),
                owner=owner,
            ),
            Link(path=serve.child("upstream"), target=upstream.socket, owner=node.root),
            *own_resources(site, node, serve),
            *(
                Link(
                    path=suspended(node, domain) if site.is_suspended else layout.hosts.child(domain),
                    target=serve,
                    owner=node.root,
                )
                for domain in site.domains
            ),
        ]
        block = self.render_block(site, node)
        if block is not None:
            resources.append(block)
        return Rendered(resources=tuple(resources), probes=_probes(site))

    def render_block(self, site: Site, node: Node) -> File | None:
        return block_of(site, node, SERVICE_NAME)

    def logs(self, node: Node) -> tuple[AbsolutePath, AbsolutePath]:
        return logs(node)

    def _refuse_unsupported(self, site: Site, upstream: Upstream) -> None:
        if upstream.protocol != "fastcgi" or upstream.ping != PING_PATH:
            raise NotSupported(
                f"nginx reaches runtimes by FastCGI and asks them at {PING_PATH}; nothing was changed",
                hint="choose a runtime that answers so",
            )
        for domain in site.domains:
            if len(domain) > LONGEST_HOST:
                raise NotSupported(
                    f"{domain} has {len(domain)} characters; nginx can serve names of at most {LONGEST_HOST}",
                    hint="use a shorter domain",
                )
        if site.limits.upload_mb > self.settings.max_upload_mb:
            raise NotSupported(
                f"the package allows uploads of {site.limits.upload_mb} MiB, "
                f"nginx is set to {self.settings.max_upload_mb} MiB at most",
                hint="lower upload_mb of the package, or ask the operator to raise max_upload_mb of nginx",
            )


def _probes(site: Site) -> tuple[Probe, ...]:
    """Whether the name is routed, and whether the runtime answers, which wakes it."""
    host = site.domains[0]
    if site.is_suspended:
        return (Probe(host=host, path=ROUTE_PATH, status=(503,)),)
    return (
        Probe(host=host, path=ROUTE_PATH, status=(204,)),
        Probe(host=host, path=PING_PATH, status=(200,), wakes=True),
    )


def _configuration_path(node: Node) -> AbsolutePath:
    return folder(node).child("nginx.conf")
