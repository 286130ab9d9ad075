"""A small machine to test on: it lays resources out on disk and runs real nginx and php-fpm as the services say."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hosthold_php_fpm.driver import PhpFpmRuntime
from hosthold_php_fpm.settings import PhpFpmSettings
from hosthold_sdk import (
    AbsolutePath,
    Directory,
    Domain,
    File,
    Isolation,
    Limits,
    Link,
    Listen,
    Node,
    NodeLayout,
    Owner,
    RelativePath,
    Resource,
    Runtime,
    Service,
    Site,
    UnixName,
)
from hosthold_webserver_nginx.driver import NginxWebServer
from hosthold_webserver_nginx.settings import NginxSettings

ORDINARY = Owner(uid=64000, gid=64000)
WEB = Owner(uid=33, gid=33)


@dataclass(frozen=True)
class Answer:
    """What came back for one request; status 0 means that the server closed the connection without an answer."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Machine:
    """A folder, a port, and the processes that were started; everything of it is gone after `close`."""

    def __init__(self, isolation: Isolation) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hosthold-"))
        self.folder.chmod(0o755)
        root, web = (Owner(uid=0, gid=0), WEB) if isolation is Isolation.unix_user else (ORDINARY, ORDINARY)
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            port, tls_port = one.getsockname()[1], other.getsockname()[1]
        self.node = Node(
            name="test",
            layout=NodeLayout(
                state=AbsolutePath(str(self.folder / "state")), run=AbsolutePath(str(self.folder / "run"))
            ),
            listen=Listen(port=port, tls_port=tls_port),
            isolation=isolation,
            root=root,
            web=web,
            web_user="www-data",
        )
        self.nginx = NginxWebServer(NginxSettings())
        self.php = PhpFpmRuntime(PhpFpmSettings())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sockets: dict[str, socket.socket] = {}
        for path in (self.node.layout.state, self.node.layout.run):
            self._lay(Directory(path=path, owner=root, mode=0o711))
        self.apply(self.nginx.render_node(self.node).resources)
        self.wait(lambda: self.get("nobody.test").status == 0 and self._listens())

    def site(self, number: int, *domains: str, **changes: object) -> Site:
        """A site with the uid 64000 + number."""
        values: dict[str, object] = {
            "id": f"{number:032x}",
            "account_id": f"{number:032x}",
            "name": UnixName(f"s{number}"),
            "uid": 64000 + number,
            "domains": tuple(map(Domain, domains)),
            "runtime": Runtime(driver="php", version=self.php.versions()[0]),
            "document_root": RelativePath("public"),
            "limits": Limits(),
        }
        return Site.model_validate(values | changes)

    def resources(self, site: Site) -> tuple[Resource, ...]:
        runtime = self.php.render(site, self.node)
        folder = Directory(path=self.node.layout.site(site.name), owner=self.node.root, mode=0o711)
        return (folder, *runtime.resources, *self.nginx.render_site(site, self.node, runtime.upstream).resources)

    def serve(self, site: Site) -> Site:
        """Bring a site to its declared state, as far as it adds and removes services and links of hosts."""
        resources = self.resources(site)
        kept = {resource.key for resource in resources}
        for prefix in ("", "SUSPENDED."):
            for domain in site.domains:
                link = self.node.layout.hosts.child(prefix + domain)
                if f"path:{link}" not in kept:
                    Path(link).unlink(missing_ok=True)
        if site.is_suspended:
            self.stop(f"php-{site.name}")
        self.apply(resources)
        block = Path(self.node.layout.blocks.child(f"{site.name}.conf"))
        is_declared = f"path:{block}" in kept
        if is_declared or block.exists():
            if not is_declared:
                block.unlink()
            self.reload()
        return site

    def reload(self) -> None:
        """Let nginx read its configuration again, after it has been tested, and wait until only new workers answer."""
        subprocess.run(self.nginx.check_command(self.node), check=True)
        nginx = self.processes["nginx"]
        old = _workers(nginx.pid)
        nginx.send_signal(signal.SIGHUP)
        self.wait(lambda: bool(_workers(nginx.pid)) and not old & _workers(nginx.pid))

    def apply(self, resources: tuple[Resource, ...]) -> None:
        for resource in resources:
            self._lay(resource)

    def public(self, site: Site, name: str = "") -> Path:
        return Path(self.node.layout.home(site.name)) / site.document_root / name

    def write(self, site: Site, name: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the document root, as the site's own user would."""
        path = self.public(site, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        owner = self.node.owner_of(site.uid)
        os.chown(path, owner.uid, owner.gid)
        path.chmod(mode)
        return path

    def link(self, site: Site, path: Path, target: Path | str) -> None:
        """Make a link, as the site's own user would."""
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        owner = self.node.owner_of(site.uid)
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)

    def php_says(self, site: Site, code: str) -> str:
        """What a script of the site prints."""
        name = f"asked{time.monotonic_ns()}.php"
        self.write(site, name, f"<?php {code}")
        return self.get(site.domains[0], f"/{name}").text

    def get(
        self,
        host: str | None,
        path: str = "/",
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        version: int = 11,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.node.listen.port, timeout=20)
        connection._http_vsn = version  # type: ignore[attr-defined]
        connection._http_vsn_str = "HTTP/1.0" if version == 10 else "HTTP/1.1"  # type: ignore[attr-defined]
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not None:
                connection.putheader("Host", host)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(), dict(response.headers))
        except (http.client.RemoteDisconnected, ConnectionError):
            return Answer(0)
        finally:
            connection.close()

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds; fail after ten seconds."""
        deadline = time.monotonic() + 10
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; {self.error_log()}")
            time.sleep(0.01)

    def error_log(self) -> str:
        log = Path(self.node.layout.state.child("nginx", "logs", "error.log"))
        return log.read_text() if log.exists() else ""

    def stop(self, name: str) -> None:
        if process := self.processes.pop(name, None):
            process.send_signal(signal.SIGQUIT)
            process.wait(30)  # php-fpm itself gives its children ten seconds (process_control_timeout)
        if listener := self.sockets.pop(name, None):
            Path(listener.getsockname()).unlink()
            listener.close()

    def replace(self, site: Site) -> None:
        """Start a new master of the site on the same socket, then end the old one."""
        service = next(one for one in self.resources(site) if isinstance(one, Service))
        old = self.processes[service.name]
        self._start(service)
        old.send_signal(getattr(signal, f"SIG{service.stop}"))
        old.wait(30)

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name)
        shutil.rmtree(self.folder)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.node.listen.port)) == 0

    def _lay(self, resource: Resource) -> None:
        if isinstance(resource, Directory):
            if Path(resource.path).is_dir():
                return
            Path(resource.path).mkdir()
            os.chown(resource.path, resource.owner.uid, resource.owner.gid)
            Path(resource.path).chmod(resource.mode)
        elif isinstance(resource, File):
            if resource.seed and Path(resource.path).exists():
                return
            Path(resource.path).write_text(resource.content)
            os.chown(resource.path, resource.owner.uid, resource.owner.gid)
            Path(resource.path).chmod(resource.mode)
        elif isinstance(resource, Link):
            Path(resource.path).unlink(missing_ok=True)
            Path(resource.path).symlink_to(resource.target)
            os.chown(resource.path, resource.owner.uid, resource.owner.gid, follow_symlinks=False)
        elif isinstance(resource, Service) and resource.name not in self.processes:
            self._start(resource)

    def _start(self, service: Service) -> None:
        listener = self.sockets.get(service.name)
        if service.socket and not listener:
            listener = self.sockets[service.name] = socket.socket(socket.AF_UNIX)
            listener.bind(service.socket.path)
            os.chown(service.socket.path, service.socket.owner.uid, service.socket.owner.gid)
            Path(service.socket.path).chmod(service.socket.mode)
            listener.listen(128)
        number = listener.fileno() if listener else None
        self.processes[service.name] = subprocess.Popen(
            service.command,
            env=dict(service.environment),
            user=service.owner.uid,
            group=service.owner.gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            pass_fds=() if number is None else (3,),
            preexec_fn=None if number is None else partial(os.dup2, number, 3),
        )


def _workers(master: int) -> set[str]:
    return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


@pytest.fixture(scope="module", params=[Isolation.unix_user])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with nginx running and no site; parametrise indirectly for another isolation."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run servers as other users")
    made = Machine(request.param)
    yield made
    made.close()
