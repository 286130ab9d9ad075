"""The least that a PHP site costs: the system calls that make it, php-fpm's own start, and nothing else.

No database, queue, plan, journal, check or probe; what is written is what the platform's drivers render.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from hosthold.cli.local_node import local_node, runtime_versions
from hosthold.sites.rendering import render_site
from hosthold.types.identifier import new_identifier
from hosthold.types.package import Limits
from hosthold.types.resource import Account, Directory, File, Link, Service
from hosthold.types.site import Runtime, Site
from hosthold.types.text import Domain, RelativePath, UnixName

from benchmarks.platform import UID_FIRST, Platform

_UIDS_APART = 100_000
"""How far these sites' numbers are from the platform's own."""


class LeastSite:
    """A site beside those of a platform's node, served by the same web server. Rendering it is not measured."""

    def __init__(self, platform: Platform, number: int) -> None:
        node = local_node(platform.settings)
        registry = platform.registry
        node = node.model_copy(update={"facts": runtime_versions(registry)})
        self.domain = f"least{number}.localhost"
        site = Site(
            id=new_identifier(), account_id=new_identifier(), name=UnixName(f"least{number}"),
            uid=UID_FIRST + _UIDS_APART + number, domains=(Domain(self.domain),),
            runtime=Runtime(driver="php", version=node.facts["php"][0]), document_root=RelativePath("public"),
            limits=Limits(), is_suspended=False, generation=1,
        )  # fmt: skip
        self._resources = render_site(registry, site, node, fence=1).resources
        self._accounts = platform.folder / "least-accounts"
        self._folder = Path(node.layout.site(site.name))
        self._php: subprocess.Popen[bytes] | None = None

    def bring_up(self) -> None:
        """Make everything and start php-fpm; returns before it is ready, for the first request waits in its socket."""
        self._make(flushes=True)

    def lay_down(self) -> None:
        """Make everything with a socket that nobody listens behind; nothing is flushed."""
        self._make(flushes=False)

    def _make(self, *, flushes: bool) -> None:
        names = []
        for resource in self._resources:
            match resource:
                case Account():
                    self._append(
                        f"{resource.name}:x:{resource.uid}:{resource.uid}::{resource.home}:/usr/sbin/nologin\n", flushes
                    )
                case Directory():
                    Path(resource.path).mkdir()
                    os.chown(resource.path, resource.owner.uid, resource.owner.gid)
                    Path(resource.path).chmod(resource.mode)
                case File():
                    _write(resource, flushes)
                case Link():
                    names.append(resource)
                case Service():
                    with _bound(resource) as listener:
                        self._php = _start(resource, listener) if flushes else None
        for link in names:
            Path(link.path).symlink_to(link.target)
            os.chown(link.path, link.owner.uid, link.owner.gid, follow_symlinks=False)

    def take_down(self) -> None:
        """Remove everything again."""
        if self._php is not None:
            self._php.send_signal(signal.SIGTERM)
            self._php.wait(30)
        for resource in self._resources:
            if isinstance(resource, Service) and resource.socket is not None:
                Path(resource.socket.path).unlink()
            elif isinstance(resource, Link) and not Path(resource.path).is_relative_to(self._folder):
                Path(resource.path).unlink()
        shutil.rmtree(self._folder)

    def _append(self, line: str, flushes: bool) -> None:
        with self._accounts.open("a") as file:
            file.write(line)
            file.flush()
            if flushes:
                os.fsync(file.fileno())


def _write(file: File, flushes: bool) -> None:
    descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
    os.write(descriptor, file.content.encode())
    os.fchown(descriptor, file.owner.uid, file.owner.gid)
    if file.content and flushes:
        os.fsync(descriptor)
    os.close(descriptor)


def _bound(service: Service) -> socket.socket:
    assert service.socket is not None
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(service.socket.path)
    Path(service.socket.path).chmod(service.socket.mode)
    os.chown(service.socket.path, service.socket.owner.uid, service.socket.owner.gid)
    listener.listen(511)
    return listener


def _start(service: Service, listener: socket.socket) -> subprocess.Popen[bytes]:
    """php-fpm with its listening socket inherited; which descriptor that is stands at the end of one variable."""
    inherited = listener.fileno()
    environment = {name: f"{value.rpartition('=')[0]}={inherited}" for name, value in service.environment}
    is_other_user = service.owner.uid != os.geteuid()
    return subprocess.Popen(
        service.command, env=environment, pass_fds=(inherited,), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=service.owner.uid if is_other_user else None, group=service.owner.gid if is_other_user else None,
        extra_groups=() if is_other_user else None,
    )  # fmt: skip
