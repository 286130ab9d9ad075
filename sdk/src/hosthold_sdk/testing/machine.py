"""A machine to test drivers on: a real node agent in a folder of its own, with the drivers that are given to it."""

from __future__ import annotations

import http.client
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hosthold.node.agent import NodeAgent
from hosthold.node.log_splitter import LogRotation, LogSplitter
from hosthold.node.policy import Policy
from hosthold.sites.rendering import desired_site
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import (
    Change,
    Desired,
    LogName,
    LogRequest,
    NodeOrder,
    OrderAction,
    OrderReply,
    Outcome,
)

from hosthold_sdk import (
    AbsolutePath,
    Domain,
    Isolation,
    Limits,
    Listen,
    Node,
    NodeLayout,
    Owner,
    RelativePath,
    Runtime,
    RuntimeDriver,
    Site,
    SupervisorDriver,
    UnixName,
    WebServerDriver,
)

_UIDS = range(1_000_000 + os.getpid() % 100_000 * 1000, 1_001_000 + os.getpid() % 100_000 * 1000)
"""Unix users of this process's machines: two test runs beside each other must not end each other's processes."""


@dataclass(frozen=True)
class Answer:
    """What came back for one request. Status 0: the server closed the connection without an answer."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Machine:
    """One node with its drivers. `start` brings the web server up; after `close` nothing of it is left.

    With `Isolation.unix_user`, which needs root, each site is a Unix user of its own; without, everything belongs to
    one ordinary user, also if the tests run as root.
    """

    def __init__(
        self,
        webserver: WebServerDriver[Any],
        runtime: RuntimeDriver[Any],
        supervisor: SupervisorDriver[Any],
        isolation: Isolation,
        folder: Path,
        runtime_name: str = "runtime",
    ) -> None:
        """`folder` is empty, and others may enter it and all that is above it, as on a real node (`folder_for_all`).

        By `runtime_name` the node tells which versions of the runtime it has.
        """
        self.runtime_name = runtime_name
        self.webserver, self.runtime, self.supervisor, self.folder = webserver, runtime, supervisor, folder
        if isolation is Isolation.unix_user:
            user = pwd.getpwnam("www-data")
            root, web, web_user = Owner(uid=0, gid=0), Owner(uid=user.pw_uid, gid=user.pw_gid), user.pw_name
        else:
            uid, gid = (os.geteuid(), os.getegid()) if os.geteuid() else (_UIDS[-1], _UIDS[-1])
            root = web = Owner(uid=uid, gid=gid)
            web_user = "nobody"
        self.node = Node(
            name="test",
            layout=NodeLayout(state=AbsolutePath(f"{folder}/state"), run=AbsolutePath(f"{folder}/run")),
            listen=Listen(port=free_port()),
            isolation=isolation,
            root=root,
            web=web,
            web_user=web_user,
        )
        self.sites: dict[str, Site] = {}
        """What was applied and not removed."""
        self._fence = self._last_site = 0
        self.agent = self._new_agent()

    @property
    def uid_first(self) -> int:
        """Where the Unix numbers begin that the node accepts."""
        return _UIDS[0]

    def start(self) -> None:
        """Start the agent and bring up the node itself: the web server and what it needs."""
        for path in (self.node.layout.state, self.node.layout.run):
            Path(path).mkdir()
            os.chown(path, self.node.root.uid, self.node.root.gid)
        self.agent.start()
        self.apply_node()

    def restart(self) -> None:
        """Another agent takes over, which knows only what the first one wrote down; services run on meanwhile."""
        self.agent.stop()
        self.supervisor = type(self.supervisor)(self.supervisor.settings)
        self.agent = self._new_agent()
        self.agent.start()

    def close(self) -> None:
        """End all services of the node."""
        self.agent.stop(end_services=True)

    def site(self, *domains: str, **changes: Any) -> Site:
        """Another site, with these domains; its other fields are `changes`. Nothing is done yet.

        It has a name and a number that no site of this machine had before: those of a deleted one are not given out
        again.
        """
        self._last_site += 1
        number = self._last_site
        values: dict[str, Any] = {
            "id": f"{number:032x}",
            "account_id": f"{number:032x}",
            "name": UnixName(f"site{number:03}"),
            "uid": _UIDS[number],
            "domains": tuple(map(Domain, domains)),
            "runtime": Runtime(driver=self.runtime_name, version=self.runtime.versions()[0]),
            "document_root": RelativePath("public"),
            "limits": Limits(),
        }
        return Site.model_validate(values | changes)

    def desired(self, site: Site, **changes: Any) -> Desired:
        """The declared state of the site, as the platform makes it of what the drivers render."""
        self._fence += 1
        runtime = self.runtime.render(site, self.node)
        served = self.webserver.render_site(site, self.node, runtime.upstream)
        return desired_site(site, self.node, self._fence, runtime, served, ()).model_copy(update=changes)

    def gone(self, site: Site) -> Desired:
        """The declared state of a deleted site: nothing."""
        self._fence += 1
        return Desired(subject=f"site:{site.id}", label=site.domains[0], generation=1, fence=self._fence)

    def node_desired(self) -> Desired:
        """The declared state of the node itself."""
        self._fence += 1
        rendered = self.webserver.render_node(self.node)
        name = self.node.name
        return Desired(subject=f"node:{name}", label=name, generation=1, fence=self._fence, **dict(rendered))

    def apply(self, *sites: Site) -> tuple[Change, ...]:
        """Make the sites so, in one order, as the platform does; returns what was changed."""
        self.sites |= {site.id: site for site in sites}
        return self._changes(OrderAction.apply, *map(self.desired, sites))

    def apply_node(self) -> tuple[Change, ...]:
        """Make the node itself so; returns what was changed."""
        return self._changes(OrderAction.apply, self.node_desired())

    def remove(self, *sites: Site) -> tuple[Change, ...]:
        """Remove the sites; returns what was changed."""
        changes = self._changes(OrderAction.apply, *map(self.gone, sites))
        for site in sites:
            self.sites.pop(site.id, None)
        return changes

    def plan(self, *sites: Site) -> tuple[Change, ...]:
        """What an apply would change."""
        return self._changes(OrderAction.plan, *map(self.desired, sites))

    def plan_node(self) -> tuple[Change, ...]:
        """What an apply of the node itself would change."""
        return self._changes(OrderAction.plan, self.node_desired())

    def order(self, action: OrderAction, *desired: Desired, log: LogRequest | None = None) -> OrderReply:
        """Hand the agent an order; whatever is wrong with it is in the reply."""
        now = datetime.now(UTC)
        order = NodeOrder(
            id=new_identifier(),
            node=self.node.name,
            action=action,
            desired=desired,
            log=log,
            issued_at=now,
            expires_at=now + timedelta(minutes=1),
        )
        return self.agent.handle(order)

    def log(self, site: Site, log: LogName) -> tuple[str, ...]:
        """The last lines of a log of the site, as its owner sees them."""
        reply = self.order(OrderAction.read_log, self.gone(site), log=LogRequest(log=log))
        (outcome,) = _good(reply)
        return outcome.log.lines if outcome.log is not None else ()

    def public(self, site: Site, name: str = "") -> Path:
        """A path in the site's document root."""
        return Path(self.node.layout.home(site.name)) / site.document_root / name

    def write(self, site: Site, name: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the document root, as the site's own user would."""
        path = self.public(site, name)
        path.write_text(text)
        owner = self.node.owner_of(site.uid)
        os.chown(path, owner.uid, owner.gid)
        path.chmod(mode)
        return path

    def get(
        self,
        host: str | None,
        path: str = "/",
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask the web server for a page of this host, or of none; both are sent as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.listen.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": host, **(headers or {})}.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode("utf-8", "replace"), dict(response.headers))
        except (http.client.RemoteDisconnected, ConnectionError):
            return Answer(0)
        finally:
            connection.close()

    def listening(self) -> frozenset[int]:
        """The processes that hold the web server's listening socket."""
        address = f":{self.node.listen.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        wanted = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(address) and row[3] == "0A"}
        found = set()
        for descriptors in Path("/proc").glob("[0-9]*/fd"):
            with suppress(OSError):  # somebody else's, or ended meanwhile
                if any(str(entry.readlink()) in wanted for entry in descriptors.iterdir()):
                    found.add(int(descriptors.parent.name))
        return frozenset(found)

    def files(self) -> dict[str, tuple[int, int, int, str]]:
        """Mode, uid, gid and content or target of all that lies in the node's folders.

        Not of the node's own records, nor of what servers write while they run (`*.log`, `*.pid`).
        """
        found = {}
        state, run = Path(self.node.layout.state), Path(self.node.layout.run)
        for path in sorted([*state.rglob("*"), *run.rglob("*")]):
            name = str(path.relative_to(self.folder))
            if not name.startswith(_RECORDS) and path.suffix not in (".log", ".pid"):
                status = path.lstat()
                is_plain = path.is_file() and not path.is_symlink()
                body = str(path.readlink()) if path.is_symlink() else path.read_text() if is_plain else ""
                found[name] = (status.st_mode, status.st_uid, status.st_gid, body)
        return found

    def _changes(self, action: OrderAction, *desired: Desired) -> tuple[Change, ...]:
        return tuple(change for outcome in _good(self.order(action, *desired)) for change in outcome.changes)

    @property
    def _as_root_of_node(self) -> tuple[str, ...]:
        """The beginning of a command that is run as the node's own user, which an agent of real nodes is already."""
        root = self.node.root
        if root.uid == os.geteuid():
            return ()
        return ("/usr/bin/setpriv", f"--reuid={root.uid}", f"--regid={root.gid}", "--clear-groups", "--")

    def _new_agent(self) -> NodeAgent:
        node, layout = self.node, self.node.layout
        policy = Policy(
            node=node,
            uid_first=_UIDS[0],
            uid_last=_UIDS[-1],
            executables=self.runtime.executables(),
            own={resource.key: resource for resource in self.webserver.render_node(node).resources},
            block=self.webserver.render_block,
            checks={self.webserver.service(node).name: (*self._as_root_of_node, *self.webserver.check_command(node))},
            accounts_directory=self.folder / "accounts",
        )
        splitter = None
        if node.root.uid == os.geteuid():  # it writes as whom it is started, and only into folders of that user
            rotation, fields = LogRotation(2**20, 1, 1), self.webserver.log_fields
            splitter = LogSplitter(layout, self.webserver.logs(node), rotation, fields)
        return NodeAgent(node, policy, self.supervisor, lambda: {self.runtime_name: self.runtime.versions()}, splitter)


_RECORDS = ("state/node.db", "state/log-position.json", "run/services", "run/keeper.sock")


def _good(reply: OrderReply) -> tuple[Outcome, ...]:
    """The outcomes; fails the test with the node's own words if the node refused or undid something."""
    assert reply.condition is None, f"the node refused the whole order: {reply.condition}"
    for outcome in reply.outcomes:
        assert outcome.condition is None, (
            f"the node did not bring {outcome.subject} to its declared state ({outcome.condition.reason}): "
            f"{outcome.condition.message} {outcome.condition.hint}"
        )
    return reply.outcomes


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A new folder that other users may enter, with a short path, because sockets lie in it; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="hosthold-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)
