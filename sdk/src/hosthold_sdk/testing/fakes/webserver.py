"""A web-server driver: finds each site through links on disk, as a small server in Python reads them (`server.py`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from hosthold_sdk import (
    AbsolutePath,
    Directory,
    DriverSettings,
    File,
    Link,
    Match,
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

PROGRAM = Path(__file__).with_name("server.py").read_text("utf-8")
ROUTE_PATH = "/.well-known/hosthold-route"
"""Answered by the server alone for every name that it can serve."""
SERVICE_NAME = "fake-server"


class FakeWebServerSettings(DriverSettings):
    """What an operator may set."""

    python: AbsolutePath = AbsolutePath("/usr/bin/python3")
    """A Python that the web server's user may run."""


class FakeWebServer(WebServerDriver[FakeWebServerSettings]):
    """Serves all sites without knowing any of them.

    `hosts/<domain>` is a link to the site's `serve` folder, which belongs to root and holds a link `root` to the
    document root, a link `upstream` to the runtime's socket, and a file `suspended` while the site is. A site with web
    options has a block besides, which the server reads when it is started and reloaded. Of the options it knows
    redirects of single paths, and headers; it speaks no TLS.
    """

    settings_model: ClassVar[type[DriverSettings]] = FakeWebServerSettings

    def check(self) -> None:
        if not os.access(self.settings.python, os.X_OK):
            raise NotInstalled(f"there is no Python at {self.settings.python}", hint="apt-get install python3-minimal")

    def service(self, node: Node) -> Service:
        own = _folder(node)
        return Service(
            name=SERVICE_NAME,
            command=(self.settings.python, "-I", "-S", own.child("server.py"), own.child("server.json")),
            owner=node.web,
            reload="HUP",
        )

    def check_command(self, node: Node) -> tuple[str, ...]:
        return (*self.service(node).command, "--check")

    def render_node(self, node: Node) -> Rendered:
        if node.listen.tls_port is not None:
            raise NotSupported("this web server speaks no TLS", hint="leave node.listen.tls_port unset")
        layout, own, root = node.layout, _folder(node), node.root
        access_log, error_log = self.logs(node)
        configuration = {
            "address": node.listen.address.strip("[]"),
            "port": node.listen.port,
            "sites": layout.sites,
            "hosts": layout.hosts,
            "blocks": layout.blocks,
            "challenges": layout.challenges,
            "route": ROUTE_PATH,
            "access_log": access_log,
            "error_log": error_log,
        }
        for_web = Owner(uid=root.uid, gid=node.web.gid)
        resources: list[Resource] = [
            *(Directory(path=path, owner=root, mode=0o711) for path in (layout.sites, layout.hosts, own)),
            *(
                Directory(path=path, owner=for_web, mode=0o750)
                for path in (layout.blocks, layout.challenges, layout.certificates, layout.sockets)
            ),
            Directory(path=own.child("logs"), owner=node.web, mode=0o700),
            *(
                File(path=own.child(name), content=content, owner=for_web, mode=0o640, notifies=SERVICE_NAME)
                for name, content in (("server.py", PROGRAM), ("server.json", json.dumps(configuration, indent=1)))
            ),
            self.service(node),
        ]
        return Rendered(resources=tuple(resources))

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        if upstream.protocol != "fastcgi":
            raise NotSupported("this web server reaches runtimes by FastCGI alone", hint="choose another runtime")
        layout, root = node.layout, node.root
        serve = layout.site(site.name).child("serve")
        home = layout.home(site.name)
        resources: list[Resource] = [
            Directory(path=serve, owner=root, mode=0o711),
            Link(path=serve.child("root"), target=home.child(site.document_root), owner=root),
            Link(path=serve.child("upstream"), target=upstream.socket, owner=root),
            *(Link(path=layout.hosts.child(domain), target=serve, owner=root) for domain in site.domains),
        ]
        if site.is_suspended:
            resources.append(File(path=serve.child("suspended"), content="", owner=root, mode=0o644))
        block = self.render_block(site, node)
        if block is not None:
            resources.append(block)
        return Rendered(resources=tuple(resources), probes=_probes(site, upstream))

    def render_block(self, site: Site, node: Node) -> File | None:
        web = site.web
        if web.basic_auth or web.rules or web.proxies or any(one.match is Match.prefix for one in web.redirects):
            raise NotSupported(
                "this web server knows redirects of single paths, and headers; nothing was changed",
                hint="remove the other options, or choose another web server",
            )
        if web.is_standard or site.is_suspended:
            return None
        block = {
            "hosts": site.domains,
            "redirects": {one.path: (one.status, one.to) for one in web.redirects},
            "headers": [(one.name, one.value) for one in web.headers],
        }
        return File(
            path=node.layout.blocks.child(f"{site.name}.json"),
            content=json.dumps(block, indent=1),
            owner=Owner(uid=node.root.uid, gid=node.web.gid),
            mode=0o640,
            notifies=SERVICE_NAME,
        )

    def logs(self, node: Node) -> tuple[AbsolutePath, AbsolutePath]:
        return _folder(node).child("logs", "access.log"), _folder(node).child("logs", "error.log")


def _probes(site: Site, upstream: Upstream) -> tuple[Probe, ...]:
    """Whether the name is routed, and whether the runtime answers, which wakes it."""
    host = site.domains[0]
    if site.is_suspended:
        return (Probe(host=host, path=ROUTE_PATH, status=(503,)),)
    return (
        Probe(host=host, path=ROUTE_PATH, status=(204,)),
        Probe(host=host, path=upstream.ping, status=(200,), wakes=True),
    )


def _folder(node: Node) -> AbsolutePath:
    """What belongs to the server itself, and to no site."""
    return node.layout.state.child("webserver")
