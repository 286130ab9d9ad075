"""The web-server driver: what Caddy needs on a node, and what each site adds to it without a reload."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from hosthold_sdk import (
    AbsolutePath,
    Directory,
    DriverSettings,
    File,
    Isolation,
    Link,
    LogFields,
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

from .blocks import block_of
from .configuration import (
    LONGEST_HOST,
    PING_PATH,
    ROUTE_PATH,
    folder,
    logs,
    own_run,
    render_configuration,
    suspended,
    upstream_link,
)
from .settings import CaddySettings

SERVICE_NAME = "caddy"
_ENV, _SETPRIV = "/usr/bin/env", "/usr/bin/setpriv"
_LAUNCHER = Path(__file__).with_name("launcher.py").read_text("utf-8")


class CaddyWebServer(WebServerDriver[CaddySettings]):
    """Serves every standard site from one block.

    `hosts/<domain>` is a link to the site's document root, `hosts/UPSTREAM.<domain>` one to its runtime's socket. A
    site with web options has a block of its own, which comes before the handling of all. A suspended domain's only link
    is `hosts/SUSPENDED.<domain>`. Caddy runs as the web server's user, in a view in which no link of a site's is
    followed, and keeps one right of root's: to listen on ports below 1024.
    """

    settings_model: ClassVar[type[DriverSettings]] = CaddySettings
    log_fields: ClassVar[LogFields | None] = LogFields(
        host=("request", "host"),
        address=("request", "remote_ip"),
        user=("user_id",),
        time=("ts",),
        method=("request", "method"),
        target=("request", "uri"),
        protocol=("request", "proto"),
        status=("status",),
        size=("size",),
        referer=("request", "headers", "Referer"),
        agent=("request", "headers", "User-Agent"),
        level=("level",),
        message=("msg",),
    )

    def check(self) -> None:
        programs = {
            self.settings.executable: "caddy",
            self.settings.python: "python3-minimal",
            _ENV: "coreutils",
            _SETPRIV: "util-linux",
        }
        for program, package in programs.items():
            if not os.access(program, os.X_OK):
                raise NotInstalled(f"{program} is missing", hint=f"apt-get install {package}")

    def service(self, node: Node) -> Service:
        return Service(
            name=SERVICE_NAME,
            command=(
                *(_ENV, "-C", node.layout.hosts),
                *self._closed_off(node),
                *_as_web_user(node),
                *(self.settings.executable, "run", *_configuration(node)),
            ),
            environment=_environment(node),
            owner=node.root,
            reload=(*_told(node, self.settings), "reload", *_configuration(node), "--address", _admin(node)),
        )

    def check_command(self, node: Node) -> tuple[str, ...]:
        return (*_told(node, self.settings), "validate", *_configuration(node))

    def render_node(self, node: Node) -> Rendered:
        if node.listen.tls_port is not None:
            raise NotSupported(
                "Caddy reads a new certificate only when it reloads, so this driver serves plain HTTP alone; "
                "nothing was changed",
                hint="remove tls_port from the node's listen, and put what ends TLS in front of it; or use nginx",
            )
        layout, own, run, notes = node.layout, folder(node), own_run(node), _notes(node)
        access_log, error_log = logs(node)
        resources: list[Resource] = [
            *(Directory(path=path, owner=node.root, mode=0o711) for path in (layout.sites, layout.hosts, own)),
            *(
                Directory(path=path, owner=Owner(uid=node.root.uid, gid=node.web.gid), mode=0o710)
                for path in (layout.challenges, layout.sockets, layout.certificates, AbsolutePath(access_log.parent))
            ),
            Directory(path=layout.blocks, owner=Owner(uid=node.root.uid, gid=node.web.gid), mode=0o750),
            *(Directory(path=path, owner=node.web, mode=0o700) for path in (run, run.child("data"))),
            *(Directory(path=path, owner=node.root, mode=0o711) for path in (notes, notes.child("caddy"))),
            Link(path=notes.child("caddy", "autosave.json"), target=AbsolutePath("/dev/null"), owner=node.root),
            *(File(path=path, content="", owner=node.web, mode=0o640, seed=True) for path in (access_log, error_log)),
            File(path=_launcher(node), content=_LAUNCHER, owner=node.root, mode=0o644),
            File(
                path=_caddyfile(node),
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
        layout = node.layout
        resources: list[Resource] = []
        for domain in site.domains:
            links = {
                layout.hosts.child(domain): layout.home(site.name).child(site.document_root),
                upstream_link(node, domain): upstream.socket,
            }
            if site.is_suspended:
                links = {suspended(node, domain): layout.site(site.name)}
            resources += [Link(path=path, target=target, owner=node.root) for path, target in links.items()]
        block = self.render_block(site, node)
        if block is not None:
            resources.append(block)
        return Rendered(resources=tuple(resources), probes=_probes(site))

    def render_block(self, site: Site, node: Node) -> File | None:
        return block_of(site, node, SERVICE_NAME)

    def logs(self, node: Node) -> tuple[AbsolutePath, AbsolutePath]:
        return logs(node)

    def _closed_off(self, node: Node) -> tuple[str, ...]:
        """The beginning of a command that then follows no link below the folder of sites; only root can do that."""
        if not _has_users(node):
            return ()
        return (self.settings.python, "-I", "-S", _launcher(node), node.layout.sites)

    def _refuse_unsupported(self, site: Site, upstream: Upstream) -> None:
        if upstream.protocol != "fastcgi" or upstream.ping != PING_PATH:
            raise NotSupported(
                f"Caddy reaches runtimes by FastCGI here and asks them at {PING_PATH}; nothing was changed",
                hint="choose a runtime that answers so",
            )
        for domain in site.domains:
            if len(domain) > LONGEST_HOST:
                raise NotSupported(
                    f"{domain} has {len(domain)} characters; Caddy can serve names of at most {LONGEST_HOST}",
                    hint="use a shorter domain",
                )
        if site.limits.upload_mb > self.settings.max_upload_mb:
            raise NotSupported(
                f"the package allows uploads of {site.limits.upload_mb} MiB, "
                f"Caddy is set to {self.settings.max_upload_mb} MiB at most",
                hint="lower upload_mb of the package, or ask the operator to raise max_upload_mb of Caddy",
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


def _has_users(node: Node) -> bool:
    return node.isolation is Isolation.unix_user and node.root.uid == 0


def _as_web_user(node: Node) -> tuple[str, ...]:
    """The beginning of a command that runs as the web server's user; only root can become somebody else."""
    if not _has_users(node):
        return ()
    rights = "-all,+net_bind_service"
    return (
        *(_SETPRIV, f"--reuid={node.web.uid}", f"--regid={node.web.gid}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={rights}", f"--ambient-caps={rights}", f"--bounding-set={rights}", "--"),
    )


def _told(node: Node, settings: CaddySettings) -> tuple[str, ...]:
    """The beginning of a command of Caddy's that is run beside the server, with the server's rights and no more."""
    environment = (f"{name}={value}" for name, value in _environment(node))
    return (_ENV, "-C", node.layout.hosts, *environment, *_as_web_user(node), settings.executable)


def _environment(node: Node) -> tuple[tuple[str, str], ...]:
    """Caddy's files lie in a folder of its own, and the last configuration that it had is kept nowhere."""
    data = own_run(node).child("data")
    return (("HOME", data), ("XDG_DATA_HOME", data), ("XDG_CONFIG_HOME", _notes(node)))


def _notes(node: Node) -> AbsolutePath:
    return folder(node).child("notes")


def _configuration(node: Node) -> tuple[str, ...]:
    return ("--config", _caddyfile(node), "--adapter", "caddyfile")


def _admin(node: Node) -> str:
    return f"unix/{own_run(node).child('admin.sock')}"


def _caddyfile(node: Node) -> AbsolutePath:
    return folder(node).child("Caddyfile")


def _launcher(node: Node) -> AbsolutePath:
    return folder(node).child("launcher.py")
